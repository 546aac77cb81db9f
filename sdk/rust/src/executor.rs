//! Tasks of this instance. One thread, no timer, no reactor: a task is polled when it starts and within the call that
//! brings what it waits for, after the handlers of that call.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::mute;

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
    /// The socket it was muted for when it started.
    muted: Option<u64>,
}

thread_local! {
    static TASKS: RefCell<BTreeMap<u64, Task>> = const { RefCell::new(BTreeMap::new()) };
    static READY: RefCell<VecDeque<u64>> = const { RefCell::new(VecDeque::new()) };
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

struct Awakener(u64);

impl Wake for Awakener {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        READY.with_borrow_mut(|ready| ready.push_back(self.0));
    }
}

/// Runs a future beside everything else. It begins when the running handler returns, still within the same call.
/// What it asks for after an `.await` happens with the call that brought the answer.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// fn greet_later(socket: Socket) {
///     spawn(async move {
///         sleep(Duration::from_secs(2)).await;
///         socket.emit("greet", "hello, late");
///     });
/// }
/// ```
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let id = NEXT.replace(NEXT.get().wrapping_add(1));
    let task =
        Task { future: Box::pin(future), waker: Arc::new(Awakener(id)).into(), muted: mute::current() };
    TASKS.with_borrow_mut(|tasks| tasks.insert(id, task));
    READY.with_borrow_mut(|ready| ready.push_back(id));
}

/// Runs a future that mostly has nothing to wait for: it begins at once, and becomes a task only when it has.
pub(crate) fn begin(future: impl Future<Output = ()> + 'static) {
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
    // As a task it is polled once more, in this call, and then knows whom to wake.
    if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        spawn(future);
    }
}

/// Polls what is ready until nothing is.
pub(crate) fn run() {
    while let Some(id) = READY.with_borrow_mut(VecDeque::pop_front) {
        // A task may be woken twice, or after its end.
        let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.remove(&id)) else { continue };
        let poll = mute::run(task.muted, || {
            let poll = task.future.as_mut().poll(&mut Context::from_waker(&task.waker));
            if poll.is_ready() {
                // What it holds is dropped muted as well.
                task.future = Box::pin(std::future::ready(()));
            }
            poll
        });
        if poll == Poll::Pending {
            TASKS.with_borrow_mut(|tasks| tasks.insert(id, task));
        }
    }
}

/// Drops the tasks that were started while the instance was muted for a socket.
pub(crate) fn end_muted_for(socket: u64) {
    let ended: Vec<Task> = TASKS.with_borrow_mut(|tasks| {
        tasks.extract_if(.., |_, task| task.muted == Some(socket)).map(|(_, task)| task).collect()
    });
    mute::run(Some(socket), || drop(ended));
}

/// How many tasks live.
#[cfg(test)]
pub(crate) fn count() -> usize {
    TASKS.with_borrow(BTreeMap::len)
}
