//! A list of handlers that may grow while it is being called: no borrow is held while a handler runs.

use std::cell::RefCell;
use std::rc::Rc;

/// Handlers in the order they were added.
pub(crate) struct Handlers<F: ?Sized>(RefCell<Vec<Rc<F>>>);

impl<F: ?Sized> Handlers<F> {
    pub(crate) const fn new() -> Self {
        Handlers(RefCell::new(Vec::new()))
    }

    pub(crate) fn add(&self, handler: Rc<F>) {
        self.0.borrow_mut().push(handler);
    }

    /// Calls each handler that was there at the beginning.
    pub(crate) fn each(&self, call: impl Fn(&F)) {
        let count = self.0.borrow().len();
        for index in 0..count {
            let Some(handler) = self.0.borrow().get(index).cloned() else { return };
            call(&handler);
        }
    }

    /// Takes the handlers out. They may hold what holds this list; dropping them ends that.
    pub(crate) fn take(&self) -> Vec<Rc<F>> {
        self.0.take()
    }
}
