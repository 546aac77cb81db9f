//! What an instance asks of the host. Commands do nothing while they are issued; they take effect when their call has
//! returned.

use std::time::Duration;

use sc_wire::store::{KeyOp, SessionMessage, Tree};

use super::{Failure, HttpFetch, HttpResponse, Interest, Json, Line, Verdict};
use crate::ids::{SocketId, Token};

/// What user code asks of the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Hear messages of that name; `*` for all.
    Listen(Box<str>),
    /// Hear another kind of event.
    Want(Interest),
    /// Decide about actions from now on.
    Guard {
        /// Of this line.
        line: Line,
        /// Whose event or channel has a name like this, with `*` and `?`. Lines without names take `*`.
        pattern: Box<str>,
    },
    /// Hear of each socket's end, once an action of it was given.
    HearEnds,
    /// What becomes of an action. Only the first verdict counts.
    Decide {
        /// Which.
        action: Token,
        /// What becomes of it.
        verdict: Verdict,
    },
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
    /// Nobody will answer a client's message.
    Forget {
        /// The message's reply token.
        reply: Token,
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
    /// Hear HTTP requests.
    Route {
        /// A method, or `*`.
        method: Box<str>,
        /// A path pattern.
        pattern: Box<str>,
    },
    /// The answer to an HTTP request.
    Respond {
        /// Which.
        request: Token,
        /// The answer.
        response: HttpResponse,
    },
    /// A request to another server.
    Fetch {
        /// Names the answer.
        token: Token,
        /// The request.
        request: HttpFetch,
    },
    /// Something to all sockets of a session on all workers.
    TellSession {
        /// Which.
        session: Box<str>,
        /// What.
        message: SessionMessage,
        /// Set when the instance wants to know how many sockets there are.
        token: Option<Token>,
    },
    /// An event to the session's sockets on this worker.
    EmitInSession {
        /// Which.
        session: Box<str>,
        /// Its name.
        event: Box<str>,
        /// Its data.
        data: Option<Json>,
        /// The socket that does not get it.
        but: Option<SocketId>,
    },
    /// Who is on a channel.
    Members {
        /// Names the answer.
        token: Token,
        /// The channel.
        channel: Box<str>,
        /// Who, or only how many.
        who: bool,
    },
    /// Says what is known of a socket's user, for those who ask who is on a channel.
    Describe {
        /// Which.
        who: SocketId,
        /// One JSON value; none for nothing.
        data: Option<Json>,
    },
    /// Hear who joins and leaves a channel, or no more.
    WatchMembers {
        /// The channel.
        channel: Box<str>,
        /// From now on, or no more.
        on: bool,
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
        path: Vec<String>,
        /// What to do.
        op: KeyOp,
    },
    /// A procedure of the stores' controller.
    Run {
        /// Names the answer; none to run it when this worker is gone.
        token: Option<Token>,
        /// The tree.
        tree: Tree,
        /// The path from which the procedure's paths start.
        path: Vec<String>,
        /// Its name.
        procedure: String,
        /// Its argument.
        argument: Option<Json>,
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

impl Command {
    /// Whether it says what the instance wants to hear from now on. An instance that was replaced says so no more.
    pub fn is_interest(&self) -> bool {
        match self {
            Command::Listen(_)
            | Command::Want(_)
            | Command::HearEnds
            | Command::Guard { .. }
            | Command::Route { .. }
            | Command::Watch(_)
            | Command::Unwatch(_)
            | Command::WatchMembers { .. } => true,
            Command::Timer { repeat, .. } => *repeat,
            _ => false,
        }
    }
}
