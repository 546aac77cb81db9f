//! `presence`: who is on a channel.

use sc_core::controller::Command;
use sc_core::ids::SocketId;

use crate::bindings::socketcluster::controller::presence::Host;
use crate::context::{Context, json};

impl Context {
    fn push_members(&mut self, channel: String, who: bool) -> wasmtime::Result<u64> {
        let bytes = channel.len();
        let token = self.token()?;
        self.push(Command::Members { token, channel: channel.into(), who }, bytes)?;
        Ok(token.0)
    }

    fn push_watch(&mut self, channel: String, on: bool) -> wasmtime::Result<()> {
        let bytes = channel.len();
        Ok(self.push(Command::WatchMembers { channel: channel.into(), on }, bytes)?)
    }
}

impl Host for Context {
    fn members(&mut self, channel: String) -> wasmtime::Result<u64> {
        self.push_members(channel, true)
    }

    fn count(&mut self, channel: String) -> wasmtime::Result<u64> {
        self.push_members(channel, false)
    }

    fn describe(&mut self, who: u64, data: Option<String>) -> wasmtime::Result<()> {
        if let Some(data) = &data {
            json("presence.describe", data)?;
        }
        let bytes = data.as_ref().map_or(0, String::len);
        Ok(self.push(Command::Describe { who: SocketId(who), data }, bytes)?)
    }

    fn watch(&mut self, channel: String) -> wasmtime::Result<()> {
        self.push_watch(channel, true)
    }

    fn unwatch(&mut self, channel: String) -> wasmtime::Result<()> {
        self.push_watch(channel, false)
    }
}
