//! One client: its connection, what it is subscribed to, what it waits for. A socket is owned by its task
//! ([`serve::serve`], or [`crate::classic::keep`] while it has no connection of its own); everybody else reaches it
//! through the hub and only queues.

pub(crate) mod connection;
pub(crate) mod outbox;
pub(crate) mod serve;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use sc_core::config::ClientConfig;
use sc_core::controller::SocketInfo;
use sc_core::ids::{SocketId, Token};
use sc_core::log::NOTICE;
use sc_wire::close;
use sc_wire::packet::Version;
use tokio::sync::Notify;
use tungstenite::Utf8Bytes;
use tungstenite::error::Error as WsError;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message};

use self::connection::Connection;
use self::outbox::{Outbox, Outgoing, Overflow};
use crate::addresses::Place;
use crate::auth::Claims;
use crate::backlog::Backlog;
use crate::classic::Classic;
use crate::flush::Listed;
use crate::gate::Turn;
use crate::seat::Seat;

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No handshake yet.
    Connecting,
    /// The handshake was answered.
    Open,
    /// It is gone for everybody but its own task, which waits for the close frame to be answered.
    Closing,
}

/// Name and value of a header that the controller may ask for.
pub(crate) type KeptHeader = (Box<str>, Box<[u8]>);

/// What the upgrade request told.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) address: Box<str>,
    pub(crate) secure: bool,
    pub(crate) path: Box<str>,
    pub(crate) query: Box<str>,
    pub(crate) headers: Box<[KeptHeader]>,
}

/// A question to the client that waits for its answer.
pub(crate) struct Ask {
    /// Who asks.
    pub(crate) seat: Rc<Seat>,
    pub(crate) token: Token,
    pub(crate) event: Box<str>,
    pub(crate) timer: Option<crate::timers::Key>,
}

/// One client.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    /// The id that clients see.
    pub(crate) name: Box<str>,
    pub(crate) session: Box<str>,
    pub(crate) opening: Opening,
    pub(crate) state: Cell<State>,
    /// Known from the first pong on.
    pub(crate) version: Cell<Option<Version>>,
    pub(crate) auth: RefCell<Option<Claims>>,
    pub(crate) channels: RefCell<HashSet<Rc<str>, foldhash::fast::RandomState>>,
    pub(crate) asks: RefCell<HashMap<i64, Ask, foldhash::fast::RandomState>>,
    pub(crate) last_cid: Cell<i64>,
    /// Calls of this client that wait for the controller, oldest first.
    pub(crate) replies: RefCell<VecDeque<Token>>,
    /// Its place among the sockets of its address, until it closes; among those that are turned away, until it is
    /// gone.
    pub(crate) place: Cell<Option<Place>>,
    /// What the controller says of its user, for those who ask who is on a channel.
    pub(crate) user: RefCell<Option<Bytes>>,
    /// The controller's instance that knows this socket; 0 for none.
    pub(crate) known_by: Cell<u64>,
    /// The instance that was told when it opened; 0 for none.
    pub(crate) opened_to: Cell<u64>,
    /// Instances in a row that died of being told of it.
    pub(crate) fatal: Cell<u32>,
    /// Its client ended it, or this worker's own end did: what it said before still counts.
    pub(crate) left: Cell<bool>,
    /// The action of it that waits for a verdict, and those behind it.
    pub(crate) turn: RefCell<Turn>,
    /// Packets of its messages that wait for room.
    pub(crate) backlog: RefCell<Backlog>,
    /// It published while a store is behind: it is not read until there is room.
    pub(crate) paused: Cell<bool>,
    /// What it says is not heard now, because it is not read.
    pub(crate) unread: Cell<bool>,
    /// Events of this socket in the controller's queue.
    pub(crate) queued: Cell<usize>,
    pub(crate) last_heard: Cell<Instant>,
    /// Wakes the socket's task: it closes, or its writing is blocked.
    pub(crate) changed: Notify,
    /// Whether it waits to be written.
    pub(crate) listed: Listed,
    /// Until when packets are collected into batches.
    pub(crate) batching: Cell<Option<Instant>>,
    blocked: Cell<bool>,
    /// What it sends cannot be understood any more.
    failed: Cell<bool>,
    /// Nothing more can be read or written.
    gone: Cell<bool>,
    /// What clients of the classic generation have beside all this.
    pub(crate) classic: Option<Box<Classic>>,
    /// Its own connection. A socket whose client polls has none until it upgrades.
    connection: OnceCell<Connection>,
    outbox: RefCell<Outbox>,
}

impl Socket {
    pub(crate) fn new(
        id: SocketId,
        name: String,
        session: String,
        opening: Opening,
        connection: Option<Connection>,
        classic: Option<Box<Classic>>,
    ) -> Self {
        Socket {
            id,
            name: name.into(),
            session: session.into(),
            opening,
            state: Cell::new(State::Connecting),
            version: Cell::new(None),
            auth: RefCell::default(),
            channels: RefCell::default(),
            asks: RefCell::default(),
            last_cid: Cell::new(0),
            replies: RefCell::default(),
            place: Cell::default(),
            user: RefCell::default(),
            known_by: Cell::new(0),
            opened_to: Cell::new(0),
            fatal: Cell::new(0),
            left: Cell::new(false),
            turn: RefCell::default(),
            backlog: RefCell::default(),
            paused: Cell::new(false),
            unread: Cell::new(false),
            queued: Cell::new(0),
            last_heard: Cell::new(Instant::now()),
            changed: Notify::new(),
            listed: Listed::default(),
            batching: Cell::new(None),
            blocked: Cell::new(false),
            failed: Cell::new(false),
            gone: Cell::new(false),
            classic,
            connection: connection.map_or_else(OnceCell::new, OnceCell::from),
            outbox: RefCell::default(),
        }
    }

