//! A child's life as the supervisor moves it: fill the place, tell the process what to be, link it, greet it when it
//! is ready, and, when it ends, write one record and plan the next one.

use std::time::{Duration, Instant};

use sc_core::config::StoreConfig;
use sc_core::controller::Cause;
use sc_core::ids::{BalancerId, StoreId};
use sc_core::limits::READY_DEADLINE;
use sc_core::link::control::{Phase as HostPhase, Start, StoreCounts, ToChild};

use super::child::{Child, Exited};
use super::data_dir::store_folder;
use super::links::{self, SETTLE};
use super::name::{ChildName, Role};
use super::slot::{Counts, Phase};
use super::supervisor::Supervisor;
use crate::error::HostError;

/// Failures in a row of one child before the host was up that make it give up.
const BOOT_FAILURES: u32 = 5;

impl Supervisor {
    /// Starts a process for an empty place.
    pub(super) fn fill(&mut self, name: ChildName, now: Instant) -> Result<(), HostError> {
        self.lives += 1;
        // A worker that gets ready is sent two links for each other worker at once.
        let backlog = 256 + 4 * self.slots.len();
        let level = &self.settings.log.level;
        let child = Child::start(name, self.lives, backlog, level, self.reports.clone(), self.logs.clone());
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        slot.started = now;
        slot.reason = None;
        slot.counts = Counts::default();
        slot.holds = StoreCounts::default();
        slot.load = None;
        slot.opened = None;
        match child {
            Ok(child) => {
                tracing::debug!(child = %name, child_pid = child.pid, "a child starts");
                slot.phase = Phase::Waiting(child);
                if name.role != Role::Balancer || self.phase == HostPhase::Ready {
                    self.brief(name, now);
                } else {
                    self.boot_on(now);
                }
                Ok(())
            }
            Err(error) => self.failed(name, &format!("it could not be started: {error}"), None, now),
        }
    }

    /// Tells a process what to be, and links it with those that live.
    fn brief(&mut self, name: ChildName, now: Instant) {
        let links = links::at_start(name, &self.living());
        let (start, descriptors) = match name.role {
            Role::Store => (self.store_start(name), Vec::new()),
            Role::Worker => (self.worker_start(name), Vec::new()),
            Role::Balancer => match self.listening() {
                Ok(sockets) => (self.balancer_start(name), sockets),
                Err(error) => {
                    self.put_away(name, &format!("the listening sockets could not be copied: {error}"));
                    return;
                }
            },
        };
        let generations = self.generations_of(name.role);
        let Some(slot) = self.slots.get_mut(&name) else { return };
        slot.generations = generations;
        slot.advance(|child| Phase::Starting(child, now));
        self.send(name, ToChild::Start(start), descriptors);
        if name.role == Role::Balancer {
            self.accredit(name);
        }
        for link in links {
            self.lay(link);
        }
    }

    fn start_cause(&self, name: ChildName) -> Cause {
        let served = self.slots.get(&name).is_some_and(|slot| slot.served);
        if served { Cause::WorkerRestart } else { Cause::Boot }
    }

    fn store_start(&self, name: ChildName) -> Start {
        let folder = self.settings.data_dir.as_deref().map(|folder| store_folder(folder, name.index));
        Start::Store {
            id: StoreId(name.index),
            config: Box::new(StoreConfig { folder, ..self.settings.store.clone() }),
            component: self.store.clone().map(Box::new),
            cause: self.start_cause(name),
        }
    }

    fn balancer_start(&self, name: ChildName) -> Start {
        Start::Balancer {
            id: BalancerId(name.index),
            config: Box::new(self.settings.balancer.clone()),
            component: self.balancer.clone().map(Box::new),
            cause: self.start_cause(name),
        }
    }

    fn worker_start(&self, name: ChildName) -> Start {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        Start::Worker {
            id: sc_core::ids::WorkerId(name.index),
            workers: count(self.settings.app.workers),
            stores: count(self.settings.app.stores),
            config: Box::new(self.settings.worker.clone()),
            controller: Box::new(self.controller.clone()),
            middleware: self.middleware.clone(),
            site: self.site.clone().map(Box::new),
            cause: self.start_cause(name),
            phase: if self.drain.is_some() { HostPhase::Draining } else { self.phase },
        }
    }

    /// A store reads its journal, and comes on.
    pub(super) fn opening(&mut self, name: ChildName, bytes: u64) {
        let Some(slot) = self.slots.get_mut(&name) else { return };
        tracing::debug!(child = %name, bytes, "a store reads its journal");
        slot.comes_on(bytes, Instant::now());
        if self.phase == HostPhase::Starting {
            // The service supervisor has a deadline of its own.
            let more = u32::try_from(READY_DEADLINE.as_micros()).unwrap_or(u32::MAX);
            super::notify(&[sd_notify::NotifyState::ExtendTimeoutUsec(more)]);
        }
    }

    /// A process serves.
    pub(super) fn ready(&mut self, name: ChildName) {
        let Some(slot) = self.slots.get_mut(&name) else { return };
        if !matches!(slot.phase, Phase::Starting(..)) {
            return;
        }
        let now = Instant::now();
        slot.advance(Phase::Ready);
        slot.served = true;
        slot.heard = now;
        let after_ms = now.duration_since(slot.started).as_millis() as u64;
        let child_pid = slot.child().map_or(0, |child| child.pid);
        if self.phase == HostPhase::Ready {
            tracing::info!(child = %name, child_pid, after_ms, "a child is back");
        } else {
            tracing::debug!(child = %name, child_pid, after_ms, "a child is ready");
        }
        if let Some(worker) = name.as_worker() {
            for link in self.links_when_ready(worker) {
                self.lay(link);
            }
        }
        self.catch_up();
        if self.phase == HostPhase::Starting {
            self.boot_on(now);
        }
    }

