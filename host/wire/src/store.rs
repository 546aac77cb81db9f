//! Messages between a worker and a store, as MessagePack in frames. Operations of one link are done in order; the
//! answers of one link come in the order of its operations.

use std::net::IpAddr;

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
    /// What a store keeps for itself; user code cannot name it.
    Own,
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
    /// How many sockets of a session the worker holds from now on. Not answered.
    SessionSockets {
        /// The session.
        session: String,
        /// How many.
        sockets: u32,
    },
    /// How many sockets of a client address the worker holds from now on. Not answered.
    AddressSockets {
        /// The address.
        address: IpAddr,
        /// How many.
        sockets: u32,
    },
    /// The same, if all workers together then hold no more than `most`. Answered by `Value`: whether they do.
    EnterAddress {
        /// Names the answer.
        op: OpId,
        /// The address.
        address: IpAddr,
        /// How many, the one that asks included.
        sockets: u32,
        /// How many all workers may hold.
        most: u32,
    },
    /// To all workers that hold sockets of a session, this one included. Answered by `Value`, with the number of those
    /// sockets, when `op` is set.
    TellSession {
        /// Names the answer.
        op: Option<OpId>,
        /// The session.
        session: String,
        /// What they are told.
        message: SessionMessage,
    },
    /// A socket of the worker is on a channel from now on, or what is known of it has changed. Not answered.
    Join {
        /// The channel.
        channel: String,
        /// The socket.
        member: Member,
        /// It was there before; the store that knew of it is gone, or its link was.
        again: bool,
    },
    /// All members were sent again; those of this worker that were not are gone. Not answered.
    AllAgain,
    /// A socket of the worker left a channel. Not answered.
    Leave {
        /// The channel.
        channel: String,
        /// The socket.
        socket: u64,
    },
    /// Who is on a channel. Answered by `Value`: an object with `count` and, if asked for, `members`.
    Members {
        /// Names the answer.
        op: OpId,
        /// The channel.
        channel: String,
        /// What of each member.
        of_each: OfEach,
    },
    /// Whether the worker wants to hear who joins and leaves a channel. Not answered.
    WatchMembers {
        /// The channel.
        channel: String,
        /// From now on, or no more.
        on: bool,
    },
    /// A procedure of the store's controller. Answered by `Value` or `Problem`.
    Run {
        /// Names the answer.
        op: OpId,
        /// The procedure.
        run: Run,
    },
    /// A procedure to run when the worker is gone. Not answered.
    RunAtEnd {
        /// Tells it from the others of this worker: over a new link all are sent again, as the store may be another.
        number: u64,
        /// The procedure.
        run: Run,
    },
    /// An operation on a value. Answered by `Value`.
    Key {
        /// Names the answer.
        op: OpId,
        /// The tree.
        tree: Tree,
        /// The path in it; empty for the whole tree.
        path: Vec<String>,
        /// What to do there.
        action: KeyOp,
    },
}

/// A procedure of the store's controller, to be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The tree.
    pub tree: Tree,
    /// The path from which the procedure's paths start.
    pub path: Vec<String>,
    /// Its name.
    pub procedure: String,
    /// One JSON value as text.
    pub argument: Option<Bytes>,
}

/// A socket on a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The socket.
    pub socket: u64,
    /// The id that clients see.
    pub name: String,
    /// The session's id, which no other client may see.
    pub session: String,
    /// What the controller says of its user, one JSON value as text.
    pub data: Option<Bytes>,
}

/// What is told of each member of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OfEach {
    /// Only how many there are.
    Nothing,
    /// What other clients may see.
    Public,
    /// All.
    All,
}

/// What happened to a member of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// It came.
    Join,
    /// What is known of it is another.
    Update,
    /// It went.
    Leave,
}

impl Change {
    /// The word for clients and controllers.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Join => "join",
            Change::Update => "update",
            Change::Leave => "leave",
        }
    }
}

/// What happens to all sockets of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SessionMessage {
    /// An event is sent to them.
    Emit {
        /// Its name.
        event: String,
        /// One JSON value as text.
        data: Option<Bytes>,
        /// The socket that does not get it.
        but: Option<u64>,
    },
    /// They are closed.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// The close frame's reason.
        reason: String,
    },
}