    /// What the controller is told of it.
    pub(crate) fn info(&self) -> SocketInfo {
        SocketInfo {
            id: self.id,
            name: self.name.clone(),
            session: self.session.clone(),
            address: self.opening.address.clone(),
            secure: self.opening.secure,
            protocol: match (&self.classic, self.version.get()) {
                (Some(_), _) => "classic",
                (None, None) => "modern",
                (None, Some(Version::One)) => "modern-1",
                (None, Some(Version::Two)) => "modern-2",
            },
            path: self.opening.path.clone(),
            query: self.opening.query.clone(),
            auth: self.auth.borrow().as_ref().map(|claims| claims.text.clone()),
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// It is about to be ended by its client, or by this worker's own end; not by a decision against it.
    pub(crate) fn leaves(&self) {
        if self.state.get() != State::Closing {
            self.left.set(true);
        }
    }

    /// Queues a message. The caller lists the socket to be written, or to be closed on overflow.
    pub(crate) fn queue(&self, message: Outgoing, config: &ClientConfig) -> Result<(), Overflow> {
        let mut outbox = self.outbox.borrow_mut();
        let before = outbox.dropped();
        let queued = match self.batching.get() {
            Some(_) => outbox.collect(message, config.outbox_max, config.slow_client),
            None => outbox.push(message, config.outbox_max, config.slow_client),
        };
        if before == 0 && outbox.dropped() > 0 {
            tracing::info!(
                target: NOTICE,
                socket = &*self.name,
                address = &*self.opening.address,
                "a client reads too slowly; its oldest publications are dropped"
            );
        }
        queued
    }

    /// Queues a packet that goes out as part of an array, with those of its kind that are queued in the same turn.
    pub(crate) fn queue_in_batch(&self, packet: Utf8Bytes, config: &ClientConfig) -> Result<(), Overflow> {
        self.outbox.borrow_mut().collect(Outgoing::Text(packet), config.outbox_max, config.slow_client)
    }

    /// Ends the batch of packets collected so far.
    pub(crate) fn end_batch(&self) {
        self.outbox.borrow_mut().seal();
    }

    /// Queues the close frame, ahead of everything when `at_once`.
    pub(crate) fn queue_close(&self, code: u16, reason: &str, at_once: bool) {
        let mut outbox = self.outbox.borrow_mut();
        if at_once {
            outbox.clear();
        }
        let frame = (code != close::NO_STATUS)
            .then(|| CloseFrame { code: CloseCode::from(code), reason: cut(reason).into() });
        // The close frame has no length for the outbox, so it always fits.
        let _ = outbox.push(Outgoing::Close(frame), usize::MAX, sc_core::config::SlowClient::Close);
    }

    /// Its connection, if it has one of its own.
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.get()
    }

    /// Gives it a connection of its own; the one it gets first stays, and another is given back.
    pub(crate) fn connect(&self, connection: Connection) -> Option<Connection> {
        self.connection.set(connection).err()
    }

    /// Whether nothing more can be read or written.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.get()
    }

    /// The next thing to send, for whoever polls.
    pub(crate) fn next_outgoing(&self) -> Option<Outgoing> {
        self.outbox.borrow_mut().pop()
    }

    /// Writes what waits until the connection takes no more; the task is woken to go on then.
    pub(crate) fn flush(&self) {
        let Some(connection) = self.connection.get() else {
            if let Some(classic) = &self.classic {
                classic.polling.wake();
            }
            return;
        };
        if self.gone.get() {
            return;
        }
        match self.write_all(connection) {
            Ok(()) => self.blocked.set(false),
            Err(WsError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !self.blocked.replace(true) {
                    self.changed.notify_one();
                }
            }
            Err(_) => {
                self.gone.set(true);
                self.changed.notify_one();
            }
        }
    }

    fn write_all(&self, connection: &Connection) -> Result<(), WsError> {
        connection.with(|codec, stream| {
            if self.blocked.get() {
                codec.flush(stream)?;
            }
            if self.batching.get().is_none() {
                self.end_batch();
            }
            loop {
                let Some(next) = self.next_outgoing() else { return codec.flush(stream) };
                let text = match (&self.classic, next) {
                    (_, Outgoing::Close(frame)) => {
                        codec.close(stream, frame)?;
                        continue;
                    }
                    (None, Outgoing::Text(text) | Outgoing::Publication(text)) => text,
                    (_, Outgoing::Ping(text)) => Utf8Bytes::from_static(text),
                    (_, Outgoing::Packet(text)) => text,
                    (Some(classic), Outgoing::Text(text) | Outgoing::Publication(text)) => {
                        for packet in classic.packets(self, &text) {
                            if codec.can_write() {
                                codec.write(stream, Message::Text(packet.into()))?;
                            }
                        }
                        continue;
                    }
                };
                if codec.can_write() {
                    codec.write(stream, Message::Text(text))?;
                }
            }
        })
    }

    /// Ends the connection without waiting for the client any longer.
    pub(crate) fn give_up(&self) {
        self.gone.set(true);
        self.changed.notify_one();
    }

    /// A text message that many sockets may share.
    pub(crate) fn text(text: String) -> Utf8Bytes {
        Utf8Bytes::from(text)
    }

    /// A number for the next question to the client.
    pub(crate) fn next_cid(&self) -> i64 {
        let cid = self.last_cid.get() + 1;
        self.last_cid.set(cid);
        cid
    }
}

/// At most as many bytes as a close frame holds.
fn cut(reason: &str) -> &str {
    let mut end = reason.len().min(close::REASON_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default()
}
