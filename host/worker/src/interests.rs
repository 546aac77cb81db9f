//! What the running instance wants to hear. Interests belong to the instance and only grow; what nobody wants never
//! enters WebAssembly.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use foldhash::fast::RandomState;
use sc_core::controller::Interest;
use sc_core::limits::INTERESTS;

/// The instance's interests.
#[derive(Default)]
pub(crate) struct Interests {
    events: RefCell<HashSet<Box<str>, RandomState>>,
    all: Cell<bool>,
    kinds: RefCell<HashSet<Interest, RandomState>>,
    instance: Cell<u64>,
}

impl Interests {
    /// Whether messages of that name have a listener.
    pub(crate) fn hears(&self, event: &str) -> bool {
        self.all.get() || self.events.borrow().contains(event)
    }

    pub(crate) fn wants(&self, kind: Interest) -> bool {
        self.kinds.borrow().contains(&kind)
    }

    pub(crate) fn listen(&self, event: Box<str>) {
        if &*event == "*" {
            self.all.set(true);
        }
        if self.all.get() {
            return;
        }
        let mut events = self.events.borrow_mut();
        events.insert(event);
        if events.len() > INTERESTS {
            tracing::warn!(
                limit = INTERESTS,
                "the controller listens to so many names that it now hears all"
            );
            events.clear();
            self.all.set(true);
        }
    }

    pub(crate) fn want(&self, kind: Interest) {
        self.kinds.borrow_mut().insert(kind);
    }

    /// The number of the running instance; 0 while there is none.
    pub(crate) fn instance(&self) -> u64 {
        self.instance.get()
    }

    /// No instance runs. What the last one wanted to hear is queued for the next one.
    pub(crate) fn vacate(&self) {
        self.instance.set(0);
    }

    /// Forgets all: another instance declares its own.
    pub(crate) fn restart(&self, instance: u64) {
        self.instance.set(instance);
        self.events.borrow_mut().clear();
        self.all.set(false);
        self.kinds.borrow_mut().clear();
    }
}
