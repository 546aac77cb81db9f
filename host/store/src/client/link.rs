//! One store as its worker sees it: what is in flight, what is parked while the store is down, which channels are
//! wanted. No tasks and no timers in here.
//!
//! Answers come in the order of requests, so what is in flight is a queue. An operation leaves that queue only with
//! its answer or with the link, also when its waiter has given up: a store that hangs cannot make it grow past its
//! bound.
//!
//! What a store is told without an answer it must not miss. So a link without room for it is given up, and over the
//! next one all of it is said again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_core::limits::{
    LINK_BACKLOG, LINK_BACKLOG_OF_STATE, RUNS_AT_END, RUNS_AT_END_BYTES, STORE_DEADLINE, STORE_PENDING,
};
use sc_core::link::LinkError;
use sc_core::link::frames::FrameSender;
use sc_core::log::FAULT;
use sc_wire::store::{KeyOp, OpId, Request, Run, SessionMessage};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::CallError;
use super::answer::Waiter;

/// An answer that is not the one that is due. The link is of no more use.
#[derive(Debug, thiserror::Error)]
#[error("the answer to operation {got} came while that of {due:?} was due")]
pub(super) struct Unexpected {
    got: OpId,
    due: Option<OpId>,
}

/// What an attachment meant.
pub(super) struct Attached {
    /// Names this link, so that the end of an older one is told apart.
    pub(super) generation: u64,
    /// Whether the store was never attached before.
    pub(super) first: bool,
    /// Whether there is a gap to tell of, and nothing to re-subscribe before it.
    pub(super) gap_now: bool,
    /// Told when the link is given up from this side.
    pub(super) broken: Rc<Notify>,
}

#[derive(Default)]
pub(super) struct Link {
    sender: Option<FrameSender<Request>>,
    task: Option<AbortOnDropHandle<()>>,
    broken: Rc<Notify>,
    generation: u64,
    last_op: OpId,
    in_flight: VecDeque<InFlight>,
    parked: VecDeque<Parked>,
    parked_bytes: usize,
    wanted: HashSet<String, RandomState>,
    /// Sessions of which this worker holds sockets, and how many.
    sessions: HashMap<String, u32, RandomState>,
    /// The same of client addresses.
    addresses: HashMap<IpAddr, u32, RandomState>,
    /// What is to run when this worker is gone.
    at_end: Vec<Run>,
    at_end_bytes: usize,
    /// Who waits for channels whose subscription was not sent, or was lost with its link.
    unconfirmed: Vec<(String, Waiter)>,
    /// The last re-subscription after a loss: with its answer the gap is told.
    gap_after: Option<OpId>,
    /// Publications dropped at their deadline since the last attachment.
    dropped: u64,
    /// Something waits that the last sweep did not see.
    unswept: bool,
}

struct InFlight {
    op: OpId,
    waiter: Option<Waiter>,
    /// Set for a subscription: it is sent again after a loss.
    channel: Option<String>,
}

struct Parked {
    request: Request,
    deadline: Instant,
    /// With the operation's number; none for a publication that nobody waits for.
    waiter: Option<(OpId, Waiter)>,
}

impl Link {
    pub(super) fn attach(&mut self, sender: FrameSender<Request>) -> Result<Attached, LinkError> {
        let first = self.generation == 0;
        self.disconnect();
        self.task = None;
        self.broken = Rc::default();
        self.generation += 1;
        self.resubscribe(&sender)?;
        self.gap_after = self.in_flight.back().map(|last| last.op).filter(|_| !first);
        let gap_now = !first && self.gap_after.is_none();
        self.sender = Some(sender);
        let parked = std::mem::take(&mut self.parked);
        self.parked_bytes = 0;
        for Parked { request, deadline, waiter } in parked {
            match waiter {
                Some((op, waiter)) => self.send(op, request, waiter),
                None => {
                    if let Err(error) = self.tell(request, deadline) {
                        tracing::warn!(target: FAULT, %error, "a parked publication was dropped");
                    }
                }
            }
        }
        if self.dropped > 0 {
            tracing::warn!(
                publications = self.dropped,
                "publications were dropped: they waited too long for their store"
            );
            self.dropped = 0;
        }
        Ok(Attached { generation: self.generation, first, gap_now, broken: Rc::clone(&self.broken) })
    }

