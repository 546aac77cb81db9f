//! `setup`: what the instance wants to hear.

use sc_core::controller::{Command, Interest};

use crate::bindings::socketcluster::controller::setup::Host;
use crate::context::{Context, Ended};

impl Host for Context {
    fn listen(&mut self, event: String) -> wasmtime::Result<()> {
        let bytes = event.len();
        Ok(self.push(Command::Listen(event.into()), bytes)?)
    }

    fn want(&mut self, event: String) -> wasmtime::Result<()> {
        let interest = Interest::named(&event).ok_or_else(|| {
            Ended::argument(format!(
                "setup.want: there is no event \"{event}\"; known are auth-change, subscribe, unsubscribe and gap"
            ))
        })?;
        Ok(self.push(Command::Want(interest), 0)?)
    }
}