    /// Balancers accept once there is whom to give connections to; the host is ready once all are.
    fn boot_on(&mut self, now: Instant) {
        let all_ready =
            |role: Role| self.slots.iter().all(|(name, slot)| name.role != role || slot.is_ready());
        if !all_ready(Role::Worker) || !all_ready(Role::Store) {
            return;
        }
        if all_ready(Role::Balancer) {
            self.become_ready(now);
            return;
        }
        let waiting: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| matches!(slot.phase, Phase::Waiting(_)))
            .map(|(name, _)| *name)
            .collect();
        for name in waiting {
            self.brief(name, now);
        }
    }

    fn become_ready(&mut self, now: Instant) {
        self.phase = HostPhase::Ready;
        self.tell(Role::Worker, &ToChild::Phase(HostPhase::Ready));
        let (url, app) = (self.listeners.url(), &self.settings.app);
        tracing::info!(
            event = "ready",
            url,
            address = %self.listeners.address,
            app = app.name,
            workers = app.workers,
            balancers = app.balancers,
            stores = app.stores,
            component = self.controller.name(),
            hash = self.controller.component.hash,
            start_ms = now.duration_since(self.began).as_millis() as u64,
            "sc-host ready at {url}"
        );
        super::notify(&[
            sd_notify::NotifyState::Ready,
            sd_notify::NotifyState::Status(&format!("serving at {url}")),
        ]);
        self.next_reload();
    }

    /// A process ended.
    pub(super) fn ended(&mut self, name: ChildName, exited: &Exited, now: Instant) -> Result<(), HostError> {
        let ending = self.is_ending();
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        if ending || matches!(slot.phase, Phase::Ending(_)) {
            let clean = exited.status.as_ref().is_ok_and(std::process::ExitStatus::success);
            let child_pid = slot.child().map_or(0, |child| child.pid);
            slot.phase = Phase::Gone;
            if clean {
                tracing::debug!(child = %name, "a child has ended");
            } else {
                let reason = slot.reason.take().unwrap_or_else(|| exited.reason());
                tracing::warn!(
                    child = %name,
                    child_pid,
                    reason,
                    status = exited.status_text(),
                    signal = exited.signal(),
                    exit_code = exited.exit_code(),
                    last_lines = exited.last_words.text(),
                    "a child failed while it drained"
                );
            }
            self.reload_lost(name);
            self.credentials_lost(name);
            if let Some(worker) = name.as_worker() {
                self.calls.lost(worker);
                // Before they end themselves, stores run what it left for its end.
                self.tell(Role::Store, &ToChild::Retire(worker));
            }
            return Ok(());
        }
        if let Some(worker) = name.as_worker() {
            self.retire(worker);
        }
        self.relinks.forget(name);
        let reason = match self.slots.get_mut(&name).and_then(|slot| slot.reason.take()) {
            Some(reason) => reason,
            None => exited.reason(),
        };
        self.failed(name, &reason, Some(exited), now)?;
        if let Some(worker) = name.as_worker() {
            self.calls.lost(worker);
        }
        self.reload_lost(name);
        self.credentials_lost(name);
        Ok(())
    }

    /// Notes a failure: one record, and a pause before the next process, or the end of the start.
    fn failed(
        &mut self,
        name: ChildName,
        reason: &str,
        exited: Option<&Exited>,
        now: Instant,
    ) -> Result<(), HostError> {
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        let child_pid = slot.child().map_or(0, |child| child.pid);
        // Reports of links that died with a store must not be taken for broken links to the next one.
        let least = if name.role == Role::Store { SETTLE } else { Duration::ZERO };
        let pause = slot.backoff.fail(now).max(least);
        slot.phase = Phase::Pausing(now + pause);
        slot.restarts += 1;
        let failures = slot.backoff.failures();
        let reboots = self.settings.app.reboot_on_crash;
        let status = exited.map(Exited::status_text).unwrap_or_default();
        tracing::error!(
            child = %name,
            child_pid,
            reason,
            status,
            signal = exited.and_then(Exited::signal),
            exit_code = exited.and_then(Exited::exit_code),
            lived_ms = now.duration_since(slot.started).as_millis() as u64,
            failures,
            restarts = slot.restarts,
            restart_in_ms = reboots.then_some(pause.as_millis() as u64),
            last_lines = exited.map(|exited| exited.last_words.text()).unwrap_or_default(),
            "a child died"
        );
        let reason = if status.is_empty() { reason.to_owned() } else { format!("{reason} ({status})") };
        let may_fail = if reboots { BOOT_FAILURES } else { 1 };
        if self.phase == HostPhase::Starting && !slot.served && failures >= may_fail {
            return Err(HostError::Boot { child: name.to_string(), failures, reason });
        }
        if !reboots {
            slot.phase = Phase::Gone;
            self.end_for(HostError::Crashed { child: name.to_string(), reason });
        }
        Ok(())
    }
}
