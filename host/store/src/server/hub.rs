//! What all links of a store share, and what their requests do to it. One request at a time, each at once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sc_core::config::StoreConfig;
use sc_core::ids::{StoreId, WorkerId};
use sc_core::link::control::StoreCounts;
use sc_wire::store::{KeyError, KeyOp, Reply, Request, Tree};
use tokio::sync::Notify;

use super::addresses::Addresses;
use super::clock::{Clock, millis};
use super::commit::Commit;
use super::crowd::live;
use super::links::Link;
use super::presence::Presence;
use super::procedures::Procedures;
use super::sessions::Sessions;
use crate::change::Change;
use crate::keyspace::{Keyspace, Millis, Place, check_name};
use crate::pubsub::{Channels, LinkId};

/// How long workers may take to come back to a store that was restarted, or whose link broke.
pub(super) const COME_BACK: Duration = Duration::from_secs(5);

/// All that the links share.
pub(super) struct Hub {
    id: StoreId,
    config: StoreConfig,
    clock: Clock,
    pub(super) keys: Keyspace,
    channels: Channels,
    pub(super) sessions: Sessions,
    pub(super) presence: Presence,
    addresses: Addresses,
    /// None while all is kept in memory only.
    pub(super) commit: Option<Commit>,
    pub(super) procedures: Procedures,
    pub(super) links: BTreeMap<LinkId, Link>,
    last: u64,
    changed: Rc<Notify>,
}

impl Hub {
    /// Begins with what the journal held.
    pub(super) fn new(id: StoreId, config: StoreConfig, keys: Keyspace, commit: Option<Commit>) -> Self {
        Hub {
            id,
            clock: Clock::start(),
            keys,
            channels: Channels::default(),
            sessions: Sessions::default(),
            presence: Presence::default(),
            addresses: Addresses::default(),
            commit,
            procedures: Procedures::default(),
            links: BTreeMap::new(),
            last: 0,
            changed: Rc::default(),
            config,
        }
    }

    /// Links are taken from now on: sessions that had sockets when the last store ended have some time to come back.
    pub(super) fn expect_sessions(&mut self) {
        let end = self.now().saturating_add(millis(self.config.session_grace.max(COME_BACK)));
        let known = self.keys.act(self.now(), &live(None), KeyOp::Get).ok().flatten();
        let known = known.and_then(|known| serde_json::from_slice::<BTreeMap<String, u8>>(&known).ok());
        for session in known.unwrap_or_default().into_keys() {
            self.sessions.end_at(session, end, WorkerId(0));
        }
    }

    pub(super) fn id(&self) -> StoreId {
        self.id
    }

