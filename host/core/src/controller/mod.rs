//! What user code can be told and what it can ask for. The worker drives a [`Controller`]; `sc-guest` implements it
//! with WebAssembly, tests with plain Rust.
//!
//! One [`Event`] is one call; the [`Command`]s it issued come back with the call and take effect together. A call
//! that fails has no commands, and its instance is dead.

mod action;
mod arrival;
mod command;
mod event;
mod generation;
mod http;
mod occasion;
mod procedure;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use sc_wire::store::{Change, KeyError, KeyErrorKind, KeyOp, Member, SessionMessage, Tree};

pub use self::action::{Line, RequestHead, Verdict};
pub use self::arrival::{Arrival, BalancerController, BalancerControllerSource, Ruling};
pub use self::command::Command;
pub use self::event::{Event, EventKind, Interest, SocketInfo};
pub use self::generation::{ComponentRef, Generation, Label, short_hash};
pub use self::http::{Header, HttpFetch, HttpRequest, HttpResponse};
pub use self::occasion::{HttpCall, StoreCall};
pub use self::procedure::{ProcedureData, StoreController, StoreControllerSource};
use crate::ids::{SocketId, Token};
use crate::log::told;

/// One JSON value as text, known to be exactly one.
pub type Json = String;

/// An error as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A bare text.
    Text(Box<str>),
    /// An error object; `extra` is the text of a JSON object whose members are added.
    Error {
        /// The error's class.
        name: Option<Box<str>>,
        /// What went wrong.
        message: Box<str>,
        /// More members.
        extra: Option<Json>,
    },
}

impl Failure {
    /// A named error without more members.
    pub fn named(name: &str, message: impl Into<Box<str>>) -> Self {
        Failure::Error { name: Some(name.into()), message: message.into(), extra: None }
    }

    /// The error's class, for the log; `Error` for one without.
    pub fn class(&self) -> &str {
        match self {
            Failure::Error { name: Some(name), .. } => crate::log::name(name),
            Failure::Error { name: None, .. } | Failure::Text(_) => "Error",
        }
    }
}

/// Why an instance starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The host starts.
    Boot,
    /// New code replaces old.
    Reload,
    /// The instance before it failed.
    Crash,
    /// This role's process before this one died.
    WorkerRestart,
}

impl Cause {
    /// The word that guests get.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Boot => "boot",
            Cause::Reload => "reload",
            Cause::Crash => "crash",
            Cause::WorkerRestart => "worker-restart",
        }
    }
}

/// What an instance is told when it starts.
#[derive(Clone, Debug)]
pub struct StartInfo {
    /// This worker's number; of other roles, this process's among its like.
    pub worker: u32,
    /// How many workers the host runs; of other roles, how many of its like.
    pub workers: u32,
    /// The application's name.
    pub app: Box<str>,
    /// The controller's configuration, a JSON object.
    pub config: Json,
    /// Why it starts.
    pub cause: Cause,
}

/// Whose fault a failed call is, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It trapped: a panic, an unreachable instruction, a bad memory access.
    Trap,
    /// It used up its CPU time.
    Timeout,
    /// It hit its memory limit.
    Memory,
    /// It issued too many or too large commands, or held too many tokens.
    Limit,
    /// A command's argument was wrong: text that is not JSON, an illegal close code.
    Argument,
}

/// A call that failed. Its commands are gone and its instance is dead. Shown on one line it tells all that its author
/// needs; the log has the lists in full.
#[derive(Clone, Debug)]
pub struct CallError {
    /// How.
    pub fault: Fault,
    /// What happened.
    pub message: String,
    /// The functions that it failed in, by their names in the guest, innermost first.
    pub backtrace: Vec<String>,
    /// What it wrote to stderr during the call, at last.
    pub last_lines: Vec<String>,
}

impl CallError {
    /// Functions and lines that one line of text tells of.
    const FRAMES: usize = 5;
    const LINES: usize = 3;
    /// Bytes of each of those lines.
    const LINE_MAX: usize = 200;

    /// An error of which no more is known than what happened.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        CallError { fault, message: message.into(), backtrace: Vec::new(), last_lines: Vec::new() }
    }

    /// The function that it failed in.
    pub fn place(&self) -> Option<&str> {
        self.backtrace.first().map(String::as_str)
    }
}

