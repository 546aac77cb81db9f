//! The kinds of actions, under their names here and in SocketCluster.

use serde::Deserialize;

/// A kind of action. In a configuration it has the name that it is shown by.
///
/// ```
/// use sc_sdk::middleware::Line;
/// assert_eq!(Line::PublishIn.to_string(), "publish-in");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Line {
    /// A request is to become a socket, and is not answered yet: whom it blocks sees a failed connection, and nothing
    /// of the reason. Named by its path; see [`Action::request`](super::Action::request). `MIDDLEWARE_HANDSHAKE_WS`.
    Upgrade,
    /// A request to a file, a route or the site, before its body is read. Named by its path, decoded and without empty
    /// parts, however the client writes it; one with `.` or `..` is answered with 400.
    Request,
    /// Each message of a client as it came, pongs included; its data are its text. `MIDDLEWARE_INBOUND_RAW`.
    InboundRaw,
    /// A socket is to open; its token has been looked at. `MIDDLEWARE_HANDSHAKE_SC` of SocketCluster.
    Handshake,
    /// A good token is to become the socket's, at its handshake or later. `MIDDLEWARE_AUTHENTICATE`.
    Authenticate,
    /// A client subscribes. `MIDDLEWARE_SUBSCRIBE`.
    Subscribe,
    /// A client publishes. `MIDDLEWARE_PUBLISH_IN`.
    PublishIn,
    /// An event that nobody answers.
    Transmit,
    /// An event that waits for an answer.
    Invoke,
    /// A publication is about to reach one of its subscribers, the action's socket: asked once for each of them.
    /// `MIDDLEWARE_PUBLISH_OUT`.
    PublishOut,
    /// Both kinds of events: for handlers; an action is one or the other. `MIDDLEWARE_EMIT`.
    Event,
}

/// Lines under the names that SocketCluster gave them over its generations.
pub mod names {
    use super::Line;

    /// Until SocketCluster 9 that of the HTTP request ([`Line::Upgrade`]); here the protocol's, whose client hears
    /// why.
    pub const MIDDLEWARE_HANDSHAKE: Line = Line::Handshake;
    /// From SocketCluster 10 on: the HTTP request.
    pub const MIDDLEWARE_HANDSHAKE_WS: Line = Line::Upgrade;
    /// From SocketCluster 10 on.
    pub const MIDDLEWARE_HANDSHAKE_SC: Line = Line::Handshake;
    /// From SocketCluster 5 on.
    pub const MIDDLEWARE_AUTHENTICATE: Line = Line::Authenticate;
    /// Of all generations.
    pub const MIDDLEWARE_SUBSCRIBE: Line = Line::Subscribe;
    /// Of SocketCluster 0.9.
    pub const MIDDLEWARE_EVENT: Line = Line::Event;
    /// From SocketCluster 1 on.
    pub const MIDDLEWARE_EMIT: Line = Line::Event;
    /// Until SocketCluster 1.
    pub const MIDDLEWARE_PUBLISH: Line = Line::PublishIn;
    /// From SocketCluster 1 on.
    pub const MIDDLEWARE_PUBLISH_IN: Line = Line::PublishIn;
    /// From SocketCluster 1 on.
    pub const MIDDLEWARE_PUBLISH_OUT: Line = Line::PublishOut;
    /// From SocketCluster 15 on.
    pub const MIDDLEWARE_INBOUND_RAW: Line = Line::InboundRaw;
    /// A type of action, from SocketCluster 15 on, as are those that follow.
    pub const HANDSHAKE_WS: Line = Line::Upgrade;
    /// On `MIDDLEWARE_HANDSHAKE`.
    pub const HANDSHAKE_SC: Line = Line::Handshake;
    /// On `MIDDLEWARE_INBOUND_RAW`.
    pub const MESSAGE: Line = Line::InboundRaw;
    /// On `MIDDLEWARE_INBOUND`.
    pub const TRANSMIT: Line = Line::Transmit;
    /// On `MIDDLEWARE_INBOUND`.
    pub const INVOKE: Line = Line::Invoke;
    /// On `MIDDLEWARE_INBOUND`.
    pub const SUBSCRIBE: Line = Line::Subscribe;
    /// On `MIDDLEWARE_INBOUND`.
    pub const PUBLISH_IN: Line = Line::PublishIn;
    /// On `MIDDLEWARE_INBOUND`.
    pub const AUTHENTICATE: Line = Line::Authenticate;
    /// On `MIDDLEWARE_OUTBOUND`.
    pub const PUBLISH_OUT: Line = Line::PublishOut;
}

impl Line {
    pub(super) fn word(self) -> &'static str {
        match self {
            Line::Upgrade => "upgrade",
            Line::Request => "request",
            Line::InboundRaw => "inbound-raw",
            Line::Handshake => "handshake",
            Line::Authenticate => "authenticate",
            Line::Subscribe => "subscribe",
            Line::PublishIn => "publish-in",
            Line::Transmit => "transmit",
            Line::Invoke => "invoke",
            Line::PublishOut => "publish-out",
            Line::Event => "event",
        }
    }

    pub(super) fn of(word: &str) -> Option<Self> {
        use Line::{
            Authenticate, Handshake, InboundRaw, Invoke, PublishIn, PublishOut, Request, Subscribe, Transmit,
            Upgrade,
        };
        [
            Upgrade,
            Request,
            InboundRaw,
            Handshake,
            Authenticate,
            Subscribe,
            PublishIn,
            Transmit,
            Invoke,
            PublishOut,
        ]
        .into_iter()
        .find(|line| line.word() == word)
    }

    /// Whether its actions are requests, which have no socket.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Line::Upgrade | Line::Request)
    }

    pub(super) fn takes(self, other: Line) -> bool {
        self == other || (self == Line::Event && matches!(other, Line::Transmit | Line::Invoke))
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}
