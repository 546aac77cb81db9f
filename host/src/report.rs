//! What `check`, `build` and `reload` tell people of a component: what it is, what it wants, and what it may use.

use std::collections::BTreeSet;
use std::path::Path;

use sc_core::causes::causes;
use sc_core::controller::ComponentRef;
use sc_core::outbound::HostRule;
use sc_guest::{GuestError, Inspection};

use crate::component::{bad, read};
use crate::config::ControllerSettings;
use crate::error::HostError;

/// A component's size, imports and exports for people; an error if the host would refuse it.
pub(crate) fn component(path: &Path) -> Result<String, HostError> {
    let (bytes, inspection) = inspected(path)?;
    told(path, &bytes, &inspection)
}

/// A component's bytes, and what is in them: to find that compiles it, which may take long.
fn inspected(path: &Path) -> Result<(Vec<u8>, Inspection), HostError> {
    let bytes = read(path)?;
    let inspection = sc_guest::inspect(&bytes).map_err(|error| bad(path, causes(&error)))?;
    Ok((bytes, inspection))
}

fn told(path: &Path, bytes: &[u8], inspection: &Inspection) -> Result<String, HostError> {
    if inspection.events.is_empty() && sc_guest::is_site(&inspection.exports) {
        return site(path);
    }
    if !inspection.is_usable() {
        return Err(bad(path, inspection.problems.join("; ")));
    }
    Ok(format!(
        "{}: a {} controller of {} bytes, sha256 {}\nimports:{}\nexports:{}\nevents: {}",
        path.display(),
        inspection.world,
        bytes.len(),
        sc_guest::content_hash(bytes),
        list(&inspection.imports),
        list(&inspection.exports),
        inspection.events.join(", "),
    ))
}

/// The same of a component that is to be a middleware.
pub(crate) fn middleware(path: &Path) -> Result<String, HostError> {
    let (bytes, inspection) = inspected(path)?;
    match inspection.unlike_middleware.is_empty() {
        true => told(path, &bytes, &inspection),
        false => {
            let error = GuestError::NoMiddleware(inspection.unlike_middleware.join("; "));
            Err(bad(path, error.to_string()))
        }
    }
}

/// The same of a component that is to be the balancers' controller.
pub(crate) fn balancer(path: &Path) -> Result<String, HostError> {
    of_world(path, "balancer", "arrivals")
}

/// The same of a component that is to be the stores' controller.
pub(crate) fn store(path: &Path) -> Result<String, HostError> {
    of_world(path, "store", "procedures")
}

/// The same of a component that is to be of a world, which it is by an export.
fn of_world(path: &Path, world: &str, export: &str) -> Result<String, HostError> {
    let (bytes, inspection) = inspected(path)?;
    if inspection.world == world {
        return told(path, &bytes, &inspection);
    }
    let what = format!("this component is no {world}'s controller but of the world `{}`", inspection.world);
    Err(bad(path, format!("{what}: it exports no `{export}`")))
}

/// A site's size, imports and exports for people; an error if the host would refuse it.
pub(crate) fn site(path: &Path) -> Result<String, HostError> {
    let bytes = read(path)?;
    let inspection = sc_guest::inspect_site(&bytes).map_err(|error| bad(path, causes(&error)))?;
    Ok(format!(
        "{}: a wasi:http site of {} bytes, sha256 {}\nimports:{}\nexports:{}",
        path.display(),
        bytes.len(),
        sc_guest::content_hash(&bytes),
        list(&inspection.imports),
        list(&inspection.exports),
    ))
}

/// What a compiled component imports, without versions.
pub(crate) fn imports(component: &ComponentRef) -> Result<BTreeSet<String>, HostError> {
    let imports = sc_guest::engine().and_then(|engine| sc_guest::imports(&engine, &component.compiled));
    imports.map_err(|error| HostError::BadComponent { name: component.name.clone(), reason: causes(&error) })
}

/// What the configuration lets a component use.
pub(crate) fn rights(controller: &ControllerSettings, hosts: &[HostRule]) -> String {
    let guest = &controller.guest;
    let mut rights = vec![
        format!("{} MiB of memory", guest.memory_max >> 20),
        format!("{} ms of CPU time a call", guest.cpu_per_call.as_millis()),
    ];
    if !guest.env.is_empty() {
        let names: Vec<_> = guest.env.iter().map(|(name, _)| name.as_str()).collect();
        rights.push(format!("the environment variables {}", names.join(", ")));
    }
    for dir in &guest.dirs {
        let way = if dir.write { "to read and write" } else { "to read" };
        rights.push(format!("the folder {} {way}", dir.host.display()));
    }
    match hosts {
        [] => rights.push("no other servers".to_owned()),
        hosts => {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            rights.push(format!("requests to {}", hosts.join(", ")));
        }
    }
    rights.join("; ")
}

fn list(names: &[String]) -> String {
    match names {
        [] => "\n  none".to_owned(),
        names => names.iter().map(|name| format!("\n  {name}")).collect(),
    }
}
