//! Whether effects pass. While a fresh instance runs the connection handlers again for a socket that was open before
//! it, only interests, timers, logs and reads do: no client gets a second greeting. A task started in that time stays
//! muted for life, and belongs to the socket: it is dropped when the socket closes.

use std::cell::Cell;

thread_local! {
    static FOR: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The socket that is being resumed, if effects are muted now.
pub(crate) fn current() -> Option<u64> {
    FOR.get()
}

/// Whether effects are muted now.
pub(crate) fn is_on() -> bool {
    current().is_some()
}

/// Runs `work` muted for a socket, or unmuted for none.
pub(crate) fn run<R>(socket: Option<u64>, work: impl FnOnce() -> R) -> R {
    let before = FOR.replace(socket);
    let result = work();
    FOR.set(before);
    result
}
