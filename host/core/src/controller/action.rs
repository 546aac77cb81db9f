//! What middleware decides about: a client's actions, each on one line, and the verdicts on them.

use super::{Failure, Json};

/// A kind of action. Source of the names: the modern protocol, part 7 of its description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
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
}

impl Line {
    /// All lines.
    pub const ALL: [Line; 6] =
        [Line::Handshake, Line::Authenticate, Line::Subscribe, Line::PublishIn, Line::Transmit, Line::Invoke];

    /// The name that guests know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Line::Handshake => "handshake",
            Line::Authenticate => "authenticate",
            Line::Subscribe => "subscribe",
            Line::PublishIn => "publish-in",
            Line::Transmit => "transmit",
            Line::Invoke => "invoke",
        }
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
    /// It goes on with other data; of a handshake and of a token, nothing changes.
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
}
