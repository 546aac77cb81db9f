//! What runs, for people and for programs.

use std::collections::BTreeMap;
use std::time::Instant;

use sc_core::link::control::{Phase as HostPhase, StoreCounts};
use serde::{Deserialize, Serialize};

use super::name::Role;
use super::slot::Phase;
use super::supervisor::Supervisor;

/// What runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The app's name.
    pub(crate) app: String,
    /// This program's version.
    pub(crate) version: String,
    /// The master's process.
    pub(crate) pid: u32,
    /// Where it serves.
    pub(crate) url: String,
    /// `starting`, `ready` or `draining`.
    pub(crate) phase: HostPhase,
    /// Since the program started.
    pub(crate) uptime_s: u64,
    /// Open sockets of all workers.
    pub(crate) sockets: u64,
    /// Whether a reload is under way.
    pub(crate) reloading: bool,
    /// User code.
    pub(crate) components: Vec<ComponentStatus>,
    /// The processes by role and number.
    pub(crate) processes: Vec<ProcessStatus>,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComponentStatus {
    /// Its name, by which `sc-host reload` knows it.
    pub(crate) name: String,
    /// `worker`, `middleware`, `balancer`, `store` or `http`.
    pub(crate) kind: String,
    /// SHA-256 of its bytes, in hex.
    pub(crate) component: String,
    /// SHA-256 of its bytes and what it runs with, in hex.
    pub(crate) generation: String,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessStatus {
    /// `balancer`, `worker` or `store`.
    pub(crate) role: String,
    /// Its number.
    pub(crate) id: u16,
    /// The process; none between two.
    pub(crate) pid: Option<u32>,
    /// `pausing`, `starting`, `ready`, `ending` or `gone`.
    pub(crate) phase: String,
    /// Since the process started.
    pub(crate) uptime_s: u64,
    /// Processes before it that ended although they were not to.
    pub(crate) restarts: u32,
    /// The generation of each of its components, by name.
    pub(crate) generations: BTreeMap<String, String>,
    /// What only workers have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<WorkerStatus>,
    /// What only stores have, as of its last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreCounts>,
}

/// What only a worker has, as of its last report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// Open sockets.
    pub(crate) sockets: u32,
    /// Packets from clients since it started.
    pub(crate) packets: u64,
    /// The same in a second.
    pub(crate) packets_per_second: f64,
    /// Instances of its components that failed since it started.
    pub(crate) guest_failures: u32,
}

impl Supervisor {
    pub(super) fn status(&self, now: Instant) -> Status {
        let component = |kind: &str, generation: &sc_core::controller::Generation| ComponentStatus {
            name: generation.name().to_owned(),
            kind: kind.to_owned(),
            component: generation.component.hash.clone(),
            generation: generation.hash.clone(),
        };
        let components = std::iter::once(component("worker", &self.controller))
            .chain(self.middleware.iter().map(|generation| component("middleware", generation)))
            .chain(self.balancer.iter().map(|generation| component("balancer", generation)))
            .chain(self.store.iter().map(|generation| component("store", generation)))
            .chain(self.site.iter().map(|generation| component("http", generation)));
        let processes = self.slots.iter().map(|(name, slot)| ProcessStatus {
            role: name.role.word().to_owned(),
            id: name.index,
            pid: slot.child().map(|child| child.pid),
            phase: phase(&slot.phase).to_owned(),
            uptime_s: slot.child().map_or(0, |_| now.duration_since(slot.started).as_secs()),
            restarts: slot.restarts,
            generations: slot.generations.clone(),
            worker: name.as_worker().map(|_| WorkerStatus {
                sockets: slot.counts.sockets,
                packets: slot.counts.packets,
                packets_per_second: slot.counts.packets_per_second,
                guest_failures: slot.counts.guest_failures,
            }),
            store: (name.role == Role::Store).then_some(slot.holds),
        });
        Status {
            app: self.settings.app.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            url: self.listeners.url(),
            phase: if self.drain.is_some() { HostPhase::Draining } else { self.phase },
            uptime_s: now.duration_since(self.began).as_secs(),
            sockets: self.slots.values().map(|slot| u64::from(slot.counts.sockets)).sum(),
            reloading: self.reload.is_some(),
            components: components.collect(),
            processes: processes.collect(),
        }
    }
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Pausing(_) => "pausing",
        Phase::Waiting(_) | Phase::Starting(..) => "starting",
        Phase::Ready(_) => "ready",
        Phase::Ending(_) => "ending",
        Phase::Gone => "gone",
    }
}
