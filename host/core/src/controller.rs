//! What user code can be told and what it can ask for. The worker drives a [`Controller`]; `sc-guest` implements it
//! with WebAssembly, tests with plain Rust.
//!
//! One [`Event`] is one call; the [`Command`]s it issued come back with the call and take effect together. A call
//! that fails has no commands, and its instance is dead.

use std::future::Future;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{SocketId, Token};

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
}

/// What is known of an open socket.
#[derive(Clone, Debug, PartialEq)]
pub struct SocketInfo {
    /// The socket.
    pub id: SocketId,
    /// The id that clients see.
    pub name: Box<str>,
    /// The session's id.
    pub session: Box<str>,
    /// The client's IP address.
    pub address: Box<str>,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// `modern`, `modern-1` or `modern-2`.
    pub protocol: &'static str,
    /// The request's path.
    pub path: Box<str>,
    /// The request's query, without `?`.
    pub query: Box<str>,
    /// Claims of the verified token.
    pub auth: Option<Json>,
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
    /// The worker process before this one died.
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
    /// This worker's number.
    pub worker: u32,
    /// How many workers the host runs.
    pub workers: u32,
    /// The application's name.
    pub app: Box<str>,
    /// The controller's configuration, a JSON object.
    pub config: Json,
    /// Why it starts.
    pub cause: Cause,
}

/// One call into user code.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A socket completed its handshake.
    Open(SocketInfo),
    /// A socket that was open before the instance began.
    Resume(SocketInfo),
    /// A socket closed.
    Close {
        /// Which.
        socket: SocketId,
        /// The WebSocket close code, 1006 without a close frame.
        code: u16,
        /// The close frame's reason.
        reason: Box<str>,
    },
    /// A client sent an event.
    Message {
        /// From where.
        socket: SocketId,
        /// The event's name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
        /// Set when the client waits for an answer.
        reply: Option<Token>,
    },
    /// A socket's verified claims changed.
    AuthChange {
        /// Which.
        socket: SocketId,
        /// The claims, none when deauthenticated.
        auth: Option<Json>,
    },
    /// A publication on a watched channel.
    Publication {
        /// The channel.
        channel: Box<str>,
        /// The data.
        data: Option<Json>,
    },
    /// A client subscribed.
    Subscribe {
        /// Who.
        socket: SocketId,
        /// To what.
        channel: Box<str>,
    },
    /// A client's subscription ended.
    Unsubscribe {
        /// Who.
        socket: SocketId,
        /// Of what.
        channel: Box<str>,
    },
    /// A timer is due.
    Timer {
        /// Which.
        token: Token,
        /// Whether it was its last turn.
        last: bool,
    },
    /// A client answered [`Command::Ask`].
    ClientAnswer {
        /// The ask's token.
        to: Token,
        /// The client's data or error.
        outcome: Result<Option<Json>, Failure>,
    },
    /// A store answered [`Command::Key`].
    Value {
        /// The command's token.
        to: Token,
        /// The value or the error.
        outcome: Result<Option<Json>, Failure>,
    },
    /// A store took, or refused, a publication with a token.
    Published {
        /// The command's token.
        to: Token,
        /// Whether it was taken.
        outcome: Result<(), Failure>,
    },
    /// A store died and came back.
    Gap {
        /// Which store.
        store: u32,
    },
}

/// The kinds of events an instance may or may not have a handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Open, resume, close.
    Connections,
    /// Messages.
    Messages,
    /// Changes of claims.
    AuthChanges,
    /// Publications on watched channels.
    Publications,
    /// Subscribe and unsubscribe.
    Subscriptions,
    /// Timers.
    Timers,
    /// Answers of clients.
    ClientAnswers,
    /// Answers of stores.
    Values,
    /// Answers to publications.
    Published,
    /// Gaps.
    Gaps,
}

impl Event {
    /// The kind of handler it needs.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Open(_) | Event::Resume(_) | Event::Close { .. } => EventKind::Connections,
            Event::Message { .. } => EventKind::Messages,
            Event::AuthChange { .. } => EventKind::AuthChanges,
            Event::Publication { .. } => EventKind::Publications,
            Event::Subscribe { .. } | Event::Unsubscribe { .. } => EventKind::Subscriptions,
            Event::Timer { .. } => EventKind::Timers,
            Event::ClientAnswer { .. } => EventKind::ClientAnswers,
            Event::Value { .. } => EventKind::Values,
            Event::Published { .. } => EventKind::Published,
            Event::Gap { .. } => EventKind::Gaps,
        }
    }
}

/// Events other than messages that need to be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// `auth-change`
    AuthChange,
    /// `subscribe`
    Subscribe,
    /// `unsubscribe`
    Unsubscribe,
    /// `gap`
    Gap,
}

impl Interest {
    /// The interest of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auth-change" => Interest::AuthChange,
            "subscribe" => Interest::Subscribe,
            "unsubscribe" => Interest::Unsubscribe,
            "gap" => Interest::Gap,
            _ => return None,
        })
    }
}

