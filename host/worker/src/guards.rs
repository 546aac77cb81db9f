//! Which actions a component decides about. They outlive its instances: between two of them nothing slips through.
//! Another generation says its own, and those of the one before stay until it has.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use foldhash::fast::RandomState;
use sc_core::controller::Line;
use sc_core::limits::INTERESTS;
use wildmatch::WildMatch;

/// A component's guards.
#[derive(Default)]
pub(crate) struct Guards {
    /// A bit for each line that is guarded at all.
    lines: Cell<u16>,
    /// It hears of the ends of sockets that it decided about.
    ends: Cell<bool>,
    /// So did a generation before, which may come back.
    ends_before: Cell<bool>,
    on: RefCell<On>,
    /// Those of the generations before that still count.
    before: RefCell<On>,
}

/// What is guarded on each line.
type On = [Names; Line::ALL.len()];

/// The names that are guarded on one line.
#[derive(Default)]
struct Names {
    all: bool,
    exact: HashSet<Box<str>, RandomState>,
    like: Vec<WildMatch>,
}

impl Names {
    fn is_empty(&self) -> bool {
        !self.all && self.exact.is_empty() && self.like.is_empty()
    }

    fn have(&self, name: &str) -> bool {
        self.all || self.exact.contains(name) || self.like.iter().any(|like| like.matches(name))
    }

    fn add(&mut self, pattern: Box<str>) {
        match &*pattern {
            "*" => self.all = true,
            text if text.contains(['*', '?']) => self.like.push(WildMatch::new(text)),
            _ => drop(self.exact.insert(pattern)),
        }
        self.bound();
    }

    /// Adds all of another one.
    fn join(&mut self, other: Self) {
        self.all |= other.all;
        self.exact.extend(other.exact);
        self.like.extend(other.like);
        self.bound();
    }

    fn bound(&mut self) {
        if self.exact.len() + self.like.len() > INTERESTS {
            tracing::warn!(limit = INTERESTS, "a component guards so many names that it now guards all");
            *self = Names { all: true, ..Names::default() };
        }
    }
}

impl Guards {
    /// Whether any action on that line is decided about.
    pub(crate) fn have(&self, line: Line) -> bool {
        self.lines.get() & bit(line) != 0
    }

    pub(crate) fn hear_ends(&self) {
        self.ends.set(true);
    }

    pub(crate) fn hears_ends(&self) -> bool {
        self.ends.get()
    }

    /// Whether an end matters, now or if the generation before comes back.
    pub(crate) fn minds_ends(&self) -> bool {
        self.ends.get() || self.ends_before.get()
    }

    /// Whether actions of that name on that line are decided about, or may be.
    pub(crate) fn cover(&self, line: Line, name: &str) -> bool {
        let before = || self.before.borrow().get(line as usize).is_some_and(|names| names.have(name));
        self.have(line) && (self.says(line, name) || before())
    }

    /// Whether the present generation has said that it decides about them.
    pub(crate) fn says(&self, line: Line, name: &str) -> bool {
        self.on.borrow().get(line as usize).is_some_and(|names| names.have(name))
    }

    pub(crate) fn add(&self, line: Line, pattern: Box<str>) {
        if let Some(names) = self.on.borrow_mut().get_mut(line as usize) {
            names.add(pattern);
        }
        self.lines.set(self.lines.get() | bit(line));
    }

    /// Another generation says its own; those said so far stay beside them.
    pub(crate) fn restart(&self) {
        self.ends_before.set(self.ends.take() || self.ends_before.get());
        let mut before = self.before.borrow_mut();
        before.iter_mut().zip(self.on.take()).for_each(|(before, names)| before.join(names));
    }

    /// What only generations before have said counts no more.
    pub(crate) fn forget_before(&self) {
        self.before.take();
        let on = self.on.borrow();
        let said = Line::ALL.into_iter().zip(&*on).filter(|(_, names)| !names.is_empty());
        self.lines.set(said.fold(0, |lines, (line, _)| lines | bit(line)));
    }

    /// No generation before minds the ends of sockets.
    pub(crate) fn forget_ends(&self) {
        self.ends_before.set(false);
    }
}

fn bit(line: Line) -> u16 {
    1 << line as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_guarded_exactly_or_by_pattern() {
        let guards = Guards::default();
        assert!(!guards.cover(Line::Subscribe, "news"));
        guards.add(Line::Subscribe, "news".into());
        guards.add(Line::Subscribe, "vip.*".into());
        for (name, covered) in
            [("news", true), ("vip.", true), ("vip.a.b", true), ("new", false), ("", false)]
        {
            assert_eq!(guards.cover(Line::Subscribe, name), covered, "{name}");
        }
        assert!(!guards.cover(Line::PublishIn, "news"));
        guards.add(Line::Handshake, "*".into());
        assert!(guards.cover(Line::Handshake, ""));
        guards.restart();
        guards.add(Line::Subscribe, "new".into());
        // Until the new generation has said all of its own, both count.
        assert!(guards.cover(Line::Handshake, "") && guards.cover(Line::Subscribe, "news"));
        assert!(guards.says(Line::Subscribe, "new") && !guards.says(Line::Subscribe, "news"));
        guards.restart();
        assert!(guards.cover(Line::Subscribe, "new") && guards.cover(Line::Subscribe, "vip.a"));
        guards.add(Line::Subscribe, "new".into());
        guards.forget_before();
        assert!(!guards.have(Line::Handshake) && guards.have(Line::Subscribe));
        assert!(guards.cover(Line::Subscribe, "new") && !guards.cover(Line::Subscribe, "news"));
        for line in Line::ALL {
            guards.add(line, "a".into());
            assert!(guards.have(line) && guards.cover(line, "a"), "{line:?}");
        }
    }

    #[test]
    fn too_many_names_are_all() {
        let guards = Guards::default();
        (0..=INTERESTS).for_each(|number| guards.add(Line::Invoke, number.to_string().into()));
        assert!(guards.cover(Line::Invoke, "anything"));
    }
}
