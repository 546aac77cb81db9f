//! How to take an operation back: what is to be applied afterwards to have the data as they were before it. It holds
//! the smallest container that the operation changes the order or kind of, so changing members of a large object or
//! elements of a large array costs no copy of it.

use sc_wire::store::KeyOp;

use super::node::Node;
use super::{Keyspace, Place, raw};
use crate::change::Change;

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
        let Some(tree) = self.trees.get(&place.tree) else { return Some(remove(place.prefix(0))) };
        // The first part of the path that is not there is made by the operation, in what is there before it.
        for parts in 0..place.path.len() {
            let container = place.prefix(parts);
            let member = place.prefix(parts + 1);
            let part = member.path.last().map(String::as_str).unwrap_or_default();
            let moves = parts + 1 == place.path.len() && action.may_remove();
            let stays = |node: &Node| match node {
                Node::Map(_) => true,
                Node::List(elements) => {
                    !moves && raw::index(part).is_some_and(|index| index <= elements.len())
                }
                Node::Leaf(_) => false,
            };
            if !tree.with(&container.path, stays).unwrap_or(false) {
                return self.image(container);
            }
            if !tree.has(&member.path) {
                return Some(remove(member));
            }
        }
        if let KeyOp::Add { .. } = action
            && let Some(Some(index)) = tree.with(&place.path, next_index)
        {
            return Some(remove(place.member(index.to_string())));
        }
        self.image(place.clone())
    }
}

fn remove(place: Place) -> Change {
    Change::Remove { place }
}

/// Where a container's next element goes; none for a scalar, which becomes one.
fn next_index(node: &Node) -> Option<usize> {
    (!matches!(node, Node::Leaf(_))).then(|| node.next_index())
}
