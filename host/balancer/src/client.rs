//! A client's connection as the balancer has it, and on its way to a worker: the client's own socket, or, over TLS,
//! one end of a pair of which a [`Pump`] serves the other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, BytesMut};
use sc_core::link::stream_pair;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::handoff::Unserved;
use crate::refusal::Refusal;
use crate::tls::pump::Pump;
use crate::tls::{PumpPlace, Tls};

/// Room made for a read.
const READ_SIZE: usize = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection of which a worker is to get a descriptor.
#[derive(Debug)]
pub(crate) enum Leaving {
    Plain(OwnedFd),
    Tls { client: Box<TlsStream<TcpStream>>, here: OwnedFd, there: OwnedFd, place: PumpPlace },
}

impl Client {
    /// Reads at most `room` bytes more; 0 at its end. A plain client that has not sent anything holds no buffer.
    pub(crate) async fn read_into(&mut self, read: &mut BytesMut, room: usize) -> io::Result<usize> {
        match self {
            Client::Plain(stream) => loop {
                stream.readable().await?;
                read.reserve(room.min(READ_SIZE));
                match stream.try_read_buf(&mut (&mut *read).limit(room)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    done => return done,
                }
            },
            Client::Tls(stream) => {
                read.reserve(room.min(READ_SIZE));
                stream.read_buf(&mut read.limit(room)).await
            }
        }
    }

    /// The connection as a worker is to get it: from here on this process reads nothing of it.
    pub(crate) fn leave(self, tls: Option<&Tls>) -> Result<Leaving, Unserved> {
        match (self, tls) {
            // Deregistered before it is sent: the worker registers the same open file with a reactor of its own.
            (Client::Plain(stream), _) => match stream.into_std() {
                Ok(stream) => Ok(Leaving::Plain(stream.into())),
                Err(_) => Err(Unserved { client: None, refusal: Refusal::Gone }),
            },
            (Client::Tls(client), Some(tls)) => {
                let pair = tls.pump_place().and_then(|place| match stream_pair() {
                    Ok((here, there)) => Ok((here, there, place)),
                    // Without descriptors.
                    Err(_) => Err(Refusal::Full),
                });
                match pair {
                    Ok((here, there, place)) => Ok(Leaving::Tls { client, here, there, place }),
                    Err(refusal) => Err(Unserved { client: Some(Client::Tls(client)), refusal }),
                }
            }
            (Client::Tls(_), None) => Err(Unserved { client: None, refusal: Refusal::Gone }),
        }
    }
}

impl Leaving {
    /// A worker has it. Over TLS there is a pump to be run.
    pub(crate) fn left(self, tls: Option<&Tls>) -> io::Result<Option<Pump>> {
        let Leaving::Tls { client, here, there, place } = self else { return Ok(None) };
        drop(there);
        let Some(tls) = tls else { return Ok(None) };
        let worker = UnixStream::from_std(here.into())?;
        Ok(Some(Pump::new(client, worker, tls.scratch(), place)))
    }

    /// No worker took it. None when it broke meanwhile.
    pub(crate) fn stay(self) -> Option<Client> {
        match self {
            Leaving::Plain(descriptor) => {
                TcpStream::from_std(std::net::TcpStream::from(descriptor)).ok().map(Client::Plain)
            }
            Leaving::Tls { client, .. } => Some(Client::Tls(client)),
        }
    }
}

impl AsFd for Leaving {
    /// What the worker gets.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Leaving::Plain(descriptor) => descriptor.as_fd(),
            Leaving::Tls { there, .. } => there.as_fd(),
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Client::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Client {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Client::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Client::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Client::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Client::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Client::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Client::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Client::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
