//! One worker's registry: its sockets by id, and who subscribes to which channel. A publication is encoded once and
//! its bytes are shared by all its subscribers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use sc_core::config::ClientConfig;
use sc_core::ids::{SocketId, WorkerId, counters_named_by};
use sc_wire::encode;
use tokio::sync::Notify;
use tungstenite::Utf8Bytes;

use crate::flush::Flush;
use crate::socket::outbox::{Outgoing, Overflow};
use crate::socket::{Socket, State};

type Map<K, V> = HashMap<K, V, RandomState>;
type Subscribers = Map<SocketId, Rc<Socket>>;

/// The registry.
pub(crate) struct Hub {
    worker: WorkerId,
    config: ClientConfig,
    sockets: RefCell<Map<SocketId, Rc<Socket>>>,
    channels: RefCell<Map<Rc<str>, Subscribers>>,
    /// Who has something to write.
    pub(crate) flush: Flush,
    emptied: Notify,
    /// The first socket's.
    first_counter: u64,
    counter: Cell<u64>,
    open: Cell<u32>,
    arriving: Cell<u32>,
    packets: Cell<u64>,
}

/// A socket on its way, counted until it is dropped.
pub(crate) struct Arriving<'a>(&'a Cell<u32>);

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Hub {
    pub(crate) fn new(worker: WorkerId, config: ClientConfig, first_counter: u64) -> Self {
        Hub {
            worker,
            config,
            sockets: RefCell::default(),
            channels: RefCell::default(),
            flush: Flush::default(),
            emptied: Notify::new(),
            first_counter,
            counter: Cell::new(first_counter),
            open: Cell::new(0),
            arriving: Cell::new(0),
            packets: Cell::new(0),
        }
    }

    /// An id for the next socket, and its number among those of this process.
    pub(crate) fn next_id(&self) -> (SocketId, u64) {
        let counter = self.counter.get();
        self.counter.set(counter + 1);
        (SocketId::new(self.worker, counter), counter)
    }

    pub(crate) fn insert(&self, socket: Rc<Socket>) {
        self.sockets.borrow_mut().insert(socket.id, socket);
    }

    /// Sockets that are not gone, closing ones included.
    pub(crate) fn count(&self) -> usize {
        self.sockets.borrow().len()
    }

    /// A socket that is not gone, closing ones included.
    pub(crate) fn get(&self, id: SocketId) -> Option<Rc<Socket>> {
        self.sockets.borrow().get(&id).cloned()
    }

    /// A socket that is open.
    pub(crate) fn open_socket(&self, id: SocketId) -> Option<Rc<Socket>> {
        self.get(id).filter(|socket| socket.is_open())
    }

    /// A socket that is not gone by the name that clients see, which says its counter.
    pub(crate) fn named(&self, name: &str) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        let counters = counters_named_by(name, self.first_counter..self.counter.get());
        let mut like = counters.filter_map(|counter| sockets.get(&SocketId::new(self.worker, counter)));
        like.find(|socket| *socket.name == *name).cloned()
    }

    /// All sockets, as of now.
    pub(crate) fn all(&self) -> Vec<Rc<Socket>> {
        self.sockets.borrow().values().cloned().collect()
    }

    pub(crate) fn opened(&self) {
        self.open.set(self.open.get() + 1);
    }

    /// Takes a socket out of every channel and says which; it counts as open no more.
    pub(crate) fn retire(&self, socket: &Socket, was_open: bool) -> Vec<Rc<str>> {
        if was_open {
            self.open.set(self.open.get().saturating_sub(1));
        }
        let left: Vec<_> = socket.channels.borrow_mut().drain().collect();
        for channel in &left {
            self.leave(channel, socket.id);
        }
        left
    }

    /// Forgets a socket whose task ended.
    pub(crate) fn forget(&self, id: SocketId) {
        let mut sockets = self.sockets.borrow_mut();
        sockets.remove(&id);
        if sockets.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Waits until every socket's task ended.
    pub(crate) async fn until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.sockets.borrow().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn open_count(&self) -> u32 {
        self.open.get()
    }

    /// A socket is on its way, until this is dropped: a verdict about it, or the count of its address, may take long.
    pub(crate) fn arriving(&self) -> Arriving<'_> {
        self.arriving.set(self.arriving.get() + 1);
        Arriving(&self.arriving)
    }

    /// Sockets that a balancer should count as this worker's: those that are not gone, and those on their way.
    pub(crate) fn held(&self) -> u32 {
        u32::try_from(self.count()).unwrap_or(u32::MAX).saturating_add(self.arriving.get())
    }

    pub(crate) fn packet_count(&self) -> u64 {
        self.packets.get()
    }

    pub(crate) fn count_packet(&self) {
        self.packets.set(self.packets.get() + 1);
    }

    /// Adds a subscriber.
    pub(crate) fn join(&self, channel: &Rc<str>, socket: &Rc<Socket>) {
        self.channels
            .borrow_mut()
            .entry(Rc::clone(channel))
            .or_default()
            .insert(socket.id, Rc::clone(socket));
    }

    /// Removes a subscriber.
    pub(crate) fn leave(&self, channel: &str, socket: SocketId) {
        let mut channels = self.channels.borrow_mut();
        if let Some(subscribers) = channels.get_mut(channel) {
            subscribers.remove(&socket);
            if subscribers.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// Whether any socket subscribes to the channel.
    pub(crate) fn has_subscribers(&self, channel: &str) -> bool {
        self.channels.borrow().contains_key(channel)
    }

    /// The channel's subscribers, as of now.
    pub(crate) fn subscribers(&self, channel: &str) -> Vec<Rc<Socket>> {
        let channels = self.channels.borrow();
        channels.get(channel).map(|subscribers| subscribers.values().cloned().collect()).unwrap_or_default()
    }

    /// Sends a publication to the channel's subscribers.
    pub(crate) fn deliver(&self, channel: &str, data: Option<&str>) {
        let channels = self.channels.borrow();
        let Some(subscribers) = channels.get(channel) else { return };
        let text = Socket::text(encode::publication(channel, data));
        for socket in subscribers.values() {
            self.queue(socket, Outgoing::Publication(text.clone()));
        }
    }

    /// Sends an event to every open socket.
    pub(crate) fn send_to_all(&self, text: &Utf8Bytes) {
        for socket in self.sockets.borrow().values().filter(|socket| socket.is_open()) {
            let message = Outgoing::Text(text.clone());
            self.queued(socket, Flush::among_many, || socket.queue(message, &self.config));
        }
    }

    /// Sends a message to one socket.
    pub(crate) fn send(&self, socket: &Rc<Socket>, text: String) {
        self.queue(socket, Outgoing::Text(Socket::text(text)));
    }

    /// Sends a packet to one socket as part of an array.
    pub(crate) fn send_in_batch(&self, socket: &Rc<Socket>, packet: String) {
        self.queued(socket, Flush::alone, || socket.queue_in_batch(Socket::text(packet), &self.config));
    }

    pub(crate) fn queue(&self, socket: &Rc<Socket>, message: Outgoing) {
        let list = match message {
            Outgoing::Publication(_) => Flush::among_many,
            _ => Flush::alone,
        };
        self.queued(socket, list, || socket.queue(message, &self.config));
    }

    fn queued(
        &self,
        socket: &Rc<Socket>,
        list: fn(&Flush, &Rc<Socket>),
        queue: impl FnOnce() -> Result<(), Overflow>,
    ) {
        // What comes after something that did not fit would have a gap before it.
        if socket.state.get() == State::Closing || socket.listed.is_overrun() {
            return;
        }
        match queue() {
            Ok(()) => list(&self.flush, socket),
            Err(Overflow) => self.flush.overrun(socket),
        }
    }
}
