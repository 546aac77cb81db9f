//! Trees of JSON values under key paths, with expiry. A pure data structure: the time is passed in, in milliseconds
//! of any clock that never goes back, and every operation sees the data without what is due at its time.
//!
//! A tree is an object. Containers follow the reference: setting makes objects on the way and replaces scalars in
//! the way; a part of a path that is an index leads into an array, and one past its end appends; any other part
//! turns the array into an object with the indexes as keys; removing from an array moves what follows up, with its
//! expiries. Containers stay when they become empty, a tree does not, unless it has an expiry of its own.

mod expiry;
mod node;
mod raw;

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_wire::store::Tree;
use serde::{Deserialize, Serialize};

use self::expiry::Expiries;
use self::node::Node;
use crate::StoreError;

/// Most parts of a path. It bounds how deep a tree can get by paths; values may be deeper.
pub const PATH_MAX: usize = 64;
/// Longest part of a path, tree name or channel name in bytes.
pub const KEY_MAX: usize = 4096;

/// Milliseconds of the caller's clock.
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
    fn check(&self) -> Result<(), StoreError> {
        if self.path.len() > PATH_MAX {
            return Err(StoreError::PathTooDeep(self.path.len()));
        }
        if let Tree::Session(name) | Tree::Named(name) = &self.tree {
            check_name(name)?;
        }
        self.path.iter().try_for_each(|part| check_name(part))
    }

    fn prefix(&self, parts: usize) -> Place {
        Place { tree: self.tree.clone(), path: self.path.iter().take(parts).cloned().collect() }
    }

    fn is_in(&self, other: &Place) -> bool {
        self.tree == other.tree && self.path.starts_with(&other.path)
    }
}

/// Refuses a name that is too long.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    if name.len() > KEY_MAX { Err(StoreError::NameTooLong(name.len())) } else { Ok(()) }
}

/// All trees of one store.
#[derive(Debug, Default)]
pub struct Keyspace {
    trees: HashMap<Tree, Node, RandomState>,
    expiries: Expiries,
}

impl Keyspace {
    /// The value at a place as JSON text; none when there is none.
    ///
    /// # Errors
    /// When the path is too deep or a part too long.
    pub fn get(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, StoreError> {
        place.check()?;
        self.expire_due(now);
        Ok(self.trees.get(&place.tree).and_then(|tree| tree.get(&place.path)))
    }

    /// Puts a value, one JSON value as text, in the place of what is there; its expiry, and those in it, are lifted.
    ///
    /// # Errors
    /// When the path is empty or too deep, or a part too long.
    pub fn set(&mut self, now: Millis, place: &Place, value: Bytes) -> Result<(), StoreError> {
        place.check()?;
        if place.path.is_empty() {
            return Err(StoreError::NoPath);
        }
        self.expire_due(now);
        self.expiries.lift(place);
        let tree = match self.trees.get_mut(&place.tree) {
            Some(tree) => tree,
            None => self.trees.entry(place.tree.clone()).or_insert_with(Node::empty),
        };
        for parts in tree.set(&place.path, value) {
            self.expiries.lift(&place.prefix(parts));
        }
        Ok(())
    }

    /// Removes the value at a place and returns it as JSON text.
    ///
    /// # Errors
    /// When the path is too deep or a part too long.
    pub fn remove(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, StoreError> {
        place.check()?;
        self.expire_due(now);
        Ok(self.take(place).map(|removed| removed.to_json()))
    }

    /// Has the value at a place removed after so many milliseconds, unless it is set or expired anew before. Says
    /// whether there is a value.
    ///
    /// # Errors
    /// When the path is too deep or a part too long.
    pub fn expire(&mut self, now: Millis, place: &Place, after_ms: Millis) -> Result<bool, StoreError> {
        place.check()?;
        self.expire_due(now);
        let is_there = self.trees.get(&place.tree).is_some_and(|tree| tree.has(&place.path));
        if is_there {
            self.expiries.put(place.clone(), now.saturating_add(after_ms));
        }
        Ok(is_there)
    }

    /// Removes what is due. Operations do so by themselves; calling it now and then frees memory.
    pub fn expire_due(&mut self, now: Millis) {
        while let Some(place) = self.expiries.due(now) {
            self.take(&place);
        }
    }

    fn take(&mut self, place: &Place) -> Option<Node> {
        self.expiries.lift(place);
        if place.path.is_empty() {
            return self.trees.remove(&place.tree);
        }
        let tree = self.trees.get_mut(&place.tree)?;
        let removed = tree.remove(&place.path)?;
        if tree.is_empty() && !self.expiries.has(&place.prefix(0)) {
            self.trees.remove(&place.tree);
        }
        if removed.shifted {
            self.expiries.shift(place);
        }
        Some(removed.node)
    }
}

#[cfg(test)]
mod tests;
