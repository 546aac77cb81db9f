//! Takes images of all data, one tree at a time, of a large tree one member at a time. Operations may go on between
//! two images.
//!
//! Who writes down the images, and between them all changes made since the imager began, has what gives the data
//! again: a change made before its place's image was taken is contained in the image, a later one stands behind the
//! image.

use std::vec::IntoIter;

use bytes::Bytes;
use sc_wire::store::Tree;

use super::node::{Key, Node};
use super::{Keyspace, Place};
use crate::change::Change;

/// Members of a tree's root above which its members are taken one by one.
const LARGE: usize = 1000;

/// What is still to be taken.
#[derive(Debug)]
pub struct Imager {
    trees: IntoIter<Tree>,
    /// The rest of a large tree.
    members: Option<(Tree, IntoIter<Key>)>,
}

impl Imager {
    /// Begins. Trees made from now on are whole in the changes.
    pub fn new(keys: &Keyspace) -> Self {
        let trees: Vec<_> = keys.trees.keys().cloned().collect();
        Imager { trees: trees.into_iter(), members: None }
    }

    /// The next image; none when all were taken.
    pub fn next(&mut self, keys: &Keyspace) -> Option<Change> {
        loop {
            if let Some((tree, members)) = &mut self.members {
                for member in members {
                    let place = Place { tree: tree.clone(), path: vec![member.into()] };
                    if let Some(image) = keys.image(place) {
                        return Some(image);
                    }
                }
                self.members = None;
            }
            let root = Place { tree: self.trees.next()?, path: Vec::new() };
            match keys.trees.get(&root.tree) {
                None => {}
                Some(Node::Map(members)) if members.len() > LARGE => {
                    let names: Vec<_> = members.keys().cloned().collect();
                    self.members = Some((root.tree.clone(), names.into_iter()));
                    let expiries = keys.expiries.at(&root).map(|at| (Vec::new(), at));
                    let expiries = expiries.into_iter().collect();
                    return Some(Change::Image { place: root, value: Bytes::from_static(b"{}"), expiries });
                }
                Some(_) => return keys.image(root),
            }
        }
    }
}

impl Keyspace {
    fn image(&self, place: Place) -> Option<Change> {
        let value = self.get(&place)?;
        Some(self.image_of(place, value))
    }

    /// The image of a place whose value is known.
    pub(super) fn image_of(&self, place: Place, value: Bytes) -> Change {
        let expiries = self.expiries.inside(&place);
        let expiries = expiries.into_iter().map(|(inner, at)| (inner.path.clone(), at)).collect();
        Change::Image { place, value, expiries }
    }
}
