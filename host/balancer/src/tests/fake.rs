//! A controller in plain Rust that does what the request's target says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, CallError, Cause, ComponentRef, Fault, Generation,
    Ruling, Snapshot, StartError, StartInfo,
};

use super::*;

/// Why an instance started, and from which snapshot.
type Start = (Cause, Option<u32>);

/// Makes instances, and tells the test of them.
#[derive(Clone, Default)]
pub(super) struct Fakes {
    /// Why each instance started, and what it was restored from.
    pub(super) started: Rc<RefCell<Vec<Start>>>,
    /// What arrived.
    pub(super) seen: Rc<RefCell<Vec<Arrival>>>,
    /// Whether starts fail.
    pub(super) is_broken: Rc<Cell<bool>>,
}

impl Fakes {
    pub(super) fn controlled(&self, fails_open: bool) -> Option<Controlled<Fakes>> {
        let generation = Generation { fails_open, ..generation("first") };
        Some(Controlled { source: self.clone(), generation, cause: Cause::Boot })
    }
}

pub(super) fn generation(name: &str) -> Generation {
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

    async fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
        restore: Option<&Snapshot>,
    ) -> Result<Fake, StartError> {
        if self.is_broken.get() || generation.name() == "bad" {
            return Err(StartError::Refused("told to refuse".to_owned()));
        }
        self.started.borrow_mut().push((info.cause, restore.map(|snapshot| snapshot.version)));
        let calls = restore.map_or(0, |snapshot| snapshot.version);
        Ok(Fake { fakes: self.clone(), name: generation.name().to_owned(), calls })
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
                return Err(CallError { fault: Fault::Trap, message: "told to trap".to_owned() });
            }
            "/slow" => {
                tokio::time::sleep(Duration::from_secs(3)).await;
                Vec::new()
            }
            _ => Vec::new(),
        })
    }

    async fn snapshot(&mut self) -> Result<Option<Snapshot>, CallError> {
        Ok(Some(Snapshot { version: self.calls, data: Vec::new() }))
    }
}
