//! What middleware decides about: a client's actions, each on one line, and the verdicts on them.

use super::{Failure, Header, HttpResponse, Json};

/// A kind of action. Those that socketcluster-server 20.0.1 has as well are called as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// `upgrade`: a request wants to become a socket; it is not answered yet. Named by its path.
    Upgrade,
    /// `request`: a request to a file, a route or the site. Named by its path.
    Request,
    /// `inbound-raw`: a message of a socket, before anything is read in it.
    InboundRaw,
    /// `handshake`: a socket is to open. Comes after its token was verified.
    Handshake,
    /// `authenticate`: a token that verified is to become the socket's.
    Authenticate,
    /// `subscribe`
    Subscribe,
    /// `publish-in`: a client publishes.
    PublishIn,
    /// `transmit`: an event that nobody answers.
    Transmit,
    /// `invoke`: an event that waits for an answer.
    Invoke,
    /// `publish-out`: a publication is about to reach one of its subscribers.
    PublishOut,
}

impl Line {
    /// All lines, in the order of their numbers.
    pub const ALL: [Line; 10] = [
        Line::Upgrade,
        Line::Request,
        Line::InboundRaw,
        Line::Handshake,
        Line::Authenticate,
        Line::Subscribe,
        Line::PublishIn,
        Line::Transmit,
        Line::Invoke,
        Line::PublishOut,
    ];

    /// The name that guests know it by.
    pub fn as_str(self) -> &'static str {
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
        }
    }

    /// Whether its actions have names; those of the others are guarded by `*` alone.
    pub fn has_names(self) -> bool {
        !matches!(self, Line::InboundRaw | Line::Handshake | Line::Authenticate)
    }

    /// The line of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|line| line.as_str() == name)
    }
}

/// What becomes of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Allow,
    /// It goes on with other data. Requests, handshakes and tokens stay as they are; a message takes a JSON string.
    AllowWith(Option<Json>),
    /// It ends here, and its client is told why.
    Block {
        /// What the client is told.
        error: Failure,
        /// Closes the socket of a handshake; none for 4008. Of no other action.
        code: Option<u16>,
    },
    /// It ends here, and its client is told no more than that.
    BlockSilently,
    /// A request ends here, with this answer; any other action as if blocked silently.
    Answer(HttpResponse),
}

/// A request that waits for a verdict, without its body.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHead {
    /// The method.
    pub method: String,
    /// The path, as it came.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<Header>,
    /// The client's IP address.
    pub address: String,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// The session's id.
    pub session: String,
}
