//! Guarded publications: somebody decides about each, once for each subscriber.
//!
//! Only [`ASKED_MAX`] verdicts are asked for at a time, so that a channel with many subscribers leaves room in the
//! components' queues for everything else. The other subscribers wait in a list for their turn. What waits for one
//! subscriber is bounded in bytes; a publication beyond that is lost for this subscriber, as if it read too slowly.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use sc_core::controller::{Json, Line};
use sc_wire::encode;
use tungstenite::Utf8Bytes;

use super::turn::Weighs;
use super::{Deed, Gate};
use crate::socket::outbox::Outgoing;
use crate::socket::{Socket, State};
use crate::worker::Worker;

/// Publications that are asked about at a time.
const ASKED_MAX: usize = 1_000;

/// A publication on its way to its subscribers, who share it.
pub(crate) struct Publication {
    channel: Rc<str>,
    data: Option<Json>,
    /// As it goes out if nobody changes it.
    text: Utf8Bytes,
}

impl Weighs for Rc<Publication> {
    fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl Publication {
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn data(&self) -> Option<Json> {
        self.data.clone()
    }

    /// Sends it to a subscriber, unless that is one no more.
    pub(super) fn send(&self, worker: &Worker, socket: &Rc<Socket>, changed: Option<Option<Json>>) {
        if !socket.channels.borrow().contains(&*self.channel) {
            return;
        }
        let text = match changed {
            None => self.text.clone(),
            Some(data) => Socket::text(encode::publication(&self.channel, data.as_deref())),
        };
        worker.hub.queue(socket, Outgoing::Publication(text));
    }
}

/// The worker's publications that wait for verdicts.
#[derive(Default)]
pub(crate) struct Outward {
    asked: Cell<usize>,
    /// Subscribers whose next publication is to be asked about, each once.
    next: RefCell<VecDeque<Rc<Socket>>>,
    lost: Cell<u64>,
}

impl Outward {
    /// Whether a publication may have to wait at all.
    pub(crate) fn is_wanted(worker: &Worker) -> bool {
        Gate::has(worker, Line::PublishOut) || worker.gate.outward.is_busy()
    }

    /// Whether any waits.
    pub(super) fn is_busy(&self) -> bool {
        self.asked.get() > 0 || !self.next.borrow().is_empty()
    }

    pub(super) fn asked(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    pub(super) fn answered(&self) {
        self.asked.set(self.asked.get().saturating_sub(1));
    }

    /// Sends a publication to the channel's subscribers: to those at once for whom nobody has to be asked.
    pub(crate) fn deliver(worker: &Rc<Worker>, channel: &str, data: Option<&str>) {
        let covered = Gate::covers(worker, Line::PublishOut, channel);
        let text = Socket::text(encode::publication(channel, data));
        let publication = Rc::new(Publication { channel: channel.into(), data: data.map(Into::into), text });
        for socket in worker.hub.subscribers(channel) {
            let mut turn = socket.turn.borrow_mut();
            if !covered && turn.outward.is_idle() {
                worker.hub.queue(&socket, Outgoing::Publication(publication.text.clone()));
            } else if turn.outward.is_full() {
                worker.gate.outward.lose(&socket);
            } else {
                turn.outward.queue(Rc::clone(&publication));
                drop(turn);
                Self::list(worker, &socket);
            }
        }
        Self::go_on(worker);
    }

    fn lose(&self, socket: &Socket) {
        if self.lost.get().is_multiple_of(10_000) {
            tracing::warn!(
                lost = self.lost.get() + 1,
                socket = &*socket.name,
                "verdicts come too slowly; publications are lost for those who wait for too many"
            );
        }
        self.lost.set(self.lost.get() + 1);
    }

    /// The subscriber has something to be asked about.
    pub(super) fn list(worker: &Worker, socket: &Rc<Socket>) {
        let mut turn = socket.turn.borrow_mut();
        if !turn.outward.is_idle() && !turn.outward.is_held() && !turn.is_listed {
            turn.is_listed = true;
            worker.gate.outward.next.borrow_mut().push_back(Rc::clone(socket));
        }
    }

    /// Asks about as many as there is room for.
    pub(super) fn go_on(worker: &Rc<Worker>) {
        let this = &worker.gate.outward;
        let is_full = || worker.seats.iter().any(|seat| seat.calls.is_full());
        while this.asked.get() < ASKED_MAX && !is_full() {
            let Some(socket) = this.next.borrow_mut().pop_front() else { return };
            socket.turn.borrow_mut().is_listed = false;
            while socket.state.get() != State::Closing {
                let Some(publication) = socket.turn.borrow_mut().outward.next() else { break };
                Gate::pass(worker, &socket, Deed::PublishOut { publication, changed: None });
            }
        }
    }
}
