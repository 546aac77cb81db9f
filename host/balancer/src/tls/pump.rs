//! Moves bytes between a client over TLS and its worker, which has the other end of a pair of sockets. A pump holds
//! what one read brought, and only while the other side does not take it; the kernel's buffers are the rest.
//!
//! Each direction ends by itself: a client's close-notify is the end of what the worker reads, and what the worker
//! ends is ended for the client with a close-notify.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;

use super::PumpPlace;

/// The most that one read brings: what a TLS record can hold.
const READ: usize = 16 * 1024;
/// How long a client may take none of the bytes that wait for it.
const STALL: Duration = Duration::from_secs(30);
/// How long a client may still send after its worker has ended: it is to read its answer first.
const LINGER: Duration = Duration::from_secs(2);

/// Room for one read, shared by all pumps of a process: it is empty whenever none runs.
pub(crate) type Scratch = Rc<RefCell<Room>>;

/// See [`Scratch`].
#[derive(Debug)]
pub(crate) struct Room(Box<[u8]>);

impl Default for Room {
    fn default() -> Self {
        Room(vec![0; READ].into())
    }
}

/// A connection that is with a worker.
#[derive(Debug)]
pub(crate) struct Pump {
    client: Box<TlsStream<TcpStream>>,
    worker: UnixStream,
    inward: Lane,
    outward: Lane,
    /// When it ends whatever happens: the client does not read, or the worker has ended.
    timer: Option<Pin<Box<Sleep>>>,
    scratch: Scratch,
    _place: PumpPlace,
}

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    /// What the other side has not taken yet.
    rest: Bytes,
    stage: Stage,
    /// Whether the other side does not take what there is.
    behind: bool,
    /// Whether it took anything since that was last asked.
    moved: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The writing side is to be told that no more comes.
    Ending,
    /// Nobody takes what comes: it is read and dropped.
    Vain,
    Ended,
}

impl Pump {
    pub(crate) fn new(
        client: Box<TlsStream<TcpStream>>,
        worker: UnixStream,
        scratch: Scratch,
        place: PumpPlace,
    ) -> Self {
        let (inward, outward) = Default::default();
        Pump { client, worker, inward, outward, timer: None, scratch, _place: place }
    }
}

/// Done when both directions have ended, or the client's connection broke.
impl Future for Pump {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let was_open = this.outward.stage != Stage::Ended;
        let Room(room) = &mut *this.scratch.borrow_mut();
        let inward = this.inward.run(&mut this.client, &mut this.worker, room, Side::Worker, cx);
        if let Poll::Ready(Err(error)) = inward {
            return Poll::Ready(Err(error));
        }
        let outward = this.outward.run(&mut this.worker, &mut this.client, room, Side::Client, cx);
        if let Poll::Ready(Err(error)) = outward {
            return Poll::Ready(Err(error));
        }
        let is_over = this.outward.stage == Stage::Ended;
        if is_over && this.inward.stage == Stage::Ended {
            return Poll::Ready(Ok(()));
        }
        let moved = std::mem::take(&mut this.outward.moved);
        if is_over && was_open {
            this.timer = Some(Box::pin(tokio::time::sleep(LINGER)));
        } else if !is_over && !this.outward.behind {
            this.timer = None;
        } else if !is_over
            && moved
            && let Some(timer) = &mut this.timer
        {
            timer.as_mut().reset(Instant::now() + STALL);
        } else if !is_over {
            this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        }
        match &mut this.timer {
            Some(timer) => timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            None => Poll::Pending,
        }
    }
}

/// Who is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Worker,
}

impl Lane {
    /// Moves what can be moved. Ready once it has ended; an error breaks the whole connection.
    fn run(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        room: &mut [u8],
        writes_to: Side,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    let ended = Pin::new(&mut *to).poll_shutdown(cx);
                    self.behind = ended.is_pending();
                    let ended = ready!(ended);
                    self.stage = Stage::Ended;
                    return Poll::Ready(if writes_to == Side::Client { ended } else { Ok(()) });
                }
                Stage::Open | Stage::Vain => {}
            }
            if !self.rest.is_empty() {
                let rest = self.rest.clone();
                match Pin::new(&mut *to).poll_write(cx, &rest) {
                    Poll::Ready(written) => self.wrote(written, &rest, writes_to)?,
                    Poll::Pending => {
                        self.behind = true;
                        return Poll::Pending;
                    }
                }
                continue;
            }
            let mut read = ReadBuf::new(room);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Pending => {
                    // Records that were made may still wait for the network.
                    self.behind =
                        self.stage == Stage::Open && Pin::new(&mut *to).poll_flush(cx)?.is_pending();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    if self.stage == Stage::Vain {
                        continue;
                    }
                    match Pin::new(&mut *to).poll_write(cx, read.filled()) {
                        Poll::Ready(written) => {
                            self.wrote(written, read.filled(), writes_to)?;
                        }
                        Poll::Pending => {
                            self.rest = Bytes::copy_from_slice(read.filled());
                            self.behind = true;
                            return Poll::Pending;
                        }
                    }
                }
                Poll::Ready(Ok(())) => self.read_all(),
                // Many clients end without a close-notify; whoever reads knows where a message ends. A worker that
                // died has ended, too.
                Poll::Ready(Err(error))
                    if error.kind() == io::ErrorKind::UnexpectedEof || writes_to == Side::Client =>
                {
                    self.read_all();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn read_all(&mut self) {
        self.stage = if self.stage == Stage::Vain { Stage::Ended } else { Stage::Ending };
    }

    fn wrote(&mut self, written: io::Result<usize>, all: &[u8], to: Side) -> io::Result<()> {
        match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) if count < all.len() && self.rest.is_empty() => {
                self.moved = true;
                self.rest = Bytes::copy_from_slice(all.get(count..).unwrap_or_default());
                Ok(())
            }
            Ok(count) => {
                self.moved = true;
                self.rest.advance(count.min(self.rest.len()));
                if self.rest.is_empty() {
                    self.rest = Bytes::new();
                }
                Ok(())
            }
            // What the worker sent before it went is still to reach the client.
            Err(_) if to == Side::Worker => {
                self.rest = Bytes::new();
                self.stage = Stage::Vain;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
