//! Names of events that this instance listens to. Each is declared to the host once; sockets keep the short id.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::host;

thread_local! {
    static NAMES: RefCell<BTreeMap<Rc<str>, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// A name that the host was told of.
#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) id: u32,
    pub(crate) text: Rc<str>,
}

/// The name, declared to the host if it is new.
pub(crate) fn listen(event: &str) -> Name {
    let (name, new) = NAMES.with_borrow_mut(|names| {
        if let Some((text, id)) = names.get_key_value(event) {
            return (Name { id: *id, text: Rc::clone(text) }, false);
        }
        let id = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let text: Rc<str> = event.into();
        names.insert(Rc::clone(&text), id);
        (Name { id, text }, true)
    });
    if new {
        host::listen(event);
    }
    name
}

/// The id of a name that was declared.
pub(crate) fn id_of(event: &str) -> Option<u32> {
    NAMES.with_borrow(|names| names.get(event).copied())
}