    fn resubscribe(&mut self, sender: &FrameSender<Request>) -> Result<(), LinkError> {
        for (session, sockets) in &self.sessions {
            sender.send_within(
                LINK_BACKLOG_OF_STATE,
                &Request::SessionSockets { session: session.clone(), sockets: *sockets },
            )?;
        }
        for (&address, &sockets) in &self.addresses {
            sender.send_within(LINK_BACKLOG_OF_STATE, &Request::AddressSockets { address, sockets })?;
        }
        for (number, run) in (0..).zip(&self.at_end) {
            sender.send_within(LINK_BACKLOG_OF_STATE, &Request::RunAtEnd { number, run: run.clone() })?;
        }
        for channel in &self.wanted {
            self.last_op += 1;
            sender.send_within(
                LINK_BACKLOG_OF_STATE,
                &Request::Subscribe { op: self.last_op, channel: channel.clone() },
            )?;
            let channel = Some(channel.clone());
            self.in_flight.push_back(InFlight { op: self.last_op, waiter: None, channel });
        }
        // Whoever waits for a channel is confirmed by a subscription of its own, in turn after the first.
        for (channel, waiter) in std::mem::take(&mut self.unconfirmed) {
            self.last_op += 1;
            sender.send_within(
                LINK_BACKLOG_OF_STATE,
                &Request::Subscribe { op: self.last_op, channel: channel.clone() },
            )?;
            self.in_flight.push_back(InFlight {
                op: self.last_op,
                waiter: Some(waiter),
                channel: Some(channel),
            });
        }
        Ok(())
    }

    /// Takes the task that reads the attached link.
    pub(super) fn own(&mut self, task: AbortOnDropHandle<()>) {
        self.task = Some(task);
    }

    /// Notes that the link of that generation broke; false when it had been replaced.
    pub(super) fn lose(&mut self, generation: u64) -> bool {
        let current = self.generation == generation;
        if current {
            self.disconnect();
        }
        current
    }

    fn disconnect(&mut self) {
        self.sender = None;
        self.gap_after = None;
        for InFlight { waiter, channel, .. } in std::mem::take(&mut self.in_flight) {
            match (waiter, channel) {
                (Some(waiter), Some(channel)) if self.wanted.contains(&channel) => {
                    self.unconfirmed.push((channel, waiter));
                }
                (Some(waiter), _) => waiter.answer(Err(CallError::Lost)),
                (None, _) => {}
            }
        }
    }

    pub(super) fn subscribe(&mut self, channel: &str, waiter: Waiter) {
        self.wanted.insert(channel.to_owned());
        if self.load() >= STORE_PENDING {
            return waiter.answer(Err(CallError::Busy));
        }
        self.unswept = true;
        self.last_op += 1;
        let op = self.last_op;
        let channel = channel.to_owned();
        match self.try_send(&Request::Subscribe { op, channel: channel.clone() }) {
            Ok(true) => {
                self.in_flight.push_back(InFlight { op, waiter: Some(waiter), channel: Some(channel) });
            }
            Ok(false) => self.unconfirmed.push((channel, waiter)),
            Err(error) => waiter.answer(Err(error)),
        }
    }

    pub(super) fn unsubscribe(&mut self, channel: &str) {
        if !self.wanted.remove(channel) {
            return;
        }
        for (_, waiter) in self.unconfirmed.extract_if(.., |(unconfirmed, _)| unconfirmed == channel) {
            waiter.answer(Err(CallError::Lost));
        }
        self.say(&Request::Unsubscribe { channel: channel.to_owned() });
    }

    pub(super) fn hold_session(&mut self, session: &str, sockets: u32) {
        match sockets {
            0 => drop(self.sessions.remove(session)),
            _ => drop(self.sessions.insert(session.to_owned(), sockets)),
        }
        self.say(&Request::SessionSockets { session: session.to_owned(), sockets });
    }

    /// Notes how many sockets of an address are held, for the next link.
    pub(super) fn note_address(&mut self, address: IpAddr, sockets: u32) {
        match sockets {
            0 => self.addresses.remove(&address),
            _ => self.addresses.insert(address, sockets),
        };
    }

