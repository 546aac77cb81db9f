//! Trees of JSON values under key paths, with expiry. A pure data structure: the time is passed in, in milliseconds
//! since 1970 that never go back, and every operation sees the data without what is due at its time.
//!
//! A tree is an object. Containers follow the store of SocketCluster 0.9.90: setting makes objects on the way and
//! replaces scalars in the way; a part of a path that is an index leads into an array, and one past its end appends;
//! any other part turns the array into an object with the indexes as keys; removing from an array moves what follows
//! up, with its expiries. Containers stay when they become empty, a tree does not, unless it has an expiry of its own.
//!
//! What an operation did is noted as [`Change`]s, which give the same data again when they are applied in order.

mod change;
mod equal;
mod expiry;
mod imager;
mod node;
mod raw;
mod read;
mod undo;

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_wire::store::{KeyError, KeyErrorKind, KeyOp, Tree};
use serde::{Deserialize, Serialize};

use self::expiry::Expiries;
pub use self::imager::Imager;
use self::node::Node;
use crate::change::Change;

/// Most parts of a path. It bounds how deep a tree can get by paths; values may be deeper.
pub const PATH_MAX: usize = 64;
/// Longest part of a path, tree name or channel name in bytes.
pub const KEY_MAX: usize = 4096;

/// Milliseconds since 1970.
pub type Millis = u64;

/// Where a value is: a tree and a path in it; the empty path is the whole tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The tree.
    pub tree: Tree,
    /// The path.
    pub path: Vec<String>,
}

impl Place {
    fn check(&self) -> Result<(), KeyError> {
        if self.path.len() > PATH_MAX {
            let parts = self.path.len();
            let message = format!(
                "a path of {parts} parts is over the limit of {PATH_MAX}: keep deep data inside one value"
            );
            return Err(KeyError { kind: KeyErrorKind::Path, message });
        }
        if let Tree::Session(name) | Tree::Named(name) = &self.tree {
            check_name(name)?;
        }
        self.path.iter().try_for_each(|part| check_name(part))
    }

    /// A whole tree can be read and removed, but not be put.
    fn check_not_root(&self) -> Result<(), KeyError> {
        if !self.path.is_empty() {
            return Ok(());
        }
        let message =
            "this needs a path of at least one key: a whole tree can be read and removed only".into();
        Err(KeyError { kind: KeyErrorKind::Path, message })
    }

    fn prefix(&self, parts: usize) -> Place {
        Place { tree: self.tree.clone(), path: self.path.iter().take(parts).cloned().collect() }
    }

    fn member(&self, key: impl Into<String>) -> Place {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push(key.into());
        Place { tree: self.tree.clone(), path }
    }

    fn is_in(&self, other: &Place) -> bool {
        self.tree == other.tree && self.path.starts_with(&other.path)
    }
}

/// Refuses a name that is too long.
pub(crate) fn check_name(name: &str) -> Result<(), KeyError> {
    if name.len() <= KEY_MAX {
        return Ok(());
    }
    let bytes = name.len();
    let message =
        format!("a name of {bytes} bytes is over the limit of {KEY_MAX}: use a shorter key or channel name");
    Err(KeyError { kind: KeyErrorKind::Path, message })
}

/// Refuses a value that no path could lead into.
fn check_value(action: &KeyOp) -> Result<(), KeyError> {
    let value = match action {
        KeyOp::Set { value } | KeyOp::Add { value, .. } | KeyOp::Concat { value, .. } => Some(value),
        KeyOp::CompareAndSet { value, .. } => value.as_ref(),
        _ => None,
    };
    match value {
        Some(value) if raw::has_unnameable_key(value) => Err(wrong_type(
            "a key in the value is no text: it has half of a surrogate pair, as \\ud800 without its other half; \
             no path could name it",
        )),
        _ => Ok(()),
    }
}

fn wrong_type(message: impl Into<String>) -> KeyError {
    KeyError { kind: KeyErrorKind::Type, message: message.into() }
}

/// All trees of one store.
#[derive(Debug)]
pub struct Keyspace {
    trees: HashMap<Tree, Node, RandomState>,
    expiries: Expiries,
    /// None when nobody wants to know.
    changes: Option<Vec<Change>>,
}

