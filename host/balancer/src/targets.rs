//! The live workers and the choice among them: the worker a request names, if it lives; else by quota or, without
//! smart balancing, by a hash of the client's address.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sc_core::config::BalancerConfig;
use sc_core::ids::WorkerId;
use sc_core::link::control::HandoffSender;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::quota::Quota;

/// For how long a worker that took nothing gets nothing while others live.
const STALL: Duration = Duration::from_secs(5);

/// A live worker.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) worker: WorkerId,
    /// Locked while a connection goes over: the others wait in line, not all for the same wake-up.
    pub(crate) link: Mutex<HandoffSender>,
    stalled_until: Cell<Option<Instant>>,
}

impl Target {
    /// Notes that the worker took a connection.
    pub(crate) fn took(&self) {
        self.stalled_until.set(None);
    }

    /// Notes that the worker took nothing.
    pub(crate) fn stalls(&self) {
        self.stalled_until.set(Some(Instant::now() + STALL));
    }

    fn is_stalled(&self) -> bool {
        self.stalled_until.get().is_some_and(|until| Instant::now() < until)
    }
}

/// All live workers.
#[derive(Debug)]
pub(crate) struct Targets {
    smart: bool,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    live: BTreeMap<WorkerId, Rc<Target>>,
    quota: Quota,
}

impl Targets {
    pub(crate) fn new(config: &BalancerConfig, seed: u64) -> Self {
        let state = State { live: BTreeMap::new(), quota: Quota::new(config.balancers, seed) };
        Targets { smart: config.smart_balancing, state: state.into(), changed: Notify::new() }
    }

    /// Adds a worker or replaces its link.
    pub(crate) fn add(&self, worker: WorkerId, link: HandoffSender) {
        let mut state = self.state.borrow_mut();
        state
            .live
            .insert(worker, Rc::new(Target { worker, link: link.into(), stalled_until: Cell::default() }));
        state.changed();
        self.changed.notify_waiters();
    }

    /// Gives a worker nothing more.
    pub(crate) fn retire(&self, worker: WorkerId) {
        let mut state = self.state.borrow_mut();
        if state.live.remove(&worker).is_some() {
            state.changed();
        }
    }

    /// As [`Targets::retire`], unless the worker has a newer link.
    pub(crate) fn lose(&self, target: &Rc<Target>) {
        if self.is_current(target) {
            self.retire(target.worker);
        }
    }

    /// Whether the worker has no newer link and was not retired.
    pub(crate) fn is_current(&self, target: &Rc<Target>) -> bool {
        self.state.borrow().live.get(&target.worker).is_some_and(|current| Rc::ptr_eq(current, target))
    }

    /// Takes a report of how many sockets each worker holds.
    pub(crate) fn load(&self, loads: &[(WorkerId, u32)]) {
        let State { live, quota } = &mut *self.state.borrow_mut();
        quota.report(loads.iter().copied().filter(|(worker, _)| live.contains_key(worker)));
    }

    /// The worker for a request; none while none lives. One that stalls is chosen only when all do.
    pub(crate) fn choose(&self, affinity: Option<WorkerId>, address: IpAddr) -> Option<Rc<Target>> {
        let State { live, quota } = &mut *self.state.borrow_mut();
        let mut eligible: Vec<_> =
            live.values().filter(|target| !target.is_stalled()).map(|target| target.worker).collect();
        if eligible.is_empty() {
            eligible = live.keys().copied().collect();
        }
        let named = affinity.filter(|worker| eligible.contains(worker));
        let chosen = named.or_else(|| {
            if self.smart {
                return quota.choose(&eligible);
            }
            let hash = usize::try_from(hash(&address.to_string())).unwrap_or(0);
            eligible.get(hash % eligible.len().max(1)).copied()
        });
        chosen.and_then(|worker| live.get(&worker)).map(Rc::clone)
    }

    /// Resolves when a worker was added after this was called.
    pub(crate) fn added(&self) -> impl Future<Output = ()> {
        self.changed.notified()
    }
}

impl State {
    fn changed(&mut self) {
        let live = &self.live;
        self.quota.changed(|worker| live.contains_key(&worker));
    }
}

/// The classic hash of a client's address: `31 h + unit` over UTF-16 units in signed 32 bits, without its sign.
fn hash(text: &str) -> u32 {
    text.encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
        .unsigned_abs()
}

#[cfg(test)]
mod tests {
    use sc_core::session_id::{ClusterKey, SessionIds};

    use sc_core::link::packet_pair;

    use super::*;

