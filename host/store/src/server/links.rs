//! The links of workers. Each has one task that reads, acts and writes; a link that breaks, or whose worker reads too
//! slowly, is dropped by itself and its worker sees the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sc_core::config::StoreConfig;
use sc_core::ids::{StoreId, WorkerId};
use sc_core::limits::LINK_BACKLOG;
use sc_core::link::LinkError;
use sc_core::link::frames::{FrameReceiver, FrameSender, split};
use sc_wire::store::{KeyError, KeyErrorKind, KeyOp, Member, Reply, Request, SessionMessage, Tree};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::commit::{self, Commit};
use super::presence::{Presence, Turn};
use super::sessions::{self, Sessions};
use crate::keyspace::{Keyspace, Millis, Place, check_name};
use crate::pubsub::{Channels, LinkId};

/// Operations of one link done before other links get their turn.
const TURN: usize = 64;
/// Bytes of answers that may wait for a worker before its next operations are left in its link.
const ANSWERS_AHEAD: usize = LINK_BACKLOG / 8;

/// How long workers may take to come back to a store that was restarted.
const COME_BACK: Duration = Duration::from_secs(1);

/// All that the links share.
pub(super) struct Hub {
    id: StoreId,
    config: StoreConfig,
    clock: Clock,
    pub(super) keys: Keyspace,
    channels: Channels,
    sessions: Sessions,
    presence: Presence,
    /// None while all is kept in memory only.
    pub(super) commit: Option<Commit>,
    links: BTreeMap<LinkId, Link>,
    last: u64,
    changed: Rc<Notify>,
}

struct Link {
    worker: WorkerId,
    sender: Rc<FrameSender<Reply>>,
    /// Reads, acts and writes; ends with the link's entry.
    _task: AbortOnDropHandle<()>,
}

/// Serves a worker over a new link, which replaces its earlier ones.
pub(super) fn serve(hub: &Rc<RefCell<Hub>>, worker: WorkerId, end: OwnedFd) -> std::io::Result<()> {
    let (sender, receiver, drain) = split::<Reply, Request>(end)?;
    let sender = Rc::new(sender);
    let mut state = hub.borrow_mut();
    let earlier: Vec<_> =
        state.links.iter().filter(|(_, link)| link.worker == worker).map(|(link, _)| *link).collect();
    for link in earlier {
        state.drop_link(link);
    }
    state.last += 1;
    let link = LinkId(state.last);
    let reading = read(Rc::downgrade(hub), link, receiver, Rc::clone(&sender));
    let weak = Rc::downgrade(hub);
    let store = state.id;
    let task = tokio::task::spawn_local(async move {
        let ended = tokio::select! {
            ended = reading => ended,
            () = drain => Ok(()),
        };
        if let Err(error) = ended {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%store, %worker, error, "a worker's link failed and was dropped");
        }
        if let Some(hub) = weak.upgrade() {
            hub.borrow_mut().drop_link(link);
        }
    });
    state.presence.linked(worker);
    state.links.insert(link, Link { worker, sender, _task: AbortOnDropHandle::new(task) });
    Ok(())
}

async fn read(
    hub: Weak<RefCell<Hub>>,
    link: LinkId,
    mut receiver: FrameReceiver<Request>,
    sender: Rc<FrameSender<Reply>>,
) -> Result<(), LinkError> {
    let mut turn = 0;
    while let Some(request) = receiver.recv().await? {
        let Some(hub) = hub.upgrade() else { return Ok(()) };
        hub.borrow_mut().act(link, request);
        turn += 1;
        let rests = turn % TURN == 0;
        if rests || !receiver.is_ready() {
            hub.borrow_mut().commit();
        }
        drop(hub);
        if rests {
            tokio::task::yield_now().await;
        }
        // A worker that asks faster than it reads waits; it is not too slow for what it did not ask for.
        sender.room(ANSWERS_AHEAD).await;
    }
    Ok(())
}

/// Milliseconds since 1970 that never go back while the process lives.
struct Clock {
    began: Instant,
    at: Millis,
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), at: millis(since) }
    }

    fn now(&self) -> Millis {
        self.at.saturating_add(millis(self.began.elapsed()))
    }
}

fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

impl Hub {
    /// Begins with what the journal held. Sessions that had sockets when the last store ended get some time to come
    /// back.
    pub(super) fn new(id: StoreId, config: StoreConfig, keys: Keyspace, commit: Option<Commit>) -> Self {
        let mut hub = Hub {
            id,
            clock: Clock::start(),
            keys,
            channels: Channels::default(),
            sessions: Sessions::default(),
            presence: Presence::default(),
            commit,
            links: BTreeMap::new(),
            last: 0,
            changed: Rc::default(),
            config,
        };
        let end = hub.now().saturating_add(millis(hub.config.session_grace.max(COME_BACK)));
        let known = hub.keys.act(hub.now(), &live(None), KeyOp::Get).ok().flatten();
        let known = known.and_then(|known| serde_json::from_slice::<BTreeMap<String, u8>>(&known).ok());
        for session in known.unwrap_or_default().into_keys() {
            hub.sessions.end_at(session, end, WorkerId(0));
        }
        hub.sweep();
        hub
    }

