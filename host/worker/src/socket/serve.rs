//! A socket's task: reads, decodes and dispatches until the connection ends. It stops reading while the controller's
//! queue is full, or a store is behind with what it published: so a flood is pushed back to its sender.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sc_wire::close;
use tokio::io::ReadBuf;
use tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tungstenite::protocol::Message;

use super::connection::Connection;
use super::{Socket, State};
use crate::classic;
use crate::dispatch;
use crate::gate::{Gate, RawMessage};
use crate::worker::Worker;

/// Bytes of one read from a connection.
const READ_SIZE: usize = 16 * 1024;
/// Reads of one socket before the others have their turn.
const READS_PER_TURN: u32 = 4;
/// How long a closed client may take to answer the close frame.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

thread_local! {
    // One for all sockets of the thread: a read never lasts over an await.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_SIZE].into());
}

/// How a connection ended.
struct End {
    code: u16,
    reason: String,
}

impl End {
    fn broken() -> Self {
        End { code: close::ABNORMAL, reason: String::new() }
    }
}

/// Serves a socket to its end. `early` are bytes that came with the upgrade request.
pub(crate) async fn serve(worker: Rc<Worker>, socket: Rc<Socket>, early: Bytes) {
    let end = read(&worker, &socket, early).await;
    socket.leaves();
    worker.end_socket(&socket, end.code, &end.reason);
    worker.hub.forget(socket.id);
}

async fn read(worker: &Rc<Worker>, socket: &Rc<Socket>, early: Bytes) -> End {
    let Some(connection) = socket.connection() else { return End::broken() };
    // What was read and is not handled yet.
    let mut left = Some(early);
    let mut changed = pin!(socket.changed.notified());
    let mut reads = 0_u32;
    loop {
        let is_full = worker.app.calls.is_full_for(socket);
        let is_held = socket.turn.borrow().is_behind();
        if socket.state.get() != State::Closing && (is_full || is_held || socket.paused.get()) {
            socket.unread.set(true);
            // Who waits behind a held action is woken by what wakes a closing socket.
            tokio::select! {
                () = worker.app.calls.room(), if is_full => {}
                () = worker.stores.room(), if !is_full && socket.paused.get() => socket.paused.set(false),
                () = poll_fn(|context| poll_flush(socket, connection, context)), if socket.blocked.get() => {}
                () = changed.as_mut() => changed.set(socket.changed.notified()),
            }
            if socket.gone.get() {
                return End::broken();
            }
            continue;
        }
        if socket.unread.take() {
            // Its answers to pings may lie unread.
            socket.last_heard.set(Instant::now());
        }
        if !socket.backlog.borrow().is_empty() {
            dispatch::go_on(worker, socket);
            continue;
        }
        if let Some(bytes) = left.take() {
            if let Some(end) = receive(worker, socket, connection, &bytes, &mut left) {
                return end;
            }
            continue;
        }
        let ended = poll_fn(|context| {
            if let Poll::Ready(ended) = poll_receive(worker, socket, connection, &mut left, context) {
                return Poll::Ready(ended);
            }
            if changed.as_mut().poll(context).is_ready() {
                changed.set(socket.changed.notified());
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        if let Some(end) = ended.await {
            return end;
        }
        if socket.gone.get() {
            return End::broken();
        }
        reads = reads.wrapping_add(1);
        if reads.is_multiple_of(READS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// Goes on with writing that was blocked as soon as the connection takes more; ready when nothing is blocked.
fn poll_flush(socket: &Socket, connection: &Connection, context: &mut Context<'_>) -> Poll<()> {
    while socket.blocked.get() && !socket.gone.get() {
        let _ = ready!(connection.poll_writable(context));
        socket.flush();
    }
    Poll::Ready(())
}

/// Reads once and handles what came.
fn poll_receive(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    connection: &Connection,
    left: &mut Option<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Option<End>> {
    let _ = poll_flush(socket, connection, context);
    // The buffer is borrowed for the whole dispatch: nothing in it waits, and only this function reads.
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        match ready!(connection.poll_read(context, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => Poll::Ready(Some(End::broken())),
            Ok(()) => Poll::Ready(receive(worker, socket, connection, buffer.filled(), left)),
            Err(_) => Poll::Ready(Some(End::broken())),
        }
    })
}

/// Handles the messages among bytes that were read. The codec takes bytes in larger steps than frames, so it is asked
/// until it has no whole frame left, not until the bytes are used up. What has to wait for room is left, perhaps
/// without bytes: then the codec has them.
fn receive(
    worker: &Rc<Worker>,
    socket: &Rc<Socket>,
    connection: &Connection,
    mut input: &[u8],
    left: &mut Option<Bytes>,
) -> Option<End> {
    loop {
        if socket.state.get() == State::Closing && socket.failed.get() {
            // Its bytes make no sense any more; they are read so that the close frame is not lost to a reset.
            return None;
        }
        if dispatch::is_held_back(worker, socket) || !socket.backlog.borrow().is_empty() {
            *left = Some(Bytes::copy_from_slice(input));
            return None;
        }
        match connection.decode(&mut input) {
            Ok(None) => return None,
            Ok(Some(message)) => handle(worker, socket, message),
            Err(error) => match failure(&error) {
                Some(code) if socket.state.get() != State::Closing => {
                    socket.failed.set(true);
                    worker.close_at_fault(socket, code, "");
                }
                Some(_) => socket.failed.set(true),
                None => return Some(End::broken()),
            },
        }
    }
}

fn handle(worker: &Rc<Worker>, socket: &Rc<Socket>, message: Message) {
    match message {
        Message::Close(frame) => {
            let (code, reason) = frame.map_or((close::NO_STATUS, String::new()), |frame| {
                (frame.code.into(), frame.reason.to_string())
            });
            socket.leaves();
            worker.end_socket(socket, code, &reason);
        }
        _ if socket.state.get() == State::Closing => {}
        Message::Text(text) => match &socket.classic {
            None => take(worker, socket, &text, false),
            Some(classic) => classic::receive::text(worker, socket, classic, &text),
        },
        // As the original decodes them: bytes that are not UTF-8 become replacement characters.
        Message::Binary(bytes) => match &socket.classic {
            None => take(worker, socket, &String::from_utf8_lossy(&bytes), true),
            Some(_) => classic::receive::binary(worker, socket, &bytes),
        },
        // The codec owes the answer.
        Message::Ping(_) => worker.hub.flush.alone(socket),
        Message::Pong(_) | Message::Frame(_) => {}
    }
}

/// Takes one message of a client, for others to read it.
pub(crate) fn take(worker: &Rc<Worker>, socket: &Rc<Socket>, text: &str, is_binary: bool) {
    worker.hub.count_packet();
    if Gate::reads(worker, socket) {
        return Gate::message(worker, socket, RawMessage { text: text.into(), is_binary });
    }
    dispatch::text(worker, socket, text, is_binary);
}

/// The close code an error deserves; none when the connection is gone.
fn failure(error: &WsError) -> Option<u16> {
    match error {
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => Some(close::TOO_BIG),
        WsError::Utf8(_) => Some(close::INVALID_DATA),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) => Some(close::PROTOCOL),
        _ => None,
    }
}
