//! The journal in the server: no answer leaves before the change it acknowledges is with the system, or, with
//! `fsync = always`, on the disk. What came in one read goes out in one write.
//!
//! Answers wait here in their order, those of reads behind changes too, because a link's answers come in the order of
//! its requests; so do a procedure's publications. When the disk takes no more, what was asked for since the last
//! write is taken back, those who asked are told so, and for up to a second later changes are refused without a try.
//! What the store notes for itself meanwhile waits until the disk takes it.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use sc_core::causes::causes;
use sc_core::config::Fsync;
use sc_wire::store::{KeyError, KeyErrorKind, OpId, Reply};
use tokio::sync::Notify;

use crate::change::Change;
use crate::journal::Journal;
use crate::pubsub::LinkId;

/// Something to be said once the journal is written.
#[derive(Debug)]
pub(super) enum Said {
    /// To one link.
    Answer { to: LinkId, reply: Reply },
    /// On a channel.
    Publication { channel: String, data: Option<Bytes> },
}

/// What waits for the journal.
struct Held {
    said: Said,
    /// It tells of data that are not written yet: if they never are, it must not be said.
    on_data: bool,
    /// How far the journal must be on the disk.
    position: u64,
}

/// What came of a write.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What may be said now.
    pub(super) said: Vec<Said>,
    /// What is to be applied, in this order, to have the data as the journal has them.
    pub(super) undo: Vec<Change>,
}

/// The journal and what waits for it.
pub(super) struct Commit {
    pub(super) journal: Journal,
    fsync: Fsync,
    held: VecDeque<Held>,
    /// How far the journal is on the disk.
    synced: u64,
    /// Why the last write failed; until it is tried again.
    failure: Option<String>,
    /// The last try failed.
    is_failing: bool,
    /// Takes back what was asked for since the last write.
    undo: Vec<Change>,
    /// Bytes that were to be written before that.
    kept: Option<usize>,
    /// Told when something waits for the disk.
    unsynced: Rc<Notify>,
}

impl Commit {
    pub(super) fn new(journal: Journal, fsync: Fsync) -> Self {
        Commit {
            journal,
            fsync,
            held: VecDeque::new(),
            synced: 0,
            failure: None,
            is_failing: false,
            undo: Vec::new(),
            kept: None,
            unsynced: Rc::default(),
        }
    }

    pub(super) fn fsync(&self) -> Fsync {
        self.fsync
    }

    pub(super) fn unsynced(&self) -> Rc<Notify> {
        Rc::clone(&self.unsynced)
    }

    /// Why changes are refused at present.
    pub(super) fn refusal(&self) -> Option<KeyError> {
        self.failure.as_deref().map(not_made)
    }

    /// Lets the next write be tried again.
    pub(super) fn forgive(&mut self) {
        self.failure = None;
    }

    /// Notes what was asked for, for the next write, and what takes it back.
    pub(super) fn note(&mut self, changes: &[Change], undo: Vec<Change>) {
        if !changes.is_empty() {
            self.kept.get_or_insert(self.journal.pending_bytes());
            self.undo.extend(undo);
            self.append(changes);
        }
    }

    /// Notes what the store did by itself. Nothing that was asked for may wait to be written.
    pub(super) fn note_own(&mut self, changes: &[Change]) {
        debug_assert!(self.kept.is_none(), "a change that may be taken back lies before one that stays");
        if !changes.is_empty() {
            self.append(changes);
        }
    }

