//! The live workers and the choice among them: by the key that a controller gave the request; else the worker that its
//! session names, if it lives; else by quota or, without smart balancing, by a hash of the client's address.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sc_core::config::BalancerConfig;
use sc_core::ids::WorkerId;
use sc_core::link::control::{HandoffSender, Load};
use sc_core::moment::Moment;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::proxy::links::Links;
use crate::quota::Quota;

/// For how long a worker that took nothing gets nothing while others live.
const STALL: Duration = Duration::from_secs(5);
/// Sockets given to one worker between two reports of which the times are known.
const GIVEN_MAX: usize = 100_000;

/// What a request says of where it belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wish {
    /// A controller's: it comes before all else.
    pub(crate) key: Option<String>,
    /// The worker of its session, which need not live.
    pub(crate) worker: Option<WorkerId>,
    /// What will be given.
    pub(crate) deal: Deal,
}

/// What is given to a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Deal {
    /// A connection, which mostly will be a socket.
    #[default]
    Connection,
    /// A connection that asks for a socket.
    Socket,
    /// One request.
    Request,
}

/// A live worker.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) worker: WorkerId,
    /// Locked while a connection goes over: the others wait in line, not all for the same wake-up.
    pub(crate) link: Mutex<HandoffSender>,
    /// For requests that are proxied to it.
    pub(crate) links: Links,
    stalled_until: Cell<Option<Instant>>,
    /// When it was given sockets that its last report may not count.
    given: RefCell<VecDeque<Moment>>,
}

impl Target {
    fn new(worker: WorkerId, link: HandoffSender, links: usize) -> Self {
        Target {
            worker,
            link: link.into(),
            links: Links::new(links),
            stalled_until: Cell::default(),
            given: RefCell::default(),
        }
    }

    /// Notes that the worker took what it was given.
    pub(crate) fn took(&self, deal: Deal) {
        self.stalled_until.set(None);
        let mut given = self.given.borrow_mut();
        if deal == Deal::Socket && given.len() < GIVEN_MAX {
            given.push_back(Moment::now());
        }
    }

    /// How many sockets it was given since; those before are forgotten.
    fn given_since(&self, at: Moment) -> u32 {
        let mut given = self.given.borrow_mut();
        while given.front().is_some_and(|given| *given < at) {
            given.pop_front();
        }
        u32::try_from(given.len()).unwrap_or(u32::MAX)
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
    /// Links for requests to each that may be in use: as many as requests may be under way.
    links: usize,
    state: RefCell<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    live: BTreeMap<WorkerId, Rc<Target>>,
    quota: Quota,
    /// For single requests, which hold nothing and so owe nothing.
    requests: Quota,
}

impl Targets {
    pub(crate) fn new(config: &BalancerConfig, seed: u64) -> Self {
        let quota = || Quota::new(config.balancers, seed);
        let state = State { live: BTreeMap::new(), quota: quota(), requests: quota() };
        Targets {
            smart: config.smart_balancing,
            links: config.pending_max,
            state: state.into(),
            changed: Notify::new(),
        }
    }

