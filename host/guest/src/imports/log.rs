//! `log`: records of the guest, written at once.

use crate::balancer::Door;
use crate::bindings::socketcluster::controller::log::{Host, Level};
use crate::context::Context;
use crate::output::cut;
use crate::store::Desk;

fn record(component: &str, at: Level, message: &str) {
    let message = cut(message);
    match at {
        Level::Error => tracing::error!(target: "guest", component, "{message}"),
        Level::Warn => tracing::warn!(target: "guest", component, "{message}"),
        Level::Info => tracing::info!(target: "guest", component, "{message}"),
        Level::Debug => tracing::debug!(target: "guest", component, "{message}"),
        Level::Trace => tracing::trace!(target: "guest", component, "{message}"),
    }
}

impl Host for Context {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        record(&self.component, at, &message);
        Ok(())
    }
}

impl Host for Door {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        record(&self.component, at, &message);
        Ok(())
    }
}

impl Host for Desk {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        record(&self.component, at, &message);
        Ok(())
    }
}
