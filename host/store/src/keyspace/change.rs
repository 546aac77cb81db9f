//! What is done to the data, and the same done again from what was noted.

use bytes::Bytes;
use sc_wire::store::KeyError;

use super::equal::equal;
use super::node::{Key, Node};
use super::read::{elements_between, is_between, no_parts};
use super::{Keyspace, Millis, Place, raw, wrong_type};
use crate::change::Change;

impl Keyspace {
    /// Puts a value; the expiries of the place and of what was in it are lifted.
    pub(super) fn set(&mut self, place: &Place, value: Bytes) {
        self.put(place, value.clone());
        self.note(|| Change::Set { place: place.clone(), value });
    }

    fn put(&mut self, place: &Place, value: Bytes) {
        self.expiries.lift(place);
        let tree = match self.trees.get_mut(&place.tree) {
            Some(tree) => tree,
            None => self.trees.entry(place.tree.clone()).or_insert_with(Node::empty),
        };
        for parts in tree.set(&place.path, value) {
            self.expiries.lift(&place.prefix(parts));
        }
    }

    /// Replaces the value that is there, whose expiry stays.
    fn update(&mut self, place: &Place, value: Bytes) {
        if let Some(tree) = self.trees.get_mut(&place.tree) {
            tree.set(&place.path, value.clone());
        }
        self.note(|| Change::Update { place: place.clone(), value });
    }

    /// The value in a place, opened if it is a container.
    fn open(&mut self, place: &Place) -> Option<&mut Node> {
        self.trees.get_mut(&place.tree)?.open_at(&place.path)
    }

    pub(super) fn add(&mut self, place: &Place, value: Bytes) {
        match self.open(place) {
            None => self.set(place, Node::json_list(&[Node::Leaf(value)])),
            Some(Node::Leaf(scalar)) => {
                let both = [Node::Leaf(scalar.clone()), Node::Leaf(value)];
                self.update(place, Node::json_list(&both));
            }
            Some(container) => {
                let index = container.next_index();
                self.set(&place.member(index.to_string()), value);
            }
        }
    }

    pub(super) fn concat(&mut self, place: &Place, value: &Bytes) {
        let added = raw::open(value).unwrap_or_else(|| Node::List(vec![Node::Leaf(value.clone())]));
        let Some(container) = self.open(place) else { return self.set(place, added.to_json()) };
        match (container, added) {
            (Node::Map(_), Node::Map(members)) => {
                for (key, member) in members {
                    self.set(&place.member(key), member.to_json());
                }
            }
            (there @ (Node::List(_) | Node::Map(_)), Node::List(elements)) => {
                // Found once: of an object it takes a look at all keys.
                let first = there.next_index();
                for (number, element) in elements.into_iter().enumerate() {
                    let index = first.saturating_add(number);
                    self.set(&place.member(index.to_string()), element.to_json());
                }
            }
            // An object onto an array or a scalar: what is there gets keys.
            (there, Node::Map(members)) => {
                let mut whole = std::mem::replace(there, Node::empty()).into_map();
                whole.extend(members);
                *there = Node::Map(whole);
                let value = there.to_json();
                self.update(place, value);
            }
            (Node::Leaf(scalar), Node::List(mut elements)) => {
                elements.insert(0, Node::Leaf(scalar.clone()));
                self.update(place, Node::json_list(&elements));
            }
            // A container's parts are never a scalar.
            (_, Node::Leaf(_)) => {}
        }
    }

    pub(super) fn increment(&mut self, place: &Place, by: i64) -> Result<Bytes, KeyError> {
        let Some(known) = self.get(place) else {
            let sum = Bytes::from(by.to_string());
            self.set(place, sum.clone());
            return Ok(sum);
        };
        let number: i64 = serde_json::from_slice(&known)
            .map_err(|_| wrong_type("the value there is no integer that 64 bits hold"))?;
        let sum = number
            .checked_add(by)
            .ok_or_else(|| wrong_type(format!("{number} and {by} are more than 64 bits hold")))?;
        let sum = Bytes::from(sum.to_string());
        self.update(place, sum.clone());
        Ok(sum)
    }

    pub(super) fn compare_and_set(
        &mut self,
        place: &Place,
        expected: Option<&[u8]>,
        value: Option<Bytes>,
    ) -> bool {
        let is_expected = match (self.get(place), expected) {
            (None, None) => true,
            (Some(there), Some(expected)) => equal(&there, expected),
            _ => false,
        };
        if is_expected {
            match value {
                Some(value) => self.set(place, value),
                None => drop(self.remove(place)),
            }
        }
        is_expected
    }

    pub(super) fn remove(&mut self, place: &Place) -> Option<Node> {
        let removed = self.take(place)?;
        self.note(|| Change::Remove { place: place.clone() });
        Some(removed)
    }

