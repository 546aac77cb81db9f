//! Whether a component can be a site: that it exports the handler, and every import that this host does not offer, by
//! name.

use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::context::SiteContext;
use crate::cache::check_kind;
use crate::engine::{Engine, engine};
use crate::error::{GuestError, chain};
use crate::fit::is_wasi;

/// What a site exports.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.";
/// What it may import beside WASI.
const OFFERED: [&str; 2] = ["wasi:http/types@0.2.", "wasi:http/outgoing-handler@0.2."];

/// What [`super::inspect_site`] found.
#[derive(Clone, Debug)]
pub struct SiteInspection {
    /// Full names of what it imports.
    pub imports: Vec<String>,
    /// Full names of what it exports.
    pub exports: Vec<String>,
}

/// Whether a component's exports are those of a site.
pub fn is_site(exports: &[String]) -> bool {
    exports.iter().any(|name| name.starts_with(HANDLER))
}

/// Compiles a component and looks whether it fits.
pub(super) fn inspect(bytes: &[u8]) -> Result<SiteInspection, GuestError> {
    let engine = engine()?;
    check_kind(bytes)?;
    let component = Component::new(&engine.inner, bytes).map_err(|error| GuestError::uncompiled(&error))?;
    link(&engine, &component)?;
    let kind = component.component_type();
    let imports = kind.imports(&engine.inner).map(|(name, _)| name.to_owned()).collect();
    let exports = kind.exports(&engine.inner).map(|(name, _)| name.to_owned()).collect();
    Ok(SiteInspection { imports, exports })
}

/// Links a component, or says all that keeps it from being a site.
pub(super) fn link(engine: &Engine, component: &Component) -> Result<ProxyPre<SiteContext>, GuestError> {
    let kind = component.component_type();
    let exports: Vec<String> = kind.exports(&engine.inner).map(|(name, _)| name.to_owned()).collect();
    if !is_site(&exports) {
        let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(GuestError::NoSite { found });
    }
    let missing: Vec<_> = kind
        .imports(&engine.inner)
        .filter(|(name, _)| !is_wasi(name) && !OFFERED.iter().any(|offered| name.starts_with(offered)))
        .map(|(name, _)| format!("it imports `{name}`, which this host does not offer to a site"))
        .collect();
    if !missing.is_empty() {
        return Err(GuestError::Unfit(missing.join("; ")));
    }
    let unfit = |error: wasmtime::Error| GuestError::Unfit(chain(&error));
    ProxyPre::new(linker(engine)?.instantiate_pre(component).map_err(unfit)?).map_err(unfit)
}

fn linker(engine: &Engine) -> Result<Linker<SiteContext>, GuestError> {
    let mut linker = Linker::new(&engine.inner);
    let added = wasmtime_wasi::p2::add_to_linker_async(&mut linker)
        .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker));
    added.map_err(|error| GuestError::Engine(chain(&error)))?;
    Ok(linker)
}
