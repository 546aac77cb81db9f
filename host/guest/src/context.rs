//! What one instance's store holds: the buffer of the running call, its limits, and WASI.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sc_core::controller::{Command, Fault, HostAccess, WorkerView};
use sc_core::ids::Token;
use sc_core::limits::{COMMAND_BYTES_PER_CALL, COMMANDS_PER_CALL, TOKENS};
use send_wrapper::SendWrapper;
use serde_json::value::RawValue;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::clock::thread_cpu;

/// Tables of all kinds together: more elements than any language's runtime uses.
const TABLE_ELEMENTS: usize = 1_000_000;

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
    pub(crate) component: String,
    commands: Vec<Command>,
    command_bytes: usize,
    /// Tokens of this instance that were not answered yet.
    outstanding: HashSet<Token>,
    tokens: Arc<AtomicU64>,
    /// Only touched by the thread that made it; the store's data must be `Send` although it never moves.
    view: SendWrapper<std::rc::Rc<dyn WorkerView>>,
    pub(crate) budget: Budget,
    pub(crate) memory: Memory,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
}

impl Context {
    pub(crate) fn new(component: String, access: &HostAccess, wasi: WasiCtx, memory_max: usize) -> Self {
        Context {
            component,
            commands: Vec::new(),
            command_bytes: 0,
            outstanding: HashSet::new(),
            tokens: Arc::clone(&access.tokens),
            view: SendWrapper::new(std::rc::Rc::clone(&access.view)),
            budget: Budget::default(),
            memory: Memory { most: memory_max, used: 0, refused: false },
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
        if self.outstanding.len() >= TOKENS {
            return Err(Ended::limit(format!(
                "{TOKENS} tokens of this instance wait for their answer already"
            )));
        }
        let token = Token(self.tokens.fetch_add(1, Ordering::Relaxed));
        self.outstanding.insert(token);
        Ok(token)
    }

    /// A token will not be answered any more.
    pub(crate) fn settle(&mut self, token: Token) {
        self.outstanding.remove(&token);
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

/// CPU time of the running call: only what the guest itself used. While it yields, the thread's time goes to others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    most: Duration,
    used: Duration,
    /// The thread's CPU time in nanoseconds when the guest began or went on; shared with the future that resumes it.
    resumed: Arc<AtomicU64>,
}

impl Budget {
    /// A call begins.
    pub(crate) fn begin(&mut self, most: Duration) {
        self.most = most;
        self.used = Duration::ZERO;
        mark(&self.resumed);
    }

    /// An epoch passed while the guest ran: charges it, and says whether it may go on.
    pub(crate) fn charge(&mut self) -> Result<(), Ended> {
        let began = Duration::from_nanos(self.resumed.load(Ordering::Relaxed));
        self.used += thread_cpu().saturating_sub(began);
        if self.used > self.most {
            let message =
                format!("a call may use {} ms of CPU time, and this one used more", self.most.as_millis());
            return Err(Ended { fault: Fault::Timeout, message });
        }
        Ok(())
    }

    /// Gives the thread to others for one turn of its loop.
    pub(crate) fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let resumed = Arc::clone(&self.resumed);
        async move {
            tokio::task::yield_now().await;
            mark(&resumed);
        }
    }
}

fn mark(resumed: &AtomicU64) {
    let now = u64::try_from(thread_cpu().as_nanos()).unwrap_or(u64::MAX);
    resumed.store(now, Ordering::Relaxed);
}

/// The sum of an instance's memories, and its tables.
#[derive(Debug)]
pub(crate) struct Memory {
    most: usize,
    used: usize,
    /// A growth was refused: a trap that follows is about memory.
    pub(crate) refused: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.most {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
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
