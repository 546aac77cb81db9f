//! The master: binds, has the component compiled, starts the children, keeps them, and ends them in order. It never
//! touches client traffic, and its loop never waits for anything that a child or a file could delay.

mod calls;
mod child;
mod credentials;
mod data_dir;
mod descriptors;
mod drain;
mod ending;
mod lifecycle;
mod links;
mod listen;
mod logs;
mod name;
mod post;
mod reload;
mod signals;
mod slot;
pub(crate) mod spawn;
mod status;
mod supervisor;
mod tickets;

use std::time::Instant;

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use crate::component::Components;
use crate::config::Settings;
use crate::error::HostError;
use crate::telemetry::Logs;
pub(crate) use calls::CallFailed;
use credentials::Present;
use data_dir::DataDir;
pub(crate) use data_dir::put;
pub(crate) use listen::Listeners;
pub(crate) use name::ChildName;
pub(crate) use signals::{Signals, drop_reloads};
pub(crate) use status::{ProcessStatus, Status};
use supervisor::Supervisor;
pub(crate) use supervisor::{Order, Running};
use tickets::TicketKeys;

/// Serves until a signal ends it. Must run inside a `LocalSet`. `began` is when the program started; `bound` is what
/// came of [`Listeners::bind`].
pub(crate) async fn serve(
    mut settings: Settings,
    bound: Result<Listeners, HostError>,
    components: &Components,
    logs: Logs,
    began: Instant,
    orders: mpsc::Receiver<Order>,
) -> Result<(), HostError> {
    let mut signals = Signals::new().map_err(HostError::os("waiting for signals"))?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    descriptors::budget(descriptors::raise(), &mut settings);
    let listeners = bound?;
    let data_dir = DataDir::open(&mut settings, listeners.address.port())?;
    let prepared = tokio::select! {
        prepared = components.prepare_all(&settings) => prepared?,
        end = signals.next() => {
            tracing::info!(signal = end.name(), "ended before the component was compiled");
            return Ok(());
        }
    };
    let tls = match &settings.tls {
        Some(tls) => {
            tracing::info!(certificates = tls.described.join("; "), "serving TLS");
            let tickets = TicketKeys::open(settings.data_dir.as_deref())?;
            Some(Present::new(tls.clone(), tickets))
        }
        None => None,
    };
    if let Some(url) = listeners.redirect_url() {
        tracing::info!(url, "plain HTTP is redirected");
    }
    if settings.data_dir.is_none() {
        tracing::warn!("values, sessions and tokens end with this host: set app.data_dir to keep them");
    }
    Supervisor::new(settings, data_dir, prepared, listeners, tls, logs, began).run(&mut signals, orders).await
}

/// Tells the service supervisor, if there is one that wants to know.
fn notify(states: &[NotifyState<'_>]) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service supervisor could not be told");
    }
}
