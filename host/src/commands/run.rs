//! `sc-host run`: serves until a signal ends it. A hang-up has it reload what changed, and so does, if that is wanted,
//! a changed file.

use std::rc::Rc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::watch::Watch;
use super::{ORDERS, block_on, record};
use crate::admin::Admin;
use crate::cli::RunArgs;
use crate::component::{self, Components};
use crate::config::{Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::master::Listeners;
use crate::reloader::{NotReloaded, Origins, Reloader};
use crate::{master, telemetry};

/// Runs it.
pub(crate) fn run(args: &RunArgs, watch: bool, began: Instant) -> Result<(), HostError> {
    let environment = ProcessEnvironment::default();
    let files = environment.files.clone();
    let origins = Origins { app: args.app.clone(), flags: args.flags(), mode: Mode::Serve, environment };
    let settings = origins.load()?;
    // A second host of the same app is told so before it is told of its port.
    let bound = Listeners::bind(&settings.app, settings.tls.as_ref());
    let other = match &settings.app.user {
        Some(user) if user.take_over(&settings)? => Some(user.clone()),
        _ => None,
    };
    if other.is_some() {
        files.seal();
    }
    let format = settings.log.format;
    let (logs, _printer) = telemetry::start(format, &settings.log.level);
    let served = block_on(async {
        let components = Rc::new(Components::open(other.as_ref())?);
        let hear = |kind| signal(kind).map_err(HostError::os("waiting for signals"));
        let (mut hangups, mut reboots) = (hear(SignalKind::hangup())?, hear(SignalKind::user_defined2())?);
        let mut files = if watch { Some(watched(&settings)?) } else { None };
        let admin = Admin::open(&settings).await?;
        let (order, orders) = mpsc::channel(ORDERS);
        let reloader = Reloader::new(origins, &settings, Rc::clone(&components), order.clone());
        let triggers = async {
            loop {
                tokio::select! {
                    _ = hangups.recv() => reload(&reloader, "SIGHUP").await,
                    // SocketCluster's signal for new worker code.
                    _ = reboots.recv() => reload(&reloader, "SIGUSR2").await,
                    () = changed(files.as_mut()) => reload(&reloader, "a changed file").await,
                }
            }
        };
        tokio::select! {
            served = master::serve(settings, bound, &components, logs, began, orders) => served,
            () = admin.serve(order, Rc::clone(&reloader)) => Ok(()),
            () = triggers => Ok(()),
        }
    });
    served.inspect_err(|error| record(format, error))
}

async fn reload(reloader: &Rc<Reloader>, trigger: &str) {
    match reloader.reload(Vec::new(), None, false).await {
        Ok(reloaded) => tracing::info!(trigger, report = reloaded.report().join("\n"), "reloaded"),
        Err(NotReloaded { reason, partial: false }) => {
            tracing::error!(trigger, reason, "nothing was reloaded");
        }
        Err(NotReloaded { reason, partial: true }) => {
            tracing::error!(trigger, reason, "only a part was reloaded");
        }
    }
}

/// The files of all components that can be replaced.
fn watched(settings: &Settings) -> Result<Watch, HostError> {
    let middleware = settings.middleware.iter().map(|it| it.component.clone());
    let balancer = settings.balancer_component.iter().map(|(path, _)| path.clone());
    let others =
        middleware.chain(balancer).chain(settings.store_component.clone()).chain(settings.site.clone());
    let paths: Vec<_> = others.chain([component::path(settings)?.to_owned()]).collect();
    Watch::new(&paths, &[]).map_err(|error| HostError::Os {
        what: "watching the components",
        source: std::io::Error::other(error),
    })
}

async fn changed(files: Option<&mut Watch>) {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
    }
}
