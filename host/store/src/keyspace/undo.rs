//! How to take an operation back: what is to be applied afterwards to have the data as they were before it. It holds
//! the smallest container that the operation changes the order or kind of, so changing members of a large object or
//! elements of a large array costs no copy of it.

use bytes::Bytes;
use sc_wire::store::KeyOp;

use super::node::Node;
use super::{Keyspace, Place, raw};
use crate::change::Change;

/// What an operation finds where it changes the data.
enum Found {
    /// Nothing: the place at the end of so many parts of the path is made by it.
    Nothing(usize),
    /// An element that the operation adds to the value at the path's end would have that index.
    Room(usize),
    /// A value that it changes, at the end of so many parts.
    Value(usize, Bytes),
}

impl Keyspace {
    /// What undoes an operation that is about to be done; none for one that only reads.
    pub(super) fn undo_of(&self, place: &Place, action: &KeyOp) -> Option<Change> {
        if action.only_reads() {
            return None;
        }
        if matches!(action, KeyOp::Expire { .. } | KeyOp::Unexpire) {
            return Some(match self.expiries.at(place) {
                Some(at) => Change::Expire { place: place.clone(), at },
                None => Change::Unexpire { place: place.clone() },
            });
        }
        let found = self.trees.get(&place.tree).map(|tree| find(tree, &place.path, 0, action));
        Some(match found.unwrap_or(Found::Nothing(0)) {
            Found::Nothing(parts) => Change::Remove { place: place.prefix(parts) },
            Found::Room(index) => Change::Remove { place: place.member(index.to_string()) },
            Found::Value(parts, value) => self.image_of(place.prefix(parts), value),
        })
    }
}

/// Follows the rest of a path, `depth` parts of which led to the node. One walk: every change is undoable, so this is
/// part of what each of them costs.
fn find(node: &Node, path: &[String], depth: usize, action: &KeyOp) -> Found {
    let Some((part, rest)) = path.split_first() else {
        return match (action, opened(node).as_ref().unwrap_or(node)) {
            (KeyOp::Add { .. }, container @ (Node::Map(_) | Node::List(_))) => {
                Found::Room(container.next_index())
            }
            _ => Found::Value(depth, node.to_json()),
        };
    };
    let text = opened(node);
    let moves = rest.is_empty() && action.may_remove();
    let entry = match text.as_ref().unwrap_or(node) {
        Node::Map(members) => members.get(part.as_str()),
        Node::List(elements) => match raw::index(part) {
            Some(index) if index <= elements.len() && !moves => elements.get(index),
            _ => return Found::Value(depth, node.to_json()),
        },
        Node::Leaf(_) => return Found::Value(depth, node.to_json()),
    };
    match entry {
        None => Found::Nothing(depth + 1),
        Some(entry) => find(entry, rest, depth + 1, action),
    }
}

/// The container that a text is.
fn opened(node: &Node) -> Option<Node> {
    match node {
        Node::Leaf(text) => raw::open(text),
        _ => None,
    }
}
