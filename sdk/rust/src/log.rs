//! Log records. They are written at once, even when the call fails later; the host adds the component's name, the
//! event and the socket that it was called for.
//!
//! ```no_run
//! use sc_sdk::prelude::*;
//!
//! fn report(socket: &Socket, attempts: u32) {
//!     info!("{} came from {}", socket.name(), socket.address());
//!     if attempts > 3 {
//!         warn!("{attempts} attempts to log in from {}", socket.address());
//!     }
//! }
//! ```

use std::fmt;

use crate::host;

/// How urgent a record is.
///
/// ```
/// use sc_sdk::log::Level;
/// assert_ne!(Level::Error, Level::Info);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Someone has to act.
    Error,
    /// Someone may have to.
    Warn,
    /// Worth knowing.
    Info,
    /// For finding mistakes.
    Debug,
    /// Everything.
    Trace,
}

/// Writes one record; it is cut at 8 KiB. The macros ([`info!`](crate::info) and its like) are easier.
///
/// ```no_run
/// use sc_sdk::log::{Level, write};
/// write(Level::Info, format_args!("{} of {}", 1, 2));
/// ```
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    let level = match level {
        Level::Error => host::Level::Error,
        Level::Warn => host::Level::Warn,
        Level::Info => host::Level::Info,
        Level::Debug => host::Level::Debug,
        Level::Trace => host::Level::Trace,
    };
    match message.as_str() {
        Some(text) => host::log(level, text),
        None => host::log(level, &message.to_string()),
    }
}

/// Logs what someone has to act on; takes what `format!` takes.
///
/// ```no_run
/// sc_sdk::error!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Error, ::core::format_args!($($argument)+))
    };
}

/// Logs what someone may have to act on; takes what `format!` takes.
///
/// ```no_run
/// sc_sdk::warn!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($argument)+))
    };
}

/// Logs what is worth knowing; takes what `format!` takes.
///
/// ```no_run
/// sc_sdk::info!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Info, ::core::format_args!($($argument)+))
    };
}

/// Logs what helps to find mistakes; takes what `format!` takes.
///
/// ```no_run
/// sc_sdk::debug!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Debug, ::core::format_args!($($argument)+))
    };
}

/// Logs everything else; takes what `format!` takes.
///
/// ```no_run
/// sc_sdk::trace!("{} of {}", 1, 2);
/// ```
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Trace, ::core::format_args!($($argument)+))
    };
}
