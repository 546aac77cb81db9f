//! Who has something to write, and when: what was queued in one turn of the loop is written in one go. What concerns
//! one socket alone, an answer before all, does not wait behind a publication to thousands: those have their turn a
//! slice at a time. Within a socket nothing overtakes anything, as all that waits there is written together.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::socket::Socket;

/// Sockets written before others have their turn.
const WRITES_PER_TURN: usize = 64;

/// In which of the lists a socket is. It may be in both: then the second finds nothing left to write.
#[derive(Default)]
pub(crate) struct Listed {
    alone: Cell<bool>,
    among_many: Cell<bool>,
    overrun: Cell<bool>,
}

impl Listed {
    /// Whether its outbox ran over, so that it is about to be closed.
    pub(crate) fn is_overrun(&self) -> bool {
        self.overrun.get()
    }
}

/// The sockets that wait to be written, each at most once in a list.
#[derive(Default)]
pub(crate) struct Flush {
    alone: RefCell<Vec<Rc<Socket>>>,
    among_many: RefCell<VecDeque<Rc<Socket>>>,
    /// Sockets whose outbox ran over. Whoever queued is in the middle of something, so they are closed from here.
    overrun: RefCell<Vec<Rc<Socket>>>,
    due: Notify,
}

impl Flush {
    /// The socket has something to write that only it is told.
    pub(crate) fn alone(&self, socket: &Rc<Socket>) {
        if !socket.listed.alone.replace(true) {
            let mut alone = self.alone.borrow_mut();
            if alone.is_empty() {
                self.due.notify_one();
            }
            alone.push(Rc::clone(socket));
        }
    }

    /// The socket has something to write that maybe many are told.
    pub(crate) fn among_many(&self, socket: &Rc<Socket>) {
        if !socket.listed.among_many.replace(true) {
            let mut among_many = self.among_many.borrow_mut();
            if among_many.is_empty() {
                self.due.notify_one();
            }
            among_many.push_back(Rc::clone(socket));
        }
    }

    /// The socket's outbox ran over.
    pub(crate) fn overrun(&self, socket: &Rc<Socket>) {
        if !socket.listed.overrun.replace(true) {
            self.overrun.borrow_mut().push(Rc::clone(socket));
            self.due.notify_one();
        }
    }

    /// Writes, turn after turn, until sockets ran over; returns those.
    pub(crate) async fn write(&self) -> Vec<Rc<Socket>> {
        loop {
            let overrun = self.overrun.take();
            if !overrun.is_empty() {
                return overrun;
            }
            let alone = self.alone.take();
            if alone.is_empty() && self.among_many.borrow().is_empty() {
                self.due.notified().await;
                // Whoever else is ready queues first, so that one write carries it all.
                tokio::task::yield_now().await;
                continue;
            }
            for sockets in alone.chunks(WRITES_PER_TURN) {
                for socket in sockets {
                    socket.listed.alone.set(false);
                    socket.flush();
                }
                if sockets.len() == WRITES_PER_TURN {
                    tokio::task::yield_now().await;
                }
            }
            for _ in 0..WRITES_PER_TURN {
                let Some(socket) = self.among_many.borrow_mut().pop_front() else { break };
                socket.listed.among_many.set(false);
                socket.flush();
            }
            if !self.among_many.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sc_core::ids::SocketId;
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::socket::Opening;

    fn socket(id: u64) -> Rc<Socket> {
        let opening = Opening {
            address: "127.0.0.1".into(),
            secure: false,
            path: "/".into(),
            query: "".into(),
            headers: Box::default(),
        };
        Rc::new(Socket::new(SocketId(id), id.to_string(), String::new(), opening, None, None))
    }

    /// Who is told something alone is written in the next turn, however many wait for what they all are told.
    #[tokio::test]
    async fn one_goes_ahead_of_many() {
        let flush = Rc::new(Flush::default());
        let many: Vec<_> = (0..10 * WRITES_PER_TURN as u64).map(socket).collect();
        let waiting = || many.iter().filter(|socket| socket.listed.among_many.get()).count();
        let turns = async {
            many.iter().for_each(|socket| flush.among_many(socket));
            while waiting() == many.len() {
                yield_now().await;
            }
            let left = waiting();
            let (outsider, last) = (socket(9_999), many.last().map(Rc::clone).unwrap_or_else(|| socket(0)));
            flush.alone(&outsider);
            flush.alone(&last);
            while outsider.listed.alone.get() || last.listed.alone.get() {
                yield_now().await;
            }
            assert!(waiting() >= left - WRITES_PER_TURN && left > WRITES_PER_TURN, "{left}, {}", waiting());
            while waiting() > 0 {
                yield_now().await;
            }
        };
        let writer = Rc::clone(&flush);
        LocalSet::new()
            .run_until(async move {
                let writing = tokio::task::spawn_local(async move { writer.write().await });
                turns.await;
                writing.abort();
            })
            .await;
    }
}
