//! What a component wants and offers, without running any of its code.

use std::collections::BTreeSet;
use std::path::Path;

use wasmtime::component::Component;

use crate::balancer;
use crate::cache::{self, check_kind};
use crate::engine::{Engine, engine};
use crate::error::GuestError;
use crate::fit;
use crate::instance::Exports;
use crate::source::linker;
use crate::store;

/// The interfaces a worker controller may export.
const EVENTS: [&str; 19] = [
    "lifecycle",
    "state",
    "connections",
    "messages",
    "auth-changes",
    "publications",
    "subscriptions",
    "timer-events",
    "client-answers",
    "keyspace-answers",
    "publish-answers",
    "gaps",
    "session-ends",
    "http-requests",
    "presence-changes",
    "fetch-answers",
    "actions",
    "request-actions",
    "socket-ends",
];

/// The interfaces a store controller exports.
const STORE_EVENTS: [&str; 3] = ["store-lifecycle", "procedures", "channel-events"];

/// The interfaces a balancer controller exports.
const BALANCER_EVENTS: [&str; 3] = ["lifecycle", "state", "arrivals"];

/// What [`inspect`] found.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// `worker`, `middleware`, `balancer` or `store`.
    pub world: &'static str,
    /// Full names of what it imports.
    pub imports: Vec<String>,
    /// Full names of what it exports.
    pub exports: Vec<String>,
    /// Which of our event interfaces it exports, by their short names.
    pub events: Vec<&'static str>,
    /// Why the host would refuse it; empty when it will load.
    pub problems: Vec<String>,
    /// Why it can be no middleware; empty when it can.
    pub unlike_middleware: Vec<String>,
}

impl Inspection {
    /// Whether the host would load it.
    pub fn is_usable(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Compiles a component and compares it with what this host offers. Takes seconds for a large one.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, GuestError> {
    let engine = engine()?;
    check_kind(bytes)?;
    let component = Component::new(&engine.inner, bytes).map_err(|error| GuestError::uncompiled(&error))?;
    let kind = component.component_type();
    let imports = kind.imports(&engine.inner).map(|(name, _)| name.to_owned()).collect();
    let exports: Vec<String> = kind.exports(&engine.inner).map(|(name, _)| name.to_owned()).collect();
    let mut problems = Vec::new();
    let events = match our_exports(&engine, &component) {
        Ok(events) => events,
        Err(error) => {
            problems.push(error.to_string());
            BTreeSet::new()
        }
    };
    let of_balancer = exports.iter().any(|name| is_ours(name, "arrivals"));
    if of_balancer || of_store(&exports) {
        let (world, known, misfit) = match of_balancer {
            true => ("balancer", BALANCER_EVENTS, balancer::link(&engine, &component).err()),
            false => ("store", STORE_EVENTS, store::link(&engine, &component).err()),
        };
        let events = known.into_iter().filter(|event| exports.iter().any(|name| is_ours(name, event)));
        let problems = misfit.map(|error| error.to_string()).into_iter().collect();
        let (events, unlike_middleware) = (events.collect(), vec![format!("it is a {world}'s controller")]);
        return Ok(Inspection { world, imports, exports, events, problems, unlike_middleware });
    }
    match fit::link(&engine, &linker(&engine)?, &component) {
        Err(misfits) => problems.extend(misfits),
        Ok(instance) => {
            if let Err(error) = Exports::find(&instance, &events) {
                problems.push(GuestError::Unfit(error).to_string());
            }
        }
    }
    let unlike_middleware = fit::unlike_middleware(&engine, &component, &events);
    let world = if unlike_middleware.is_empty() { "middleware" } else { "worker" };
    let events = events.into_iter().collect();
    Ok(Inspection { world, imports, exports, events, problems, unlike_middleware })
}

/// What a compiled component imports: interfaces by their full names without versions.
pub fn imports(engine: &Engine, compiled: &Path) -> Result<BTreeSet<String>, GuestError> {
    let component = cache::load(engine, compiled)?;
    let kind = component.component_type();
    let names =
        kind.imports(&engine.inner).map(|(name, _)| name.split('@').next().unwrap_or(name).to_owned());
    Ok(names.collect())
}

fn of_store(exports: &[String]) -> bool {
    exports.iter().any(|name| is_ours(name, "procedures") || is_ours(name, "channel-events"))
}

fn is_ours(name: &str, interface: &str) -> bool {
    let ours = name.strip_prefix("socketcluster:controller/").and_then(|name| name.split_once("@0.1."));
    ours.is_some_and(|(name, _)| name == interface)
}

/// Which of our event interfaces a component exports; none of them is the wrong world.
pub(crate) fn our_exports(
    engine: &Engine,
    component: &Component,
) -> Result<BTreeSet<&'static str>, GuestError> {
    let kind = component.component_type();
    let names: Vec<&str> = kind.exports(&engine.inner).map(|(name, _)| name).collect();
    let ours: BTreeSet<&'static str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("socketcluster:controller/")?.split_once("@0.1."))
        .filter_map(|(name, _)| EVENTS.into_iter().find(|event| *event == name))
        .collect();
    if !ours.is_empty() {
        return Ok(ours);
    }
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(GuestError::WrongWorld { found })
}