    pub(super) fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// Names a worker's new link, which replaces its earlier ones.
    pub(super) fn next_link(&mut self, worker: WorkerId) -> LinkId {
        let earlier = self.links.iter().filter(|(_, link)| link.worker == worker);
        for link in earlier.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.drop_link(link);
        }
        self.last += 1;
        LinkId(self.last)
    }

    /// A worker's new link serves.
    pub(super) fn link(&mut self, name: LinkId, link: Link) {
        self.presence.linked(link.worker);
        self.links.insert(name, link);
    }

    /// Told whenever a link is gone, and when no procedure waits or runs any more.
    pub(super) fn changed(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    /// Whether no worker is linked, and no procedure waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.links.is_empty() && self.procedure_ends().is_none()
    }

    /// Ends what is due, frees what has expired, and writes the journal again if it could not be written.
    pub(super) fn sweep(&mut self) {
        if self.procedures.is_running() {
            return;
        }
        if let Some(commit) = &mut self.commit {
            commit.forgive();
        }
        let now = self.now();
        while let Some((session, worker)) = self.sessions.take_ended(now) {
            self.end_session(session, worker);
        }
        let gone = self.presence.expire(now);
        self.tell_turns(gone);
        self.by_itself(Keyspace::expire_due);
        self.commit();
    }

    /// The master says that a worker is no more. What it said last may still be unread in its link.
    pub(super) fn worker_gone(&mut self, worker: WorkerId) {
        let gone = self.presence.gone(worker);
        self.tell_turns(gone);
        self.procedures.worker_gone(worker);
        let end = self.now().saturating_add(millis(self.config.session_grace));
        self.sessions.hasten(worker, end);
        for link in self.links.values_mut().filter(|link| link.worker == worker) {
            link.is_gone = true;
        }
    }

    /// How long until something is due that should not wait for the next sweep.
    pub(super) fn until_next_end(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.sessions.next_end()?.saturating_sub(self.now())))
    }

    pub(super) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// How much there is.
    pub(super) fn counts(&self) -> StoreCounts {
        StoreCounts {
            sessions: self.sessions.count(),
            channels: self.channels.count(),
            members: self.presence.count(),
            trees: self.keys.trees(),
        }
    }

    pub(super) fn drop_link(&mut self, link: LinkId) {
        if let Some(dropped) = self.links.remove(&link) {
            for channel in self.channels.forget(link) {
                self.procedures.channel(channel, false);
            }
            let grace = self.config.session_grace;
            // A worker that lives comes back with its sockets, over another link.
            let grace = if dropped.is_gone { grace } else { grace.max(COME_BACK) };
            let end = self.now().saturating_add(millis(grace));
            self.sessions.forget(link, dropped.worker, end);
            self.addresses.forget(link);
            if dropped.is_gone {
                self.procedures.worker_gone(dropped.worker);
            }
            if !self.links.values().any(|other| other.worker == dropped.worker) {
                let now = self.now();
                self.presence.unlinked(link, dropped.worker, now);
            }
            self.changed.notify_one();
        }
    }

    pub(super) fn act(&mut self, link: LinkId, request: Request) {
        match request {
            Request::Subscribe { op, channel } => {
                let checked = check_name(&channel);
                let reply = match checked {
                    Ok(()) => {
                        if self.channels.subscribe(link, channel.clone()) {
                            self.procedures.channel(channel, true);
                        }
                        Reply::Done { op }
                    }
                    Err(error) => Reply::Failed { op, error },
                };
                self.answer(link, reply, false);
            }
            Request::Unsubscribe { channel } => {
                if self.channels.unsubscribe(link, &channel) {
                    self.procedures.channel(channel, false);
                }
            }
            Request::Publish { op, channel, data } => {
                self.publish(channel, data);
                if let Some(op) = op {
                    self.answer(link, Reply::Done { op }, false);
                }
            }
            Request::SessionSockets { session, sockets } => self.hold_session(link, session, sockets),
            Request::AddressSockets { address, sockets } => self.addresses.hold(link, address, sockets),
            Request::EnterAddress { op, address, sockets, most } => {
                let is_within = self.addresses.enter(link, address, sockets, most);
                let value = Some(Bytes::from_static(if is_within { b"true" } else { b"false" }));
                self.answer(link, Reply::Value { op, value }, false);
            }
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
            Request::Run { op, run } => self.ask_for_run(link, op, run),
            Request::RunAtEnd { number, run } => self.run_at_end(link, number, run),
            Request::Key { op, tree, path, action } => {
                let reply = match self.key(&Place { tree, path }, action) {
                    Ok(value) => Reply::Value { op, value },
                    Err(error) => Reply::Failed { op, error },
                };
                self.answer(link, reply, true);
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
        if self.commit.is_none() {
            let outcome = self.keys.act(now, place, action);
            self.age(&place.tree, &mut Vec::new());
            return outcome;
        }
        let mut undo = Vec::new();
        let outcome = self.keys.act_undoably(now, place, action, &mut undo);
        self.age(&place.tree, &mut undo);
        self.note_changes(undo);
        outcome
    }

    /// A session that is used without a socket lives on from now; refreshed only now and then, for each refresh is a
    /// change.
    pub(super) fn age(&mut self, tree: &Tree, undo: &mut Vec<Change>) {
        let Tree::Session(session) = tree else { return };
        if self.sessions.is_live(session) {
            return;
        }
        let now = self.now();
        let tree = &Place { tree: tree.clone(), path: Vec::new() };
        let timeout = millis(self.config.session_timeout);
        let expiry = self.keys.act(now, tree, KeyOp::GetExpiry).ok().flatten();
        let expiry = expiry.and_then(|expiry| serde_json::from_slice::<Millis>(&expiry).ok()).unwrap_or(0);
        if expiry < now.saturating_add(timeout - timeout / 16) {
            // A tree without values has no expiry.
            let _ = self.keys.act_undoably(now, tree, KeyOp::Expire { after_ms: timeout }, undo);
        }
    }

    pub(super) fn publish(&mut self, channel: String, data: Option<Bytes>) {
        let links = self.channels.links(&channel).to_vec();
        let message = Reply::Message { channel, data };
        for link in links {
            self.send(link, &message);
        }
    }

    /// The worker at the other end of a link.
    pub(super) fn worker_of(&self, link: LinkId) -> Option<WorkerId> {
        self.links.get(&link).map(|link| link.worker)
    }

    /// A worker's link.
    pub(super) fn link_of(&self, worker: WorkerId) -> Option<LinkId> {
        self.links.iter().find(|(_, link)| link.worker == worker).map(|(link, _)| *link)
    }

    /// Some link that serves.
    pub(super) fn any_link(&self) -> Option<LinkId> {
        self.links.keys().next_back().copied()
    }
}
