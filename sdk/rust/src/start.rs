//! What this instance was told when it started.

use std::cell::RefCell;

use crate::host::StartInfo;

thread_local! {
    static INFO: RefCell<Option<StartInfo>> = const { RefCell::new(None) };
}

/// Why an instance starts.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// if worker.cause() == Cause::Crash {
///     warn!("the instance before this one failed");
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The host starts.
    Boot,
    /// New code replaces old.
    Reload,
    /// The instance before it failed.
    Crash,
    /// The worker process before this one died.
    WorkerRestart,
    /// A word that this SDK does not know yet.
    Other(String),
}

impl From<&str> for Cause {
    fn from(word: &str) -> Self {
        match word {
            "boot" => Cause::Boot,
            "reload" => Cause::Reload,
            "crash" => Cause::Crash,
            "worker-restart" => Cause::WorkerRestart,
            other => Cause::Other(other.to_owned()),
        }
    }
}

pub(crate) fn set(info: StartInfo) {
    INFO.set(Some(info));
}

/// Something of the start information; none before the start.
pub(crate) fn with<R>(read: impl FnOnce(&StartInfo) -> R) -> Option<R> {
    INFO.with_borrow(|info| info.as_ref().map(read))
}
