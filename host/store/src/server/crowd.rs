//! What the hub does with sessions and presence: who is there is told to those who want to know, and a session's data
//! follow its sockets.

use bytes::Bytes;
use sc_core::ids::WorkerId;
use sc_wire::store::{KeyOp, Member, Reply, SessionMessage, Tree};

use super::clock::millis;
use super::hub::{COME_BACK, Hub};
use super::presence::Turn;
use super::sessions;
use crate::keyspace::Place;
use crate::pubsub::LinkId;

impl Hub {
    /// Who watches is told who came and went.
    pub(super) fn tell_turns(&mut self, turns: impl IntoIterator<Item = Turn>) {
        for Turn { channel, change, member } in turns {
            let links = self.presence.watchers(&channel);
            let reply = Reply::Member { channel, change, member };
            for link in links {
                self.send(link, &reply);
            }
        }
    }

    pub(super) fn join(&mut self, link: LinkId, channel: String, member: Member, again: bool) {
        let Some(worker) = self.worker_of(link) else { return };
        let turn = self.presence.join(link, worker, channel, member, again);
        self.tell_turns(turn);
    }

    pub(super) fn all_again(&mut self, link: LinkId) {
        let Some(worker) = self.worker_of(link) else { return };
        let gone = self.presence.all_again(link, worker);
        self.tell_turns(gone);
    }

    pub(super) fn hold_session(&mut self, link: LinkId, session: String, sockets: u32) {
        let Some(worker) = self.worker_of(link) else { return };
        let now = self.now();
        let end = now.saturating_add(millis(self.config().session_grace));
        if self.sessions.hold(link, worker, session.clone(), sockets, end) == sessions::Turn::Began {
            // While it has sockets its data stay; and should this store die, its successor knows whom to expect.
            let mark = live(Some(&session));
            let tree = Place { tree: Tree::Session(session), path: Vec::new() };
            self.by_itself(|keys, now| {
                let _ = keys.act(now, &mark, KeyOp::Set { value: Bytes::from_static(b"1") });
                let _ = keys.act(now, &tree, KeyOp::Unexpire);
            });
        }
        if end <= now {
            self.sweep();
        }
    }

    pub(super) fn end_session(&mut self, session: String, worker: WorkerId) {
        let Some(link) = self.link_of(worker).or_else(|| self.any_link()) else {
            // Nobody is there to be told yet.
            let later = self.now().saturating_add(millis(COME_BACK));
            return self.sessions.end_at(session, later, worker);
        };
        let mark = live(Some(&session));
        let tree = Place { tree: Tree::Session(session.clone()), path: Vec::new() };
        let after_ms = millis(self.config().session_timeout);
        self.by_itself(|keys, now| {
            let _ = keys.act(now, &mark, KeyOp::Remove { get_value: false });
            let _ = keys.act(now, &tree, KeyOp::Expire { after_ms });
        });
        // Told once the mark is gone from the journal, so that a store that dies now does not tell it again.
        self.answer(link, Reply::SessionEnd { session }, false);
    }

    pub(super) fn tell_session(&mut self, session: String, message: SessionMessage) -> u64 {
        let (links, sockets) = self.sessions.holders(&session);
        let reply = Reply::Session { session, message };
        for link in links {
            self.send(link, &reply);
        }
        sockets
    }
}

/// Where the store notes which sessions have sockets.
pub(super) fn live(session: Option<&str>) -> Place {
    let path = std::iter::once("sessions").chain(session).map(str::to_owned).collect();
    Place { tree: Tree::Own, path }
}
