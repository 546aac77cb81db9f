//! Every deadline of a worker in one wheel: heartbeats, handshakes, questions, close frames and guests' timers.
//! One task waits for all of them, so an idle socket costs no task of its own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use sc_core::ids::{SocketId, Token};
use tokio_util::time::DelayQueue;
pub(crate) use tokio_util::time::delay_queue::Key;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// No handshake came.
    Handshake(SocketId),
    /// Time for a ping.
    Ping(SocketId),
    /// Time to see whether pongs came.
    Pong(SocketId),
    /// Time for a batch of packets.
    Batch(SocketId),
    /// A client did not answer a question.
    Ask(SocketId, i64),
    /// A closed client did not answer the close frame.
    Closed(SocketId),
    /// A timer of the component in that place.
    Guest(usize, Token),
    /// Time to see whether verdicts are late.
    Verdicts,
}

impl Due {
    /// Whether it is about something that a client should have sent by now.
    pub(crate) fn is_for_silence(self) -> bool {
        matches!(self, Due::Handshake(_) | Due::Pong(_) | Due::Ask(..) | Due::Closed(_))
    }
}

/// The wheel.
#[derive(Default)]
pub(crate) struct Timers {
    queue: RefCell<DelayQueue<Due>>,
}

/// The wheel holds two years; nothing here needs more.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

impl Timers {
    pub(crate) fn insert(&self, due: Due, after: Duration) -> Key {
        self.queue.borrow_mut().insert(due, after.min(LONGEST))
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.queue.borrow_mut().try_remove(key);
    }

    /// The next thing due, and how late it is noticed; pending while there is none.
    pub(crate) async fn next(&self) -> (Due, Duration) {
        poll_fn(|cx| match self.queue.borrow_mut().poll_expired(cx) {
            Poll::Ready(Some(expired)) => {
                let late = expired.deadline().elapsed();
                Poll::Ready((expired.into_inner(), late))
            }
            // An empty wheel says None: an insertion wakes this task.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        })
        .await
    }
}
