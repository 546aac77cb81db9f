//! What happens when a deadline of the wheel passes: pings and missing pongs, batches, handshakes and answers that did
//! not come, close frames that were not answered.

use std::rc::Rc;
use std::time::Instant;

use sc_core::controller::{Event, Failure};
use sc_core::ids::SocketId;
use sc_core::limits::{CATCH_UP, OVERSLEPT};
use sc_wire::packet::Version;
use sc_wire::{close, encode};

use crate::gate::Gate;
use crate::socket::State;
use crate::socket::outbox::Outgoing;
use crate::timers::Due;
use crate::worker::Worker;

/// Serves the wheel, for ever.
pub(crate) async fn run(worker: &Rc<Worker>) {
    loop {
        let (due, late) = worker.timers.next().await;
        if due.is_for_silence() && late > OVERSLEPT {
            worker.timers.insert(due, CATCH_UP);
            continue;
        }
        match due {
            Due::Handshake(id) => handshake(worker, id),
            Due::Ping(id) => ping(worker, id),
            Due::Pong(id) => pong(worker, id),
            Due::Batch(id) => batch(worker, id),
            Due::Ask(id, cid) => ask(worker, id, cid),
            Due::Closed(id) => {
                if let Some(socket) = worker.hub.get(id) {
                    socket.give_up();
                }
            }
            Due::Guest(seat, token) => {
                if let Some(seat) = worker.seats.get(seat) {
                    seat.timers.due(seat, token);
                }
            }
            Due::Verdicts => Gate::sweep(worker),
        }
    }
}

fn handshake(worker: &Worker, id: SocketId) {
    let Some(socket) = worker.hub.get(id).filter(|socket| socket.state.get() == State::Connecting) else {
        return;
    };
    // One that came and waits for a verdict has that deadline. A message may turn out to be none, or lie
    // unread.
    let turn = socket.turn.borrow();
    let (is_decided, may_be_one) = (turn.packets.is_held(), turn.messages.is_held() || socket.unread.get());
    drop(turn);
    let timeout = worker.config.protocol.handshake_timeout;
    // A classic client is to say something once it was let in.
    let left = socket.classic.as_ref().and_then(|classic| classic.left_to_be_ready(timeout));
    match (is_decided, may_be_one) {
        (true, _) if socket.classic.is_none() => {}
        (true, _) | (false, true) => {
            worker.timers.insert(Due::Handshake(id), timeout);
        }
        (false, false) => match left {
            Some(left) => {
                worker.timers.insert(Due::Handshake(id), left);
            }
            None => worker.close_at_fault(&socket, close::HANDSHAKE_TIMED_OUT, ""),
        },
    }
}

/// Until a client's first answer tells its version, it gets the pings of both; the other one's is noise to it.
fn ping(worker: &Worker, id: SocketId) {
    let Some(socket) = worker.hub.open_socket(id) else { return };
    for version in [Version::One, Version::Two] {
        if socket.version.get().is_none_or(|known| known == version) {
            worker.hub.queue(&socket, Outgoing::Ping(encode::ping(version)));
        }
    }
    worker.timers.insert(Due::Ping(id), worker.config.protocol.ping_interval);
}

fn pong(worker: &Worker, id: SocketId) {
    let Some(socket) = worker.hub.open_socket(id) else { return };
    let silence = match socket.classic {
        Some(_) => worker.config.classic.silence(),
        None => worker.config.protocol.ping_timeout,
    };
    if socket.unread.get() || socket.turn.borrow().is_behind() {
        // It is not read: what it says is not heard.
        worker.timers.insert(Due::Pong(id), silence);
        return;
    }
    let deadline = socket.last_heard.get() + silence;
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) if !left.is_zero() => {
            worker.timers.insert(Due::Pong(id), left);
        }
        _ => worker.abort_socket(&socket, close::PONG_TIMED_OUT, ""),
    }
}

/// Sends what was collected since the last batch; after the last one, packets go out by themselves.
fn batch(worker: &Worker, id: SocketId) {
    let Some(socket) = worker.hub.open_socket(id) else { return };
    socket.end_batch();
    worker.hub.flush.alone(&socket);
    let left = socket.batching.get().map(|until| until.saturating_duration_since(Instant::now()));
    match (left, worker.config.protocol.batching) {
        (Some(left), Some(batching)) if !left.is_zero() => {
            worker.timers.insert(Due::Batch(id), left.min(batching.interval));
        }
        _ => socket.batching.set(None),
    }
}

fn ask(worker: &Worker, id: SocketId, cid: i64) {
    let Some(socket) = worker.hub.get(id) else { return };
    let Some(ask) = socket.asks.borrow_mut().remove(&cid) else { return };
    let message = format!("Event response for {} event timed out", ask.event);
    let outcome = Err(Failure::named("TimeoutError", message));
    ask.seat.calls.push_answer(Event::ClientAnswer { to: ask.token, outcome });
}