    /// Has something run when this worker is gone.
    pub(super) fn run_at_end(&mut self, run: Run) -> Result<(), CallError> {
        let bytes = self.at_end_bytes.saturating_add(held(&run));
        if self.at_end.len() >= RUNS_AT_END || bytes > RUNS_AT_END_BYTES {
            return Err(CallError::Busy);
        }
        self.say(&Request::RunAtEnd { number: self.at_end.len() as u64, run: run.clone() });
        self.at_end.push(run);
        self.at_end_bytes = bytes;
        Ok(())
    }

    /// Sends what over each new link is said again. If there is no room for it, only a new link helps.
    pub(super) fn say(&mut self, request: &Request) {
        match self.try_send_within(LINK_BACKLOG_OF_STATE, request) {
            Ok(_) => {}
            Err(CallError::Busy) => {
                tracing::warn!("a store reads too slowly: its link is given up, and is to be made anew");
                self.sender = None;
                self.broken.notify_one();
            }
            Err(error) => tracing::warn!(target: FAULT, %error, "a store cannot be told of something"),
        }
    }

    /// Sends what is not answered, or parks it.
    pub(super) fn tell(&mut self, request: Request, deadline: Instant) -> Result<(), CallError> {
        if self.try_send(&request)? {
            return Ok(());
        }
        if !self.has_room(&request) {
            return Err(CallError::Busy);
        }
        self.park(Parked { request, deadline, waiter: None });
        Ok(())
    }

    /// Sends an operation, or parks it.
    pub(super) fn ask(&mut self, request: impl FnOnce(OpId) -> Request, waiter: Waiter) {
        if self.load() >= STORE_PENDING {
            return waiter.answer(Err(CallError::Busy));
        }
        self.unswept = true;
        self.last_op += 1;
        let op = self.last_op;
        self.send(op, request(op), waiter);
    }

    /// Sends an operation that is of no use later.
    pub(super) fn ask_now(&mut self, request: impl FnOnce(OpId) -> Request, waiter: Waiter) {
        match self.sender {
            Some(_) => self.ask(request, waiter),
            None => waiter.answer(Err(CallError::Lost)),
        }
    }

    fn send(&mut self, op: OpId, request: Request, waiter: Waiter) {
        match self.try_send(&request) {
            Ok(true) => self.in_flight.push_back(InFlight { op, waiter: Some(waiter), channel: None }),
            Ok(false) if self.has_room(&request) => {
                self.park(Parked { request, deadline: waiter.deadline, waiter: Some((op, waiter)) });
            }
            Ok(false) => waiter.answer(Err(CallError::Busy)),
            Err(error) => waiter.answer(Err(error)),
        }
    }

    /// False when the store is down, which a sender may know before the reader does.
    fn try_send(&self, request: &Request) -> Result<bool, CallError> {
        self.try_send_within(LINK_BACKLOG, request)
    }

    fn try_send_within(&self, backlog: usize, request: &Request) -> Result<bool, CallError> {
        let Some(sender) = &self.sender else { return Ok(false) };
        match sender.send_within(backlog, request) {
            Ok(()) => Ok(true),
            Err(LinkError::Closed) => Ok(false),
            Err(LinkError::Full) => Err(CallError::Busy),
            Err(LinkError::Frame(error)) => Err(CallError::TooLarge(error.to_string())),
            Err(error) => Err(CallError::TooLarge(error.to_string())),
        }
    }

