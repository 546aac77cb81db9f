//! What can go wrong in a store process, and why an operation is refused.

use sc_core::link::LinkError;

use crate::keyspace::{KEY_MAX, PATH_MAX};

/// A store that cannot go on, or an operation it refuses. The text of a refusal is for the user.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The link to the master broke.
    #[error("the store's control link failed")]
    Control(#[from] LinkError),
    /// A path has too many parts.
    #[error("a path of {0} parts is over the limit of {PATH_MAX}: keep deep data inside one value")]
    PathTooDeep(usize),
    /// A part of a path, a tree's name or a channel's name is too long.
    #[error("a name of {0} bytes is over the limit of {KEY_MAX}: use a shorter key or channel name")]
    NameTooLong(usize),
    /// A value cannot be put in the place of a whole tree.
    #[error("set needs a path of at least one part: a whole tree can be removed but not set")]
    NoPath,
}
