//! How what the hub did leaves it: changes into the journal, answers and publications to the links.
//!
//! A part of [`Hub`] in a file of its own, because all of it keeps one promise that what requests do knows nothing of:
//! nothing is said before the journal holds the change that it tells of.

use sc_core::link::LinkError;
use sc_core::log::FAULT;
use sc_wire::store::{KeyError, KeyErrorKind, Reply};

use super::commit::{self, Commit, Outcome, Said};
use super::hub::Hub;
use crate::change::Change;
use crate::keyspace::{Keyspace, Millis};
use crate::pubsub::LinkId;

impl Hub {
    /// What was asked for and done goes into the journal; if it cannot, it is taken back.
    pub(super) fn note_changes(&mut self, undo: Vec<Change>) {
        if let Some(commit) = &mut self.commit {
            commit.note(&self.keys.take_changes(), undo);
        }
    }

    /// Does something to the data that nobody asked for, and that is never taken back.
    pub(super) fn by_itself(&mut self, act: impl FnOnce(&mut Keyspace, Millis)) {
        // What is taken back must not lie before it.
        self.commit();
        let now = self.now();
        act(&mut self.keys, now);
        if let Some(commit) = &mut self.commit {
            commit.note_own(&self.keys.take_changes());
        }
    }

    /// Writes the journal and says what waited for it.
    pub(super) fn commit(&mut self) {
        if let Some(outcome) = self.commit.as_mut().map(Commit::write) {
            self.settle(outcome);
        }
    }

    /// The journal is on the disk up to there.
    pub(super) fn synced(&mut self, position: u64) {
        if let Some(outcome) = self.commit.as_mut().map(|commit| commit.synced(position)) {
            self.settle(outcome);
        }
    }

    fn settle(&mut self, Outcome { said, undo }: Outcome) {
        for change in undo {
            self.keys.apply(change);
        }
        for said in said {
            self.say(said);
        }
    }

    /// Answers an operation, once the journal holds what the answer acknowledges. `on_data`: it tells of data.
    pub(super) fn answer(&mut self, to: LinkId, reply: Reply, on_data: bool) {
        self.say_in_turn(Said::Answer { to, reply }, on_data);
    }

    /// Says something behind what waits for the journal.
    pub(super) fn say_in_turn(&mut self, said: Said, on_data: bool) {
        let now = match &mut self.commit {
            Some(commit) => commit.holds(said, on_data),
            None => Some(said),
        };
        if let Some(said) = now {
            self.say(said);
        }
    }

    fn say(&mut self, said: Said) {
        match said {
            Said::Answer { to, reply } => self.send(to, &reply),
            Said::Publication { channel, data } => self.relay(channel, data),
        }
    }

    pub(super) fn send(&mut self, to: LinkId, reply: &Reply) {
        let Some(link) = self.links.get(&to) else { return };
        let worker = link.worker;
        match link.sender.send(reply) {
            Ok(()) => {}
            Err(LinkError::Frame(error)) => {
                tracing::warn!(
                    target: FAULT,
                    store = %self.id(),
                    %worker,
                    %error,
                    "a reply is too large for a link"
                );
                let message = format!("the value is too large to be sent: {error}");
                if let Some(op) = commit::op(reply) {
                    let error = KeyError { kind: KeyErrorKind::Size, message };
                    self.send(to, &Reply::Failed { op, error });
                }
            }
            Err(LinkError::Closed) => self.drop_link(to),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(store = %self.id(), %worker, error, "a worker's link was dropped");
                self.drop_link(to);
            }
        }
    }
}
