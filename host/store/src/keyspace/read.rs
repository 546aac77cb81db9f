//! What is asked of the data.

use std::ops::Range;

use bytes::Bytes;
use sc_wire::store::KeyError;

use super::node::Node;
use super::{Keyspace, Place, raw, wrong_type};

impl Keyspace {
    pub(super) fn get(&self, place: &Place) -> Option<Bytes> {
        self.trees.get(&place.tree)?.get(&place.path)
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.trees.get(&place.tree).is_some_and(|tree| tree.has(&place.path))
    }

    pub(super) fn count(&self, place: &Place) -> u64 {
        let tree = self.trees.get(&place.tree);
        tree.and_then(|tree| tree.with(&place.path, Node::entries)).unwrap_or(0) as u64
    }

    pub(super) fn get_range(&self, place: &Place, from: &str, to: Option<&str>) -> Result<Bytes, KeyError> {
        let part = |node: &Node| match node {
            Node::List(elements) => {
                let range = elements_between(elements.len(), from, to)?;
                Ok(Node::json_list(elements.get(range).unwrap_or_default()))
            }
            Node::Map(members) => {
                Ok(Node::json_map(members.iter().filter(|(key, _)| is_between(key, from, to))))
            }
            Node::Leaf(_) => Err(no_parts()),
        };
        let tree = self.trees.get(&place.tree);
        tree.and_then(|tree| tree.with(&place.path, part)).unwrap_or_else(|| Ok(Bytes::from_static(b"{}")))
    }
}

/// The elements that a range of indexes means.
pub(super) fn elements_between(
    length: usize,
    from: &str,
    to: Option<&str>,
) -> Result<Range<usize>, KeyError> {
    let index = |text: &str| {
        raw::index(text)
            .ok_or_else(|| wrong_type(format!("\"{}\" is no index of an array", text.escape_debug())))
    };
    let from = index(from)?.min(length);
    let to = to.map(index).transpose()?.unwrap_or(length).min(length);
    Ok(from..to.max(from))
}

/// Whether a key lies in a range of keys.
pub(super) fn is_between(key: &str, from: &str, to: Option<&str>) -> bool {
    key >= from && to.is_none_or(|to| key < to)
}

pub(super) fn no_parts() -> KeyError {
    wrong_type("the value there is neither an array nor an object: it has no range")
}
