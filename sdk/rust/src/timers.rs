//! Timers. They belong to this instance and end with it, so a controller sets them up anew in each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::{Worker, host};

enum Due {
    Every(Rc<dyn Fn(Worker)>),
    Once(Box<dyn FnOnce(Worker)>),
    Sleep(Option<Waker>),
}

thread_local! {
    static TIMERS: RefCell<BTreeMap<u64, Due>> = const { RefCell::new(BTreeMap::new()) };
}

fn set(token: u64, due: Due) -> u64 {
    TIMERS.with_borrow_mut(|timers| timers.insert(token, due));
    token
}

fn unset(token: u64) -> Option<Due> {
    TIMERS.with_borrow_mut(|timers| timers.remove(&token))
}

/// A timer under way; it goes on when this is dropped.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(worker: &Worker) {
/// let timer: Timer = worker.set_timeout(Duration::from_secs(5), |_| info!("five seconds later"));
/// timer.cancel();
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Timer(u64);

impl Timer {
    pub(crate) fn every(time: Duration, handler: impl Fn(Worker) + 'static) -> Self {
        Timer(set(host::every(time), Due::Every(Rc::new(handler))))
    }

    pub(crate) fn once(time: Duration, handler: impl FnOnce(Worker) + 'static) -> Self {
        Timer(set(host::after(time), Due::Once(Box::new(handler))))
    }

    /// Ends it; does nothing once it has ended.
    ///
    /// ```no_run
    /// # fn example(timer: &sc_sdk::Timer) {
    /// timer.cancel();
    /// # }
    /// ```
    pub fn cancel(&self) {
        if unset(self.0).is_some() {
            host::cancel(self.0);
        }
    }
}

/// What [`sleep`] returns: a future that is ready when the time is over.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # async fn example() {
/// let pause: sc_sdk::Sleep = sleep(Duration::from_millis(20));
/// pause.await;
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it only waits when it is awaited"]
pub struct Sleep(u64);

/// Waits that long, at least a millisecond, at most 49 days; the time counts from the call.
///
/// ```no_run
/// # use sc_sdk::prelude::*;
/// # fn example(socket: Socket) {
/// spawn(async move {
///     sleep(Duration::from_secs(1)).await;
///     socket.emit("second", 1);
/// });
/// # }
/// ```
pub fn sleep(time: Duration) -> Sleep {
    Sleep(set(host::after(time), Due::Sleep(None)))
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        TIMERS.with_borrow_mut(|timers| match timers.get_mut(&self.0) {
            Some(Due::Sleep(waker)) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if unset(self.0).is_some() {
            host::cancel(self.0);
        }
    }
}

/// A timer's turn. One that was cancelled meanwhile is nobody's.
pub(crate) fn turn(token: u64) {
    let every = TIMERS.with_borrow(|timers| match timers.get(&token) {
        Some(Due::Every(handler)) => Some(Rc::clone(handler)),
        _ => None,
    });
    if let Some(handler) = every {
        return handler(Worker::handle());
    }
    match unset(token) {
        Some(Due::Once(handler)) => handler(Worker::handle()),
        Some(Due::Sleep(Some(waker))) => waker.wake(),
        _ => {}
    }
}
