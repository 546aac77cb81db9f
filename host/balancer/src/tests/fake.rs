//! A controller in plain Rust that does what the request's target says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use sc_core::config::{GuestConfig, MiddlewareConfig};
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, CallError, Cause, ComponentRef, Fault, Ruling,
    Snapshot, StartError, StartInfo,
};

use super::*;

/// Makes instances, and tells the test of them.
#[derive(Clone, Default)]
pub(super) struct Fakes {
    /// Why each instance started, and what it was restored from.
    pub(super) started: Rc<RefCell<Vec<(Cause, Option<u32>)>>>,
    /// What arrived.
    pub(super) seen: Rc<RefCell<Vec<Arrival>>>,
    /// Whether starts fail.
    pub(super) is_broken: Rc<Cell<bool>>,
}

impl Fakes {
    pub(super) fn controlled(&self, fails_open: bool) -> Option<Controlled<Fakes>> {
        let guest = GuestConfig {
            memory_max: 1 << 20,
            cpu_per_call: Duration::from_millis(50),
            env: Vec::new(),
            dirs: Vec::new(),
        };
        Some(Controlled {
            source: self.clone(),
            component: component("first"),
            config: MiddlewareConfig { config: "{}".to_owned(), fails_open, guest },
            cause: Cause::Boot,
        })
    }
}

pub(super) fn component(name: &str) -> ComponentRef {
    ComponentRef { name: name.to_owned(), compiled: "/nowhere".into(), hash: name.to_owned() }
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
        component: &ComponentRef,
        info: &StartInfo,
        restore: Option<&Snapshot>,
    ) -> Result<Fake, StartError> {
        if self.is_broken.get() || component.name == "bad" {
            return Err(StartError::Refused("told to refuse".to_owned()));
        }
        self.started.borrow_mut().push((info.cause, restore.map(|snapshot| snapshot.version)));
        let calls = restore.map_or(0, |snapshot| snapshot.version);
        Ok(Fake { fakes: self.clone(), name: component.name.clone(), calls })
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