impl Keyspace {
    /// Empty. With `records`, what operations do is noted for [`Keyspace::take_changes`].
    pub fn new(records: bool) -> Self {
        let changes = records.then(Vec::new);
        Keyspace { trees: HashMap::default(), expiries: Expiries::default(), changes }
    }

    /// Does something with the value in a place; see [`KeyOp`] for what it answers.
    ///
    /// # Errors
    /// `Path` when the path is too deep, a name too long, or the path empty where it may not be; `Type` when the value
    /// there is not what the operation works on, or the new one has a key that is no text.
    pub fn act(&mut self, now: Millis, place: &Place, action: KeyOp) -> Result<Option<Bytes>, KeyError> {
        place.check()?;
        check_value(&action)?;
        self.expire_due(now);
        self.perform(now, place, action)
    }

    /// As [`Keyspace::act`]. Appends to `undo` what takes it back, and with it what expired by itself just before: the
    /// changes are to be applied from the last on.
    ///
    /// # Errors
    /// As [`Keyspace::act`].
    pub fn act_undoably(
        &mut self,
        now: Millis,
        place: &Place,
        action: KeyOp,
        undo: &mut Vec<Change>,
    ) -> Result<Option<Bytes>, KeyError> {
        place.check()?;
        check_value(&action)?;
        while let Some(due) = self.expiries.due(now) {
            undo.extend(self.undo_of(&due, &KeyOp::Remove { get_value: false }));
            self.remove(&due);
        }
        undo.extend(self.undo_of(place, &action));
        self.perform(now, place, action)
    }

    /// Does what was checked, on data of which nothing is due.
    fn perform(&mut self, now: Millis, place: &Place, action: KeyOp) -> Result<Option<Bytes>, KeyError> {
        Ok(match action {
            KeyOp::Get => self.get(place),
            KeyOp::Has => truth(self.has(place)),
            KeyOp::Count => number(self.count(place)),
            KeyOp::GetRange { from, to } => Some(self.get_range(place, &from, to.as_deref())?),
            KeyOp::GetExpiry => self.expiries.at(place).and_then(number),
            KeyOp::Set { value } => {
                place.check_not_root()?;
                self.set(place, value);
                None
            }
            KeyOp::Add { value, get_value } => {
                place.check_not_root()?;
                let added = get_value.then(|| value.clone());
                self.add(place, value);
                added
            }
            KeyOp::Concat { value, get_value } => {
                place.check_not_root()?;
                let added = get_value.then(|| value.clone());
                self.concat(place, &value);
                added
            }
            KeyOp::Remove { get_value } => {
                self.remove(place).filter(|_| get_value).map(|removed| removed.to_json())
            }
            KeyOp::RemoveRange { from, to, get_value } => {
                self.remove_range(place, &from, to.as_deref())?.filter(|_| get_value)
            }
            KeyOp::Pop { get_value } => {
                self.pop(place).filter(|_| get_value).map(|removed| removed.to_json())
            }
            KeyOp::CompareAndSet { expected, value } => {
                place.check_not_root()?;
                truth(self.compare_and_set(place, expected.as_deref(), value))
            }
            KeyOp::Increment { by } => {
                place.check_not_root()?;
                Some(self.increment(place, by)?)
            }
            KeyOp::Expire { after_ms } => truth(self.expire(place, now.saturating_add(after_ms))),
            KeyOp::Unexpire => truth(self.unexpire(place)),
        })
    }

    /// How many trees of user code there are.
    pub fn trees(&self) -> u64 {
        (self.trees.len() - usize::from(self.trees.contains_key(&Tree::Own))) as u64
    }

    /// What was done since this was last asked, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Removes what is due. Operations do so by themselves; calling it now and then frees memory.
    pub fn expire_due(&mut self, now: Millis) {
        while let Some(place) = self.expiries.due(now) {
            self.remove(&place);
        }
    }

    fn note(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }
}

fn truth(is_so: bool) -> Option<Bytes> {
    Some(Bytes::from_static(if is_so { b"true" } else { b"false" }))
}

fn number(number: u64) -> Option<Bytes> {
    Some(number.to_string().into())
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what is passed is made in place")]
mod tests;
