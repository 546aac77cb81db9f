//! The components of a configuration, by the names that a reload knows them by.

use std::path::{Path, PathBuf};

use sc_core::outbound::HostRule;

use crate::component;
use crate::config::{ControllerSettings, Settings};

/// A component as the configuration wants it.
pub(super) struct Wanted<'s> {
    pub(super) name: String,
    /// Where its keys stand.
    pub(super) place: String,
    pub(super) path: PathBuf,
    pub(super) controller: &'s ControllerSettings,
    /// Hosts that it may send requests to.
    pub(super) hosts: &'s [HostRule],
}

/// The components that are to be looked at.
pub(super) fn chosen<'s>(
    fresh: &'s Settings,
    names: &[String],
    file: Option<&Path>,
) -> Result<Vec<Wanted<'s>>, String> {
    let configured = component::path(fresh).map_err(|error| error.flat())?;
    let hosts = &*fresh.worker.fetch.allow_hosts;
    let app = Wanted {
        name: fresh.app.name.clone(),
        place: "worker.".to_owned(),
        path: configured.to_owned(),
        controller: &fresh.controller,
        hosts,
    };
    let middleware = fresh.middleware.iter().enumerate().map(|(at, it)| Wanted {
        name: it.name.clone(),
        place: format!("middleware[{at}]."),
        path: it.component.clone(),
        controller: &it.controller,
        hosts,
    });
    let store = fresh.store_component.as_ref().map(|path| Wanted {
        name: component::store_name(&fresh.app.name),
        place: "store.".to_owned(),
        path: path.clone(),
        controller: &fresh.store_controller,
        hosts: &[],
    });
    let site = fresh.site.as_ref().map(|path| Wanted {
        name: component::site_name(&fresh.app.name),
        place: "http.".to_owned(),
        path: path.clone(),
        controller: &fresh.site_controller,
        hosts: &fresh.worker.site.allow_hosts,
    });
    let balancer = fresh.balancer_component.as_ref().map(|(path, controller)| Wanted {
        name: component::balancer_name(&fresh.app.name),
        place: "balancer.".to_owned(),
        path: path.clone(),
        controller,
        hosts: &[],
    });
    // First what goes back without a loss; stores before workers, whose new controller may call new procedures.
    let all: Vec<_> = site.into_iter().chain(store).chain(middleware).chain([app]).chain(balancer).collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|wanted| wanted.name == **name)) {
        let known: Vec<_> = all.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(format!("there is no component {unknown}; there are: {}", known.join(", ")));
    }
    let is_meant = |wanted: &Wanted<'_>| match (names, file) {
        ([], Some(_)) => wanted.name == fresh.app.name,
        ([], None) => true,
        (names, _) => names.contains(&wanted.name),
    };
    let mut chosen: Vec<_> = all.into_iter().filter(is_meant).collect();
    if let Some(file) = file {
        match &mut *chosen {
            [one] => file.clone_into(&mut one.path),
            _ => return Err("a file replaces one component: name one".to_owned()),
        }
    }
    Ok(chosen)
}
