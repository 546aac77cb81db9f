//! The journal in the server: no answer leaves before the change it acknowledges is with the system, or, with
//! `fsync = always`, on the disk. What came in one read goes out in one write.
//!
//! Answers wait here in their order, those of reads behind changes too, because a link's answers come in the order of
//! its requests. When the disk takes no more, changes that were made are answered with an error, later ones are refused,
//! and the write is tried again each second.

use std::collections::VecDeque;
use std::rc::Rc;

use sc_core::config::Fsync;
use sc_wire::store::{KeyError, KeyErrorKind, OpId, Reply};
use tokio::sync::Notify;

use crate::change::Change;
use crate::journal::Journal;
use crate::pubsub::LinkId;

/// An answer that waits for the journal.
struct Held {
    to: LinkId,
    reply: Reply,
    /// It acknowledges a change.
    changed: bool,
    /// How far the journal must be on the disk.
    position: u64,
}

/// The journal and the answers that wait for it.
pub(super) struct Commit {
    pub(super) journal: Journal,
    fsync: Fsync,
    held: VecDeque<Held>,
    /// How far the journal is on the disk.
    synced: u64,
    /// Why the last write failed.
    failure: Option<String>,
    /// Told when something waits for the disk.
    unsynced: Rc<Notify>,
}

impl Commit {
    pub(super) fn new(journal: Journal, fsync: Fsync) -> Self {
        Commit { journal, fsync, held: VecDeque::new(), synced: 0, failure: None, unsynced: Rc::default() }
    }

    pub(super) fn fsync(&self) -> Fsync {
        self.fsync
    }

    pub(super) fn unsynced(&self) -> Rc<Notify> {
        Rc::clone(&self.unsynced)
    }

    /// Why changes are refused at present.
    pub(super) fn refusal(&self) -> Option<KeyError> {
        let message = self.failure.clone()?;
        Some(KeyError { kind: KeyErrorKind::Storage, message })
    }

    /// Notes changes for the next write.
    pub(super) fn note(&mut self, changes: &[Change]) {
        if !changes.is_empty()
            && let Err(error) = self.journal.append(changes)
        {
            // No operation is as large as a record may be.
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "changes are not in the journal");
        }
    }

    /// Whether an answer has to wait; then it is kept.
    pub(super) fn holds(&mut self, to: LinkId, reply: Reply, changed: bool) -> Option<Reply> {
        if self.held.is_empty() && !self.journal.is_pending() {
            return Some(reply);
        }
        // What is pending is written before the next answers go, this one's change with it.
        let position = self.journal.position() + self.journal.pending_bytes() as u64;
        self.held.push_back(Held { to, reply, changed, position });
        None
    }

    /// Writes what was noted, and returns the answers that may go now.
    pub(super) fn write(&mut self) -> Vec<(LinkId, Reply)> {
        if !self.journal.is_pending() {
            return if self.fsync == Fsync::Always {
                self.release(self.synced)
            } else {
                self.release(u64::MAX)
            };
        }
        match self.journal.write() {
            Ok(()) => {
                if self.failure.take().is_some() {
                    tracing::info!("the journal is written again: changes are accepted");
                }
                if self.fsync == Fsync::Always {
                    self.unsynced.notify_one();
                    return Vec::new();
                }
                self.release(u64::MAX)
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Whether something was written that is not on the disk.
    pub(super) fn is_unsynced(&self) -> bool {
        self.journal.position() > self.synced
    }

    /// The journal is on the disk up to there: the answers that waited for that.
    pub(super) fn synced(&mut self, position: u64) -> Vec<(LinkId, Reply)> {
        self.synced = position;
        if self.fsync == Fsync::Always { self.release(position) } else { Vec::new() }
    }

    /// Takes the answers to all that is on the disk.
    fn release(&mut self, position: u64) -> Vec<(LinkId, Reply)> {
        let ready = self.held.iter().take_while(|held| held.position <= position).count();
        self.held.drain(..ready).map(|held| (held.to, held.reply)).collect()
    }

    /// The changes are in memory but not in the journal: who made them is told so.
    pub(super) fn fail(&mut self, error: &(dyn std::error::Error + 'static)) -> Vec<(LinkId, Reply)> {
        if self.failure.is_none() {
            tracing::error!(error, "the journal cannot be written: changes are refused until it can");
        }
        let message = format!("the store cannot write its journal: {error}");
        self.failure = Some(message.clone());
        let told = |held: Held| match op(&held.reply) {
            Some(op) if held.changed => {
                let error = KeyError { kind: KeyErrorKind::Storage, message: message.clone() };
                (held.to, Reply::Failed { op, error })
            }
            _ => (held.to, held.reply),
        };
        self.held.drain(..).map(told).collect()
    }
}

/// The operation that a reply answers.
pub(super) fn op(reply: &Reply) -> Option<OpId> {
    match reply {
        Reply::Value { op, .. }
        | Reply::Done { op }
        | Reply::Problem { op, .. }
        | Reply::Failed { op, .. } => Some(*op),
        Reply::Message { .. }
        | Reply::Session { .. }
        | Reply::SessionEnd { .. }
        | Reply::Member { .. }
        | Reply::Relay { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use sc_wire::store::Tree;

    use super::*;
    use crate::keyspace::Place;

    fn set(key: &str) -> [Change; 1] {
        let place = Place { tree: Tree::Global, path: vec![key.to_owned()] };
        [Change::Set { place, value: "1".into() }]
    }

    fn done(number: OpId) -> Reply {
        Reply::Done { op: number }
    }

    fn ops(answers: &[(LinkId, Reply)]) -> Vec<OpId> {
        answers.iter().filter_map(|(_, reply)| op(reply)).collect()
    }

    /// A read behind a change goes when the change is on the disk, and what comes later is not held up by it.
    #[test]
    fn reads_during_a_sync_go_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open(folder.path(), drop).expect("a journal");
        let mut commit = Commit::new(journal, Fsync::Always);
        let link = LinkId(1);
        commit.note(&set("a"));
        assert!(commit.holds(link, done(1), true).is_none());
        assert!(commit.write().is_empty(), "not on the disk yet");
        assert!(commit.holds(link, done(2), false).is_none(), "in its order");
        assert!(commit.write().is_empty());
        let position = commit.journal.position();
        commit.note(&set("b"));
        assert!(commit.holds(link, done(3), true).is_none());
        assert!(commit.write().is_empty());
        assert_eq!(ops(&commit.synced(position)), [1, 2]);
        assert_eq!(ops(&commit.synced(commit.journal.position())), [3]);
        assert!(commit.holds(link, done(4), false).is_some(), "nothing is waited for");
    }
}
