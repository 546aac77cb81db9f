//! A child process from its first line to its end: the only place where roles meet guests.
//!
//! A child dies with its master, even one that is killed: the kernel kills it, and its control link ends. It ignores
//! the signals that end the host, because the master ends its children in their order, and those that reload it.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{Signal, set_parent_process_death_signal};
use sc_balancer::Controlled;
use sc_core::config::WorkerConfig;
use sc_core::controller::{Cause, Generation};
use sc_core::link::control::{ChildLink, Start, ToChild};
use sc_guest::{BalancerGuests, Engine, GuestError, Guests, StoreGuests, WasiSites};
use sc_worker::SitePlace;
use tokio::task::LocalSet;

use crate::exit::Exit;
use crate::master::{ChildName, Signals, drop_reloads};
use crate::telemetry::{self, Who};

/// Runs a child to its end.
pub(crate) fn run(label: &str, log_level: &str) -> Exit {
    let name: ChildName = match label.parse() {
        Ok(name) => name,
        Err(error) => {
            let _log = telemetry::start_child(Who { role: "master", id: 0 }, log_level);
            tracing::error!("{error}");
            return Exit::Usage;
        }
    };
    let _log = telemetry::start_child(Who { role: name.role.word(), id: name.index }, log_level);
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        tracing::warn!(%error, "a child cannot ask to die with its master");
    }
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| LocalSet::new().block_on(&runtime, play()));
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "a child fails");
            Exit::Internal
        }
    }
}

/// Hears what to be, and is it.
async fn play() -> anyhow::Result<()> {
    use anyhow::Context as _;
    // Heard and dropped: only the master acts on them.
    let _signals = Signals::new().context("waiting for signals")?;
    drop_reloads().context("waiting for signals")?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("the control link")?;
    let control =
        ChildLink::new(stdin).context("the control link; children are started by the master only")?;
    let started =
        control.recv().await.context("the control link; children are started by the master only")?;
    let Some((message, descriptors)) = started else { return Ok(()) };
    let ToChild::Start(start) = message else { anyhow::bail!("the master's first message was no start") };
    be(control, start, descriptors).await
}

async fn be(control: ChildLink, start: Start, descriptors: Vec<OwnedFd>) -> anyhow::Result<()> {
    match start {
        Start::Store { id, config, component, cause } => {
            let controller = match component {
                Some(generation) => Some((StoreGuests::new(&sc_guest::engine()?)?, *generation, cause)),
                None => None,
            };
            sc_store::run(control, id, *config, controller).await?;
        }
        Start::Balancer { id, config, component, cause } => {
            let controlled = component.map(|generation| controlled(*generation, cause)).transpose()?;
            sc_balancer::run(control, id, *config, descriptors, controlled).await?;
        }
        Start::Worker { id, workers, stores, config, controller, middleware, site, cause, phase } => {
            let engine = sc_guest::engine()?;
            let sources = sources(&engine, &middleware)?;
            let site = site.map(|site| site_place(&engine, &site, &config)).transpose()?;
            let (config, controller) = (*config, *controller);
            let start =
                sc_worker::WorkerStart { id, workers, stores, config, controller, middleware, cause, phase };
            sc_worker::run(control, start, sources, site).await?;
        }
    }
    Ok(())
}

/// What makes a worker's instances: of each middleware, and at last of its controller.
fn sources(engine: &Engine, middleware: &[Generation]) -> Result<Vec<Guests>, GuestError> {
    let middleware = middleware.iter().map(|_| Guests::middleware(engine));
    middleware.chain([Guests::new(engine)]).collect()
}

/// What answers in a worker for a site, and what replaces it.
fn site_place(engine: &Engine, site: &Generation, config: &WorkerConfig) -> anyhow::Result<SitePlace> {
    let source = WasiSites::new(engine, config.site.clone(), config.http.answer_timeout)?;
    Ok(SitePlace::new(Box::new(source), site)?)
}

/// A balancer's controller and what makes its instances.
fn controlled(generation: Generation, cause: Cause) -> Result<Controlled<BalancerGuests>, GuestError> {
    let source = BalancerGuests::new(&sc_guest::engine()?)?;
    Ok(Controlled { source, generation, cause })
}
