//! `sessions`: what a controller does to all sockets of a browser.

use sc_core::controller::{Command, SessionMessage};
use sc_core::ids::{SocketId, Token};

use super::sockets::check_close;
use crate::bindings::socketcluster::controller::sessions::Host;
use crate::context::{Context, json};

impl Context {
    fn push_emit(
        &mut self,
        function: &str,
        session: String,
        event: String,
        data: Option<String>,
        but: Option<u64>,
        token: Option<Token>,
    ) -> wasmtime::Result<()> {
        if let Some(data) = &data {
            json(function, data)?;
        }
        let bytes = session.len() + event.len() + data.as_ref().map_or(0, String::len);
        let message = SessionMessage::Emit { event, data: data.map(Into::into), but };
        Ok(self.push(Command::TellSession { session: session.into(), message, token }, bytes)?)
    }
}

impl Host for Context {
    fn emit(
        &mut self,
        to: String,
        event: String,
        data: Option<String>,
        but: Option<u64>,
    ) -> wasmtime::Result<()> {
        self.push_emit("sessions.emit", to, event, data, but, None)
    }

    fn emit_and_count(
        &mut self,
        to: String,
        event: String,
        data: Option<String>,
        but: Option<u64>,
    ) -> wasmtime::Result<u64> {
        let token = self.token()?;
        self.push_emit("sessions.emit-and-count", to, event, data, but, Some(token))?;
        Ok(token.0)
    }

    fn emit_local(
        &mut self,
        to: String,
        event: String,
        data: Option<String>,
        but: Option<u64>,
    ) -> wasmtime::Result<()> {
        if let Some(data) = &data {
            json("sessions.emit-local", data)?;
        }
        let bytes = to.len() + event.len() + data.as_ref().map_or(0, String::len);
        let but = but.map(SocketId);
        let (session, event) = (to.into(), event.into());
        Ok(self.push(Command::EmitInSession { session, event, data, but }, bytes)?)
    }

    fn disconnect(&mut self, who: String, code: u16, reason: String) -> wasmtime::Result<()> {
        check_close("sessions.disconnect", code, &reason)?;
        let bytes = who.len() + reason.len();
        let message = SessionMessage::Close { code, reason };
        Ok(self.push(Command::TellSession { session: who.into(), message, token: None }, bytes)?)
    }

    fn sockets(&mut self, of: String) -> wasmtime::Result<Vec<u64>> {
        Ok(self.view().session_sockets(&of).into_iter().map(|socket| socket.0).collect())
    }
}
