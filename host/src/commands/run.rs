//! `sc-host run`: serves until a signal ends it.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{block_on, record};
use crate::cli::RunArgs;
use crate::component::Components;
use crate::config::{Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::{master, telemetry};

/// Runs it.
pub(crate) fn run(args: &RunArgs, began: Instant) -> Result<(), HostError> {
    let settings = Settings::load(args.app.as_deref(), args.flags(), &ProcessEnvironment, Mode::Serve)?;
    let format = settings.log.format;
    let (logs, _printer) = telemetry::start(format, &settings.log.level);
    // Nobody gives orders: the sender is gone from the start.
    let (_, orders) = mpsc::channel(1);
    let served = block_on(async {
        let components = Components::open()?;
        master::serve(settings, &components, logs, began, orders).await
    });
    served.inspect_err(|error| record(format, error))
}
