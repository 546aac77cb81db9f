//! The queue in front of the controller, and the clients' calls that wait for its answer. Both are bounded: a socket
//! with too much in the queue is not read, and a socket with too many unanswered calls forgets its oldest.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use sc_core::controller::{Event, Failure};
use sc_core::ids::{SocketId, Token};
use sc_core::limits::{ANSWER_BYTES, GUEST_QUEUE, GUEST_QUEUE_PER_SOCKET, REPLIES_PER_SOCKET};
use sc_wire::packet::CallId;
use tokio::sync::Notify;

use crate::socket::Socket;

/// A client's call that waits for an answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) socket: SocketId,
    pub(crate) call: CallId,
    /// The instance it was given to; 0 while it is queued.
    pub(crate) instance: u64,
    since: Instant,
}

impl Reply {
    /// Whether its client may wait for so long. A classic client numbers events that it waits for nothing of as well:
    /// of a component that does not say that it forgets them, what is older than a client waits is taken for one of
    /// those.
    pub(crate) fn is_awaited(&self, socket: &Socket, within: Duration) -> bool {
        socket.classic.is_none() || self.since.elapsed() < within
    }
}

/// The queue and the waiting calls.
pub(crate) struct Calls {
    queue: RefCell<VecDeque<(Event, Option<Rc<Socket>>)>>,
    /// Events that wait for what the instance says.
    aside: RefCell<VecDeque<Event>>,
    /// Bytes of the answers in the queue.
    answer_bytes: Cell<usize>,
    replies: RefCell<HashMap<Token, Reply, RandomState>>,
    pub(crate) tokens: Arc<AtomicU64>,
    arrived: Notify,
    /// An event was taken out of the queue and is not done yet.
    running: Cell<bool>,
    done: Notify,
    abandoned: Cell<bool>,
    /// Somebody waits for `done`.
    awaited: Cell<bool>,
    /// Events that were dropped because the queue was full.
    lost: Cell<u64>,
}

impl Calls {
    pub(crate) fn new(tokens: Arc<AtomicU64>) -> Self {
        Calls {
            queue: RefCell::default(),
            aside: RefCell::default(),
            answer_bytes: Cell::new(0),
            replies: RefCell::default(),
            tokens,
            arrived: Notify::new(),
            running: Cell::new(false),
            done: Notify::new(),
            abandoned: Cell::new(false),
            awaited: Cell::new(false),
            lost: Cell::new(0),
        }
    }

    /// Queues an event that a socket caused. The socket is not read while too much of it waits.
    pub(crate) fn push_from(&self, socket: &Rc<Socket>, event: Event) {
        socket.queued.set(socket.queued.get() + 1);
        self.queue.borrow_mut().push_back((event, Some(Rc::clone(socket))));
        self.arrived.notify_one();
    }

    /// Queues an event that answers the controller; their number is bounded by its tokens. One too many bytes of them
    /// come as an error in the place of what they are.
    pub(crate) fn push_answer(&self, mut event: Event) {
        let (waiting, bytes) = (self.answer_bytes.get(), answer_bytes(&event));
        if waiting > 0 && bytes > 0 && waiting.saturating_add(bytes) > ANSWER_BYTES {
            withhold(&mut event);
        }
        self.answer_bytes.set(waiting.saturating_add(answer_bytes(&event)));
        self.push_owed(event);
    }

    /// Queues an event of no socket that must not be lost; those who queue such see to their number.
    pub(crate) fn push_owed(&self, event: Event) {
        self.queue.borrow_mut().push_back((event, None));
        self.arrived.notify_one();
    }

