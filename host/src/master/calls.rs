//! What operators ask of workers, on its way: each call goes to one worker or to all, and is answered with the sum once
//! each has answered, died, or let its time pass.

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
/// Calls that may be on their way at once.
const WAITING_MAX: usize = 10_000;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailed {
    /// No worker is ready.
    #[error("no worker is ready")]
    NoWorker,
    /// There are too many at once.
    #[error("{WAITING_MAX} calls are on their way already")]
    Crowded,
    /// A worker says so.
    #[error("{0}")]
    Refused(String),
    /// A worker did not answer, or died.
    #[error("worker {0} did not answer: whether the call took effect there is not known")]
    Unanswered(u16),
}

struct Waiting {
    workers: BTreeSet<WorkerId>,
    reached: u32,
    until: Instant,
    done: oneshot::Sender<Result<u32, CallFailed>>,
}

/// The calls on their way.
#[derive(Default)]
pub(crate) struct Calls {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

impl Calls {
    /// When the next one's time is over.
    pub(super) fn due(&self) -> Option<Instant> {
        // They all get the same time, so the oldest is the first.
        self.waiting.values().next().map(|waiting| waiting.until)
    }

    pub(super) fn end_overdue(&mut self, now: Instant) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().until <= now) {
            let Waiting { workers, done, .. } = first.remove();
            let late = workers.first().map_or(0, |worker| worker.0);
            let _ = done.send(Err(CallFailed::Unanswered(late)));
        }
    }

    pub(super) fn answered(&mut self, call: u64, worker: WorkerId, outcome: Result<u32, String>) {
        let Some(waiting) = self.waiting.get_mut(&call) else { return };
        if !waiting.workers.remove(&worker) {
            return;
        }
        match outcome {
            Ok(reached) => waiting.reached += reached,
            Err(reason) => return self.end(call, Some(CallFailed::Refused(reason))),
        }
        if waiting.workers.is_empty() {
            self.end(call, None);
        }
    }

    /// A worker died: it answers nothing any more.
    pub(super) fn lost(&mut self, worker: WorkerId) {
        let lost = self.waiting.iter().filter(|(_, waiting)| waiting.workers.contains(&worker));
        let lost: Vec<_> = lost.map(|(call, _)| *call).collect();
        for call in lost {
            self.end(call, Some(CallFailed::Unanswered(worker.0)));
        }
    }

    fn end(&mut self, call: u64, failed: Option<CallFailed>) {
        if let Some(Waiting { reached, done, .. }) = self.waiting.remove(&call) {
            // Who asked may be gone.
            let _ = done.send(failed.map_or(Ok(reached), Err));
        }
    }
}

impl Supervisor {
    /// Passes a call on.
    pub(super) fn call(
        &mut self,
        call: &ApiCall,
        done: oneshot::Sender<Result<u32, CallFailed>>,
        now: Instant,
    ) {
        let ready = self.slots.iter().filter(|(_, slot)| slot.is_ready());
        let mut workers: BTreeSet<WorkerId> = ready.filter_map(|(name, _)| name.as_worker()).collect();
        if workers.is_empty() || self.calls.waiting.len() >= WAITING_MAX {
            let why = if workers.is_empty() { CallFailed::NoWorker } else { CallFailed::Crowded };
            let _ = done.send(Err(why));
            return;
        }
        let number = self.calls.next;
        self.calls.next += 1;
        if let ApiCall::Publish { .. } = call {
            // Its store tells all workers. Turn by turn, so that no worker has it all.
            let at = usize::try_from(number).unwrap_or(0) % workers.len();
            workers = workers.into_iter().skip(at).take(1).collect();
        }
        for worker in &workers {
            self.send(ChildName::worker(worker.0), ToChild::Call(number, call.clone()), Vec::new());
        }
        self.calls.waiting.insert(number, Waiting { workers, reached: 0, until: now + DEADLINE, done });
    }
}
