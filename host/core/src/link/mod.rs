//! The links between processes. All are pairs of sockets that the master makes and hands out, one end each, so no
//! link has a name in the file system and a restarted child is linked anew by whoever restarted it.
//!
//! [`frames`] carries many small messages between worker and store; [`packets`] carries rare messages together with
//! descriptors: the control link of every child, and handoffs.

pub mod control;
pub mod frames;
pub mod packets;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// A link that is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other end is gone.
    #[error("the link's other end is gone")]
    Closed,
    /// Too much waits to be sent.
    #[error("the link's other end reads too slowly")]
    Full,
    /// The system refused.
    #[error("a link failed")]
    Io(#[from] io::Error),
    /// The other end sent something else.
    #[error("a link carried an unexpected message")]
    Frame(#[from] sc_wire::frame::FrameError),
    /// A descriptor is missing.
    #[error("a message came without its descriptor")]
    NoDescriptor,
}

/// Both ends of a new packet link.
///
/// # Errors
/// When the system gives no sockets, for want of descriptors for instance.
pub fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Both ends of a new stream link.
///
/// # Errors
/// When the system gives no sockets, for want of descriptors for instance.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}
