//! When which place is to be removed. Ordered by place, so that all expiries inside a place lie together, and by
//! time, so that the next one due is the first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::rc::Rc;

use super::{Millis, Place, raw};

#[derive(Debug, Default)]
pub(super) struct Expiries {
    by_place: BTreeMap<Rc<Place>, Millis>,
    by_time: BTreeSet<(Millis, Rc<Place>)>,
}

impl Expiries {
    pub(super) fn put(&mut self, place: Place, at: Millis) {
        let place = Rc::new(place);
        if let Some(earlier) = self.by_place.insert(Rc::clone(&place), at) {
            self.by_time.remove(&(earlier, Rc::clone(&place)));
        }
        self.by_time.insert((at, place));
    }

    /// When a place is to be removed.
    pub(super) fn at(&self, place: &Place) -> Option<Millis> {
        self.by_place.get(place).copied()
    }

    /// Lifts the expiry of a place alone; whether there was one.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let Some((lifted, at)) = self.by_place.remove_entry(place) else { return false };
        self.by_time.remove(&(at, lifted))
    }

    /// Lifts the expiries of a place and of all places in it.
    pub(super) fn lift(&mut self, place: &Place) {
        for (lifted, at) in self.inside(place) {
            self.by_place.remove(&lifted);
            self.by_time.remove(&(at, lifted));
        }
    }

    /// Follows the move of an array's elements after so many, from the one at the place on, were removed.
    pub(super) fn shift(&mut self, removed: &Place, count: usize) {
        if self.by_place.is_empty() {
            return;
        }
        let Some(depth) = removed.path.len().checked_sub(1) else { return };
        let Some(index) = removed.path.get(depth).and_then(|part| raw::index(part)) else { return };
        let mut moved = Vec::new();
        for (place, at) in self.inside(&removed.prefix(depth)) {
            let Some(from) = place.path.get(depth).and_then(|part| raw::index(part)) else { continue };
            if from >= index.saturating_add(count) {
                self.by_place.remove(&place);
                self.by_time.remove(&(at, Rc::clone(&place)));
                let mut to = Place::clone(&place);
                if let Some(part) = to.path.get_mut(depth) {
                    *part = (from - count).to_string();
                }
                moved.push((to, at));
            }
        }
        for (place, at) in moved {
            self.put(place, at);
        }
    }

    /// A place that is due.
    pub(super) fn due(&self, now: Millis) -> Option<Rc<Place>> {
        let (at, place) = self.by_time.first()?;
        (*at <= now).then(|| Rc::clone(place))
    }

    /// The expiries of a place and of all places in it.
    pub(super) fn inside(&self, place: &Place) -> Vec<(Rc<Place>, Millis)> {
        self.by_place
            .range::<Place, _>((Bound::Included(place), Bound::Unbounded))
            .take_while(|(inner, _)| inner.is_in(place))
            .map(|(inner, at)| (Rc::clone(inner), *at))
            .collect()
    }
}
