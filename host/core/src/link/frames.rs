//! Stream links: MessagePack frames, batched. What is sent in one turn of the loop goes out in one write.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use bytes::BytesMut;
use sc_wire::frame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::LinkError;
use crate::limits::{FRAME_MAX, LINK_BACKLOG};

/// Free room a read is given.
const READ_SIZE: usize = 64 * 1024;

/// Splits a stream link's end. The third part must be run until it ends: it writes what the sender was given, and
/// ends when the link broke or the sender is gone and everything is written.
///
/// # Errors
/// The system's, when the end is no socket or the runtime cannot take it.
pub fn split<S: Serialize, R: DeserializeOwned>(
    end: OwnedFd,
) -> std::io::Result<(FrameSender<S>, FrameReceiver<R>, impl Future<Output = ()> + use<S, R>)> {
    let stream = StdStream::from(end);
    stream.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    let queue = Rc::new(Queue::default());
    let sender = FrameSender { queue: Rc::clone(&queue), messages: PhantomData };
    let receiver = FrameReceiver { read, buffer: BytesMut::new(), messages: PhantomData };
    Ok((sender, receiver, queue.drain(write)))
}

#[derive(Debug, Default)]
struct Queue {
    waiting: RefCell<BytesMut>,
    /// Bytes that are being written.
    writing: Cell<usize>,
    state: Cell<State>,
    changed: Notify,
    /// Told whenever bytes were written, when the stream broke, and when the sender is gone.
    written: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Open,
    /// The sender is gone: what waits is still written.
    Finishing,
    /// The stream broke.
    Broken,
}

impl Queue {
    fn is_behind(&self, bytes: usize) -> bool {
        self.state.get() == State::Open && self.waiting.borrow().len() + self.writing.get() > bytes
    }

    async fn drain(self: Rc<Self>, mut write: OwnedWriteHalf) {
        let mut writing = BytesMut::new();
        loop {
            std::mem::swap(&mut writing, &mut *self.waiting.borrow_mut());
            self.writing.set(writing.len());
            if writing.is_empty() {
                if self.state.get() != State::Open {
                    return;
                }
                self.changed.notified().await;
                continue;
            }
            let written = write.write_all(&writing).await;
            writing.clear();
            self.writing.set(0);
            if written.is_err() {
                self.state.set(State::Broken);
                *self.waiting.borrow_mut() = BytesMut::new();
            }
            self.written.notify_waiters();
            if written.is_err() {
                return;
            }
        }
    }
}

/// Sends messages without waiting.
#[derive(Debug)]
pub struct FrameSender<S> {
    queue: Rc<Queue>,
    messages: PhantomData<fn(S)>,
}

impl<S: Serialize> FrameSender<S> {
    /// Queues a message.
    ///
    /// # Errors
    /// As of [`FrameSender::send_within`], with [`LINK_BACKLOG`] bytes.
    pub fn send(&self, message: &S) -> Result<(), LinkError> {
        self.send_within(LINK_BACKLOG, message)
    }

    /// Queues a message unless more than so many bytes wait already.
    ///
    /// # Errors
    /// The message will never arrive: [`LinkError::Closed`] when the link broke, [`LinkError::Full`] when too much
    /// waits, [`LinkError::Frame`] when it is larger than a frame may be.
    pub fn send_within(&self, backlog: usize, message: &S) -> Result<(), LinkError> {
        if self.queue.state.get() != State::Open {
            return Err(LinkError::Closed);
        }
        let mut waiting = self.queue.waiting.borrow_mut();
        if waiting.len() > backlog {
            return Err(LinkError::Full);
        }
        frame::put(&mut waiting, message, FRAME_MAX)?;
        drop(waiting);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// Whether more than so many bytes are not written yet.
    pub fn is_behind(&self, bytes: usize) -> bool {
        self.queue.is_behind(bytes)
    }

    /// Waits until at most so many bytes are not written yet, or the link is of no more use.
    pub fn room(&self, bytes: usize) -> impl Future<Output = ()> + use<S> {
        let queue = Rc::clone(&self.queue);
        async move {
            while queue.is_behind(bytes) {
                queue.written.notified().await;
            }
        }
    }
}

impl<S> Drop for FrameSender<S> {
    fn drop(&mut self) {
        if self.queue.state.get() == State::Open {
            self.queue.state.set(State::Finishing);
        }
        self.queue.changed.notify_one();
        self.queue.written.notify_waiters();
    }
}

/// Receives messages.
#[derive(Debug)]
pub struct FrameReceiver<R> {
    read: OwnedReadHalf,
    buffer: BytesMut,
    messages: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> FrameReceiver<R> {
    /// Whether the next message is there already.
    pub fn is_ready(&self) -> bool {
        frame::is_whole(&self.buffer, FRAME_MAX)
    }

    /// The next message; none once the other end is gone.
    ///
    /// Cancel safe: bytes read stay in the receiver.
    ///
    /// # Errors
    /// [`LinkError::Frame`] when the other end sent something else, [`LinkError::Io`] when the system cannot read. The
    /// link is of no more use.
    pub async fn recv(&mut self) -> Result<Option<R>, LinkError> {
        let mut is_reset = false;
        loop {
            if let Some(frame) = frame::take(&mut self.buffer, FRAME_MAX)? {
                return Ok(Some(frame::decode(&frame)?));
            }
            self.buffer.reserve(READ_SIZE);
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // An end that went without having read everything is told first, and once: what it said before its
                // end is still to come.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset && !is_reset => {
                    is_reset = true
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::stream_pair;

    #[tokio::test]
    async fn messages_arrive_in_order_and_the_end_is_seen() {
        let (one, two) = stream_pair().expect("a pair");
        let (sender, _, drain) = split::<u32, u32>(one).expect("an end");
        let (_keep, mut receiver, _) = split::<u32, u32>(two).expect("an end");
        for number in 0..10_000 {
            sender.send(&number).expect("queued");
        }
        drop(sender);
        let (_, received) = tokio::join!(drain, async {
            let mut received = Vec::new();
            while let Some(number) = receiver.recv().await.expect("frames") {
                received.push(number);
                if received.len() == 10_000 {
                    break;
                }
            }
            received
        });
        assert!(received.into_iter().eq(0..10_000));
    }

    /// Nobody waits for room on a link that has ended, also while what it was given is not written.
    #[tokio::test]
    async fn who_waits_for_room_is_woken_by_the_end() {
        let (one, _unread) = stream_pair().expect("a pair");
        let (sender, _receiver, _drain) = split::<u32, u32>(one).expect("an end");
        sender.send(&1).expect("queued");
        let room = tokio::time::timeout(std::time::Duration::from_secs(5), sender.room(0));
        let (woken, ()) = tokio::join!(room, async {
            tokio::task::yield_now().await;
            drop(sender);
        });
        woken.expect("in time");
    }

    #[tokio::test]
    async fn last_words_are_heard() {
        let (one, two) = stream_pair().expect("a pair");
        let (said, leaving, saying) = split::<u32, u32>(one).expect("an end");
        let (unheard, mut staying, sending) = split::<u32, u32>(two).expect("an end");
        unheard.send(&1).expect("queued");
        said.send(&2).expect("queued");
        drop((said, unheard));
        tokio::join!(saying, sending);
        drop(leaving);
        assert_eq!(staying.recv().await.expect("a frame"), Some(2));
        assert_eq!(staying.recv().await.expect("the end"), None);
    }
}
