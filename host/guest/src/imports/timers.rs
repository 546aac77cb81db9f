//! `timers`: turns of this instance.

use std::time::Duration;

use sc_core::controller::Command;
use sc_core::ids::Token;

use crate::bindings::socketcluster::controller::timers::Host;
use crate::context::{Context, Ended};

impl Context {
    fn push_timer(&mut self, ms: u32, repeat: bool) -> wasmtime::Result<u64> {
        let token = self.timer_token(repeat)?;
        self.push(Command::Timer { token, period: Duration::from_millis(ms.into()), repeat }, 0)?;
        Ok(token.0)
    }
}

impl Host for Context {
    fn after(&mut self, ms: u32) -> wasmtime::Result<u64> {
        self.push_timer(ms, false)
    }

    fn every(&mut self, ms: u32) -> wasmtime::Result<u64> {
        if ms == 0 {
            return Err(Ended::argument("timers.every: the period must be at least 1 ms").into());
        }
        self.push_timer(ms, true)
    }

    fn cancel(&mut self, timer: u64) -> wasmtime::Result<()> {
        self.end_timer(Token(timer));
        Ok(self.push(Command::Cancel(Token(timer)), 0)?)
    }
}