    /// Queues an event of no socket, if there is room.
    pub(crate) fn push_if_room(&self, event: Event) {
        if !self.is_full() {
            self.push_owed(event);
        } else {
            if self.lost.get().is_multiple_of(10_000) {
                tracing::warn!(
                    lost = self.lost.get() + 1,
                    "the controller is too slow; publications it watches are lost"
                );
            }
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// The next event; [`Calls::done`] is to be called after it.
    pub(crate) fn pop(&self) -> Option<(Event, Option<Rc<Socket>>)> {
        let next = self.queue.borrow_mut().pop_front()?;
        if let Some(socket) = &next.1 {
            socket.queued.set(socket.queued.get().saturating_sub(1));
        }
        self.taken(&next.0);
        Some(next)
    }

    /// The next event that an instance waits for, ahead of all others; [`Calls::done`] is to be called after it.
    pub(crate) fn pop_answer(&self) -> Option<Event> {
        let mut queue = self.queue.borrow_mut();
        let at = queue.iter().position(|(event, _)| event.answers().is_some())?;
        let (event, _) = queue.remove(at)?;
        self.taken(&event);
        Some(event)
    }

    fn taken(&self, event: &Event) {
        self.answer_bytes.set(self.answer_bytes.get().saturating_sub(answer_bytes(event)));
        self.running.set(true);
    }

    /// The event that was taken last has had its effects.
    pub(crate) fn done(&self) {
        self.running.set(false);
        if self.awaited.take() {
            self.done.notify_waiters();
        }
    }

    /// Puts an event back to the front: its instance went away before it was handed over.
    pub(crate) fn put_back(&self, event: Event, socket: Option<Rc<Socket>>) {
        if let Some(socket) = &socket {
            socket.queued.set(socket.queued.get() + 1);
        }
        self.answer_bytes.set(self.answer_bytes.get().saturating_add(answer_bytes(&event)));
        self.queue.borrow_mut().push_front((event, socket));
    }

    /// Keeps an event of no socket until [`Calls::take_back`]. It counts as queued.
    pub(crate) fn set_aside(&self, event: Event) {
        self.aside.borrow_mut().push_back(event);
    }

    /// Puts what was set aside back to the front.
    pub(crate) fn take_back(&self) {
        for event in self.aside.take().into_iter().rev() {
            self.put_back(event, None);
        }
    }

    fn len(&self) -> usize {
        self.queue.borrow().len() + self.aside.borrow().len()
    }

    pub(crate) fn is_full_for(&self, socket: &Socket) -> bool {
        socket.queued.get() >= GUEST_QUEUE_PER_SOCKET || self.is_full()
    }

    /// Notes whether there is nobody to take events, because the controller does not start.
    pub(crate) fn abandon(&self, abandoned: bool) {
        self.abandoned.set(abandoned);
        self.done();
    }

    /// Whether no event waits or is worked on, or nobody is there to work on any.
    pub(crate) fn is_idle(&self) -> bool {
        self.abandoned.get() || (self.len() == 0 && !self.running.get())
    }

    /// Waits until it is idle.
    pub(crate) async fn until_idle(&self) {
        while !self.is_idle() {
            self.room().await;
        }
    }

    /// Waits for an event.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Waits until an event was done, which leaves room for another one.
    pub(crate) async fn room(&self) {
        self.awaited.set(true);
        self.done.notified().await;
    }

    /// Whether nothing of no socket should join the queue.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= GUEST_QUEUE
    }

    /// A token that was never used.
    pub(crate) fn token(&self) -> Token {
        Token(self.tokens.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes a client's call and names it.
    pub(crate) fn expect_reply(&self, socket: &Socket, call: CallId) -> Token {
        let token = self.token();
        let mut waiting = socket.replies.borrow_mut();
        let mut replies = self.replies.borrow_mut();
        if waiting.len() >= REPLIES_PER_SOCKET
            && let Some(oldest) = waiting.pop_front()
        {
            replies.remove(&oldest);
        }
        waiting.push_back(token);
        let since = Instant::now();
        replies.insert(token, Reply { socket: socket.id, call, instance: 0, since });
        token
    }

    /// Notes that an instance was given the call.
    pub(crate) fn given_to(&self, token: Token, instance: u64) {
        if let Some(reply) = self.replies.borrow_mut().get_mut(&token) {
            reply.instance = instance;
        }
    }

    /// Takes a call to answer it; none when it was answered or its socket is gone.
    pub(crate) fn take_reply(&self, token: Token) -> Option<Reply> {
        self.replies.borrow_mut().remove(&token)
    }

    /// Forgets the calls of a closed socket.
    pub(crate) fn forget_replies(&self, socket: &Socket) {
        let mut replies = self.replies.borrow_mut();
        for token in socket.replies.borrow_mut().drain(..) {
            replies.remove(&token);
        }
    }

    /// Takes all calls that an instance was given and did not answer.
    pub(crate) fn take_replies_of(&self, instance: u64) -> Vec<(Token, Reply)> {
        self.replies.borrow_mut().extract_if(|_, reply| reply.instance == instance).collect()
    }

    /// Notes on the socket that a call of it waits no more.
    pub(crate) fn settled(socket: &Socket, token: Token) {
        let mut waiting = socket.replies.borrow_mut();
        if let Some(index) = waiting.iter().position(|&other| other == token) {
            waiting.remove(index);
        }
    }
}

/// What an answer to the controller brings that may be large.
fn answer_bytes(event: &Event) -> usize {
    match event {
        Event::Value { outcome: Ok(Some(json)), .. }
        | Event::ClientAnswer { outcome: Ok(Some(json)), .. } => json.len(),
        Event::ClientAnswer { outcome: Err(Failure::Error { message, extra, .. }), .. } => {
            message.len() + extra.as_ref().map_or(0, String::len)
        }
        Event::ClientAnswer { outcome: Err(Failure::Text(text)), .. } => text.len(),
        Event::Fetched { outcome: Ok(response), .. } => {
            let headers = response.headers.iter().map(|(name, value)| name.len() + value.len());
            response.body.len() + headers.sum::<usize>()
        }
        _ => 0,
    }
}

/// Puts an error in the place of what an answer brings.
fn withhold(event: &mut Event) {
    let too_much = || {
        let most = ANSWER_BYTES >> 20;
        let message = format!(
            "the answer came, but {most} MiB of answers wait for this component already: ask for less at a time, or \
             wait for answers before asking on"
        );
        Failure::named("ResourceLimitError", message)
    };
    match event {
        Event::Value { outcome, .. } | Event::ClientAnswer { outcome, .. } => *outcome = Err(too_much()),
        Event::Fetched { outcome, .. } => *outcome = Err(too_much()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_bounded_in_bytes() {
        let calls = Calls::new(Arc::default());
        let value = |token, bytes| {
            let outcome = Ok(Some("x".repeat(bytes)));
            Event::Value { to: Token(token), outcome }
        };
        let came = || match calls.pop() {
            Some((Event::Value { outcome: Ok(Some(value)), .. }, _)) => Ok(value.len()),
            Some((Event::Value { outcome: Err(Failure::Error { name, .. }), .. }, _)) => Err(name),
            other => panic!("{:?}", other.map(|(event, _)| event)),
        };
        let refused = || Err(Some("ResourceLimitError".into()));
        // One alone is let through, whatever its size.
        calls.push_answer(value(1, ANSWER_BYTES + 1));
        calls.push_answer(value(2, 1));
        assert_eq!((came(), came()), (Ok(ANSWER_BYTES + 1), refused()));
        calls.push_answer(value(3, ANSWER_BYTES));
        let Some((event, socket)) = calls.pop() else { panic!("it is queued") };
        calls.put_back(event, socket);
        calls.push_answer(value(4, 1));
        assert_eq!((came(), came()), (Ok(ANSWER_BYTES), refused()));
        calls.push_answer(value(5, 1));
        assert_eq!(calls.pop_answer().map(|event| answer_bytes(&event)), Some(1));
        assert_eq!(calls.answer_bytes.get(), 0);
    }

    /// What tells of ends joins a queue that takes no publications.
    #[test]
    fn what_is_owed_joins_a_full_queue() {
        let calls = Calls::new(Arc::default());
        for _ in 0..GUEST_QUEUE {
            calls.push_if_room(Event::Gap { store: 0 });
        }
        calls.push_if_room(Event::Gap { store: 1 });
        calls.push_owed(Event::Gap { store: 2 });
        let last = std::iter::from_fn(|| calls.pop()).last();
        assert!(matches!(last, Some((Event::Gap { store: 2 }, None))));
        assert_eq!((calls.lost.get(), calls.answer_bytes.get()), (1, 0));
    }
}
