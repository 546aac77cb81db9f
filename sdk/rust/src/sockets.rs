//! The open sockets that this instance knows, by id.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::Socket;

thread_local! {
    static SOCKETS: RefCell<BTreeMap<u64, Socket>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether the socket is new.
pub(crate) fn add(socket: &Socket) -> bool {
    SOCKETS.with_borrow_mut(|sockets| {
        let new = !sockets.contains_key(&socket.id());
        if new {
            sockets.insert(socket.id(), socket.clone());
        }
        new
    })
}

pub(crate) fn get(id: u64) -> Option<Socket> {
    SOCKETS.with_borrow(|sockets| sockets.get(&id).cloned())
}

pub(crate) fn remove(id: u64) -> Option<Socket> {
    SOCKETS.with_borrow_mut(|sockets| sockets.remove(&id))
}

pub(crate) fn all() -> Vec<Socket> {
    SOCKETS.with_borrow(|sockets| sockets.values().cloned().collect())
}
