//! What the host answers later, by token. The question goes out when it is asked, not when it is awaited, so that
//! several may be under way at once and a command that nobody awaits happens all the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::Problem;
use crate::host::Failure;

/// What came back: data, or the failure.
pub(crate) type Outcome = Result<Option<String>, Failure>;
type Read<T> = Box<dyn FnOnce(Option<String>) -> Result<T, Problem>>;

enum Slot {
    Asked(Option<Waker>),
    Arrived(Outcome),
    /// Nobody awaits it, but its failure is logged under this name.
    Unheard(String),
}

thread_local! {
    static SLOTS: RefCell<BTreeMap<u64, Slot>> = const { RefCell::new(BTreeMap::new()) };
}

/// An answer to come: await it for a `Result<T, Problem>`. The question is on its way already.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// async fn total(worker: Worker) -> Result<u64, Problem> {
///     let hits = worker.global().get::<u64>("hits");
///     let misses = worker.global().get::<u64>("misses"); // both are asked by now
///     Ok(hits.await?.unwrap_or(0) + misses.await?.unwrap_or(0))
/// }
/// ```
pub struct Answer<T>(State<T>);

enum State<T> {
    Waiting {
        token: u64,
        read: Read<T>,
        log_as: Option<String>,
    },
    Ready(Result<T, Problem>),
    /// Muted, or given out already.
    Never,
}

impl<T> Answer<T> {
    /// The answer to the token. With a name, a failure that nobody awaits is logged under it.
    pub(crate) fn to(
        token: u64,
        log_as: Option<String>,
        read: impl FnOnce(Option<String>) -> Result<T, Problem> + 'static,
    ) -> Self {
        SLOTS.with_borrow_mut(|slots| slots.insert(token, Slot::Asked(None)));
        Answer(State::Waiting { token, read: Box::new(read), log_as })
    }

    pub(crate) fn ready(outcome: Result<T, Problem>) -> Self {
        Answer(State::Ready(outcome))
    }

    pub(crate) fn never() -> Self {
        Answer(State::Never)
    }
}

// Nothing in it is ever pinned.
impl<T> Unpin for Answer<T> {}

impl<T> Future for Answer<T> {
    type Output = Result<T, Problem>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::Waiting { token, .. } = &self.0 {
            let waiting = SLOTS.with_borrow_mut(|slots| match slots.get_mut(token) {
                Some(Slot::Asked(waker)) => {
                    *waker = Some(context.waker().clone());
                    true
                }
                _ => false,
            });
            if waiting {
                return Poll::Pending;
            }
        }
        match std::mem::replace(&mut self.0, State::Never) {
            State::Waiting { token, read, .. } => match SLOTS.with_borrow_mut(|slots| slots.remove(&token)) {
                Some(Slot::Arrived(outcome)) => {
                    Poll::Ready(outcome.map_err(Problem::from_failure).and_then(read))
                }
                _ => Poll::Pending,
            },
            State::Ready(outcome) => Poll::Ready(outcome),
            State::Never => Poll::Pending,
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let State::Waiting { token, log_as, .. } = &mut self.0 else { return };
        let arrived = SLOTS.with_borrow_mut(|slots| match (slots.remove(token), log_as.take()) {
            (Some(Slot::Asked(_)), Some(name)) => {
                slots.insert(*token, Slot::Unheard(name));
                None
            }
            (Some(Slot::Arrived(outcome)), Some(name)) => Some((name, outcome)),
            _ => None,
        });
        if let Some((name, outcome)) = arrived {
            log_failure(&name, outcome);
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

fn log_failure(name: &str, outcome: Outcome) {
    if let Err(failure) = outcome {
        crate::warn!("{name} failed: {}", Problem::from_failure(failure));
    }
}

/// Whether an answer waits to be taken.
pub(crate) fn is_there(token: u64) -> bool {
    SLOTS.with_borrow(|slots| matches!(slots.get(&token), Some(Slot::Arrived(_))))
}

/// Takes an answer in. One that nobody asked for, or nobody waits for any more, is dropped.
pub(crate) fn arrive(token: u64, outcome: Outcome) {
    let slot = SLOTS.with_borrow_mut(|slots| slots.remove(&token));
    match slot {
        Some(Slot::Asked(waker)) => {
            SLOTS.with_borrow_mut(|slots| slots.insert(token, Slot::Arrived(outcome)));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        Some(Slot::Unheard(name)) => log_failure(&name, outcome),
        Some(arrived @ Slot::Arrived(_)) => {
            SLOTS.with_borrow_mut(|slots| slots.insert(token, arrived));
        }
        None => {}
    }
}
