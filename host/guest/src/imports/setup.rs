//! `setup`: what the instance wants to hear.

use sc_core::controller::{Command, Interest};
use sc_core::log::name;

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
                "setup.want: there is no event \"{}\"; known are auth-change, subscribe, unsubscribe, gap, \
                 session-leave and session-end",
                name(&event).escape_debug()
            ))
        })?;
        Ok(self.push(Command::Want(interest), 0)?)
    }

    fn route(&mut self, method: String, pattern: String) -> wasmtime::Result<()> {
        let is_token = !method.is_empty() && http::Method::from_bytes(method.as_bytes()).is_ok();
        if !is_token {
            let message = format!("setup.route: \"{}\" is no HTTP method", name(&method).escape_debug());
            return Err(Ended::argument(message).into());
        }
        if pattern != "*" && !pattern.starts_with('/') {
            let message = format!("setup.route: \"{}\" does not begin with /", name(&pattern).escape_debug());
            return Err(Ended::argument(message).into());
        }
        let bytes = method.len() + pattern.len();
        let (method, pattern) = (method.into(), pattern.into());
        Ok(self.push(Command::Route { method, pattern }, bytes)?)
    }
}
