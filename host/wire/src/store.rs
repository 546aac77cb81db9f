//! Messages between a worker and a store, as MessagePack in frames. Operations of one link are done in order; the
//! answers of one link come in the order of its operations.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names an operation of one link; its answer carries it.
pub type OpId = u64;

/// Which tree of values a path starts from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tree {
    /// The data of one session.
    Session(String),
    /// The tree all share.
    Global,
    /// A tree with a name.
    Named(String),
}

/// From a worker to a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The worker wants the channel's publications. Answered by `Done`.
    Subscribe {
        /// Names the answer.
        op: OpId,
        /// The channel.
        channel: String,
    },
    /// It wants them no more. Not answered.
    Unsubscribe {
        /// The channel.
        channel: String,
    },
    /// To all subscribed workers, this one included, ahead of the answer. Answered by `Done` when `op` is set.
    Publish {
        /// Names the answer.
        op: Option<OpId>,
        /// The channel.
        channel: String,
        /// One JSON value as text.
        data: Option<Bytes>,
    },
    /// Answered by `Value`.
    Get {
        /// Names the answer.
        op: OpId,
        /// The tree.
        tree: Tree,
        /// The path in it.
        path: Vec<String>,
    },
    /// Answered by `Value` without one.
    Set {
        /// Names the answer.
        op: OpId,
        /// The tree.
        tree: Tree,
        /// The path in it, not empty.
        path: Vec<String>,
        /// One JSON value as text.
        value: Bytes,
    },
    /// Answered by `Value` with what was removed.
    Remove {
        /// Names the answer.
        op: OpId,
        /// The tree.
        tree: Tree,
        /// The path in it; empty for the whole tree.
        path: Vec<String>,
    },
    /// Answered by `Value` with `true` or `false`: whether there was a value.
    Expire {
        /// Names the answer.
        op: OpId,
        /// The tree.
        tree: Tree,
        /// The path in it; empty for the whole tree.
        path: Vec<String>,
        /// When, in milliseconds from now.
        after_ms: u64,
    },
}

/// From a store to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// A publication on a channel the worker subscribed to.
    Message {
        /// The channel.
        channel: String,
        /// One JSON value as text.
        data: Option<Bytes>,
    },
    /// The operation is done.
    Done {
        /// Which.
        op: OpId,
    },
    /// The operation's value, one JSON value as text; none when there is none.
    Value {
        /// Which.
        op: OpId,
        /// The value.
        value: Option<Bytes>,
    },
    /// The operation failed.
    Failed {
        /// Which.
        op: OpId,
        /// Why, for the user.
        message: String,
    },
}
