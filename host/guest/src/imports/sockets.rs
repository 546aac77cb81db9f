//! `sockets`: what a controller does to clients, and the two questions that the worker's memory answers.

use std::time::Duration;

use sc_core::controller::Command;
use sc_core::ids::{SocketId, Token};

use crate::bindings::socketcluster::controller::sockets::Host;
use crate::bindings::socketcluster::controller::types;
use crate::context::{Context, Ended, json};
use crate::{lift, lower};

/// Longest reason of a close frame.
const REASON_MAX: usize = 123;

/// Checks data, and says how many bytes they are.
pub(super) fn checked(function: &str, data: Option<&String>) -> Result<usize, Ended> {
    match data {
        None => Ok(0),
        Some(data) => json(function, data).map(|()| data.len()),
    }
}

/// Checks what a close frame is to carry.
pub(super) fn check_close(function: &str, code: u16, reason: &str) -> Result<(), Ended> {
    if code != 1000 && !(3000..=4999).contains(&code) {
        return Err(Ended::argument(format!("{function}: {code} is not 1000 and not from 3000 to 4999")));
    }
    if reason.len() > REASON_MAX {
        let message = format!("{function}: a reason of {} bytes is over {REASON_MAX}", reason.len());
        return Err(Ended::argument(message));
    }
    Ok(())
}

impl Host for Context {
    fn emit(&mut self, to: u64, event: String, data: Option<String>) -> wasmtime::Result<()> {
        let bytes = event.len() + checked("sockets.emit", data.as_ref())?;
        let command = Command::Emit { to: SocketId(to), event: event.into(), data };
        Ok(self.push(command, bytes)?)
    }

    fn emit_many(&mut self, to: Vec<u64>, event: String, data: Option<String>) -> wasmtime::Result<()> {
        let bytes = event.len() + to.len() * size_of::<u64>() + checked("sockets.emit-many", data.as_ref())?;
        let to = to.into_iter().map(SocketId).collect();
        Ok(self.push(Command::EmitMany { to, event: event.into(), data }, bytes)?)
    }

    fn emit_to_all(&mut self, event: String, data: Option<String>) -> wasmtime::Result<()> {
        let bytes = event.len() + checked("sockets.emit-to-all", data.as_ref())?;
        Ok(self.push(Command::EmitToAll { event: event.into(), data }, bytes)?)
    }

    fn ask(
        &mut self,
        to: u64,
        event: String,
        data: Option<String>,
        timeout_ms: u32,
    ) -> wasmtime::Result<u64> {
        let bytes = event.len() + checked("sockets.ask", data.as_ref())?;
        let token = self.token()?;
        let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
        let (event, data) = (event.into(), data);
        self.push(Command::Ask { token, to: SocketId(to), event, data, timeout }, bytes)?;
        Ok(token.0)
    }

    fn answer(&mut self, reply: u64, data: Option<String>) -> wasmtime::Result<()> {
        let bytes = checked("sockets.answer", data.as_ref())?;
        Ok(self.push(Command::Answer { reply: Token(reply), data }, bytes)?)
    }

    fn refuse(&mut self, reply: u64, error: types::Failure) -> wasmtime::Result<()> {
        let (error, bytes) = lift::failure("sockets.refuse", error)?;
        Ok(self.push(Command::Refuse { reply: Token(reply), error }, bytes)?)
    }

    fn forget(&mut self, reply: u64) -> wasmtime::Result<()> {
        Ok(self.push(Command::Forget { reply: Token(reply) }, 0)?)
    }

    fn close(&mut self, who: u64, code: u16, reason: String) -> wasmtime::Result<()> {
        check_close("sockets.close", code, &reason)?;
        let bytes = reason.len();
        Ok(self.push(Command::Close { who: SocketId(who), code, reason: reason.into() }, bytes)?)
    }

    fn kick_out(&mut self, who: u64, channel: String, message: String) -> wasmtime::Result<()> {
        let bytes = channel.len() + message.len();
        let command =
            Command::KickOut { who: SocketId(who), channel: channel.into(), message: message.into() };
        Ok(self.push(command, bytes)?)
    }

    fn set_auth(&mut self, who: u64, claims: String, expires_in_s: Option<u32>) -> wasmtime::Result<()> {
        crate::context::json_object("sockets.set-auth", &claims)?;
        let bytes = claims.len();
        let expires_in = expires_in_s.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(self.push(Command::SetAuth { who: SocketId(who), claims, expires_in }, bytes)?)
    }

    fn clear_auth(&mut self, who: u64) -> wasmtime::Result<()> {
        Ok(self.push(Command::ClearAuth { who: SocketId(who) }, 0)?)
    }

    fn info(&mut self, who: u64) -> wasmtime::Result<Option<types::SocketInfo>> {
        Ok(self.view().socket(SocketId(who)).map(|info| lower::import_socket_info(&info)))
    }

    fn header(&mut self, who: u64, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.view().header(SocketId(who), &name))
    }

    fn subscriptions(&mut self, of: u64) -> wasmtime::Result<Vec<String>> {
        Ok(self.view().subscriptions(SocketId(of)))
    }
}
