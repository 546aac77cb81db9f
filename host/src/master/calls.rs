//! What operators ask of workers, on its way: each call goes to one worker or to all, and is answered with the sum
//! once each has answered, died, or let its time pass. A worker that is behind with its answers gets no more calls,
//! whoever still waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sc_core::ids::WorkerId;
use sc_core::limits::STORE_DEADLINE;
use sc_core::link::control::{ApiCall, ToChild};
use tokio::sync::oneshot;

use super::name::ChildName;
use super::supervisor::Supervisor;

/// A publication waits for its store, so a call may take a little longer.
const DEADLINE: Duration = STORE_DEADLINE.saturating_add(Duration::from_secs(1));
/// Calls that one worker may leave unanswered; all of them wait in its queue if it does not read.
const UNANSWERED_MAX: usize = 64;

/// What asked for a call is told.
pub(crate) type Answer = Result<u32, CallFailed>;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallFailed {
    /// No worker is ready.
    #[error("no worker is ready")]
    NoWorker,
    /// A worker that it is for has too many already; of a publication, each.
    #[error("worker {0} has not answered {UNANSWERED_MAX} calls yet: ask again later")]
    Crowded(u16),
    /// A worker says so.
    #[error("{0}")]
    Refused(String),
    /// A worker did not answer, or died.
    #[error("worker {0} did not answer: whether the call took effect there is not known")]
    Unanswered(u16),
}

struct Waiting {
    /// Who has not answered.
    workers: BTreeSet<WorkerId>,
    reached: u32,
    until: Instant,
    /// None once it has been told: what a worker left unanswered counts until it answers or dies.
    done: Option<oneshot::Sender<Answer>>,
}

impl Waiting {
    fn end(&mut self, answer: Answer) {
        if let Some(done) = self.done.take() {
            // Who asked may be gone.
            let _ = done.send(answer);
        }
    }
}

/// The calls on their way.
#[derive(Default)]
pub(crate) struct Calls {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// How many of them each worker has not answered.
    unanswered: BTreeMap<WorkerId, usize>,
    /// All calls before this one have been told how they ended.
    told: u64,
}

impl Calls {
    /// When the next one's time is over.
    pub(super) fn due(&self) -> Option<Instant> {
        // They all get the same time, so the oldest is the first.
        let mut open = self.waiting.range(self.told..).filter(|(_, waiting)| waiting.done.is_some());
        open.next().map(|(_, waiting)| waiting.until)
    }

    pub(super) fn end_overdue(&mut self, now: Instant) {
        for (call, waiting) in self.waiting.range_mut(self.told..) {
            if waiting.until > now {
                return;
            }
            let late = waiting.workers.first().map_or(0, |worker| worker.0);
            waiting.end(Err(CallFailed::Unanswered(late)));
            self.told = call + 1;
        }
    }

    pub(super) fn answered(&mut self, call: u64, worker: WorkerId, outcome: Result<u32, String>) {
        let Some(waiting) = self.waiting.get_mut(&call) else { return };
        if !waiting.workers.remove(&worker) {
            return;
        }
        match outcome {
            Ok(reached) => waiting.reached += reached,
            Err(reason) => waiting.end(Err(CallFailed::Refused(reason))),
        }
        if waiting.workers.is_empty() {
            waiting.end(Ok(waiting.reached));
            self.waiting.remove(&call);
        }
        if let Some(count) = self.unanswered.get_mut(&worker) {
            *count = count.saturating_sub(1);
        }
    }

    /// A worker died: it answers nothing any more.
    pub(super) fn lost(&mut self, worker: WorkerId) {
        self.unanswered.remove(&worker);
        self.waiting.retain(|_, waiting| {
            if waiting.workers.remove(&worker) {
                waiting.end(Err(CallFailed::Unanswered(worker.0)));
            }
            !waiting.workers.is_empty()
        });
    }

    /// Takes a call for those of the workers whom it concerns, if they have room for it; gives its number and them.
    fn take(
        &mut self,
        ready: &BTreeSet<WorkerId>,
        call: &ApiCall,
        done: oneshot::Sender<Answer>,
        now: Instant,
    ) -> Option<(u64, BTreeSet<WorkerId>)> {
        match self.choose(ready, call) {
            Ok(workers) => {
                let number = self.next;
                self.next += 1;
                for worker in &workers {
                    *self.unanswered.entry(*worker).or_default() += 1;
                }
                let waiting =
                    Waiting { workers: workers.clone(), reached: 0, until: now + DEADLINE, done: Some(done) };
                self.waiting.insert(number, waiting);
                Some((number, workers))
            }
            Err(why) => {
                // Who asked may be gone.
                let _ = done.send(Err(why));
                None
            }
        }
    }

    fn choose(&self, ready: &BTreeSet<WorkerId>, call: &ApiCall) -> Result<BTreeSet<WorkerId>, CallFailed> {
        let has_room = |worker: &&WorkerId| {
            self.unanswered.get(*worker).is_none_or(|unanswered| *unanswered < UNANSWERED_MAX)
        };
        let crowded = |worker: &WorkerId| CallFailed::Crowded(worker.0);
        let first = ready.first().ok_or(CallFailed::NoWorker)?;
        if let ApiCall::Publish { .. } = call {
            // Its store tells all workers. Turn by turn, so that no worker has it all.
            let at = usize::try_from(self.next).unwrap_or(0) % ready.len();
            let mut from_there = ready.iter().skip(at).chain(ready.iter().take(at));
            let next = from_there.find(has_room).ok_or_else(|| crowded(first))?;
            return Ok(BTreeSet::from([*next]));
        }
        match ready.iter().find(|worker| !has_room(worker)) {
            Some(worker) => Err(crowded(worker)),
            None => Ok(ready.clone()),
        }
    }
}

