//! Sockets whose clients poll: one request waits for what is to be told, another brings what the client says. A client
//! has one of each at a time. A waiting poll that goes away takes the socket along, as the original has it: its client
//! has given up, and what it would have been told next is lost.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_wire::classic::packet::{CLOSE, Malformed, NOOP, Packet};
use sc_wire::classic::payload::Framing;
use sc_wire::close;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Classic, receive};
use crate::socket::outbox::Outgoing;
use crate::socket::serve::serve;
use crate::socket::{Socket, State};
use crate::worker::Worker;

/// How long a poll waits before it is told that there is nothing. The client's own pings mostly end it sooner.
const LONGEST: Duration = Duration::from_secs(30);
/// Bytes after which the rest waits for the next poll.
const PAYLOAD: usize = 1024 * 1024;
/// Packets and bytes of one request that are handled before others have their turn.
const TURN_PACKETS: usize = 256;
const TURN_BYTES: usize = 64 * 1024;

/// What a polling transport knows.
pub(crate) struct Polling {
    pub(super) framing: Framing,
    /// Wakes the poll that waits.
    due: Notify,
    is_polled: Cell<bool>,
    is_posted: Cell<bool>,
    /// The poll that waits is to end: the client upgrades.
    is_nudged: Cell<bool>,
    /// The socket has changed; wakes those who wait beside its task.
    moved: Notify,
    /// Bytes behind the packet that upgraded.
    upgraded: RefCell<Option<Bytes>>,
}

/// The client does two of a kind at once.
#[derive(Debug)]
pub(super) struct Overlap;

impl Polling {
    pub(super) fn new(framing: Framing) -> Self {
        Polling {
            framing,
            due: Notify::new(),
            is_polled: Cell::new(false),
            is_posted: Cell::new(false),
            is_nudged: Cell::new(false),
            moved: Notify::new(),
            upgraded: RefCell::default(),
        }
    }

    /// There may be something to tell.
    pub(crate) fn wake(&self) {
        self.due.notify_one();
    }

    /// Ends the poll that waits, if there is one.
    pub(super) fn nudge(&self) {
        if self.is_polled.get() {
            self.is_nudged.set(true);
            self.wake();
        }
    }

    /// The socket has a connection of its own; `early` was read from it already.
    pub(super) fn upgraded(&self, socket: &Socket, early: Bytes) {
        *self.upgraded.borrow_mut() = Some(early);
        socket.changed.notify_one();
        self.moved.notify_waiters();
        self.wake();
    }
}

/// A polling socket's task, up to its end; when it upgrades, that of its connection.
pub(crate) async fn keep(worker: Rc<Worker>, socket: Rc<Socket>) {
    let Some(classic) = &socket.classic else { return };
    loop {
        let upgraded = classic.polling.upgraded.borrow_mut().take();
        if let Some(early) = upgraded {
            serve(Rc::clone(&worker), Rc::clone(&socket), early).await;
            break;
        }
        if socket.is_gone() {
            socket.leaves();
            worker.end_socket(&socket, close::ABNORMAL, "");
            worker.hub.forget(socket.id);
            classic.polling.wake();
            break;
        }
        socket.changed.notified().await;
        classic.polling.moved.notify_waiters();
    }
    worker.pollers.remove(&classic.sid);
    classic.arriving.take();
}

/// A request that a socket has only one of. One that ends early ends the socket.
struct Place<'s> {
    socket: &'s Socket,
    taken: &'s Cell<bool>,
    is_done: bool,
}

impl<'s> Place<'s> {
    fn take(worker: &Worker, socket: &'s Rc<Socket>, taken: &'s Cell<bool>) -> Result<Self, Overlap> {
        if taken.replace(true) {
            worker.close_at_fault(socket, close::PROTOCOL, "transport error");
            return Err(Overlap);
        }
        Ok(Place { socket, taken, is_done: false })
    }

    fn done(&mut self) {
        self.is_done = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.taken.set(false);
        if !self.is_done && self.socket.connection().is_none() {
            self.socket.give_up();
        }
    }
}

