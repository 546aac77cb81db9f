//! Channels between the hub and the stores. A worker subscribes to a channel at its store while any of its sockets,
//! or its controller, does. All publications go through the channel's store, so every subscriber of every worker
//! sees them in one order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_core::controller::{Event, Interest};
use sc_core::ids::SocketId;
use sc_core::link::control::FromChild;
use sc_core::log::{self, FAULT};
use sc_store::client::StoreEvent;
use sc_wire::encode;
use sc_wire::packet::CallId;

use crate::gate::Outward;
use crate::presence::Presence;
use crate::sessions::Sessions;
use crate::socket::Socket;
use crate::worker::Worker;

/// Pause before a channel that its store did not confirm is subscribed again for those who want it still.
const RETRY: Duration = Duration::from_secs(1);

/// What the worker knows of a channel that it subscribes to at the store.
struct Channel {
    /// Tells a channel from an earlier one of the same name.
    epoch: u64,
    /// The store confirmed.
    confirmed: bool,
    /// The instance of the controller that asked to hear it last, if one did.
    watched: Option<u64>,
    /// Subscribers to be answered once the store confirmed.
    waiting: Vec<(SocketId, Asker)>,
}

/// A subscriber's call.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) call: CallId,
    /// Clients of protocol 1 that subscribe in a batch are answered in one.
    pub(crate) in_batch: bool,
}

impl Asker {
    pub(crate) fn answer(&self, worker: &Worker, socket: &Rc<Socket>) {
        self.send(worker, socket, encode::response(&self.call, None));
    }

    pub(crate) fn refuse(&self, worker: &Worker, socket: &Rc<Socket>, message: &str) {
        self.refuse_with(worker, socket, &encode::error(Some("BrokerError"), message, ""));
    }

    /// Refuses with an error's text.
    pub(crate) fn refuse_with(&self, worker: &Worker, socket: &Rc<Socket>, error: &str) {
        self.send(worker, socket, encode::refusal(&self.call, error, None));
    }

    fn send(&self, worker: &Worker, socket: &Rc<Socket>, packet: String) {
        match self.in_batch {
            true => worker.hub.send_in_batch(socket, packet),
            false => worker.hub.send(socket, packet),
        }
    }
}

/// The worker's channels.
#[derive(Default)]
pub(crate) struct Exchange {
    channels: RefCell<HashMap<Rc<str>, Channel, RandomState>>,
    epochs: std::cell::Cell<u64>,
}

impl Exchange {
    /// The shared name of a channel, if the worker knows it.
    fn name(&self, channel: &str) -> Option<Rc<str>> {
        self.channels.borrow().get_key_value(channel).map(|(name, _)| Rc::clone(name))
    }

    /// Adds a client's subscription; it is answered once the channel's store has confirmed.
    pub(crate) fn subscribe(worker: &Rc<Worker>, socket: &Rc<Socket>, channel: &str, asker: Option<Asker>) {
        let this = &worker.exchange;
        let name = this.name(channel).unwrap_or_else(|| channel.into());
        if socket.channels.borrow_mut().insert(Rc::clone(&name)) {
            Presence::join(worker, socket, &name);
        }
        worker.hub.join(&name, socket);
        this.want(worker, &name);
        let Some(asker) = asker else { return };
        match this.channels.borrow_mut().get_mut(&name) {
            Some(channel) if !channel.confirmed => channel.waiting.push((socket.id, asker)),
            _ => asker.answer(worker, socket),
        }
    }

    /// Lets the controller hear a channel.
    pub(crate) fn watch(worker: &Rc<Worker>, channel: &str, instance: u64) {
        let this = &worker.exchange;
        let name = this.name(channel).unwrap_or_else(|| channel.into());
        this.want(worker, &name);
        if let Some(channel) = this.channels.borrow_mut().get_mut(&name) {
            channel.watched = Some(instance);
        }
    }

    /// The controller hears the channel no more.
    pub(crate) fn unwatch(worker: &Worker, channel: &str) {
        if let Some(channel) = worker.exchange.channels.borrow_mut().get_mut(channel) {
            channel.watched = None;
        }
        worker.exchange.release(worker, channel);
    }

    /// What only earlier instances watched is watched no more.
    pub(crate) fn unwatch_but(worker: &Worker, instance: u64) {
        let old: Vec<Rc<str>> = {
            let channels = worker.exchange.channels.borrow();
            let is_old = |channel: &Channel| channel.watched.is_some_and(|watcher| watcher != instance);
            channels.iter().filter(|(_, channel)| is_old(channel)).map(|(name, _)| Rc::clone(name)).collect()
        };
        for channel in old {
            Self::unwatch(worker, &channel);
        }
    }

    /// Subscribes at the store unless that is done.
    fn want(&self, worker: &Rc<Worker>, name: &Rc<str>) {
        let mut channels = self.channels.borrow_mut();
        if channels.contains_key(name) {
            return;
        }
        let epoch = self.epochs.get() + 1;
        self.epochs.set(epoch);
        let channel = Channel { epoch, confirmed: false, watched: None, waiting: Vec::new() };
        channels.insert(Rc::clone(name), channel);
        let mut confirmed = worker.stores.subscribe(name);
        let (on, name) = (Rc::clone(worker), Rc::clone(name));
        worker.tasks.spawn_local(async move {
            loop {
                match confirmed.await {
                    Ok(()) => return on.exchange.confirm(&on, &name, epoch),
                    Err(error) => Self::fail(&on, &name, epoch, &error.to_string()),
                }
                // Who wants it without waiting for it, as the controller does, has no call to make again.
                tokio::time::sleep(RETRY).await;
                if !on.exchange.awaits(&name, epoch) {
                    return;
                }
                confirmed = on.stores.subscribe(&name);
            }
        });
    }