    /// Adds a worker or replaces its link.
    pub(crate) fn add(&self, worker: WorkerId, link: HandoffSender) {
        let mut state = self.state.borrow_mut();
        state.live.insert(worker, Rc::new(Target::new(worker, link, self.links)));
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

    /// Takes a report of how many sockets each worker holds. What was given to it since counts as well, or it would be
    /// owed twice.
    pub(crate) fn load(&self, loads: &[Load]) {
        let State { live, quota, .. } = &mut *self.state.borrow_mut();
        let counted = loads.iter().filter_map(|load| {
            let given = live.get(&load.worker)?.given_since(load.at);
            Some((load.worker, load.sockets.saturating_add(given)))
        });
        let counted: Vec<_> = counted.collect();
        quota.report(counted.into_iter());
    }

    /// The worker for a request; none while none lives. One that stalls is chosen only when all do.
    pub(crate) fn choose(&self, wish: &Wish, address: IpAddr) -> Option<Rc<Target>> {
        let State { live, quota, requests } = &mut *self.state.borrow_mut();
        let mut eligible: Vec<_> =
            live.values().filter(|target| !target.is_stalled()).map(|target| target.worker).collect();
        if eligible.is_empty() {
            eligible = live.keys().copied().collect();
        }
        // A key's worker lets it go only when it dies, not when it stalls.
        let keyed = wish.key.as_deref().and_then(|key| by_key(key, live.keys().copied()));
        let named = keyed.or(wish.worker.filter(|worker| eligible.contains(worker)));
        let chosen = named.or_else(|| {
            if self.smart {
                let quota = if wish.deal == Deal::Request { requests } else { quota };
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
        self.requests.changed(|worker| live.contains_key(&worker));
    }
}

/// The worker of a key: of all, the one that scores highest with it (rendezvous hashing), so that a death moves the
/// keys of the dead alone, and all balancers agree.
fn by_key(key: &str, workers: impl Iterator<Item = WorkerId>) -> Option<WorkerId> {
    workers.max_by_key(|worker| (xxh3_64_with_seed(key.as_bytes(), u64::from(worker.0)), *worker))
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
            session_ids: SessionIds { key: ClusterKey([1; 32]), host: String::new(), port: 8000 },
            balancers: 1,
            app: "app".to_owned(),
            socket_path: "/socketcluster/".to_owned(),
            trusted_proxies: Vec::new(),
            answer_timeout: Duration::from_secs(5),
            tls: None,
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
        let wish = Wish { worker: affinity.map(WorkerId), ..Wish::default() };
        targets.choose(&wish, address.parse().expect("an address"))
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
            one.took(Deal::Connection);
            assert_eq!(chosen(&targets, Some(0), "1.1.1.1"), Some(1));
            tokio::time::advance(STALL).await;
            assert_eq!(chosen(&targets, Some(0), "1.1.1.1"), Some(0));
        }
    }

    fn report(sockets: &[u32], at: Moment) -> Vec<Load> {
        let all = (0..).map(WorkerId).zip(sockets);
        all.map(|(worker, sockets)| Load { worker, sockets: *sockets, at }).collect()
    }

    /// A report is about a second old when it comes; meanwhile connections came, and some of its debts were paid.
    #[tokio::test]
    async fn a_late_report_owes_nothing_twice() {
        let targets = targets(true, 3);
        let mut sockets = [0u32; 3];
        let connect = |sockets: &mut [u32; 3]| {
            let wish = Wish { deal: Deal::Socket, ..Wish::default() };
            let target = targets.choose(&wish, IpAddr::from([1, 1, 1, 1])).expect("a target");
            target.took(Deal::Socket);
            sockets[usize::from(target.worker.0)] += 1;
        };
        for second in 0..6 {
            let counted = report(&sockets, Moment::now());
            if second == 3 {
                sockets[1] -= 5;
            }
            for _ in 0..14 {
                connect(&mut sockets);
            }
            targets.load(&counted);
            for _ in 0..3 {
                connect(&mut sockets);
            }
        }
        let (most, least) = (sockets.iter().max(), sockets.iter().min());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{sockets:?}");
    }

    #[tokio::test]
    async fn a_key_has_one_worker_and_a_death_moves_no_other() {
        let targets = targets(true, 4);
        let of = |key: &str| {
            let wish = Wish { key: Some(key.to_owned()), worker: Some(WorkerId(0)), deal: Deal::Request };
            targets.choose(&wish, IpAddr::from([1, 1, 1, 1])).expect("a target").worker.0
        };
        let keys: Vec<_> = (0..200).map(|key| format!("room-{key}")).collect();
        let before: Vec<_> = keys.iter().map(|key| of(key)).collect();
        for worker in 0..4 {
            let own = before.iter().filter(|of| **of == worker).count();
            assert!((25..=75).contains(&own), "worker {worker} has {own} of 200 keys");
        }
        targets.retire(WorkerId(2));
        for (key, before) in keys.iter().zip(before) {
            assert!(if before == 2 { of(key) != 2 } else { of(key) == before }, "{key}");
        }
    }

    #[tokio::test]
    async fn quota_is_even_over_reports() {
        let targets = targets(true, 3);
        let mut sockets = [0u32, 40, 7];
        for _ in 0..10 {
            let loads = report(&sockets, Moment::now());
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
        let old = choose(&targets, None, "1.1.1.1").expect("a target");
        add(&targets, 0);
        assert!(!targets.is_current(&old));
        targets.lose(&old);
        assert_eq!(chosen(&targets, None, "1.1.1.1"), Some(0));
    }
}
