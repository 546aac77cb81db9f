//! A reload: workers get the new controller one at a time. If one cannot take it, those that did go back to the old
//! one, so that all workers always run the same. A worker that starts meanwhile catches up when it is ready.

use std::collections::BTreeSet;
use std::time::Instant;

use sc_core::controller::ComponentRef;
use sc_core::ids::WorkerId;
use sc_core::limits::READY_DEADLINE;
use sc_core::link::control::ToChild;
use tokio::sync::oneshot;

use super::name::ChildName;
use super::supervisor::{Order, Supervisor};

/// A reload under way.
#[derive(Debug)]
pub(crate) struct Reload {
    new: ComponentRef,
    old: ComponentRef,
    /// Workers that could not be brought to what they should have, in this direction.
    tried: BTreeSet<u16>,
    /// The worker that is at it, and until when.
    at: Option<(WorkerId, Instant)>,
    /// Why it is rolled back.
    failure: Option<String>,
    done: Option<oneshot::Sender<Result<(), String>>>,
}

impl Reload {
    /// When its worker is late.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at.map(|(_, until)| until)
    }

    /// What the workers are to have.
    fn target(&self) -> &ComponentRef {
        if self.failure.is_some() { &self.old } else { &self.new }
    }
}

impl Supervisor {
    /// Begins what was ordered.
    pub(super) fn obey(&mut self, order: Order) {
        let Order::Reload { component, done } = order;
        self.begin_reload(component, Some(done));
    }

    /// A worker that got ready with a controller that has been replaced since gets the present one.
    pub(super) fn catch_up(&mut self, name: ChildName) {
        let behind = self.slots.get(&name).is_some_and(|slot| slot.hash != self.component.hash);
        if self.reload.is_some() {
            self.reload_on();
        } else if behind {
            self.begin_reload(self.component.clone(), None);
        }
    }

    fn begin_reload(&mut self, new: ComponentRef, done: Option<oneshot::Sender<Result<(), String>>>) {
        let old = self.component.clone();
        self.reload = Some(Reload { new, old, tried: BTreeSet::new(), at: None, failure: None, done });
        self.reload_on();
    }

    /// Turns to the next worker, or ends the reload.
    fn reload_on(&mut self) {
        let Some(reload) = &self.reload else { return };
        if reload.at.is_some() {
            return;
        }
        let target = reload.target().clone();
        let next = self.slots.iter().find_map(|(name, slot)| {
            let fits = slot.is_ready() && slot.hash != target.hash && !reload.tried.contains(&name.index);
            name.as_worker().filter(|_| fits)
        });
        match next {
            Some(worker) => {
                if let Some(reload) = &mut self.reload {
                    reload.at = Some((worker, Instant::now() + READY_DEADLINE));
                }
                self.send(ChildName::worker(worker.0), ToChild::Reload(target), Vec::new());
            }
            None => self.end_reload(),
        }
    }

    fn end_reload(&mut self) {
        let Some(reload) = self.reload.take() else { return };
        let outcome = match reload.failure {
            None => {
                self.component = reload.new;
                Ok(())
            }
            Some(failure) => Err(failure),
        };
        match (reload.done, outcome) {
            // Whoever ordered it may be gone.
            (Some(done), outcome) => {
                let _ = done.send(outcome);
            }
            (None, Err(failure)) => {
                tracing::error!(failure, "a restarted worker could not get the present controller")
            }
            (None, Ok(())) => {}
        }
    }

    /// A worker's answer.
    pub(super) fn reloaded(&mut self, worker: WorkerId, outcome: Result<(), String>) {
        let Some(reload) =
            self.reload.as_mut().filter(|reload| reload.at.is_some_and(|(at, _)| at == worker))
        else {
            return;
        };
        reload.at = None;
        let target = reload.target().hash.clone();
        match outcome {
            Ok(()) => {
                if let Some(slot) = self.slots.get_mut(&ChildName::worker(worker.0)) {
                    slot.hash = target;
                }
            }
            Err(failure) if reload.failure.is_none() => {
                tracing::debug!(%worker, failure, "a worker refused the new controller");
                reload.failure = Some(failure);
                reload.tried.clear();
            }
            Err(failure) => {
                tracing::error!(%worker, failure, "a worker could not go back to the old controller");
                reload.tried.insert(worker.0);
            }
        }
        self.reload_on();
    }

    /// A worker died: if the reload was at it, that is a failure of the reload.
    pub(super) fn reload_lost(&mut self, worker: WorkerId) {
        self.reloaded(worker, Err(format!("worker {} died during the reload", worker.0)));
    }

    /// A worker that does not answer has who knows what.
    pub(super) fn reload_overdue(&mut self, now: Instant) {
        let Some((worker, until)) = self.reload.as_ref().and_then(|reload| reload.at) else { return };
        if now < until {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&ChildName::worker(worker.0)) {
            slot.hash.clear();
        }
        self.reloaded(
            worker,
            Err(format!("worker {} did not answer in {} s", worker.0, READY_DEADLINE.as_secs())),
        );
    }
}