    fn append(&mut self, changes: &[Change]) {
        if let Err(error) = self.journal.append(changes) {
            // No operation is as large as a record may be.
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "changes are not in the journal");
        }
    }

    /// Whether something has to wait; then it is kept. `on_data`: it tells of data, or that they were changed.
    pub(super) fn holds(&mut self, said: Said, on_data: bool) -> Option<Said> {
        if self.held.is_empty() && !self.journal.is_pending() {
            return Some(said);
        }
        // What is pending is written before the next answers go, this one's change with it; unless that has just
        // failed.
        let pending = if self.failure.is_none() { self.journal.pending_bytes() } else { 0 };
        let position = self.journal.position() + pending as u64;
        self.held.push_back(Held { said, on_data, position });
        None
    }

    /// Writes what was noted.
    pub(super) fn write(&mut self) -> Outcome {
        // After a failure nothing was changed, and what waits for another try is the store's own.
        if self.failure.is_some() || !self.journal.is_pending() {
            return self.release();
        }
        match self.journal.write() {
            Ok(()) => {
                (self.kept, self.undo) = (None, Vec::new());
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the journal is written again: changes are accepted");
                }
                if self.fsync == Fsync::Always {
                    self.unsynced.notify_one();
                }
                self.release()
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Whether something was written that is not on the disk.
    pub(super) fn is_unsynced(&self) -> bool {
        self.journal.position() > self.synced
    }

    /// The journal is on the disk up to there.
    pub(super) fn synced(&mut self, position: u64) -> Outcome {
        self.synced = position;
        if self.fsync == Fsync::Always { self.release() } else { Outcome::default() }
    }

    /// Takes what waits for nothing any more.
    fn release(&mut self) -> Outcome {
        let position = if self.fsync == Fsync::Always { self.synced } else { self.journal.position() };
        let ready = self.held.iter().take_while(|held| held.position <= position).count();
        Outcome { said: self.held.drain(..ready).map(|held| held.said).collect(), undo: Vec::new() }
    }

    /// The changes are not in the journal: they are taken back, and who made or saw them is told so.
    fn fail(&mut self, error: &(dyn std::error::Error + 'static)) -> Outcome {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(error, "the journal cannot be written: changes are refused until it can");
        }
        let why = causes(error);
        if let Some(kept) = self.kept.take() {
            self.journal.forget_from(kept);
        }
        let written = self.journal.position();
        self.held.retain_mut(|held| {
            // Already written, only waiting for the sync.
            if held.position <= written {
                return true;
            }
            held.position = written;
            match &mut held.said {
                Said::Publication { .. } => return !held.on_data,
                Said::Answer { reply, .. } => {
                    if let Some(op) = op(reply).filter(|_| held.on_data) {
                        *reply = Reply::Failed { op, error: not_made(&why) };
                    }
                }
            }
            true
        });
        self.failure = Some(why);
        let undo = std::mem::take(&mut self.undo).into_iter().rev().collect();
        Outcome { undo, ..self.release() }
    }
}

fn not_made(why: &str) -> KeyError {
    let message = format!("nothing was changed, for the store cannot write its journal: {why}");
    KeyError { kind: KeyErrorKind::Storage, message }
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

    fn answer(number: OpId) -> Said {
        Said::Answer { to: LinkId(1), reply: Reply::Done { op: number } }
    }

    fn ops(outcome: &Outcome) -> Vec<OpId> {
        let op_of = |said: &Said| match said {
            Said::Answer { reply, .. } => op(reply),
            Said::Publication { .. } => None,
        };
        outcome.said.iter().filter_map(op_of).collect()
    }

    /// A read behind a change goes when the change is on the disk, and what comes later is not held up by it.
    #[test]
    fn reads_during_a_sync_go_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open_now(folder.path(), drop).expect("a journal");
        let mut commit = Commit::new(journal, Fsync::Always);
        commit.note(&set("a"), Vec::new());
        assert!(commit.holds(answer(1), true).is_none());
        assert!(commit.write().said.is_empty(), "not on the disk yet");
        assert!(commit.holds(answer(2), true).is_none(), "in its order");
        assert!(commit.write().said.is_empty());
        let position = commit.journal.position();
        commit.note(&set("b"), Vec::new());
        assert!(commit.holds(answer(3), true).is_none());
        assert!(commit.write().said.is_empty());
        assert_eq!(ops(&commit.synced(position)), [1, 2]);
        assert_eq!(ops(&commit.synced(commit.journal.position())), [3]);
        assert!(commit.holds(answer(4), true).is_some(), "nothing is waited for");
    }

    /// What is not written is taken back from its end on; what was written before still waits for the disk, and all
    /// answers stay in their order.
    #[test]
    fn a_write_that_fails_fails_what_it_held_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open_now(folder.path(), drop).expect("a journal");
        let mut commit = Commit::new(journal, Fsync::Always);
        commit.note(&set("a"), Vec::new());
        assert!(commit.holds(answer(1), true).is_none());
        assert!(commit.write().said.is_empty());
        let on_the_disk = commit.journal.position();
        let room = commit.journal.write_to("/dev/full");
        commit.note_own(&set("own"));
        let own = commit.journal.pending_bytes();
        let (first, second) = (set("b"), set("c"));
        commit.note(&set("b"), first.to_vec());
        assert!(commit.holds(answer(2), true).is_none());
        commit.note(&set("c"), second.to_vec());
        let publication = Said::Publication { channel: "c".to_owned(), data: None };
        assert!(commit.holds(publication, true).is_none());
        assert!(commit.holds(answer(3), false).is_none());
        let Outcome { said, undo } = commit.write();
        assert!(said.is_empty(), "the first is not on the disk: {said:?}");
        assert_eq!(undo, [second, first].concat());
        assert_eq!(commit.journal.pending_bytes(), own, "what the store did by itself waits");
        assert!(commit.refusal().is_some_and(|refusal| refusal.kind == KeyErrorKind::Storage));
        let said = commit.synced(on_the_disk).said;
        let failed = |said: &Said| matches!(said, Said::Answer { reply: Reply::Failed { op: 2, .. }, .. });
        assert!(said.len() == 3 && said.get(1).is_some_and(failed), "{said:?}");
        assert!(commit.holds(answer(4), true).is_none());
        assert_eq!(ops(&commit.write()), [4], "reads do not wait for room");
        commit.forgive();
        commit.journal.write_back_to(room);
        commit.write();
        assert!(!commit.journal.is_pending() && commit.refusal().is_none());
    }
}
