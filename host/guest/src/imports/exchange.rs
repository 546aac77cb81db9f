//! `exchange`: publishing, and hearing channels.

use sc_core::controller::Command;
use sc_core::ids::Token;

use crate::bindings::socketcluster::controller::exchange::Host;
use crate::context::{Context, json};

impl Context {
    fn push_publish(
        &mut self,
        function: &str,
        channel: String,
        data: Option<String>,
        token: Option<Token>,
    ) -> wasmtime::Result<()> {
        if let Some(data) = &data {
            json(function, data)?;
        }
        let bytes = channel.len() + data.as_ref().map_or(0, String::len);
        let command = Command::Publish { channel: channel.into(), data, token };
        Ok(self.push(command, bytes)?)
    }
}

impl Host for Context {
    fn publish(&mut self, channel: String, data: Option<String>) -> wasmtime::Result<()> {
        self.push_publish("exchange.publish", channel, data, None)
    }

    fn publish_and_wait(&mut self, channel: String, data: Option<String>) -> wasmtime::Result<u64> {
        let token = self.token()?;
        self.push_publish("exchange.publish-and-wait", channel, data, Some(token))?;
        Ok(token.0)
    }

    fn watch(&mut self, channel: String) -> wasmtime::Result<()> {
        let bytes = channel.len();
        Ok(self.push(Command::Watch(channel.into()), bytes)?)
    }

    fn unwatch(&mut self, channel: String) -> wasmtime::Result<()> {
        let bytes = channel.len();
        Ok(self.push(Command::Unwatch(channel.into()), bytes)?)
    }
}
