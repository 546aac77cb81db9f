//! What one instance's store holds: the buffer of the running call, its limits, and WASI.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sc_core::controller::{Command, Fault, HostAccess, WorkerView};
use sc_core::ids::Token;
use sc_core::limits::{COMMAND_BYTES_PER_CALL, COMMANDS_PER_CALL, TOKENS};
use send_wrapper::SendWrapper;
use serde_json::value::RawValue;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::confined::Bounded;
use crate::quota::Quota;
use crate::voice::Voice;

/// Why a host function or a limit ended the running call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Ended {
    pub(crate) fault: Fault,
    pub(crate) message: String,
}

impl Ended {
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Ended { fault: Fault::Limit, message: message.into() }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Ended { fault: Fault::Argument, message: message.into() }
    }
}

/// The store's data.
pub(crate) struct Context {
    pub(crate) voice: Voice,
    commands: Vec<Command>,
    command_bytes: usize,
    /// Tokens of this instance that were not answered yet.
    asked: HashSet<Token>,
    /// Its timers that still run, and whether they repeat. Apart, because only these end when the guest says so.
    timers: HashMap<Token, bool>,
    tokens: Arc<AtomicU64>,
    /// Only touched by the thread that made it; the store's data must be `Send` although it never moves.
    view: SendWrapper<std::rc::Rc<dyn WorkerView>>,
    pub(crate) quota: Quota,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
}

impl Bounded for Context {
    fn quota(&mut self) -> &mut Quota {
        &mut self.quota
    }
}

impl Context {
    pub(crate) fn new(voice: Voice, access: &HostAccess, wasi: WasiCtx, memory_max: usize) -> Self {
        Context {
            voice,
            commands: Vec::new(),
            command_bytes: 0,
            asked: HashSet::new(),
            timers: HashMap::new(),
            tokens: Arc::clone(&access.tokens),
            view: SendWrapper::new(std::rc::Rc::clone(&access.view)),
            quota: Quota::new(memory_max),
            table: ResourceTable::new(),
            wasi,
        }
    }

    pub(crate) fn view(&self) -> &dyn WorkerView {
        &**self.view
    }

    /// Appends a command that carries so many bytes.
    pub(crate) fn push(&mut self, command: Command, bytes: usize) -> Result<(), Ended> {
        if self.commands.len() >= COMMANDS_PER_CALL {
            return Err(Ended::limit(format!(
                "a call may issue {COMMANDS_PER_CALL} commands, and this one issued more"
            )));
        }
        self.command_bytes = self.command_bytes.saturating_add(bytes);
        if self.command_bytes > COMMAND_BYTES_PER_CALL {
            return Err(Ended::limit(format!(
                "the commands of a call may carry {COMMAND_BYTES_PER_CALL} bytes"
            )));
        }
        self.commands.push(command);
        Ok(())
    }

    /// A token for a command that asks.
    pub(crate) fn token(&mut self) -> Result<Token, Ended> {
        let token = self.next_token()?;
        self.asked.insert(token);
        Ok(token)
    }

    /// A token for a timer.
    pub(crate) fn timer_token(&mut self, repeat: bool) -> Result<Token, Ended> {
        let token = self.next_token()?;
        self.timers.insert(token, repeat);
        Ok(token)
    }

    /// Whether the token was given to this instance and means something still.
    pub(crate) fn awaits(&self, token: Token) -> bool {
        self.asked.contains(&token) || self.timers.contains_key(&token)
    }

    /// Tokens that will be answered, once each.
    pub(crate) fn outstanding(&self) -> usize {
        self.asked.len() + self.timers.values().filter(|repeat| !**repeat).count()
    }

    fn next_token(&self) -> Result<Token, Ended> {
        if self.asked.len() + self.timers.len() >= TOKENS {
            return Err(Ended::limit(format!(
                "{TOKENS} tokens of this instance wait for their answer already"
            )));
        }
        Ok(Token(self.tokens.fetch_add(1, Ordering::Relaxed)))
    }

    /// A token was answered.
    pub(crate) fn settle(&mut self, token: Token) {
        self.asked.remove(&token);
    }

    /// A timer had its last turn, or was cancelled.
    pub(crate) fn end_timer(&mut self, token: Token) {
        self.timers.remove(&token);
    }

    /// What the call that ended asked for.
    pub(crate) fn take_commands(&mut self) -> Vec<Command> {
        self.command_bytes = 0;
        std::mem::take(&mut self.commands)
    }
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Checks that a text is exactly one JSON value; nesting costs no stack.
pub(crate) fn json(function: &str, text: &str) -> Result<(), Ended> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Ended::argument(format!("{function}: the text is not one JSON value: {error}"))),
    }
}

/// Checks that a text is one JSON object.
pub(crate) fn json_object(function: &str, text: &str) -> Result<(), Ended> {
    json(function, text)?;
    if text.trim_start().starts_with('{') {
        Ok(())
    } else {
        Err(Ended::argument(format!("{function}: the text is no JSON object")))
    }
}
