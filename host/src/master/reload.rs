//! A reload: processes get a component's new generation one at a time, and each worker watches it for a moment. If one
//! cannot take it, or it fails there, those that did go back to the old one, so that all of a role always run the
//! same. A process that starts meanwhile catches up when it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sc_core::controller::Generation;
use sc_core::limits::{PROBATION, READY_DEADLINE, RETIRED_DEADLINE};
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
    /// Who runs it.
    role: Role,
    /// Processes that could not be brought back.
    tried: BTreeSet<ChildName>,
    /// The order that a process is at.
    at: Option<Given>,
    /// Whether any process took it.
    taken: bool,
    /// Why it is rolled back.
    failure: Option<String>,
    done: Option<oneshot::Sender<Outcome>>,
}

/// An order that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Given {
    child: ChildName,
    /// The answer has it too: one that comes after its time must not be taken for the next order's.
    number: u64,
    until: Instant,
}

impl Reload {
    /// When its process is late.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.at.map(|given| given.until)
    }

    /// What they are to have.
    fn target(&self) -> &Generation {
        if self.failure.is_some() { &self.old } else { &self.new }
    }
}

/// How long a process may take: to start an instance and to watch it, or, in a store, to end what runs.
fn patience(role: Role) -> Duration {
    let more = if role == Role::Store { RETIRED_DEADLINE } else { Duration::ZERO };
    READY_DEADLINE + PROBATION + more
}

impl Supervisor {
    /// What processes of a role run: each component's name, and the hash of its generation.
    pub(super) fn generations_of(&self, role: Role) -> BTreeMap<String, String> {
        let its = self.generations().filter(|(of, _)| *of == role);
        its.map(|(_, generation)| (generation.name().to_owned(), generation.hash.clone())).collect()
    }

    /// The present generations of all components, and who runs each.
    pub(super) fn generations(&self) -> impl Iterator<Item = (Role, &Generation)> {
        let workers = self.middleware.iter().chain([&self.controller]).chain(&self.site);
        let workers = workers.map(|generation| (Role::Worker, generation));
        let balancers = self.balancer.iter().map(|generation| (Role::Balancer, generation));
        let stores = self.store.iter().map(|generation| (Role::Store, generation));
        workers.chain(balancers).chain(stores)
    }

    /// The present generation of a component, and who runs it.
    fn generation_mut(&mut self, name: &str) -> Option<(Role, &mut Generation)> {
        let workers = self.middleware.iter_mut().chain([&mut self.controller]).chain(&mut self.site);
        let workers = workers.map(|generation| (Role::Worker, generation));
        let balancers = self.balancer.iter_mut().map(|generation| (Role::Balancer, generation));
        let stores = self.store.iter_mut().map(|generation| (Role::Store, generation));
        workers.chain(balancers).chain(stores).find(|(_, generation)| generation.name() == name)
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
        match self.generation_mut(new.name()).map(|(role, old)| (role, old.clone())) {
            Some((role, old)) => self.begin_reload(role, old, new, Some(done)),
            None => {
                let reason = format!("there is no component {}", new.name());
                // Whoever ordered it may be gone.
                let _ = done.send(Err(reason));
                self.next_reload();
            }
        }
    }

    /// A process that got ready with a generation that has been replaced since gets the present one.
    pub(super) fn catch_up(&mut self) {
        if self.reload.is_some() {
            return self.reload_on();
        }
        let behind = self.slots.iter().filter(|(_, slot)| slot.is_ready()).find_map(|(child, slot)| {
            let present = self.generations_of(child.role);
            let mut runs = slot.generations.iter();
            runs.find(|(name, hash)| present.get(*name) != Some(hash)).map(|(name, _)| name.clone())
        });
        let present = behind.and_then(|name| self.generation_mut(&name));
        match present.map(|(role, generation)| (role, generation.clone())) {
            Some((role, present)) => self.begin_reload(role, present.clone(), present, None),
            None => self.next_reload(),
        }
    }

    fn begin_reload(
        &mut self,
        role: Role,
        old: Generation,
        new: Generation,
        done: Option<oneshot::Sender<Outcome>>,
    ) {
        let tried = BTreeSet::new();
        self.reload = Some(Reload { new, old, role, tried, at: None, taken: false, failure: None, done });
        self.reload_on();
    }