/// What to do with the value under a path. Values are JSON values as text.
///
/// With `get_value`, a change answers with the value that it appended or took; without, with nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyOp {
    /// Answers with the value.
    Get,
    /// Answers `true` or `false`: whether there is a value; `null` is one.
    Has,
    /// Answers with the number of entries: of a container its members, 1 of a scalar, 0 of nothing.
    Count,
    /// Answers with part of a container: elements `from` to `to` of an array as an array, or the members of an object
    /// from key `from` to before key `to`, in the order of their bytes, as an object. Without `to`, to the end.
    GetRange {
        /// The first index or key.
        from: String,
        /// The index or key before which it ends.
        to: Option<String>,
    },
    /// Answers when the value expires, in milliseconds since 1970, or with nothing.
    GetExpiry,
    /// Replaces the value. Its expiry, and those in it, are lifted.
    Set {
        /// The new value.
        value: Bytes,
    },
    /// Appends one value: to an array, or under an object's next index. Of a scalar and the value it makes an array.
    Add {
        /// The value.
        value: Bytes,
        /// Answers with the value.
        get_value: bool,
    },
    /// Appends each element of an array, merges the members of an object, or appends a scalar.
    Concat {
        /// The value.
        value: Bytes,
        /// Answers with the value.
        get_value: bool,
    },
    /// Removes the value.
    Remove {
        /// Answers with what was removed.
        get_value: bool,
    },
    /// Removes part of a container; see [`KeyOp::GetRange`].
    RemoveRange {
        /// The first index or key.
        from: String,
        /// The index or key before which it ends.
        to: Option<String>,
        /// Answers with what was removed.
        get_value: bool,
    },
    /// Removes an array's last element, or an object's member with the highest index.
    Pop {
        /// Answers with what was removed.
        get_value: bool,
    },
    /// Replaces the value if it equals the expected one. Answers `true` or `false`: whether it did.
    CompareAndSet {
        /// What must be there; none for nothing.
        expected: Option<Bytes>,
        /// What to put there; none to remove it.
        value: Option<Bytes>,
    },
    /// Adds to an integer, 0 where there is none, and answers with the sum.
    Increment {
        /// How much; may be negative.
        by: i64,
    },
    /// Removes the value later, unless it is set or expired anew before. Answers `true` or `false`: whether there is
    /// a value.
    Expire {
        /// When, in milliseconds from now.
        after_ms: u64,
    },
    /// Lifts the value's expiry. Answers `true` or `false`: whether there was one.
    Unexpire,
}

impl KeyOp {
    /// Whether it changes nothing.
    pub fn only_reads(&self) -> bool {
        matches!(self, KeyOp::Get | KeyOp::Has | KeyOp::Count | KeyOp::GetRange { .. } | KeyOp::GetExpiry)
    }

    /// Whether it can leave nothing where something was.
    pub fn may_remove(&self) -> bool {
        matches!(self, KeyOp::Remove { .. } | KeyOp::CompareAndSet { value: None, .. })
    }
}

/// Why a store refused an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyError {
    /// Its kind, for programs.
    pub kind: KeyErrorKind,
    /// What is wrong and how to mend it, for people.
    pub message: String,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyErrorKind {
    /// The path, or a name in it, is too long, or empty where it may not be.
    Path,
    /// The value there is of another type than the operation works on.
    Type,
    /// The result would be too large.
    Size,
    /// The change could not be written to the disk.
    Storage,
    /// The procedure failed, or there is none.
    Procedure,
}

impl KeyErrorKind {
    /// The error's name as user code sees it.
    pub fn name(self) -> &'static str {
        match self {
            KeyErrorKind::Path => "InvalidPathError",
            KeyErrorKind::Type => "InvalidTypeError",
            KeyErrorKind::Size => "SizeError",
            KeyErrorKind::Storage => "StorageError",
            KeyErrorKind::Procedure => "ProcedureError",
        }
    }
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
    /// A session of which the worker holds sockets is told something.
    Session {
        /// Which.
        session: String,
        /// What.
        message: SessionMessage,
    },
    /// A session has no sockets any more. Told to one worker.
    SessionEnd {
        /// Which.
        session: String,
    },
    /// Somebody joined, changed or left, on a channel whose members the worker watches.
    Member {
        /// The channel.
        channel: String,
        /// What happened.
        change: Change,
        /// To whom.
        member: Member,
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
    /// A procedure answered with an error of its own.
    Problem {
        /// Which.
        op: OpId,
        /// Its class.
        name: Option<String>,
        /// What is wrong.
        message: String,
        /// More members, an object as text.
        extra: Option<String>,
    },
    /// A publication of a procedure whose channel another store carries: to be published by the worker.
    Relay {
        /// The channel.
        channel: String,
        /// One JSON value as text.
        data: Option<Bytes>,
    },
    /// The operation failed.
    Failed {
        /// Which.
        op: OpId,
        /// Why.
        error: KeyError,
    },
}
