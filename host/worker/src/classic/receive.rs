//! What comes from a classic client: Engine.IO packets, however they came.

use std::rc::Rc;
use std::time::Instant;

use sc_wire::classic::encoding::Texts;
use sc_wire::classic::packet::{self, Malformed, PONG, PROBE, PROBE_PONG, Packet};
use sc_wire::close;
use tungstenite::Utf8Bytes;

use super::Classic;
use crate::socket::Socket;
use crate::socket::outbox::Outgoing;
use crate::socket::serve;
use crate::worker::Worker;

/// A text of its WebSocket.
pub(crate) fn text(worker: &Rc<Worker>, socket: &Rc<Socket>, classic: &Classic, text: &str) {
    let mut texts = classic.texts.get();
    let read = texts.read(text);
    if texts != classic.texts.get() && texts == Texts::Once {
        // Only clients from 1.0.1 on encode once.
        classic.texts.set(texts);
        classic.is_of_channels();
    }
    of_connection(worker, socket, packet::parse(read));
}

/// Bytes of its WebSocket.
pub(crate) fn binary(worker: &Rc<Worker>, socket: &Rc<Socket>, bytes: &[u8]) {
    of_connection(worker, socket, packet::parse_binary(bytes));
}

/// A WebSocket has its own way to close.
fn of_connection(worker: &Rc<Worker>, socket: &Rc<Socket>, packet: Result<Packet<'_>, Malformed>) {
    match packet {
        Ok(Packet::Close) => socket.last_heard.set(Instant::now()),
        packet => self::packet(worker, socket, packet),
    }
}

/// One packet.
pub(super) fn packet(worker: &Rc<Worker>, socket: &Rc<Socket>, packet: Result<Packet<'_>, Malformed>) {
    socket.last_heard.set(Instant::now());
    match packet {
        Ok(Packet::Ping(data)) => {
            let pong = if data == PROBE { PROBE_PONG } else { PONG };
            worker.hub.queue(socket, Outgoing::Packet(Utf8Bytes::from_static(pong)));
        }
        Ok(Packet::Message(text)) => message(worker, socket, &text),
        Ok(Packet::Close) => {
            socket.leaves();
            worker.end_socket(socket, close::NO_STATUS, "");
        }
        Ok(Packet::Open | Packet::Pong | Packet::Upgrade | Packet::Noop) => {}
        Err(Malformed) => worker.close_at_fault(socket, close::PROTOCOL, "parse error"),
    }
}

fn message(worker: &Rc<Worker>, socket: &Rc<Socket>, text: &str) {
    match text.len() > worker.config.client.max_payload {
        true => worker.close_at_fault(socket, close::TOO_BIG, ""),
        false => serve::take(worker, socket, text, false),
    }
}