impl std::error::Error for CallError {}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        for (number, frame) in self.backtrace.iter().take(Self::FRAMES).enumerate() {
            write!(f, "{}{frame}", if number == 0 { ", in " } else { " < " })?;
        }
        let skipped = self.last_lines.len().saturating_sub(Self::LINES);
        for (number, line) in self.last_lines.iter().skip(skipped).enumerate() {
            let begin = if number == 0 { "; its last words: " } else { " / " };
            write!(f, "{begin}{}", crate::log::cut(line, Self::LINE_MAX))?;
        }
        Ok(())
    }
}

/// An instance that could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The component could not be loaded or linked.
    #[error("{0}")]
    Load(String),
    /// `on-start` or `restore` answered with an error: [`StartError::refused`] shortens what the guest says.
    #[error("{0}")]
    Refused(String),
    /// The guest failed while starting.
    #[error("the controller failed while starting: {0}")]
    Failed(CallError),
}

impl StartError {
    /// `on-start` or `restore` answered with that text.
    pub fn refused(text: &str) -> Self {
        StartError::Refused(told(text))
    }

    /// The functions that it failed in, as of [`CallError::backtrace`].
    pub fn backtrace(&self) -> &[String] {
        match self {
            StartError::Failed(error) => &error.backtrace,
            StartError::Load(_) | StartError::Refused(_) => &[],
        }
    }

    /// What it wrote to stderr at last, as of [`CallError::last_lines`].
    pub fn last_lines(&self) -> &[String] {
        match self {
            StartError::Failed(error) => &error.last_lines,
            StartError::Load(_) | StartError::Refused(_) => &[],
        }
    }
}

/// A guest's state at a swap, and the version it gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The controller's own version of the format.
    pub version: u32,
    /// At most 16 MiB.
    pub data: Vec<u8>,
}

/// Why no snapshot could be taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is too large. The instance lives on.
    #[error("its state takes {bytes} bytes, and {max} may be carried over")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// How many there may be.
        max: usize,
    },
    /// The instance failed, and is dead.
    #[error("it failed while its state was taken: {0}")]
    Failed(CallError),
}

/// A live instance of user code.
pub trait Controller {
    /// Whether events of the kind have a handler.
    fn handles(&self, kind: EventKind) -> bool;

    /// Whether it waits for the answer, or the timer, of that token.
    fn awaits(&self, token: Token) -> bool;

    /// For how many answers and timers it waits. Repeating timers do not count: they end with the instance's reign.
    fn outstanding(&self) -> usize;

    /// Runs one event to its end and returns what it asked for, in order. Native work of the thread goes on while a
    /// long call runs. After an error the instance must be dropped.
    fn call(&mut self, event: &Event) -> impl Future<Output = Result<Vec<Command>, CallError>>;

    /// The state to carry over a swap; none when the controller keeps none. What it asks for meanwhile is dropped.
    fn snapshot(&mut self) -> impl Future<Output = Result<Option<Snapshot>, SnapshotError>>;

    /// Takes the state over, before any event. After an error the instance must be dropped.
    fn restore(&mut self, state: &Snapshot) -> impl Future<Output = Result<Vec<Command>, StartError>>;
}

/// Where instances come from.
pub trait ControllerSource {
    /// What it makes.
    type Instance: Controller + 'static;

    /// Loads and starts an instance. The commands are those of starting.
    fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
        access: &HostAccess,
    ) -> impl Future<Output = Result<(Self::Instance, Vec<Command>), StartError>>;
}

/// What an instance shares with its worker.
#[derive(Clone)]
pub struct HostAccess {
    /// Answers queries.
    pub view: Rc<dyn WorkerView>,
    /// The next token's number. All instances of a worker process draw from it, so that a token never comes back.
    pub tokens: Arc<AtomicU64>,
}

/// What a running call may read of the worker.
pub trait WorkerView {
    /// An open socket.
    fn socket(&self, id: SocketId) -> Option<SocketInfo>;

    /// The id that clients see of a socket, for the log; also of one that is closing.
    fn socket_name(&self, id: SocketId) -> Option<Box<str>>;

    /// The open sockets of a session.
    fn session_sockets(&self, session: &str) -> Vec<SocketId>;

    /// Signs claims, the text of a JSON object.
    fn sign(&self, claims: &str, expires_in: Option<Duration>) -> Result<String, Failure>;

    /// The claims of a token that is good now.
    fn verify(&self, token: &str) -> Result<Json, Failure>;

    /// Whether the controller may replace the key that signs.
    fn may_rotate(&self) -> bool;

    /// A kept header of the request that opened a socket.
    fn header(&self, id: SocketId, name: &str) -> Option<Vec<u8>>;

    /// The channels of an open socket, sorted.
    fn subscriptions(&self, id: SocketId) -> Vec<String>;
}
