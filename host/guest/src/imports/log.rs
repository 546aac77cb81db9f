//! `log`: records of the guest, written at once.

use crate::balancer::Door;
use crate::bindings::socketcluster::controller::log::{Host, Level};
use crate::context::Context;
use crate::store::Desk;

impl Host for Context {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        self.voice.log(at, &message);
        Ok(())
    }
}

impl Host for Door {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        self.voice.log(at, &message);
        Ok(())
    }
}

impl Host for Desk {
    fn write(&mut self, at: Level, message: String) -> wasmtime::Result<()> {
        self.voice.log(at, &message);
        Ok(())
    }
}
