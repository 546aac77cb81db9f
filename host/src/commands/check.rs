//! `sc-host check`: everything that `run` would check, without running.

use std::path::Path;

use super::say;
use crate::component;
use crate::config::{Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::report;

/// Runs it.
pub(crate) fn run(what: &Path) -> Result<(), HostError> {
    let extension = what.extension().and_then(|extension| extension.to_str());
    let is_component =
        matches!(extension, Some("wasm" | "wat")) || (what.is_file() && extension != Some("toml"));
    if is_component {
        say(&report::component(what)?);
        return Ok(());
    }
    let settings = Settings::load(Some(what), Vec::new(), &ProcessEnvironment::default(), Mode::Serve)?;
    say(&format!("{}: the configuration is fine", what.display()));
    for warning in &settings.warnings {
        say(&format!("warning: {warning}"));
    }
    for certificate in settings.tls.iter().flat_map(|tls| &tls.described) {
        say(&format!("certificate: {certificate}"));
    }
    let hosts = &*settings.worker.fetch.allow_hosts;
    let may = |controller, hosts| say(&format!("may use: {}", report::rights(controller, hosts)));
    say(&report::component(component::path(&settings)?)?);
    may(&settings.controller, hosts);
    for middleware in &settings.middleware {
        say(&report::middleware(component::existing(&middleware.component, "[[middleware]]")?)?);
        may(&middleware.controller, hosts);
    }
    if let Some((balancer, controller)) = &settings.balancer_component {
        say(&report::balancer(component::existing(balancer, "[balancer]")?)?);
        may(controller, &[]);
    }
    if let Some(store) = &settings.store_component {
        say(&report::store(component::existing(store, "[store]")?)?);
        may(&settings.store_controller, &[]);
    }
    if let Some(site) = &settings.site {
        say(&report::site(component::existing(site, "[http]")?)?);
        may(&settings.site_controller, &settings.worker.site.allow_hosts);
    }
    Ok(())
}
