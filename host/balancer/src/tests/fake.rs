//! A controller in plain Rust that does what the request's target says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, CallError, Cause, ComponentRef, Fault, Generation,
    Ruling, Snapshot, SnapshotError, StartError, StartInfo,
};
use tokio::sync::Semaphore;

use super::*;

/// Makes instances, and tells the test of them.
#[derive(Clone)]
pub(super) struct Fakes {
    /// Why each instance started.
    pub(super) started: Rc<RefCell<Vec<Cause>>>,
    /// The versions of the snapshots that were restored.
    pub(super) restored: Rc<RefCell<Vec<u32>>>,
    /// How many starts of generations that are `slow` may go on.
    pub(super) slow: Rc<Semaphore>,
    /// What arrived.
    pub(super) seen: Rc<RefCell<Vec<Arrival>>>,
    /// Whether starts fail.
    pub(super) is_broken: Rc<Cell<bool>>,
}

impl Default for Fakes {
    fn default() -> Self {
        let slow = Rc::new(Semaphore::new(0));
        let (started, restored, seen) = Default::default();
        Fakes { started, restored, slow, seen, is_broken: Rc::default() }
    }
}

impl Fakes {
    pub(super) fn controlled(&self, fails_open: bool) -> Option<Controlled<Fakes>> {
        let generation = Generation { fails_open, ..generation("first") };
        Some(Controlled { source: self.clone(), generation, cause: Cause::Boot })
    }
}

pub(crate) fn generation(name: &str) -> Generation {
    let (config, hash) = ("{}".to_owned(), name.to_owned());
    let component = ComponentRef { name: hash.clone(), compiled: "/nowhere".into(), hash: hash.clone() };
    let cpu_per_call = Duration::from_millis(50);
    let guest = GuestConfig { memory_max: 1 << 20, cpu_per_call, env: Vec::new(), dirs: Vec::new() };
    Generation { component, config, guest, fails_open: false, hash }
}

pub(super) struct Fake {
    fakes: Fakes,
    name: String,
    calls: u32,
}

impl BalancerControllerSource for Fakes {
    type Instance = Fake;

    async fn start(&self, generation: &Generation, info: &StartInfo) -> Result<Fake, StartError> {
        if generation.name().starts_with("slow") {
            self.slow.acquire().await.expect("it stays open").forget();
        }
        if self.is_broken.get() || generation.name() == "bad" {
            return Err(StartError::Refused("told to refuse".to_owned()));
        }
        self.started.borrow_mut().push(info.cause);
        Ok(Fake { fakes: self.clone(), name: generation.name().to_owned(), calls: 0 })
    }
}

impl BalancerController for Fake {
    async fn arrive(&mut self, arrival: &Arrival) -> Result<Vec<Ruling>, CallError> {
        self.calls += 1;
        self.fakes.seen.borrow_mut().push(arrival.clone());
        let (path, rest) = arrival.target.split_once('?').unwrap_or((&arrival.target, ""));
        let text =
            |text: &str| Ruling::Answer { status: 403, headers: Vec::new(), body: text.as_bytes().to_vec() };
        Ok(match path {
            "/deny" => vec![text("denied")],
            "/calls" => vec![text(&format!("{} {}", self.name, self.calls))],
            "/close" => vec![Ruling::Close],
            "/key" => vec![Ruling::RouteBy(rest.to_owned())],
            "/change" => vec![
                Ruling::SetHeader(("x-set".to_owned(), b"1".to_vec())),
                Ruling::RemoveHeader("x-gone".to_owned()),
                Ruling::Rewrite(format!("/changed?{rest}")),
            ],
            "/trap" => {
                return Err(CallError::new(Fault::Trap, "told to trap"));
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(15)).await;
                Vec::new()
            }
            _ => Vec::new(),
        })
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, SnapshotError> {
        Ok(Some(Snapshot { version: self.calls, data: Vec::new() }))
    }

    async fn restore(&mut self, state: &Snapshot) -> Result<(), StartError> {
        if self.name == "forgetful" {
            return Err(StartError::Refused("told to refuse its state".to_owned()));
        }
        self.fakes.restored.borrow_mut().push(state.version);
        self.calls = state.version;
        Ok(())
    }
}