    /// Whether more than so many bytes wait for a store that lives.
    pub(super) fn is_behind(&self, bytes: usize) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.is_behind(bytes))
    }

    /// Resolves once at most so many bytes wait for the store; none while it is down.
    pub(super) fn room(&self, bytes: usize) -> Option<impl Future<Output = ()> + use<>> {
        self.sender.as_ref().map(|sender| sender.room(bytes))
    }

    fn has_room(&self, request: &Request) -> bool {
        let bytes = self.parked_bytes.saturating_add(payload(request));
        self.load() < STORE_PENDING && bytes <= LINK_BACKLOG
    }

    fn park(&mut self, parked: Parked) {
        self.unswept = true;
        self.parked_bytes = self.parked_bytes.saturating_add(payload(&parked.request));
        self.parked.push_back(parked);
    }

    fn load(&self) -> usize {
        self.in_flight.len() + self.parked.len() + self.unconfirmed.len()
    }

    /// Whether something waits that the last sweep did not see.
    pub(super) fn is_unswept(&self) -> bool {
        self.unswept
    }

    /// Takes an answer; true when with it the last channel is subscribed again after a loss.
    pub(super) fn answered(
        &mut self,
        op: OpId,
        outcome: Result<Option<Bytes>, CallError>,
    ) -> Result<bool, Unexpected> {
        let due = self.in_flight.front().map(|due| due.op);
        match self.in_flight.pop_front() {
            Some(InFlight { waiter, channel, .. }) if due == Some(op) => {
                match (waiter, &outcome, channel) {
                    (Some(waiter), ..) => waiter.answer(outcome),
                    (None, Err(error), Some(_)) => {
                        tracing::warn!(%error, "a store refused a subscription it once took");
                    }
                    (None, ..) => {}
                }
                let resubscribed = self.gap_after == Some(op);
                if resubscribed {
                    self.gap_after = None;
                }
                Ok(resubscribed)
            }
            _ => Err(Unexpected { got: op, due }),
        }
    }

    /// Fails what is overdue; the deadline that is next.
    pub(super) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        self.unswept = false;
        let mut next: Option<Instant> = None;
        let mut keep = |deadline: Instant| {
            let keep = deadline > now;
            if keep {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            }
            keep
        };
        for waiting in &mut self.in_flight {
            if let Some(waiter) = waiting.waiter.take_if(|waiter| !keep(waiter.deadline)) {
                waiter.answer(Err(CallError::Timeout(STORE_DEADLINE)));
            }
        }
        for (_, waiter) in self.unconfirmed.extract_if(.., |(_, waiter)| !keep(waiter.deadline)) {
            waiter.answer(Err(CallError::Timeout(STORE_DEADLINE)));
        }
        for waiting in std::mem::take(&mut self.parked) {
            if keep(waiting.deadline) {
                self.parked.push_back(waiting);
                continue;
            }
            self.parked_bytes = self.parked_bytes.saturating_sub(payload(&waiting.request));
            match waiting.waiter {
                Some((_, waiter)) => waiter.answer(Err(CallError::Timeout(STORE_DEADLINE))),
                None => self.dropped += 1,
            }
        }
        next
    }
}

/// About how many bytes a request holds.
fn payload(request: &Request) -> usize {
    match request {
        Request::Subscribe { channel, .. } | Request::Unsubscribe { channel } => channel.len(),
        Request::Publish { channel, data, .. } => channel.len() + data.as_ref().map_or(0, Bytes::len),
        Request::Run { run, .. } | Request::RunAtEnd { run, .. } => held(run),
        Request::Key { path, action, .. } => parts(path) + carried(action),
        Request::SessionSockets { session, .. } => session.len(),
        Request::Members { channel, .. } => channel.len(),
        // These are never parked.
        Request::Join { .. } | Request::AllAgain | Request::Leave { .. } | Request::WatchMembers { .. } => 0,
        Request::AddressSockets { .. } | Request::EnterAddress { .. } => 0,
        Request::TellSession { session, message, .. } => session.len() + told(message),
    }
}

fn parts(path: &[String]) -> usize {
    path.iter().map(String::len).sum()
}

fn held(Run { path, procedure, argument, .. }: &Run) -> usize {
    parts(path) + procedure.len() + argument.as_ref().map_or(0, Bytes::len)
}

fn told(message: &SessionMessage) -> usize {
    match message {
        SessionMessage::Emit { event, data, .. } => event.len() + data.as_ref().map_or(0, Bytes::len),
        SessionMessage::Close { reason, .. } => reason.len(),
    }
}

fn carried(action: &KeyOp) -> usize {
    match action {
        KeyOp::Set { value } | KeyOp::Add { value, .. } | KeyOp::Concat { value, .. } => value.len(),
        KeyOp::CompareAndSet { expected, value } => {
            expected.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len)
        }
        _ => 0,
    }
}