    /// Whether the channel is wanted and not confirmed yet.
    fn awaits(&self, name: &str, epoch: u64) -> bool {
        let channels = self.channels.borrow();
        channels.get(name).is_some_and(|channel| channel.epoch == epoch && !channel.confirmed)
    }

    fn confirm(&self, worker: &Worker, name: &Rc<str>, epoch: u64) {
        let waiting = {
            let mut channels = self.channels.borrow_mut();
            let Some(channel) = channels.get_mut(name).filter(|channel| channel.epoch == epoch) else {
                return;
            };
            channel.confirmed = true;
            std::mem::take(&mut channel.waiting)
        };
        for (socket, asker) in waiting {
            if let Some(socket) = worker.hub.open_socket(socket) {
                asker.answer(worker, &socket);
            }
        }
    }

    /// The store did not answer in time: the subscribers are told, and may try again.
    fn fail(worker: &Worker, name: &Rc<str>, epoch: u64, why: &str) {
        let waiting = {
            let mut channels = worker.exchange.channels.borrow_mut();
            let Some(channel) = channels.get_mut(name).filter(|channel| channel.epoch == epoch) else {
                return;
            };
            std::mem::take(&mut channel.waiting)
        };
        tracing::warn!(
            target: FAULT,
            channel = log::name(name),
            error = why,
            "a channel could not be subscribed at its store"
        );
        for (socket, asker) in waiting {
            let Some(socket) = worker.hub.open_socket(socket) else { continue };
            asker.refuse(
                worker,
                &socket,
                &format!("Failed to subscribe socket to the {name} channel - {why}"),
            );
            let was_on = socket.channels.borrow_mut().remove(name);
            worker.hub.leave(name, socket.id);
            if was_on {
                Presence::leave(worker, &socket, name);
                Self::tell_of_end(worker, &socket, name);
            }
        }
        worker.exchange.release(worker, name);
    }

    /// Ends a client's subscription; false when there was none.
    pub(crate) fn unsubscribe(worker: &Worker, socket: &Rc<Socket>, channel: &str) -> bool {
        if !socket.channels.borrow_mut().remove(channel) {
            return false;
        }
        Presence::leave(worker, socket, channel);
        worker.hub.leave(channel, socket.id);
        worker.exchange.release(worker, channel);
        Self::tell_of_end(worker, socket, channel);
        true
    }

    /// The controller heard of the subscription when it began.
    fn tell_of_end(worker: &Worker, socket: &Rc<Socket>, channel: &str) {
        worker.tell_if_wanted(Interest::Unsubscribe, socket, || Event::Unsubscribe {
            socket: socket.id,
            channel: channel.into(),
        });
    }

    /// Gives a channel back to the store when nobody here wants it any more.
    pub(crate) fn release(&self, worker: &Worker, channel: &str) {
        let mut channels = self.channels.borrow_mut();
        if channels.get(channel).is_some_and(|known| known.watched.is_none())
            && !worker.hub.has_subscribers(channel)
        {
            channels.remove(channel);
            worker.stores.unsubscribe(channel);
        }
    }

    /// What a store's link brings.
    pub(crate) fn receive(worker: &Rc<Worker>, event: StoreEvent) {
        match event {
            StoreEvent::Message { channel, data } => Self::deliver(worker, &channel, data.as_ref()),
            StoreEvent::Gap(store) => {
                if worker.app.interests.wants(Interest::Gap) {
                    worker.app.calls.push_owed(Event::Gap { store: u32::from(store.0) });
                }
            }
            StoreEvent::Member { channel, change, member } => {
                Presence::changed(worker, channel, change, member);
            }
            StoreEvent::Attached(store) => Presence::attached(worker, store),
            StoreEvent::Session { session, message } => Sessions::receive(worker, &session, message),
            StoreEvent::SessionEnd(session) => Sessions::ended(worker, session),
            StoreEvent::Lost(store) => {
                worker.tell_master(FromChild::StoreLost(store));
            }
        }
    }

    fn deliver(worker: &Rc<Worker>, channel: &str, data: Option<&Bytes>) {
        let Ok(data) = data.map(|data| std::str::from_utf8(data)).transpose() else {
            tracing::error!(target: FAULT, "a store sent a publication that is not text");
            return;
        };
        let known = worker.exchange.channels.borrow().get_key_value(channel).map(|(name, known)| {
            let unanswered = (!known.confirmed).then(|| (Rc::clone(name), known.epoch));
            (known.watched.is_some(), unanswered)
        });
        let (watched, unanswered) = known.unwrap_or_default();
        // The publication proves that the store took the subscription: the subscribers' answers go first.
        if let Some((name, epoch)) = unanswered {
            worker.exchange.confirm(worker, &name, epoch);
        }
        match Outward::is_wanted(worker) {
            false => worker.hub.deliver(channel, data),
            true => Outward::deliver(worker, channel, data),
        }
        if watched {
            worker
                .app
                .calls
                .push_if_room(Event::Publication { channel: channel.into(), data: data.map(Into::into) });
        }
    }
}
