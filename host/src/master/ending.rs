//! The supervisor's end: it does what [`super::drain`] says.

use std::time::Instant;

use sc_core::link::control::{Phase as HostPhase, ToChild};

use super::drain::{Drain, Left, Step};
use super::name::Role;
use super::signals::End;
use super::slot::Phase;
use super::supervisor::Supervisor;
use crate::error::HostError;

impl Supervisor {
    /// Whether processes end for good.
    pub(super) fn is_ending(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| !drain.is_announced())
    }

    /// The first signal begins the drain, the second one ends everything.
    pub(super) fn begin_drain(&mut self, end: End) -> Result<(), HostError> {
        if self.drain.is_some() {
            tracing::warn!(signal = end.name(), "a second signal: the host ends at once");
            return Err(HostError::Interrupted);
        }
        self.start_drain(end.name());
        Ok(())
    }

    /// A process died that is not to be started again: the host ends like at a signal, and then says so.
    pub(super) fn end_for(&mut self, crash: HostError) {
        if self.drain.is_none() {
            self.start_drain("a crash");
        }
        self.crashed.get_or_insert(crash);
    }

    fn start_drain(&mut self, why: &str) {
        let (announce, timeout) = (self.settings.drain_announce, self.settings.drain_timeout);
        let within_ms = (announce + timeout).as_millis() as u64;
        tracing::info!(signal = why, within_ms, "draining");
        super::notify(&[sd_notify::NotifyState::Stopping]);
        self.tell(Role::Worker, &ToChild::Phase(HostPhase::Draining));
        self.drain = Some(Drain::begin(Instant::now(), announce, timeout));
    }

    /// From here on connections are refused and no process is started.
    fn stop_accepting(&mut self) {
        self.phase = HostPhase::Draining;
        self.listeners.close();
        for slot in self.slots.values_mut() {
            match slot.phase {
                Phase::Pausing(_) => slot.phase = Phase::Gone,
                // It knows nothing and holds nothing.
                Phase::Waiting(_) => slot.advance(|child| {
                    child.kill();
                    Phase::Ending(child)
                }),
                _ => {}
            }
        }
    }

    /// Does the drain's steps that are due.
    pub(super) fn drain_on(&mut self, now: Instant) {
        while let Some(drain) = &mut self.drain {
            let left = |role| {
                self.slots.iter().filter(|(name, slot)| name.role == role && slot.child().is_some()).count()
            };
            let left = Left {
                balancers: left(Role::Balancer),
                workers: left(Role::Worker),
                stores: left(Role::Store),
            };
            let Some(step) = drain.step(now, left) else { return };
            self.take(step);
            if self.done {
                return;
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Tell(role, within) => {
                if role == Role::Balancer {
                    self.stop_accepting();
                }
                self.tell(role, &ToChild::Drain(within.as_millis() as u64));
                for (_, slot) in self.slots.iter_mut().filter(|(name, _)| name.role == role) {
                    slot.advance(Phase::Ending);
                }
            }
            Step::Kill => {
                let left: Vec<_> = self
                    .slots
                    .iter()
                    .filter(|(_, slot)| slot.child().is_some())
                    .map(|(name, _)| name.to_string())
                    .collect();
                tracing::warn!(children = left.join(", "), "the drain took too long: what is left is killed");
                self.slots.values_mut().for_each(|slot| slot.kill("the drain took too long"));
            }
            Step::Done => {
                let after_ms = self.drain.map_or(0, |drain| drain.took().as_millis() as u64);
                tracing::info!(after_ms, "drained");
                self.done = true;
            }
        }
    }
}
