//! A supervisor whose children are queues: which answers count, and what becomes of a reload.

use std::time::Duration;

use sc_core::config::GuestConfig;
use sc_core::controller::ComponentRef;
use tokio::sync::mpsc;

use super::super::child::Child;
use super::super::data_dir::DataDir;
use super::super::listen::Listeners;
use super::super::slot;
use super::*;
use crate::component::Prepared;
use crate::config::{Environment, Mode, Settings};
use crate::telemetry::Logs;

struct NoVariables;

impl Environment for NoVariables {
    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn generation(hash: &str) -> Generation {
    let component = ComponentRef { name: "app".into(), compiled: "/".into(), hash: hash.into() };
    let (memory_max, cpu_per_call) = (1 << 20, Duration::from_secs(1));
    let guest = GuestConfig { memory_max, cpu_per_call, env: Vec::new(), dirs: Vec::new() };
    Generation { component, config: "{}".into(), guest, fails_open: false, hash: hash.into() }
}

/// One worker that is ready and runs the generation `old`.
struct Rig {
    supervisor: Supervisor,
    said: mpsc::Receiver<(ToChild, Vec<std::os::fd::OwnedFd>)>,
}

const WORKER: ChildName = ChildName { role: Role::Worker, index: 0 };

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "[app]\nname = \"app\"\nhost = \"127.0.0.1\"\nport = 0\nworkers = 1\ndata_dir = \"none\"\n[worker]\ncomponent = \"a.wasm\"\n";
        std::fs::write(folder.path().join("sc.toml"), text).expect("a file");
        let settings = Settings::load(Some(folder.path()), Vec::new(), &NoVariables, Mode::Serve);
        let mut settings = settings.unwrap_or_else(|error| panic!("{}", error.flat()));
        let data_dir = DataDir::open(&mut settings, 1).unwrap_or_else(|error| panic!("{}", error.flat()));
        let listeners =
            Listeners::bind(&settings.app, None).unwrap_or_else(|error| panic!("{}", error.flat()));
        let prepared = Prepared {
            controller: generation("old"),
            store: None,
            middleware: Vec::new(),
            balancer: None,
            site: None,
        };
        let now = Instant::now();
        let mut supervisor =
            Supervisor::new(settings, data_dir, prepared, listeners, None, Logs::nowhere(), now);
        let (child, said) = Child::fake();
        let generations = supervisor.generations_of(Role::Worker);
        let slot = supervisor.slots.get_mut(&WORKER).expect("a slot");
        slot.phase = slot::Phase::Ready(child);
        slot.generations = generations;
        supervisor.phase = Phase::Ready;
        Rig { supervisor, said }
    }

    fn reload(&mut self, hash: &str) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.supervisor.reloads.push_back((generation(hash), done));
        self.supervisor.next_reload();
        outcome
    }

    /// What the worker was told: an order's number, and `back` or the hash of what it is to take; none for other
    /// things.
    fn order(&mut self) -> Option<(u64, String)> {
        match self.said.try_recv().expect("a message").0 {
            ToChild::Reload(number, generation) => Some((number, generation.hash)),
            ToChild::RollBack(number, _) => Some((number, "back".to_owned())),
            _ => None,
        }
    }

    fn runs(&self) -> &str {
        &self.supervisor.slots[&WORKER].generations["app"]
    }
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_orders() {
    let mut rig = Rig::new();
    let mut outcome = rig.reload("new");
    let (first, hash) = rig.order().expect("an order");
    assert_eq!(hash, "new");
    rig.supervisor.reload_overdue(Instant::now() + READY_DEADLINE + PROBATION);
    let (second, hash) = rig.order().expect("an order");
    assert_eq!((hash.as_str(), second != first), ("back", true));
    // The worker takes the new one after all, and says so, before it hears that it is to go back.
    rig.supervisor.reloaded(WORKER, first, Ok(()));
    assert!(
        rig.supervisor.reload.is_some() && outcome.try_recv().is_err(),
        "the roll-back is still to be answered"
    );
    assert_eq!(rig.runs(), "");
    rig.supervisor.reloaded(WORKER, second, Ok(()));
    let told = outcome.try_recv().expect("it is over").expect_err("it failed");
    assert!(told.contains("did not answer in 31 s"), "{told}");
    assert_eq!(rig.runs(), "old");

    // The same between two reloads.
    let mut outcome = rig.reload("newer");
    let (third, _) = rig.order().expect("an order");
    for number in [first, second] {
        rig.supervisor.reloaded(WORKER, number, Ok(()));
    }
    assert_eq!(rig.runs(), "old");
    assert!(outcome.try_recv().is_err());
    rig.supervisor.reloaded(WORKER, third, Ok(()));
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
    assert_eq!(rig.runs(), "newer");
    assert_eq!(rig.order(), None, "it may keep that");
}

#[test]
fn only_the_death_of_who_is_at_it_ends_an_order() {
    let mut rig = Rig::new();
    let mut outcome = rig.reload("new");
    rig.supervisor.reload_lost(ChildName::store(0));
    assert!(rig.supervisor.reload.is_some());
    rig.supervisor.slots.get_mut(&WORKER).expect("a slot").phase = slot::Phase::Gone;
    rig.supervisor.reload_lost(WORKER);
    let told = outcome.try_recv().expect("it is over").expect_err("it failed");
    assert!(told.contains("died during the reload"), "{told}");
}