impl Supervisor {
    /// Passes a call on.
    pub(super) fn call(&mut self, call: &ApiCall, done: oneshot::Sender<Answer>, now: Instant) {
        let ready = self.slots.iter().filter(|(_, slot)| slot.is_ready());
        let ready = ready.filter_map(|(name, _)| name.as_worker()).collect();
        let Some((number, workers)) = self.calls.take(&ready, call, done, now) else { return };
        for worker in workers {
            self.send(ChildName::worker(worker.0), ToChild::Call(number, call.clone()), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u16) -> BTreeSet<WorkerId> {
        (0..count).map(WorkerId).collect()
    }

    fn publish() -> ApiCall {
        ApiCall::Publish { channel: "news".to_owned(), data: None }
    }

    fn disconnect() -> ApiCall {
        let who = sc_core::link::control::Whom::Socket("x".to_owned());
        ApiCall::Disconnect { who, code: 1000, reason: String::new() }
    }

    /// Takes a call whose asker does not wait: its number and workers, or why it is refused.
    fn take(calls: &mut Calls, ready: u16, call: &ApiCall) -> Result<(u64, BTreeSet<WorkerId>), CallFailed> {
        let (done, mut answered) = oneshot::channel();
        let taken = calls.take(&workers(ready), call, done, Instant::now());
        taken.ok_or_else(|| answered.try_recv().expect("a refusal").expect_err("a refusal"))
    }

    #[test]
    fn a_worker_that_is_behind_gets_no_more() {
        let mut calls = Calls::default();
        let mut numbers = Vec::new();
        for _ in 0..UNANSWERED_MAX {
            numbers.push(take(&mut calls, 1, &publish()).expect("room").0);
        }
        assert_eq!(take(&mut calls, 1, &publish()), Err(CallFailed::Crowded(0)));
        assert_eq!(take(&mut calls, 1, &disconnect()), Err(CallFailed::Crowded(0)));
        // Those who asked have been told, and the worker still has it all to do.
        calls.end_overdue(Instant::now() + DEADLINE);
        assert_eq!(calls.due(), None);
        assert_eq!(take(&mut calls, 1, &publish()), Err(CallFailed::Crowded(0)));
        calls.answered(numbers[5], WorkerId(0), Ok(0));
        calls.answered(numbers[5], WorkerId(0), Ok(0));
        take(&mut calls, 1, &disconnect()).expect("room for one");
        assert_eq!(take(&mut calls, 1, &publish()), Err(CallFailed::Crowded(0)));
        calls.lost(WorkerId(0));
        assert!(calls.waiting.is_empty());
        for _ in 0..UNANSWERED_MAX {
            take(&mut calls, 1, &publish()).expect("room in the next process");
        }
    }

    #[test]
    fn a_publication_goes_to_whom_has_room() {
        let mut calls = Calls::default();
        let mut of = [0; 3];
        for number in 0..3 * UNANSWERED_MAX {
            let (call, taken) = take(&mut calls, 3, &publish()).expect("room");
            let worker = *taken.first().expect("a worker");
            of[usize::from(worker.0)] += 1;
            // The first two answer at once, until the third has all that it may.
            if worker.0 < 2 && number < 2 * UNANSWERED_MAX {
                calls.answered(call, worker, Ok(0));
            }
        }
        assert_eq!(of[2], UNANSWERED_MAX);
        assert_eq!(take(&mut calls, 3, &disconnect()), Err(CallFailed::Crowded(2)));
    }

    #[test]
    fn answers_add_up_and_a_failure_is_told_at_once() {
        let mut calls = Calls::default();
        let now = Instant::now();
        let ask = |calls: &mut Calls| {
            let (done, answered) = oneshot::channel();
            (calls.take(&workers(2), &disconnect(), done, now).expect("room").0, answered)
        };
        let (call, mut answered) = ask(&mut calls);
        calls.answered(call, WorkerId(1), Ok(2));
        assert!(answered.try_recv().is_err(), "one is still to answer");
        calls.answered(call, WorkerId(0), Ok(3));
        assert_eq!(answered.try_recv(), Ok(Ok(5)));
        let (call, mut answered) = ask(&mut calls);
        calls.answered(call, WorkerId(1), Err("no".to_owned()));
        assert_eq!(answered.try_recv(), Ok(Err(CallFailed::Refused("no".to_owned()))));
        calls.answered(call, WorkerId(0), Ok(3));
        let (_, mut answered) = ask(&mut calls);
        assert_eq!(calls.due(), Some(now + DEADLINE));
        calls.lost(WorkerId(1));
        assert_eq!(answered.try_recv(), Ok(Err(CallFailed::Unanswered(1))));
        assert_eq!(calls.due(), None);
        assert_eq!((calls.waiting.len(), calls.unanswered[&WorkerId(0)]), (1, 1));
    }
}
