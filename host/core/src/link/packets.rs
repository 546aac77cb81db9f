//! Packet links: one MessagePack message a packet, with the descriptors it speaks of, so that neither can arrive
//! without the other.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::LinkError;
use crate::limits::PACKET_MAX;

/// Descriptors that one packet may carry.
const DESCRIPTORS: usize = 4;

/// One end of a packet link that sends `S` and receives `R`.
#[derive(Debug)]
pub struct PacketLink<S, R> {
    socket: UnixDatagram,
    messages: PhantomData<fn(S) -> R>,
}

impl<S: Serialize, R: DeserializeOwned> PacketLink<S, R> {
    /// Takes over an end made by [`super::packet_pair`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system's, when the end is no socket or the runtime cannot take it.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = StdDatagram::from(end);
        socket.set_nonblocking(true)?;
        Ok(PacketLink { socket: UnixDatagram::from_std(socket)?, messages: PhantomData })
    }

    /// Sends a message with its descriptors, which stay open here. Waits while the other end is behind.
    ///
    /// # Errors
    /// [`LinkError::Closed`] when the other end is gone, [`LinkError::Frame`] when the message is larger than a packet
    /// may be, [`LinkError::Io`] when the system cannot send, or with more descriptors than a packet may carry.
    pub async fn send(&self, message: &S, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let bytes = rmp_serde_bytes(message)?;
        let sent = self.socket.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::from(io::ErrorKind::InvalidInput));
            }
            Ok(sendmsg(self.socket.as_fd(), &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?)
        });
        match sent.await {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Err(LinkError::Closed),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message with its descriptors; none once the other end is gone. When this process has no descriptors
    /// left, the system drops those of a message: then it comes without them, and only what they stood for is lost.
    ///
    /// Cancel safe: a message is either returned or still there.
    ///
    /// # Errors
    /// [`LinkError::Frame`] when the other end sent something else, [`LinkError::Io`] when the system cannot read.
    pub async fn recv(&self) -> Result<Option<(R, Vec<OwnedFd>)>, LinkError> {
        let mut bytes = Vec::new();
        let mut descriptors = Vec::new();
        let received = self.socket.async_io(Interest::READABLE, || {
            bytes.resize(PACKET_MAX, 0);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let mut receive =
                || recvmsg(self.socket.as_fd(), &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC);
            // An end that went without having read everything is told first, and once: what it said before its end
            // is still to come.
            let received = match receive() {
                Err(Errno::CONNRESET) => receive()?,
                received => received?,
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    descriptors.extend(received);
                }
            }
            Ok(received)
        });
        let received = match received.await {
            Ok(received) => received,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if received.flags.contains(ReturnFlags::CTRUNC) {
            tracing::error!("no descriptors are left: what another process handed over is lost");
            descriptors.clear();
        }
        match bytes.get(..received.bytes) {
            None | Some([]) => Ok(None),
            Some(packet) => Ok(Some((sc_wire::frame::decode(packet)?, descriptors))),
        }
    }
}

fn rmp_serde_bytes<T: Serialize>(message: &T) -> Result<bytes::BytesMut, LinkError> {
    let mut frame = bytes::BytesMut::new();
    sc_wire::frame::put(&mut frame, message, PACKET_MAX)?;
    Ok(frame.split_off(sc_wire::frame::HEADER))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::packet_pair;

    #[tokio::test]
    async fn descriptors_travel_with_their_message() {
        let (one, two) = packet_pair().expect("a pair");
        let sender = PacketLink::<String, String>::new(one).expect("an end");
        let receiver = PacketLink::<String, String>::new(two).expect("an end");
        let (inner, _other) = packet_pair().expect("a pair");
        sender.send(&"take this".to_owned(), &[inner.as_fd()]).await.expect("sent");
        let (message, descriptors) = receiver.recv().await.expect("received").expect("a message");
        assert_eq!((message.as_str(), descriptors.len()), ("take this", 1));
        drop(sender);
        assert!(receiver.recv().await.expect("received").is_none());
    }

    #[tokio::test]
    async fn last_words_are_heard() {
        let (one, two) = packet_pair().expect("a pair");
        let leaving = PacketLink::<String, String>::new(one).expect("an end");
        let staying = PacketLink::<String, String>::new(two).expect("an end");
        staying.send(&"never read".to_owned(), &[]).await.expect("sent");
        leaving.send(&"last words".to_owned(), &[]).await.expect("sent");
        drop(leaving);
        let (message, _) = staying.recv().await.expect("received").expect("a message");
        assert_eq!(message, "last words");
        assert!(staying.recv().await.expect("received").is_none());
    }
}