/// Which tree of a store a path starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tree {
    /// The data of one session.
    Session(Box<str>),
    /// The tree all share.
    Global,
    /// A tree with a name.
    Named(Box<str>),
}

/// An operation on a store's data.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyOp {
    /// Answers with the value.
    Get,
    /// Replaces the value.
    Set(Json),
    /// Removes the value and answers with it.
    Remove,
    /// Removes the value later; answers whether there was one.
    Expire(Duration),
}

/// What user code asks of the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Hear messages of that name; `*` for all.
    Listen(Box<str>),
    /// Hear another kind of event.
    Want(Interest),
    /// An event to one client.
    Emit {
        /// To whom.
        to: SocketId,
        /// Its name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
    },
    /// One event to many clients.
    EmitMany {
        /// To whom.
        to: Vec<SocketId>,
        /// Its name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
    },
    /// One event to every open socket of the worker.
    EmitToAll {
        /// Its name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
    },
    /// An event that a client answers.
    Ask {
        /// Names the answer.
        token: Token,
        /// To whom.
        to: SocketId,
        /// Its name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
        /// How long to wait; none for the host's default.
        timeout: Option<Duration>,
    },
    /// The answer to a client's message.
    Answer {
        /// The message's reply token.
        reply: Token,
        /// The answer.
        data: Option<Json>,
    },
    /// The answer to a client's message, an error.
    Refuse {
        /// The message's reply token.
        reply: Token,
        /// The error.
        error: Failure,
    },
    /// Close a socket.
    Close {
        /// Which.
        who: SocketId,
        /// 1000 or 3000 to 4999.
        code: u16,
        /// At most 123 bytes.
        reason: Box<str>,
    },
    /// End a subscription and tell the client.
    KickOut {
        /// Whose.
        who: SocketId,
        /// Of what.
        channel: Box<str>,
        /// Why; empty for none.
        message: Box<str>,
    },
    /// Sign claims and hand the token out.
    SetAuth {
        /// To whom.
        who: SocketId,
        /// The claims, a JSON object.
        claims: Json,
        /// How long it lives; none for the host's default.
        expires_in: Option<Duration>,
    },
    /// Take a client's token away.
    ClearAuth {
        /// Whose.
        who: SocketId,
    },
    /// Publish on a channel.
    Publish {
        /// The channel.
        channel: Box<str>,
        /// The data.
        data: Option<Json>,
        /// Set when the instance waits for the store.
        token: Option<Token>,
    },
    /// Hear a channel.
    Watch(Box<str>),
    /// Stop hearing a channel.
    Unwatch(Box<str>),
    /// An operation on a store's data.
    Key {
        /// Names the answer.
        token: Token,
        /// The tree.
        tree: Tree,
        /// The path in it.
        path: Vec<Box<str>>,
        /// What to do.
        op: KeyOp,
    },
    /// A timer.
    Timer {
        /// Names its turns.
        token: Token,
        /// When, or how often.
        period: Duration,
        /// Whether it turns again and again.
        repeat: bool,
    },
    /// End a timer.
    Cancel(Token),
    /// Replace the key that signs tokens, on all workers.
    RotateAuthKey(Box<str>),
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

/// A call that failed. Its commands are gone and its instance is dead.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    /// How.
    pub fault: Fault,
    /// For the log: what happened and where in the guest.
    pub message: String,
}

/// An instance that could not be started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The component could not be loaded or linked.
    #[error("{0}")]
    Load(String),
    /// `on-start` or `restore` answered with an error.
    #[error("{0}")]
    Refused(String),
    /// The guest failed while starting.
    #[error("the controller failed while starting: {0}")]
    Failed(#[from] CallError),
}

/// A guest's state at a swap, and the version it gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The controller's own version of the format.
    pub version: u32,
    /// At most 16 MiB.
    pub data: Vec<u8>,
}

/// A compiled component: where it lies and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentRef {
    /// The name users gave it.
    pub name: String,
    /// The compiled file, checked by the master; a child only maps it.
    pub compiled: PathBuf,
    /// SHA-256 of the component's bytes, in hex.
    pub hash: String,
}

/// A live instance of user code.
pub trait Controller {
    /// Whether events of the kind have a handler.
    fn handles(&self, kind: EventKind) -> bool;

    /// Runs one event to its end and returns what it asked for, in order. Native work of the thread goes on while a
    /// long call runs. After an error the instance must be dropped.
    fn call(&mut self, event: &Event) -> impl Future<Output = Result<Vec<Command>, CallError>>;

    /// The state to carry over a swap; none when the controller keeps none.
    fn snapshot(&mut self) -> impl Future<Output = Result<Option<Snapshot>, CallError>>;
}

/// Where instances come from.
pub trait ControllerSource {
    /// What it makes.
    type Instance: Controller + 'static;

    /// Loads, starts and, with a snapshot, restores an instance. The commands are those of starting.
    fn start(
        &self,
        component: &ComponentRef,
        info: &StartInfo,
        restore: Option<&Snapshot>,
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

    /// A kept header of the request that opened a socket.
    fn header(&self, id: SocketId, name: &str) -> Option<Vec<u8>>;
}