    /// Told whenever a link is gone.
    pub(super) fn changed(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    /// Whether no worker is linked.
    pub(super) fn is_idle(&self) -> bool {
        self.links.is_empty()
    }

    /// Ends what is due, frees what has expired, and writes the journal again if it could not be written.
    pub(super) fn sweep(&mut self) {
        let now = self.now();
        while let Some((session, worker)) = self.sessions.take_ended(now) {
            self.end_session(session, worker);
        }
        let gone = self.presence.expire(now);
        self.tell_turns(gone);
        self.keys.expire_due(now);
        self.note_changes();
        self.commit();
    }

    /// The master says that a worker is no more.
    pub(super) fn worker_gone(&mut self, worker: WorkerId) {
        let gone = self.presence.gone(worker);
        self.tell_turns(gone);
    }

    /// Who watches is told who came and went.
    fn tell_turns(&mut self, turns: impl IntoIterator<Item = Turn>) {
        for Turn { channel, change, member } in turns {
            let links = self.presence.watchers(&channel);
            let reply = Reply::Member { channel, change, member };
            for link in links {
                self.send(link, &reply);
            }
        }
    }

    fn join(&mut self, link: LinkId, channel: String, member: Member, again: bool) {
        let Some(worker) = self.links.get(&link).map(|link| link.worker) else { return };
        let turn = self.presence.join(link, worker, channel, member, again);
        self.tell_turns(turn);
    }

    fn all_again(&mut self, link: LinkId) {
        let Some(worker) = self.links.get(&link).map(|link| link.worker) else { return };
        let gone = self.presence.all_again(link, worker);
        self.tell_turns(gone);
    }

    /// How long until something is due that should not wait for the next sweep.
    pub(super) fn until_next_end(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.sessions.next_end()?.saturating_sub(self.now())))
    }

    fn now(&self) -> Millis {
        self.clock.now()
    }

    fn drop_link(&mut self, link: LinkId) {
        if let Some(dropped) = self.links.remove(&link) {
            self.channels.forget(link);
            let end = self.now().saturating_add(millis(self.config.session_grace));
            self.sessions.forget(link, dropped.worker, end);
            if !self.links.values().any(|other| other.worker == dropped.worker) {
                let now = self.now();
                self.presence.unlinked(link, dropped.worker, now);
            }
            self.changed.notify_one();
        }
    }

    fn act(&mut self, link: LinkId, request: Request) {
        match request {
            Request::Subscribe { op, channel } => {
                let checked = check_name(&channel);
                let reply = match checked {
                    Ok(()) => {
                        self.channels.subscribe(link, channel);
                        Reply::Done { op }
                    }
                    Err(error) => Reply::Failed { op, error },
                };
                self.answer(link, reply, false);
            }
            Request::Unsubscribe { channel } => self.channels.unsubscribe(link, &channel),
            Request::Publish { op, channel, data } => {
                self.publish(channel, data);
                if let Some(op) = op {
                    self.answer(link, Reply::Done { op }, false);
                }
            }
            Request::SessionSockets { session, sockets } => self.hold_session(link, session, sockets),
            Request::TellSession { op, session, message } => {
                let sockets = self.tell_session(session, message);
                if let Some(op) = op {
                    let value = Some(sockets.to_string().into());
                    self.answer(link, Reply::Value { op, value }, false);
                }
            }
            Request::Join { channel, member, again } => self.join(link, channel, member, again),
            Request::AllAgain => self.all_again(link),
            Request::Leave { channel, socket } => {
                let turn = self.presence.leave(&channel, socket);
                self.tell_turns(turn);
            }
            Request::Members { op, channel, of_each } => {
                let value = Some(self.presence.members(&channel, of_each));
                self.answer(link, Reply::Value { op, value }, false);
            }
            Request::WatchMembers { channel, on } => self.presence.watch(link, channel, on),
            Request::Key { op, tree, path, action } => {
                let changes = !action.only_reads();
                let reply = match self.key(&Place { tree, path }, action) {
                    Ok(value) => Reply::Value { op, value },
                    Err(error) => Reply::Failed { op, error },
                };
                self.answer(link, reply, changes);
            }
        }
    }

    fn key(&mut self, place: &Place, action: KeyOp) -> Result<Option<Bytes>, KeyError> {
        if !action.only_reads()
            && let Some(refusal) = self.commit.as_ref().and_then(Commit::refusal)
        {
            return Err(refusal);
        }
        let now = self.now();
        let outcome = self.keys.act(now, place, action);
        if let Tree::Session(session) = &place.tree
            && !self.sessions.is_live(session)
        {
            self.age(now, &Place { tree: place.tree.clone(), path: Vec::new() });
        }
        self.note_changes();
        outcome
    }

    /// A session that is used without a socket lives on from now; refreshed only now and then, for each refresh is a
    /// change.
    fn age(&mut self, now: Millis, tree: &Place) {
        let timeout = millis(self.config.session_timeout);
        let expiry = self.keys.act(now, tree, KeyOp::GetExpiry).ok().flatten();
        let expiry = expiry.and_then(|expiry| serde_json::from_slice::<Millis>(&expiry).ok()).unwrap_or(0);
        if expiry < now.saturating_add(timeout - timeout / 16) {
            // A tree without values has no expiry.
            let _ = self.keys.act(now, tree, KeyOp::Expire { after_ms: timeout });
        }
    }

    fn hold_session(&mut self, link: LinkId, session: String, sockets: u32) {
        let Some(worker) = self.links.get(&link).map(|link| link.worker) else { return };
        let now = self.now();
        let end = now.saturating_add(millis(self.config.session_grace));
        if self.sessions.hold(link, worker, session.clone(), sockets, end) == sessions::Turn::Began {
            // While it has sockets its data stay; and should this store die, its successor knows whom to expect.
            let mark = live(Some(&session));
            let _ = self.keys.act(now, &mark, KeyOp::Set { value: Bytes::from_static(b"1") });
            let tree = Place { tree: Tree::Session(session), path: Vec::new() };
            let _ = self.keys.act(now, &tree, KeyOp::Unexpire);
            self.note_changes();
        }
        if end <= now {
            self.sweep();
        }
    }

    fn end_session(&mut self, session: String, worker: WorkerId) {
        let held_last = self.links.iter().rev().find(|(_, link)| link.worker == worker);
        let Some(link) = held_last.or_else(|| self.links.iter().next_back()).map(|(link, _)| *link) else {
            // Nobody is there to be told yet.
            let later = self.now().saturating_add(millis(COME_BACK));
            return self.sessions.end_at(session, later, worker);
        };
        let now = self.now();
        let _ = self.keys.act(now, &live(Some(&session)), KeyOp::Remove { get_value: false });
        let tree = Place { tree: Tree::Session(session.clone()), path: Vec::new() };
        let after_ms = millis(self.config.session_timeout);
        let _ = self.keys.act(now, &tree, KeyOp::Expire { after_ms });
        self.note_changes();
        self.send(link, &Reply::SessionEnd { session });
    }

    fn tell_session(&mut self, session: String, message: SessionMessage) -> u64 {
        let (links, sockets) = self.sessions.holders(&session);
        let reply = Reply::Session { session, message };
        for link in links {
            self.send(link, &reply);
        }
        sockets
    }

    fn publish(&mut self, channel: String, data: Option<Bytes>) {
        let links = self.channels.links(&channel).to_vec();
        let message = Reply::Message { channel, data };
        for link in links {
            self.send(link, &message);
        }
    }

    /// What the last operation did goes into the journal.
    fn note_changes(&mut self) {
        if let Some(commit) = &mut self.commit {
            commit.note(&self.keys.take_changes());
        }
    }

    /// Writes the journal and sends the answers that waited for it.
    pub(super) fn commit(&mut self) {
        let Some(commit) = &mut self.commit else { return };
        for (link, reply) in commit.write() {
            self.send(link, &reply);
        }
    }

    /// The journal is on the disk up to there.
    pub(super) fn synced(&mut self, position: u64) {
        let Some(commit) = &mut self.commit else { return };
        for (link, reply) in commit.synced(position) {
            self.send(link, &reply);
        }
    }

    /// The disk does not take the journal. What waits for it is answered with the error.
    pub(super) fn not_synced(&mut self, error: &std::io::Error) {
        let Some(commit) = &mut self.commit else { return };
        for (link, reply) in commit.fail(error) {
            self.send(link, &reply);
        }
    }

    /// Answers an operation, once the journal holds what the answer acknowledges.
    fn answer(&mut self, to: LinkId, reply: Reply, changed: bool) {
        let reply = match &mut self.commit {
            Some(commit) => commit.holds(to, reply, changed),
            None => Some(reply),
        };
        if let Some(reply) = reply {
            self.send(to, &reply);
        }
    }

    fn send(&mut self, to: LinkId, reply: &Reply) {
        let Some(link) = self.links.get(&to) else { return };
        let worker = link.worker;
        match link.sender.send(reply) {
            Ok(()) => {}
            Err(LinkError::Frame(error)) => {
                tracing::warn!(store = %self.id, %worker, %error, "a reply is too large for a link");
                let message = format!("the value is too large to be sent: {error}");
                if let Some(op) = commit::op(reply) {
                    let error = KeyError { kind: KeyErrorKind::Size, message };
                    self.send(to, &Reply::Failed { op, error });
                }
            }
            Err(LinkError::Closed) => self.drop_link(to),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(store = %self.id, %worker, error, "a worker's link was dropped");
                self.drop_link(to);
            }
        }
    }
}

/// Where the store notes which sessions have sockets.
fn live(session: Option<&str>) -> Place {
    let path = std::iter::once("sessions").chain(session).map(str::to_owned).collect();
    Place { tree: Tree::Own, path }
}
