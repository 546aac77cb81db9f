//! A component's place in the worker: what waits for it, what it wants to hear, which actions it decides about, and
//! its timers. The controller has one, and so has each middleware; instances come and go, a place stays.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sc_core::controller::Generation;

use crate::calls::Calls;
use crate::guards::Guards;
use crate::guest_timers::GuestTimers;
use crate::interests::Interests;

/// A component's place.
pub(crate) struct Seat {
    /// Where it stands: the middleware in their order, then the controller.
    pub(crate) index: usize,
    /// The component's name.
    pub(crate) name: Box<str>,
    /// What the log calls its present generation.
    pub(crate) label: RefCell<Box<str>>,
    /// Whether actions go on when the component cannot decide.
    pub(crate) fails_open: Cell<bool>,
    pub(crate) calls: Calls,
    pub(crate) interests: Interests,
    pub(crate) guards: Guards,
    pub(crate) timers: GuestTimers,
}

impl Seat {
    /// An empty place. All places of a worker draw their tokens from one counter.
    pub(crate) fn new(index: usize, generation: &Generation, tokens: &Arc<AtomicU64>) -> Rc<Self> {
        Rc::new(Seat {
            index,
            name: generation.name().into(),
            label: RefCell::new(generation.label().to_string().into()),
            fails_open: Cell::new(generation.fails_open),
            calls: Calls::new(Arc::clone(tokens)),
            interests: Interests::default(),
            guards: Guards::default(),
            timers: GuestTimers::default(),
        })
    }

    /// That generation runs here from now on.
    pub(crate) fn obey(&self, generation: &Generation) {
        self.fails_open.set(generation.fails_open);
        *self.label.borrow_mut() = generation.label().to_string().into();
    }
}