/// Waits for what is to be told.
pub(super) async fn poll(
    worker: &Worker,
    socket: &Rc<Socket>,
    classic: &Classic,
) -> Result<Vec<String>, Overlap> {
    let polling = &classic.polling;
    let mut place = Place::take(worker, socket, &polling.is_polled)?;
    // Who forwards a request gives up at some time.
    let until = Instant::now() + LONGEST.min(worker.config.http.longest_answer() / 2);
    let packets = loop {
        let woken = polling.due.notified();
        let packets = take(socket, classic);
        if !packets.is_empty() {
            break packets;
        }
        tokio::select! {
            () = woken => {}
            () = sleep_until(until) => break vec![NOOP.to_owned()],
        }
    };
    place.done();
    Ok(packets)
}

/// The packets that are due.
fn take(socket: &Socket, classic: &Classic) -> Vec<String> {
    if socket.connection().is_some() {
        return vec![NOOP.to_owned()];
    }
    let (mut packets, mut bytes) = (Vec::new(), 0);
    let mut add = |packet: String| {
        bytes += packet.len();
        packets.push(packet);
        bytes
    };
    let mut has_ended = false;
    loop {
        let bytes = match socket.next_outgoing() {
            None => {
                has_ended = socket.state.get() == State::Closing;
                break;
            }
            Some(Outgoing::Close(_)) => {
                has_ended = true;
                break;
            }
            Some(Outgoing::Text(text) | Outgoing::Publication(text)) => {
                classic.packets(socket, &text).map(&mut add).last().unwrap_or(0)
            }
            Some(Outgoing::Packet(packet)) => add(packet.as_str().to_owned()),
            Some(Outgoing::Ping(_)) => 0,
        };
        if bytes >= PAYLOAD {
            break;
        }
    }
    if has_ended {
        packets.push(CLOSE.to_owned());
        socket.give_up();
    }
    if packets.is_empty() && classic.polling.is_nudged.take() {
        packets.push(NOOP.to_owned());
    }
    packets
}

/// A client's request that brings packets: its place, taken while its body comes.
pub(super) struct Post<'s> {
    place: Place<'s>,
    socket: &'s Rc<Socket>,
    classic: &'s Classic,
}

impl<'s> Post<'s> {
    pub(super) fn begin(
        worker: &Worker,
        socket: &'s Rc<Socket>,
        classic: &'s Classic,
    ) -> Result<Self, Overlap> {
        let place = Place::take(worker, socket, &classic.polling.is_posted)?;
        Ok(Post { place, socket, classic })
    }

    /// What it brings is of no use, and was dealt with.
    pub(super) fn drop_body(mut self) {
        self.place.done();
    }

    /// Handles the packets, none before there is room for what it does. Those that are left when the socket upgrades
    /// come too late.
    pub(super) async fn handle(
        mut self,
        worker: &Rc<Worker>,
        packets: impl Iterator<Item = Result<Packet<'_>, Malformed>>,
    ) -> Result<(), Overlap> {
        let (mut handled, mut bytes) = (0, 0);
        for packet in packets {
            if handled >= TURN_PACKETS || bytes >= TURN_BYTES {
                (handled, bytes) = (0, 0);
                tokio::task::yield_now().await;
            }
            self.room(worker).await;
            if self.socket.connection().is_some() {
                return Err(Overlap);
            }
            if self.socket.state.get() == State::Closing {
                break;
            }
            handled += 1;
            bytes += packet.as_ref().map_or(0, Packet::bytes);
            receive::packet(worker, self.socket, packet);
        }
        self.place.done();
        Ok(())
    }

    /// Waits while a connection of this socket would not be read.
    async fn room(&self, worker: &Worker) {
        let socket = self.socket;
        loop {
            let mut moved = pin!(self.classic.polling.moved.notified());
            let is_full = worker.app.calls.is_full_for(socket);
            let is_held = socket.turn.borrow().is_behind();
            let is_over = socket.state.get() == State::Closing || socket.connection().is_some();
            if is_over || !(is_full || is_held || socket.paused.get()) {
                return;
            }
            tokio::select! {
                () = worker.app.calls.room(), if is_full => {}
                () = worker.stores.room(), if !is_full && socket.paused.get() => socket.paused.set(false),
                () = moved.as_mut() => {}
            }
        }
    }
}
