//! What records of all processes have in common: the targets that the log treats in a way of its own, and how a record
//! names what others chose. Nothing here is put together before a record is written.

use std::fmt;

use crate::ids::SocketId;

/// Target of notices: warnings that are nobody's fault, such as a blocked action. Their events are of tracing's level
/// `INFO`; the log shows them as `notice`, and bounds how many it takes of each kind.
pub const NOTICE: &str = "notice";
/// Target of records of user code that failed. The log bounds how many it takes of each kind.
pub const FAULT: &str = "fault";
/// Target of what user code says itself.
pub const GUEST: &str = "guest";
/// Bytes of a name in a record: those of events, channels and paths may be as long as a message.
const NAME_MAX: usize = 128;

/// At most so many bytes of a text.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// As much of a name that a client or user code chose as a record carries.
pub fn name(text: &str) -> &str {
    cut(text, NAME_MAX)
}

/// What user code is called for.
pub trait Occasion {
    /// Appends its kind and its name: never data, a query or a token.
    fn describe(&self, to: &mut String);

    /// Whose it is.
    fn socket(&self) -> Option<SocketId> {
        None
    }
}

impl Occasion for str {
    fn describe(&self, to: &mut String) {
        to.push_str(self);
    }
}

/// Shows an occasion.
pub struct Described<'a, T: ?Sized>(pub &'a T);

impl<T: Occasion + ?Sized> fmt::Display for Described<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.describe(&mut text);
        f.write_str(&text)
    }
}

/// Shows lines; the log makes a list of them where their field is called `backtrace` or `last_lines`.
pub struct Lines<'a>(pub &'a [String]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            write!(f, "{end}{line}")?;
        }
        Ok(())
    }
}

/// Writes the record of a call into user code that failed: the given fields, then those of its
/// [`CallError`](crate::controller::CallError), which are the same for all roles.
#[macro_export]
macro_rules! fault {
    ($level:ident, $error:expr, { $($field:tt)* }, $message:literal) => {
        ::tracing::$level!(
            target: $crate::log::FAULT,
            $($field)*
            fault = ?$error.fault,
            cause = $error.message,
            place = $error.place(),
            last_lines = %$crate::log::Lines(&$error.last_lines),
            backtrace = %$crate::log::Lines(&$error.backtrace),
            $message
        )
    };
}
