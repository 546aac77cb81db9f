//! The way from polling to a WebSocket: the client opens one beside its polls, tries it out, ends its polls, and says
//! that it uses the new one from now on. Until then the socket goes on as before, and nothing that happens to the new
//! connection ends it.

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_wire::classic::packet::PROBE_PONG;
use tokio::io::ReadBuf;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tungstenite::protocol::Message;

use super::Query;
use super::http::Fault;
use crate::socket::connection::Connection;
use crate::socket::{Socket, State};
use crate::worker::Worker;

/// How often a waiting poll is ended, so that the client can leave it.
const NUDGE: Duration = Duration::from_millis(100);
/// Bytes of one read: all that is due here is short.
const READ: usize = 1024;

/// The socket that a request for an upgrade is for.
pub(crate) fn socket(worker: &Worker, query: &Query<'_>) -> Result<Option<Rc<Socket>>, Fault> {
    match (query.transport, query.sid) {
        (Some("websocket"), _) if !worker.config.classic.transports.websocket => Err(Fault::UnknownTransport),
        (Some("websocket"), None) => Ok(None),
        (Some("websocket"), Some(sid)) => {
            let socket = worker.pollers.get(sid).ok_or(Fault::UnknownSocket)?;
            if socket.connection().is_some() { Err(Fault::BadRequest) } else { Ok(Some(socket)) }
        }
        (Some("polling"), _) => Err(Fault::BadRequest),
        _ => Err(Fault::UnknownTransport),
    }
}

/// Serves the new connection until it is the socket's, or is given up.
pub(crate) async fn serve(worker: &Worker, socket: &Rc<Socket>, connection: Connection, early: Bytes) {
    if let Some(rest) = probe(worker, socket, &connection, early).await {
        return upgrade(worker, socket, connection, rest);
    }
    connection.close(None);
}

/// What was read behind the packet that upgrades; none when it does not come.
async fn probe(worker: &Worker, socket: &Socket, connection: &Connection, early: Bytes) -> Option<Bytes> {
    let polling = &socket.classic.as_deref()?.polling;
    let until = Instant::now() + worker.config.classic.upgrade_timeout;
    let mut nudges = interval(NUDGE);
    nudges.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_probed, mut input) = (false, early);
    loop {
        let mut rest: &[u8] = &input;
        while let Some(message) = connection.decode(&mut rest).ok()? {
            match message {
                Message::Text(text) if text == "2probe" => {
                    connection.send(Message::text(PROBE_PONG)).ok()?;
                    is_probed = true;
                }
                Message::Text(text) if text == "5" && is_probed => return Some(input.slice_ref(rest)),
                // The codec answers by itself.
                Message::Ping(_) | Message::Pong(_) => {}
                _ => return None,
            }
        }
        let mut bytes = [0; READ];
        let mut buffer = ReadBuf::new(&mut bytes);
        tokio::select! {
            read = poll_fn(|context| connection.poll_read(context, &mut buffer)) => read.ok()?,
            _ = nudges.tick() => {
                if socket.state.get() == State::Closing {
                    return None;
                }
                if is_probed {
                    polling.nudge();
                }
                input = Bytes::new();
                continue;
            }
            () = sleep_until(until) => return None,
        }
        if buffer.filled().is_empty() {
            return None;
        }
        input = Bytes::copy_from_slice(buffer.filled());
    }
}

/// The socket has its own connection from now on, unless another was faster.
fn upgrade(worker: &Worker, socket: &Rc<Socket>, connection: Connection, rest: Bytes) {
    if socket.state.get() == State::Closing || socket.is_gone() {
        return connection.close(None);
    }
    if let Some(connection) = socket.connect(connection) {
        return connection.close(None);
    }
    if let Some(classic) = &socket.classic {
        classic.polling.upgraded(socket, rest);
        worker.hub.flush.alone(socket);
    }
}