    /// Turns to the next process, or ends the reload.
    fn reload_on(&mut self) {
        let Some(reload) = &self.reload else { return };
        if reload.at.is_some() {
            return;
        }
        let target = reload.target().clone();
        let mut slots = self.slots.iter().filter(|(name, slot)| name.role == reload.role && slot.is_ready());
        let next = slots.find(|(name, slot)| {
            slot.generations.get(target.name()) != Some(&target.hash) && !reload.tried.contains(name)
        });
        let Some(child) = next.map(|(name, _)| *name) else { return self.end_reload() };
        self.reload_orders += 1;
        let number = self.reload_orders;
        let message = match (&reload.failure, reload.role) {
            // A worker remembers what it ran, and its state.
            (Some(_), Role::Worker) => ToChild::RollBack(number, target.name().to_owned()),
            _ => ToChild::Reload(number, Box::new(target)),
        };
        if let Some(reload) = &mut self.reload {
            let until = Instant::now() + patience(reload.role);
            reload.at = Some(Given { child, number, until });
        }
        self.send(child, message, Vec::new());
    }

    fn end_reload(&mut self) {
        let Some(reload) = self.reload.take() else { return };
        let name = reload.new.name().to_owned();
        let outcome = match reload.failure {
            None if !reload.taken && reload.done.is_some() && reload.new.hash != reload.old.hash => {
                Err(format!("no {} is ready to take it: see sc-host status", reload.role.word()))
            }
            None => {
                if let Some((_, present)) = self.generation_mut(&name) {
                    *present = reload.new;
                }
                if reload.role == Role::Worker {
                    self.tell(Role::Worker, &ToChild::Keep(name.clone()));
                }
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
                    "a restarted process could not get the present generation"
                );
                self.next_reload();
            }
            (None, Ok(())) => self.catch_up(),
        }
    }

    /// A process's answer to the order of that number.
    pub(super) fn reloaded(&mut self, child: ChildName, number: u64, outcome: Outcome) {
        let awaits = |reload: &Reload| reload.at.is_some_and(|at| at.child == child && at.number == number);
        let Some(reload) = self.reload.as_mut().filter(|reload| awaits(reload)) else {
            return tracing::debug!(%child, number, "an answer to an order that is over was ignored");
        };
        reload.at = None;
        let (name, target) = (reload.new.name().to_owned(), reload.target().hash.clone());
        match outcome {
            Ok(()) => {
                reload.taken |= reload.failure.is_none();
                if let Some(slot) = self.slots.get_mut(&child) {
                    slot.generations.insert(name, target);
                }
            }
            Err(failure) if reload.done.is_none() => {
                // A process that cannot be brought to what the others have begins anew with it.
                self.put_away(child, &format!("it could not get the present {name}: {failure}"));
                if let Some(slot) = self.slots.get_mut(&child) {
                    slot.generations.clear();
                }
            }
            Err(failure) if reload.failure.is_none() => {
                tracing::debug!(%child, component = name, failure, "a process refused the new generation");
                reload.failure = Some(failure);
                reload.tried.clear();
            }
            Err(failure) => {
                tracing::error!(%child, component = name, failure, "a process could not go back to the old generation");
                reload.tried.insert(child);
            }
        }
        self.reload_on();
    }

    /// A process died: if the reload was at it, that is a failure of the reload.
    pub(super) fn reload_lost(&mut self, child: ChildName) {
        let given = self.reload.as_ref().and_then(|reload| reload.at);
        if let Some(Given { number, .. }) = given.filter(|given| given.child == child) {
            self.reloaded(child, number, Err(format!("{child} died during the reload")));
        }
    }

    /// Nobody knows which generation a silent process runs: it counts as running none.
    pub(super) fn reload_overdue(&mut self, now: Instant) {
        let Some(reload) = &self.reload else { return };
        let Some(Given { child, number, until }) = reload.at else { return };
        if now < until {
            return;
        }
        let name = reload.new.name().to_owned();
        if let Some(slot) = self.slots.get_mut(&child) {
            slot.generations.insert(name, String::new());
        }
        let seconds = patience(child.role).as_secs();
        self.reloaded(child, number, Err(format!("{child} did not answer in {seconds} s")));
    }
}

#[cfg(test)]
mod tests;
