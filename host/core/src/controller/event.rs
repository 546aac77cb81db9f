//! What an instance is told: its events, their kinds, and the interests without which most of them never come.

use sc_wire::store::{Change, Member};

use super::{Failure, HttpRequest, HttpResponse, Json, Line, RequestHead};
use crate::ids::{SocketId, Token};

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
    /// `modern`, `modern-1`, `modern-2` or `classic`.
    pub protocol: &'static str,
    /// The request's path.
    pub path: Box<str>,
    /// The request's query, without `?`.
    pub query: Box<str>,
    /// Claims of the verified token.
    pub auth: Option<Json>,
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
    /// A client's action that waits for a verdict.
    Action {
        /// Names the verdict.
        action: Token,
        /// What kind it is.
        line: Line,
        /// Whose.
        socket: SocketId,
        /// The event or the channel; empty on lines without.
        name: Box<str>,
        /// The event's, the publication's or the subscription's data; on the lines of tokens, what is known of them.
        data: Option<Json>,
    },
    /// A request that waits for a verdict.
    RequestAction {
        /// Names the verdict.
        action: Token,
        /// [`Line::Upgrade`] or [`Line::Request`].
        line: Line,
        /// The path that patterns are compared with: decoded, without empty parts.
        name: Box<str>,
        /// What came.
        request: Box<RequestHead>,
    },
    /// A socket of which the instance's component was given an action is over.
    SocketEnd {
        /// Which.
        socket: SocketId,
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
    /// A client answered [`Command::Ask`](super::Command::Ask).
    ClientAnswer {
        /// The ask's token.
        to: Token,
        /// The client's data or error.
        outcome: Result<Option<Json>, Failure>,
    },
    /// A store answered [`Command::Key`](super::Command::Key).
    Value {
        /// The command's token.
        to: Token,
        /// The value or the error.
        outcome: Result<Option<Json>, Failure>,
    },
    /// Another server answered [`Command::Fetch`](super::Command::Fetch), or did not.
    Fetched {
        /// The command's token.
        to: Token,
        /// What came, or why nothing did.
        outcome: Result<HttpResponse, Failure>,
    },
    /// A store took, or refused, a publication with a token.
    Published {
        /// The command's token.
        to: Token,
        /// Whether it was taken.
        outcome: Result<(), Failure>,
    },
    /// An HTTP request that a route took.
    Request(Box<HttpRequest>),
    /// The worker's last socket of a session is gone.
    SessionLeave {
        /// Which session.
        session: String,
    },
    /// A session has no socket any more, on any worker.
    SessionEnd {
        /// Which session.
        session: String,
    },
    /// Somebody joined, changed or left, on a channel whose members are watched.
    Member {
        /// The channel.
        channel: Box<str>,
        /// What happened.
        change: Change,
        /// To whom.
        member: Member,
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
    /// HTTP requests.
    Requests,
    /// Ends of sessions.
    SessionEnds,
    /// Who is on a channel.
    Members,
    /// Answers of other servers.
    Fetched,
    /// Actions that wait for a verdict.
    Actions,
    /// Requests that wait for a verdict.
    RequestActions,
    /// Ends of sockets.
    SocketEnds,
}

impl Event {
    /// The token that it answers; none for an event that nobody asked for.
    pub fn answers(&self) -> Option<Token> {
        match self {
            Event::Timer { token, .. } => Some(*token),
            Event::ClientAnswer { to, .. }
            | Event::Value { to, .. }
            | Event::Published { to, .. }
            | Event::Fetched { to, .. } => Some(*to),
            _ => None,
        }
    }

    /// The action that waits for a verdict, if it brings one.
    pub fn action(&self) -> Option<Token> {
        match self {
            Event::Action { action, .. } | Event::RequestAction { action, .. } => Some(*action),
            _ => None,
        }
    }

    /// The kind of handler it needs.
    pub fn kind(&self) -> EventKind {
        match self {
            Event::Open(_) | Event::Resume(_) | Event::Close { .. } => EventKind::Connections,
            Event::Message { .. } => EventKind::Messages,
            Event::Action { .. } => EventKind::Actions,
            Event::RequestAction { .. } => EventKind::RequestActions,
            Event::SocketEnd { .. } => EventKind::SocketEnds,
            Event::AuthChange { .. } => EventKind::AuthChanges,
            Event::Publication { .. } => EventKind::Publications,
            Event::Subscribe { .. } | Event::Unsubscribe { .. } => EventKind::Subscriptions,
            Event::Timer { .. } => EventKind::Timers,
            Event::ClientAnswer { .. } => EventKind::ClientAnswers,
            Event::Value { .. } => EventKind::Values,
            Event::Published { .. } => EventKind::Published,
            Event::Gap { .. } => EventKind::Gaps,
            Event::Request(_) => EventKind::Requests,
            Event::Fetched { .. } => EventKind::Fetched,
            Event::Member { .. } => EventKind::Members,
            Event::SessionLeave { .. } | Event::SessionEnd { .. } => EventKind::SessionEnds,
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
    /// `session-leave`
    SessionLeave,
    /// `session-end`
    SessionEnd,
}

impl Interest {
    /// The interest of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "auth-change" => Interest::AuthChange,
            "subscribe" => Interest::Subscribe,
            "unsubscribe" => Interest::Unsubscribe,
            "gap" => Interest::Gap,
            "session-leave" => Interest::SessionLeave,
            "session-end" => Interest::SessionEnd,
            _ => return None,
        })
    }
}
