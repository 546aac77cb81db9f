//! Clients of the classic generation: Engine.IO beneath JSON events. What they say becomes the same actions as that of
//! others, and what they are told is put into their words when it is written ([`outbound`]); so limits, middleware,
//! channels and sessions are common. Only how packets come and go is their own: over a WebSocket, or by requests
//! ([`http`], [`poll`]) until they upgrade ([`probe`]).
//!
//! An id of Engine.IO is a secret like a session's: who knows it, speaks for its client. So it carries the same MAC,
//! which also tells any worker at once whose it is; what others see of it is the part ahead of that.
//!
//! Source: SocketCluster 0.9.90 with engine.io 1.3.1.

pub(crate) mod events;
pub(crate) mod http;
mod outbound;
mod poll;
pub(crate) mod probe;
mod query;
pub(crate) mod receive;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sc_core::config::ClassicEvents;
use sc_core::ids::SocketId;
use sc_core::session_id::SessionIds;
use sc_wire::classic::encoding::Texts;
use sc_wire::classic::payload::Framing;

pub(crate) use self::poll::{Polling, keep};
pub(crate) use self::query::Query;
use crate::addresses::Place;
use crate::sessions::Session;
use crate::socket::connection::Connection;
use crate::socket::outbox::Outgoing;
use crate::socket::{Opening, Socket};
use crate::timers::Due;
use crate::upgrade::Head;
use crate::worker::Worker;

/// What a socket of this generation has beside what all have.
pub(crate) struct Classic {
    /// Its Engine.IO id.
    sid: Box<str>,
    /// How it takes publications.
    layer: Cell<Layer>,
    texts: Cell<Texts>,
    /// When it was told that it is let in.
    let_in: Cell<Option<Instant>>,
    /// Its place among the polling sockets of its address that are not open yet.
    arriving: Cell<Option<Place>>,
    pub(crate) polling: Polling,
    several: outbound::Several,
}

/// How a client takes publications. Neither kind makes anything of the other's shape, except that the first emits it
/// as `raw`, and the second as an event of the channel's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Nothing tells: it gets both shapes.
    Unknown,
    /// As events of the channel's name: clients up to 0.9.37.
    Events,
    /// In a shape of their own: clients from 1.0.0 on.
    Channels,
}

impl Classic {
    fn new(sid: String, query: &Query<'_>, head: &Head<'_>, events: ClassicEvents) -> Self {
        // In browsers, only clients from 1.0.1 on name version 3; in Node all do.
        let is_later = query.version == Some("3") && head.is_of_browser();
        let layer = match events {
            ClassicEvents::Events => Layer::Events,
            ClassicEvents::Channels => Layer::Channels,
            ClassicEvents::Auto if is_later => Layer::Channels,
            ClassicEvents::Auto => Layer::Unknown,
        };
        Classic {
            sid: sid.into(),
            layer: Cell::new(layer),
            texts: Cell::new(if is_later { Texts::Once } else { Texts::Unknown }),
            let_in: Cell::new(None),
            arriving: Cell::new(None),
            polling: Polling::new(if query.is_text { Framing::Text } else { Framing::Binary }),
            several: outbound::Several::default(),
        }
    }

    /// How much of the time is left in which it is to say that it is ready; none if that is over, or has not begun.
    pub(crate) fn left_to_be_ready(&self, timeout: Duration) -> Option<Duration> {
        let left = timeout.checked_sub(self.let_in.get()?.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// It did what only clients from 1.0.0 on do.
    fn is_of_channels(&self) {
        if self.layer.get() == Layer::Unknown {
            self.layer.set(Layer::Channels);
        }
    }
}

/// Sockets by their Engine.IO id: those that poll, or did before they upgraded.
#[derive(Default)]
pub(crate) struct Pollers(RefCell<HashMap<Box<str>, Rc<Socket>, RandomState>>);

impl Pollers {
    fn get(&self, sid: &str) -> Option<Rc<Socket>> {
        self.0.borrow().get(sid).cloned()
    }

    /// Whether there is such a socket still, be it that it closes.
    pub(crate) fn has(&self, sid: &str) -> bool {
        self.0.borrow().contains_key(sid)
    }

    fn insert(&self, sid: &str, socket: &Rc<Socket>) {
        self.0.borrow_mut().insert(sid.into(), Rc::clone(socket));
    }

    fn remove(&self, sid: &str) {
        self.0.borrow_mut().remove(sid);
    }
}

/// Makes a socket, with its connection if it has one, and tells its client how it is called. The first packet is
/// returned for those who poll; others get it by their connection.
pub(crate) fn open(
    worker: &Rc<Worker>,
    session: Session,
    opening: Opening,
    connection: Option<Connection>,
    query: &Query<'_>,
    head: &Head<'_>,
) -> io::Result<(Rc<Socket>, String)> {
    let (id, counter) = worker.hub.next_id();
    let ids = &worker.config.sessions.ids;
    // In the original, a new session is called like its first socket; but a client may tell others how it is called.
    #[expect(clippy::cast_possible_truncation, reason = "ids take the counter's low three bytes")]
    let sid = ids.mint(worker.id, counter as u32, opening.secure)?;
    let config = &worker.config.classic;
    let (interval, timeout) = (config.ping_interval.as_millis(), config.ping_timeout.as_millis());
    let has_connection = connection.is_some();
    let may_upgrade = !has_connection && config.transports.websocket;
    let packet = sc_wire::classic::packet::open(&sid, may_upgrade, interval, timeout);
    let name = SessionIds::public_part(&sid).to_owned();
    let classic = Box::new(Classic::new(sid, query, head, config.events));
    let socket = Rc::new(Socket::new(id, name, session.id, opening, connection, Some(classic)));
    worker.hub.insert(Rc::clone(&socket));
    worker.timers.insert(Due::Handshake(id), worker.config.protocol.handshake_timeout);
    if has_connection {
        worker.hub.queue(&socket, Outgoing::Packet(packet.clone().into()));
    }
    Ok((socket, packet))
}

/// Watches over the silence of a socket that opened.
fn watch(worker: &Worker, id: SocketId) {
    worker.timers.insert(Due::Pong(id), worker.config.classic.silence());
}
