//! A value: a JSON text as it was set, or a container that a path went into. Only paths open texts, one level a
//! part, so containers are at most as deep as a path and recursion over them is bounded.

use std::collections::BTreeMap;

use bytes::Bytes;
use compact_str::{CompactString, ToCompactString as _};

use super::raw;

/// A key. Short ones lie in the map itself, so that a search in a large object does not follow a pointer a key.
pub(super) type Key = CompactString;

/// An object's members.
pub(super) type Members = BTreeMap<Key, Node>;

#[derive(Debug)]
pub(super) enum Node {
    /// One JSON value as text.
    Leaf(Bytes),
    /// An object.
    Map(Members),
    /// An array.
    List(Vec<Node>),
}

/// What a removal took.
#[derive(Debug)]
pub(super) struct Removed {
    pub(super) node: Node,
    /// It was an array's element: those after it have moved.
    pub(super) shifted: bool,
}

impl Node {
    pub(super) fn empty() -> Self {
        Node::Map(BTreeMap::new())
    }

    /// Whether it is a container without entries.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            // As the image of a large tree's root is.
            Node::Leaf(text) => text.as_ref() == b"{}",
            Node::Map(members) => members.is_empty(),
            Node::List(elements) => elements.is_empty(),
        }
    }

    /// How many entries it has; a scalar is one.
    pub(super) fn entries(&self) -> usize {
        match self {
            Node::Leaf(_) => 1,
            Node::Map(members) => members.len(),
            Node::List(elements) => elements.len(),
        }
    }

    /// The index under which the next element goes. Of an object that takes a look at all keys.
    pub(super) fn next_index(&self) -> usize {
        match self {
            Node::Leaf(_) => 0,
            Node::List(elements) => elements.len(),
            Node::Map(members) => {
                let highest = members.keys().filter_map(|key| raw::index(key)).max();
                highest.map_or(0, |highest| highest.saturating_add(1))
            }
        }
    }

    /// As an object: an array's indexes and a scalar's 0 become keys.
    pub(super) fn into_map(self) -> Members {
        match self {
            Node::Map(members) => members,
            Node::List(elements) => numbered(elements),
            scalar @ Node::Leaf(_) => numbered(vec![scalar]),
        }
    }

    /// Looks at what is at the path's end, containers opened; none when nothing is there.
    pub(super) fn with<R>(&self, path: &[String], look: impl FnOnce(&Node) -> R) -> Option<R> {
        let (node, rest) = self.walk(path)?;
        match node {
            Node::Leaf(text) => {
                let found = raw::find(text, rest)?;
                let opened = raw::open(found);
                Some(look(&opened.unwrap_or_else(|| Node::Leaf(text.slice_ref(found)))))
            }
            container => Some(look(container)),
        }
    }

    /// What is at the path's end, opened if it is a container; texts on the way are opened only when it is there.
    pub(super) fn open_at(&mut self, path: &[String]) -> Option<&mut Node> {
        if !self.has(path) {
            return None;
        }
        let mut node = self;
        for part in path {
            node.open();
            node = match node {
                Node::Leaf(_) => return None,
                Node::Map(members) => members.get_mut(part.as_str())?,
                Node::List(elements) => elements.get_mut(raw::index(part)?)?,
            };
        }
        node.open();
        Some(node)
    }

    pub(super) fn get(&self, path: &[String]) -> Option<Bytes> {
        let (node, rest) = self.walk(path)?;
        match node {
            Node::Leaf(text) => raw::find(text, rest).map(|found| text.slice_ref(found)),
            _ => Some(node.to_json()),
        }
    }

    pub(super) fn has(&self, path: &[String]) -> bool {
        self.walk(path).is_some_and(|(node, rest)| match node {
            Node::Leaf(text) => raw::find(text, rest).is_some(),
            _ => true,
        })
    }

    /// Goes down to the path's end, or to the text that the rest of the path leads into.
    fn walk<'n, 'p>(&'n self, path: &'p [String]) -> Option<(&'n Node, &'p [String])> {
        let mut node = self;
        let mut rest = path;
        while let [part, after @ ..] = rest {
            node = match node {
                Node::Leaf(_) => break,
                Node::Map(members) => members.get(part.as_str())?,
                Node::List(elements) => elements.get(raw::index(part)?)?,
            };
            rest = after;
        }
        Some((node, rest))
    }

    /// Puts a text at a path's end. Returns the lengths of the paths whose scalars it replaced on the way.
    pub(super) fn set(&mut self, path: &[String], text: Bytes) -> Vec<usize> {
        let mut replaced = Vec::new();
        let mut node = self;
        for (depth, part) in path.iter().enumerate() {
            if let Node::Leaf(scalar) = node {
                *node = raw::open(scalar).unwrap_or_else(|| {
                    replaced.push(depth);
                    Node::empty()
                });
            }
            let Some(next) = node.entry(part) else { return replaced };
            node = next;
        }
        *node = Node::Leaf(text);
        replaced
    }

    /// A container's entry, made when it is not there; none only for a text.
    fn entry(&mut self, part: &str) -> Option<&mut Node> {
        if let Node::List(elements) = self {
            match raw::index(part) {
                Some(index) if index < elements.len() => {}
                Some(index) if index == elements.len() => elements.push(Node::empty()),
                _ => *self = Node::Map(numbered(std::mem::take(elements))),
            }
        }
        match self {
            Node::Leaf(_) => None,
            Node::Map(members) => Some(members.entry(part.into()).or_insert_with(Node::empty)),
            Node::List(elements) => elements.get_mut(raw::index(part)?),
        }
    }

    /// Takes what is at the path's end, which is not empty. Opens texts only when it is there.
    pub(super) fn remove(&mut self, path: &[String]) -> Option<Removed> {
        let (last, parents) = path.split_last()?;
        if !self.has(path) {
            return None;
        }
        let node = self.open_at(parents)?;
        match node {
            Node::Leaf(_) => None,
            Node::Map(members) => members.remove(last.as_str()).map(|node| Removed { node, shifted: false }),
            Node::List(elements) => {
                let index = raw::index(last).filter(|index| *index < elements.len())?;
                Some(Removed { node: elements.remove(index), shifted: true })
            }
        }
    }

    fn open(&mut self) {
        if let Node::Leaf(text) = self
            && let Some(opened) = raw::open(text)
        {
            *self = opened;
        }
    }

    pub(super) fn to_json(&self) -> Bytes {
        if let Node::Leaf(text) = self {
            return text.clone();
        }
        let mut text = Vec::new();
        self.write(&mut text);
        text.into()
    }

    /// Elements as an array.
    pub(super) fn json_list(elements: &[Node]) -> Bytes {
        let mut text = Vec::new();
        write_list(elements, &mut text);
        text.into()
    }

    /// Members as an object.
    pub(super) fn json_map<'n>(members: impl Iterator<Item = (&'n Key, &'n Node)>) -> Bytes {
        let mut text = Vec::new();
        write_map(members, &mut text);
        text.into()
    }

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Node::Leaf(leaf) => text.extend_from_slice(leaf),
            Node::Map(members) => write_map(members.iter(), text),
            Node::List(elements) => write_list(elements, text),
        }
    }
}

fn write_map<'n>(members: impl Iterator<Item = (&'n Key, &'n Node)>, text: &mut Vec<u8>) {
    text.push(b'{');
    for (at, (key, node)) in members.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        // A vector takes every write, and every string is a JSON key.
        let _ = serde_json::to_writer(&mut *text, key.as_str());
        text.push(b':');
        node.write(text);
    }
    text.push(b'}');
}

fn write_list(elements: &[Node], text: &mut Vec<u8>) {
    text.push(b'[');
    for (at, node) in elements.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        node.write(text);
    }
    text.push(b']');
}

fn numbered(elements: Vec<Node>) -> Members {
    elements.into_iter().enumerate().map(|(index, node)| (index.to_compact_string(), node)).collect()
}