    fn targets(smart_balancing: bool, workers: u16) -> Targets {
        let config = BalancerConfig {
            head_timeout: Duration::from_secs(1),
            head_max: 1024,
            pending_max: 10,
            pending_per_address: 10,
            smart_balancing,
            session_ids: SessionIds { key: ClusterKey([1; 32]), port: 8000 },
            balancers: 1,
        };
        let targets = Targets::new(&config, 1);
        for worker in 0..workers {
            add(&targets, worker);
        }
        targets
    }

    fn add(targets: &Targets, worker: u16) {
        let (end, _) = packet_pair().expect("a pair");
        targets.add(WorkerId(worker), HandoffSender::new(end).expect("a link"));
    }

    fn choose(targets: &Targets, affinity: Option<u16>, address: &str) -> Option<Rc<Target>> {
        targets.choose(affinity.map(WorkerId), address.parse().expect("an address"))
    }

    fn chosen(targets: &Targets, affinity: Option<u16>, address: &str) -> Option<u16> {
        choose(targets, affinity, address).map(|target| target.worker.0)
    }

    #[test]
    fn the_hash_is_the_classic_one() {
        for (text, expected) in [
            ("", 0),
            ("a", 97),
            ("pong", 3_446_776),
            ("chan", 3_052_370),
            ("channel.foo", 273_004_891),
            ("127.0.0.1", 1_505_998_205),
            ("10.0.0.7", 511_552_172),
            ("_w0_8000_0_sessA", 1_425_537_824),
            ("polygenelubricants", 2_147_483_648),
        ] {
            assert_eq!(hash(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn addresses_meet_their_classic_workers() {
        let targets = targets(false, 3);
        for (address, worker) in [("1.1.1.1", 0), ("3.3.3.3", 2), ("203.0.113.9", 1)] {
            assert_eq!(chosen(&targets, None, address), Some(worker), "{address}");
        }
        targets.retire(WorkerId(0));
        assert!(matches!(chosen(&targets, None, "1.1.1.1"), Some(1 | 2)));
        assert_eq!(chosen(&targets, Some(2), "203.0.113.9"), Some(2), "affinity beats the hash");
    }

    #[tokio::test]
    async fn a_named_worker_is_chosen_while_it_lives() {
        let targets = targets(true, 3);
        for _ in 0..20 {
            assert_eq!(chosen(&targets, Some(1), "1.1.1.1"), Some(1));
        }
        targets.retire(WorkerId(1));
        assert!(matches!(chosen(&targets, Some(1), "1.1.1.1"), Some(0 | 2)));
        targets.retire(WorkerId(0));
        targets.retire(WorkerId(2));
        assert_eq!(chosen(&targets, Some(1), "1.1.1.1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_stalls_gets_nothing_for_a_while() {
        for smart in [true, false] {
            let targets = targets(smart, 2);
            let one = choose(&targets, Some(1), "1.1.1.1").expect("a target");
            one.stalls();
            for _ in 0..10 {
                assert_eq!(chosen(&targets, Some(1), "1.1.1.1"), Some(0));
            }
            choose(&targets, None, "1.1.1.1").expect("a target").stalls();
            assert_eq!(chosen(&targets, Some(1), "1.1.1.1"), Some(1), "all stall, so it is as if none did");
            one.took();
            assert_eq!(chosen(&targets, Some(0), "1.1.1.1"), Some(1));
            tokio::time::advance(STALL).await;
            assert_eq!(chosen(&targets, Some(0), "1.1.1.1"), Some(0));
        }
    }

    #[tokio::test]
    async fn quota_is_even_over_reports() {
        let targets = targets(true, 3);
        let mut sockets = [0u32, 40, 7];
        for _ in 0..10 {
            let loads: Vec<_> = (0..).map(WorkerId).zip(sockets).collect();
            targets.load(&loads);
            for _ in 0..25 {
                let worker = chosen(&targets, None, "1.1.1.1").expect("a worker");
                sockets[usize::from(worker)] += 1;
            }
        }
        assert_eq!(sockets.iter().sum::<u32>(), 297);
        assert!(sockets.iter().all(|count| (98..=100).contains(count)), "{sockets:?}");
    }

    #[tokio::test]
    async fn an_old_link_takes_not_the_new_one_with_it() {
        let targets = targets(true, 1);
        let old = targets.choose(None, IpAddr::from([1, 1, 1, 1])).expect("a target");
        add(&targets, 0);
        assert!(!targets.is_current(&old));
        targets.lose(&old);
        assert_eq!(chosen(&targets, None, "1.1.1.1"), Some(0));
    }
}
