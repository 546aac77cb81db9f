//! One file for each subcommand.

pub(crate) mod build;
mod certificate;
pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod dev;
mod ends;
pub(crate) mod operate;
pub(crate) mod run;
mod setup;
mod watch;

use std::future::Future;
use std::io::Write as _;

use tokio::task::LocalSet;

use crate::error::HostError;
use crate::telemetry::LogFormat;

/// What may wait for the master's loop.
const ORDERS: usize = 64;

/// Runs on a single-threaded runtime until done, without waiting for files that are still read.
fn block_on<T>(work: impl Future<Output = Result<T, HostError>>) -> Result<T, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(HostError::os("starting the runtime"))?;
    let ended = LocalSet::new().block_on(&runtime, work);
    runtime.shutdown_background();
    ended
}

/// Writes a report to stdout. Whoever closed it does not want it.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The error's record for programs that read the log; people read it on stderr.
fn record(format: LogFormat, error: &HostError) {
    if format == LogFormat::Json {
        tracing::error!(error = error.flat(), exit_code = error.exit() as u8, "sc-host ends");
    }
}
