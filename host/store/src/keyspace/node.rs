//! A value: a JSON text as it was set, or a container that a path went into. Only paths open texts, one level a
//! part, so containers are at most as deep as a path and recursion over them is bounded.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::raw;

#[derive(Debug)]
pub(super) enum Node {
    /// One JSON value as text.
    Leaf(Bytes),
    /// An object.
    Map(BTreeMap<String, Node>),
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
            Node::Leaf(_) => false,
            Node::Map(members) => members.is_empty(),
            Node::List(elements) => elements.is_empty(),
        }
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
                Node::Map(members) => members.get(part)?,
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
                _ => {
                    let numbered = std::mem::take(elements).into_iter().enumerate();
                    *self = Node::Map(numbered.map(|(index, node)| (index.to_string(), node)).collect());
                }
            }
        }
        match self {
            Node::Leaf(_) => None,
            Node::Map(members) => Some(members.entry(part.to_owned()).or_insert_with(Node::empty)),
            Node::List(elements) => elements.get_mut(raw::index(part)?),
        }
    }

    /// Takes what is at the path's end, which is not empty. Opens texts only when it is there.
    pub(super) fn remove(&mut self, path: &[String]) -> Option<Removed> {
        let (last, parents) = path.split_last()?;
        if !self.has(path) {
            return None;
        }
        let mut node = self;
        for part in parents {
            node.open();
            node = match node {
                Node::Leaf(_) => return None,
                Node::Map(members) => members.get_mut(part)?,
                Node::List(elements) => elements.get_mut(raw::index(part)?)?,
            };
        }
        node.open();
        match node {
            Node::Leaf(_) => None,
            Node::Map(members) => members.remove(last).map(|node| Removed { node, shifted: false }),
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

    fn write(&self, text: &mut Vec<u8>) {
        match self {
            Node::Leaf(leaf) => text.extend_from_slice(leaf),
            Node::Map(members) => {
                text.push(b'{');
                for (at, (key, node)) in members.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    // A vector takes every write, and every string is a JSON key.
                    let _ = serde_json::to_writer(&mut *text, key);
                    text.push(b':');
                    node.write(text);
                }
                text.push(b'}');
            }
            Node::List(elements) => {
                text.push(b'[');
                for (at, node) in elements.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    node.write(text);
                }
                text.push(b']');
            }
        }
    }
}
