//! A reload: workers get a component's new generation one at a time, and each watches it for a moment. If one cannot
//! take it, or it fails there, those that did go back to the old one, so that all workers always run the same. A worker
//! that starts meanwhile catches up when it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sc_core::controller::Generation;
use sc_core::ids::WorkerId;
use sc_core::limits::{PROBATION, READY_DEADLINE};
use sc_core::link::control::{Phase, ToChild};
use tokio::sync::oneshot;

use super::name::{ChildName, Role};
use super::supervisor::Supervisor;

/// How a reload ended: why nothing changed, for the user.
pub(crate) type Outcome = Result<(), String>;

/// A reload under way.
#[derive(Debug)]
pub(crate) struct Reload {
    new: Generation,
    old: Generation,
    /// Workers that could not be brought back.
    tried: BTreeSet<u16>,
    /// The worker that is at it, and until when.
    at: Option<(WorkerId, Instant)>,
    /// Why it is rolled back.
    failure: Option<String>,
    done: Option<oneshot::Sender<Outcome>>,
}

impl Reload {
    /// When its worker is late.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at.map(|(_, until)| until)
    }

    /// What the workers are to have.
    fn target(&self) -> &Generation {
        if self.failure.is_some() { &self.old } else { &self.new }
    }
}

impl Supervisor {
    /// What workers run: each component's name, and the hash of its generation.
    pub(super) fn generations(&self) -> BTreeMap<String, String> {
        let all = self.middleware.iter().chain([&self.controller]);
        all.map(|generation| (generation.name().to_owned(), generation.hash.clone())).collect()
    }

    /// The present generation of a worker's component.
    fn generation_mut(&mut self, name: &str) -> Option<&mut Generation> {
        self.middleware.iter_mut().chain([&mut self.controller]).find(|generation| generation.name() == name)
    }

    /// Begins the next reload that was ordered, once the host serves and the one before is done.
    pub(super) fn next_reload(&mut self) {
        if self.drain.is_some() {
            // Who waits for their answers is told by their end.
            return self.reloads.clear();
        }
        if self.phase != Phase::Ready || self.reload.is_some() {
            return;
        }
        let Some((new, done)) = self.reloads.pop_front() else { return };
        match self.generation_mut(new.name()).cloned() {
            Some(old) => self.begin_reload(old, new, Some(done)),
            None => {
                let reason = format!("workers have no component {}", new.name());
                // Whoever ordered it may be gone.
                let _ = done.send(Err(reason));
                self.next_reload();
            }
        }
    }

    /// A worker that got ready with a generation that has been replaced since gets the present one.
    pub(super) fn catch_up(&mut self) {
        if self.reload.is_some() {
            return self.reload_on();
        }
        let present = self.generations();
        let behind = self.slots.values().filter(|slot| slot.is_ready()).find_map(|slot| {
            let runs = |name: &String| slot.generations.get(name);
            slot.generations.keys().find(|name| runs(name) != present.get(*name)).cloned()
        });
        match behind.and_then(|name| self.generation_mut(&name).cloned()) {
            Some(present) => self.begin_reload(present.clone(), present, None),
            None => self.next_reload(),
        }
    }

    fn begin_reload(&mut self, old: Generation, new: Generation, done: Option<oneshot::Sender<Outcome>>) {
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
            let has = slot.generations.get(target.name()) == Some(&target.hash);
            let fits = slot.is_ready() && !has && !reload.tried.contains(&name.index);
            name.as_worker().filter(|_| fits)
        });
        let Some(worker) = next else { return self.end_reload() };
        let message = match reload.failure {
            None => ToChild::Reload(Box::new(target)),
            Some(_) => ToChild::RollBack(target.name().to_owned()),
        };
        if let Some(reload) = &mut self.reload {
            reload.at = Some((worker, Instant::now() + READY_DEADLINE + PROBATION));
        }
        self.send(ChildName::worker(worker.0), message, Vec::new());
    }

    fn end_reload(&mut self) {
        let Some(reload) = self.reload.take() else { return };
        let name = reload.new.name().to_owned();
        let outcome = match reload.failure {
            None => {
                if let Some(present) = self.generation_mut(&name) {
                    *present = reload.new;
                }
                self.tell(Role::Worker, &ToChild::Keep(name.clone()));
                Ok(())
            }
            Some(failure) => Err(failure),
        };
        match (reload.done, outcome) {
            // Whoever ordered it may be gone.
            (Some(done), outcome) => {
                let _ = done.send(outcome);
                self.catch_up();
            }
            (None, Err(failure)) => {
                tracing::error!(
                    component = name,
                    failure,
                    "a restarted worker could not get the present generation"
                );
                self.next_reload();
            }
            (None, Ok(())) => self.catch_up(),
        }
    }

    /// A worker's answer.
    pub(super) fn reloaded(&mut self, worker: WorkerId, name: &str, outcome: Outcome) {
        let Some(reload) = self
            .reload
            .as_mut()
            .filter(|reload| reload.new.name() == name && reload.at.is_some_and(|(at, _)| at == worker))
        else {
            return;
        };
        reload.at = None;
        let target = reload.target().hash.clone();
        match outcome {
            Ok(()) => {
                if let Some(slot) = self.slots.get_mut(&ChildName::worker(worker.0)) {
                    slot.generations.insert(name.to_owned(), target);
                }
            }
            Err(failure) if reload.failure.is_none() => {
                tracing::debug!(%worker, component = name, failure, "a worker refused the new generation");
                reload.failure = Some(failure);
                reload.tried.clear();
            }
            Err(failure) => {
                tracing::error!(%worker, component = name, failure, "a worker could not go back to the old generation");
                reload.tried.insert(worker.0);
            }
        }
        self.reload_on();
    }

    /// A worker died: if the reload was at it, that is a failure of the reload.
    pub(super) fn reload_lost(&mut self, worker: WorkerId) {
        let Some(name) = self.reload.as_ref().map(|reload| reload.new.name().to_owned()) else { return };
        self.reloaded(worker, &name, Err(format!("worker {} died during the reload", worker.0)));
    }

    /// A worker that does not answer has who knows what.
    pub(super) fn reload_overdue(&mut self, now: Instant) {
        let Some(reload) = &self.reload else { return };
        let Some((worker, until)) = reload.at else { return };
        if now < until {
            return;
        }
        let name = reload.new.name().to_owned();
        if let Some(slot) = self.slots.get_mut(&ChildName::worker(worker.0)) {
            slot.generations.insert(name.clone(), String::new());
        }
        let seconds = READY_DEADLINE.as_secs();
        self.reloaded(worker, &name, Err(format!("worker {} did not answer in {seconds} s", worker.0)));
    }
}
