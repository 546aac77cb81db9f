//! One child's place: the process that fills it, or when the next one does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::limits::READY_DEADLINE;
use sc_core::link::control::{Load, StoreCounts};

use super::child::Child;

/// The first pause after repeated failures, the longest one, and the time without failure that forgets them.
const PAUSES: (Duration, Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30), Duration::from_secs(60));
/// A child that says nothing for so long is frozen.
pub(crate) const FROZEN: Duration = Duration::from_secs(10);

/// Where a child's place is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nobody; the next process starts then.
    Pausing(Instant),
    /// A process that has not been told what to be.
    Waiting(Child),
    /// A process that gets ready, since then; a store's opening that comes on begins anew.
    Starting(Child, Instant),
    /// A process that serves.
    Ready(Child),
    /// A process that is to end.
    Ending(Child),
    /// Nobody, and nobody will be.
    Gone,
}

/// A worker's counts, as of its last report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Open sockets.
    pub(crate) sockets: u32,
    /// Packets from clients since it started.
    pub(crate) packets: u64,
    /// Packets from clients in a second, between the last two reports.
    pub(crate) packets_per_second: f64,
    /// Instances that failed since it started.
    pub(crate) guest_failures: u32,
    at: Option<Instant>,
}

impl Counts {
    /// Takes a report.
    pub(crate) fn heard(&mut self, sockets: u32, packets: u64, guest_failures: u32, now: Instant) {
        if let Some(before) = self.at.replace(now) {
            let seconds = now.duration_since(before).as_secs_f64();
            if seconds > 0.0 {
                self.packets_per_second = packets.saturating_sub(self.packets) as f64 / seconds;
            }
        }
        (self.sockets, self.packets, self.guest_failures) = (sockets, packets, guest_failures);
    }
}

/// A child's place.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its process.
    pub(crate) phase: Phase,
    /// Pauses between failures.
    pub(crate) backoff: Backoff,
    /// When this process started.
    pub(crate) started: Instant,
    /// Whether any process was ready here.
    pub(crate) served: bool,
    /// What it said when it refused to start, or why it was killed.
    pub(crate) reason: Option<String>,
    /// What a worker reported.
    pub(crate) counts: Counts,
    /// What a store reported.
    pub(crate) holds: StoreCounts,
    /// Processes that ended here although they were not to.
    pub(crate) restarts: u32,
    /// What a worker's balancers are to know of its sockets, once it has counted them.
    pub(crate) load: Option<Load>,
    /// How many bytes of its journal a store had dealt with when it last said so, before it was ready.
    pub(crate) opened: Option<u64>,
    /// When it last said anything.
    pub(crate) heard: Instant,
    /// What a worker runs: each component's name, and the hash of its generation.
    pub(crate) generations: BTreeMap<String, String>,
}

impl Slot {
    /// An empty place to be filled at once.
    pub(crate) fn new(now: Instant) -> Self {
        let (first, most, healthy) = PAUSES;
        Slot {
            phase: Phase::Pausing(now),
            backoff: Backoff::new(first, most, healthy),
            started: now,
            served: false,
            reason: None,
            counts: Counts::default(),
            holds: StoreCounts::default(),
            restarts: 0,
            load: None,
            opened: None,
            heard: now,
            generations: BTreeMap::new(),
        }
    }

    /// The process, if there is one.
    pub(crate) fn child(&self) -> Option<&Child> {
        match &self.phase {
            Phase::Waiting(child)
            | Phase::Starting(child, _)
            | Phase::Ready(child)
            | Phase::Ending(child) => Some(child),
            Phase::Pausing(_) | Phase::Gone => None,
        }
    }

    /// Whether its process was told what to be and is not ending: links to it make sense.
    pub(crate) fn is_linked(&self) -> bool {
        matches!(self.phase, Phase::Starting(..) | Phase::Ready(_))
    }

    /// Whether it serves.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready(_))
    }

    /// Moves the process on; the place must hold one.
    pub(crate) fn advance(&mut self, next: impl FnOnce(Child) -> Phase) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Waiting(child)
            | Phase::Starting(child, _)
            | Phase::Ready(child)
            | Phase::Ending(child) => next(child),
            empty => empty,
        };
    }

    /// A store's opening comes on: it has its time anew.
    pub(crate) fn comes_on(&mut self, bytes: u64, now: Instant) {
        if let Phase::Starting(_, since) = &mut self.phase {
            *since = now;
            self.opened = Some(bytes);
        }
    }

    /// Kills a process that was not ready in time.
    pub(crate) fn kill_late(&mut self) {
        match self.opened {
            Some(bytes) => {
                let seconds = READY_DEADLINE.as_secs();
                self.kill(&format!("its journal was not read on for {seconds} s, after {bytes} bytes"));
            }
            None => self.kill("it was not ready in time"),
        }
    }

    /// Kills the process for a reason that its record will carry.
    pub(crate) fn kill(&mut self, reason: &str) {
        if let Some(child) = self.child() {
            child.kill();
            self.reason.get_or_insert_with(|| reason.to_owned());
        }
    }

    /// When time alone changes something here.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Pausing(until) => Some(until),
            Phase::Starting(_, since) if self.reason.is_none() => Some(since + READY_DEADLINE),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_that_comes_on_has_its_time_anew() {
        let began = Instant::now();
        let mut slot = Slot::new(began);
        let (child, _said) = Child::fake();
        slot.phase = Phase::Starting(child, began);
        assert_eq!(slot.due(), Some(began + READY_DEADLINE));
        let later = began + READY_DEADLINE / 2;
        slot.comes_on(7, later);
        assert_eq!(slot.due(), Some(later + READY_DEADLINE));
        slot.kill_late();
        assert!(slot.reason.as_deref().is_some_and(|reason| reason.contains("its journal")), "{slot:?}");
        assert_eq!(slot.due(), None, "killed once");
    }
}