    fn take(&mut self, place: &Place) -> Option<Node> {
        self.expiries.lift(place);
        if place.path.is_empty() {
            return self.trees.remove(&place.tree);
        }
        let removed = self.trees.get_mut(&place.tree)?.remove(&place.path);
        if removed.as_ref().is_some_and(|removed| removed.shifted) {
            self.expiries.shift(place, 1);
        }
        // Also where nothing was: the image of a large tree's root is empty until those of its members come.
        self.forget_if_empty(place);
        removed.map(|removed| removed.node)
    }

    fn forget_if_empty(&mut self, place: &Place) {
        if self.trees.get(&place.tree).is_some_and(Node::is_empty) {
            let root = place.prefix(0);
            if self.expiries.at(&root).is_none() {
                self.trees.remove(&place.tree);
            }
        }
    }

    pub(super) fn remove_range(
        &mut self,
        place: &Place,
        from: &str,
        to: Option<&str>,
    ) -> Result<Option<Bytes>, KeyError> {
        match self.open(place) {
            None => Ok(None),
            Some(Node::Leaf(_)) => Err(no_parts()),
            Some(Node::List(elements)) => {
                let range = elements_between(elements.len(), from, to)?;
                let (from, to) = (range.start, range.end);
                let removed = self.take_elements(place, from, to);
                if !removed.is_empty() {
                    let (place, from, to) = (place.clone(), from as u64, to as u64);
                    self.note(|| Change::RemoveElements { place, from, to });
                }
                Ok(Some(Node::json_list(&removed)))
            }
            Some(Node::Map(members)) => {
                let keys = members.keys().filter(|key| is_between(key, from, to));
                let keys: Vec<Key> = keys.cloned().collect();
                let removed = keys.into_iter().filter_map(|key| {
                    let removed = self.remove(&place.member(key.as_str()))?;
                    Some((key, removed))
                });
                let removed: Vec<_> = removed.collect();
                Ok(Some(Node::json_map(removed.iter().map(|(key, node)| (key, node)))))
            }
        }
    }

    /// Takes elements of an array; those after them move up, with their expiries.
    fn take_elements(&mut self, place: &Place, from: usize, to: usize) -> Vec<Node> {
        let Some(Node::List(elements)) = self.open(place) else { return Vec::new() };
        let to = to.min(elements.len());
        if from >= to {
            return Vec::new();
        }
        let removed: Vec<Node> = elements.drain(from..to).collect();
        for index in from..to {
            self.expiries.lift(&place.member(index.to_string()));
        }
        self.expiries.shift(&place.member(from.to_string()), to - from);
        removed
    }

    pub(super) fn pop(&mut self, place: &Place) -> Option<Node> {
        let last = match self.open(place)? {
            Node::Leaf(_) => None,
            Node::List(elements) => elements.len().checked_sub(1),
            Node::Map(members) => members.keys().filter_map(|key| raw::index(key)).max(),
        };
        self.remove(&place.member(last?.to_string()))
    }

    pub(super) fn expire(&mut self, place: &Place, at: Millis) -> bool {
        let is_there = self.has(place);
        if is_there {
            self.expiries.put(place.clone(), at);
            self.note(|| Change::Expire { place: place.clone(), at });
        }
        is_there
    }

    pub(super) fn unexpire(&mut self, place: &Place) -> bool {
        let had = self.expiries.remove(place);
        if had {
            self.note(|| Change::Unexpire { place: place.clone() });
            // An empty tree was there for its expiry only.
            self.forget_if_empty(place);
        }
        had
    }

    /// Does again what was noted. What does not fit is ignored: an image that comes later has it.
    pub fn apply(&mut self, change: Change) {
        let recording = self.changes.take();
        match change {
            Change::Set { place, value } if !place.path.is_empty() => self.put(&place, value),
            Change::Update { place, value } if self.has(&place) => self.update(&place, value),
            Change::Remove { place } => drop(self.take(&place)),
            Change::RemoveElements { place, from, to } => {
                let index = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
                self.take_elements(&place, index(from), index(to));
            }
            Change::Expire { place, at } => drop(self.expire(&place, at)),
            Change::Unexpire { place } => drop(self.unexpire(&place)),
            Change::Image { place, value, expiries } => self.restore(&place, value, expiries),
            Change::Set { .. } | Change::Update { .. } => {}
        }
        self.changes = recording;
    }

    fn restore(&mut self, place: &Place, value: Bytes, expiries: Vec<(Vec<String>, Millis)>) {
        self.expiries.lift(place);
        if place.path.is_empty() {
            self.trees.insert(place.tree.clone(), Node::Leaf(value));
        } else {
            self.put(place, value);
        }
        for (path, at) in expiries {
            self.expiries.put(Place { tree: place.tree.clone(), path }, at);
        }
    }
}
