//! The two ends of a call that somebody waits for.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::CallError;

type Outcome = Result<Option<Bytes>, CallError>;

/// The end that waits. Resolves to `Lost` when nobody is left to answer.
#[derive(Debug)]
pub(super) struct Answer(oneshot::Receiver<Outcome>);

impl Future for Answer {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0).poll(context).map(|received| received.unwrap_or(Err(CallError::Lost)))
    }
}

/// The end that answers, once.
#[derive(Debug)]
pub(super) struct Waiter {
    answer: oneshot::Sender<Outcome>,
    pub(super) deadline: Instant,
}

impl Waiter {
    pub(super) fn new(deadline: Instant) -> (Self, Answer) {
        let (answer, waiting) = oneshot::channel();
        (Waiter { answer, deadline }, Answer(waiting))
    }

    /// A waiter that is gone does not mind.
    pub(super) fn answer(self, outcome: Outcome) {
        let _ = self.answer.send(outcome);
    }
}
