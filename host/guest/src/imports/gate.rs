//! `gate`: which actions the instance decides about, and how.

use sc_core::controller::{Command, Header, HttpResponse, Line, Verdict};
use sc_core::ids::Token;
use sc_core::log::name;

use super::http::checked_answer;
use super::sockets::{check_close, checked};
use crate::bindings::socketcluster::controller::gate::Host;
use crate::bindings::socketcluster::controller::types;
use crate::context::{Context, Ended};
use crate::lift;

impl Context {
    fn decide(&mut self, action: u64, verdict: Verdict, bytes: usize) -> wasmtime::Result<()> {
        Ok(self.push(Command::Decide { action: Token(action), verdict }, bytes)?)
    }
}

impl Host for Context {
    fn guard(&mut self, line: String, pattern: String) -> wasmtime::Result<()> {
        let known = Line::named(&line).ok_or_else(|| {
            let lines: Vec<_> = Line::ALL.iter().map(|line| line.as_str()).collect();
            let (line, lines) = (name(&line).escape_debug(), lines.join(", "));
            Ended::argument(format!("gate.guard: there is no line \"{line}\"; known are {lines}"))
        })?;
        if !known.has_names() && pattern != "*" {
            let pattern = name(&pattern).escape_debug();
            let message =
                format!("gate.guard: actions of {line} have no names: \"{pattern}\" has to be \"*\"");
            return Err(Ended::argument(message).into());
        }
        let bytes = pattern.len();
        Ok(self.push(Command::Guard { line: known, pattern: pattern.into() }, bytes)?)
    }

    fn allow(&mut self, action: u64) -> wasmtime::Result<()> {
        self.decide(action, Verdict::Allow, 0)
    }

    fn allow_with(&mut self, action: u64, data: Option<String>) -> wasmtime::Result<()> {
        let bytes = checked("gate.allow-with", data.as_ref())?;
        self.decide(action, Verdict::AllowWith(data), bytes)
    }

    fn block(&mut self, action: u64, error: types::Failure) -> wasmtime::Result<()> {
        let (error, bytes) = lift::failure("gate.block", error)?;
        self.decide(action, Verdict::Block { error, code: None }, bytes)
    }

    fn reject(&mut self, action: u64, error: types::Failure, code: u16) -> wasmtime::Result<()> {
        check_close("gate.reject", code, "")?;
        let (error, bytes) = lift::failure("gate.reject", error)?;
        self.decide(action, Verdict::Block { error, code: Some(code) }, bytes)
    }

    fn block_silently(&mut self, action: u64) -> wasmtime::Result<()> {
        self.decide(action, Verdict::BlockSilently, 0)
    }

    fn answer(
        &mut self,
        action: u64,
        status: u16,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> wasmtime::Result<()> {
        let (headers, bytes) = checked_answer("gate.answer", status, headers, &body)?;
        self.decide(action, Verdict::Answer(HttpResponse { status, headers, body }), bytes)
    }

    fn hear_ends(&mut self) -> wasmtime::Result<()> {
        Ok(self.push(Command::HearEnds, 0)?)
    }
}
