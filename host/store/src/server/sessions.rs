//! Which links hold sockets of which session, and when a session is over. A session that lost its last socket ends
//! after a grace, unless it gets one before: a page that reloads is the same session.
//!
//! Time is passed in; nothing here knows what a session's data are.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::RandomState;
use sc_core::ids::WorkerId;

use crate::keyspace::Millis;
use crate::pubsub::LinkId;

/// A session's sockets on one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    link: LinkId,
    sockets: u32,
}

/// What a change of a session's sockets meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has its first sockets.
    Began,
    /// It has none any more, and will end.
    Ending,
    /// Neither.
    Same,
}

/// All sessions with sockets, and those that are about to end.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: HashMap<String, Vec<Part>, RandomState>,
    /// When it ends, and the worker that held its last socket.
    ending: HashMap<String, (Millis, WorkerId), RandomState>,
    due: BTreeSet<(Millis, String)>,
}

impl Sessions {
    /// A link holds so many sockets of a session from now on; `end` is when the session ends if they were the last.
    pub(super) fn hold(
        &mut self,
        link: LinkId,
        worker: WorkerId,
        session: String,
        sockets: u32,
        end: Millis,
    ) -> Turn {
        let Some(parts) = self.live.get_mut(&session) else {
            if sockets == 0 {
                return Turn::Same;
            }
            let was_ending = self.keep(&session);
            self.live.insert(session, vec![Part { link, sockets }]);
            return if was_ending { Turn::Same } else { Turn::Began };
        };
        match parts.iter_mut().find(|part| part.link == link) {
            Some(part) if sockets > 0 => part.sockets = sockets,
            Some(_) => parts.retain(|part| part.link != link),
            None if sockets > 0 => parts.push(Part { link, sockets }),
            None => {}
        }
        if !parts.is_empty() {
            return Turn::Same;
        }
        self.live.remove(&session);
        self.end_at(session, end, worker);
        Turn::Ending
    }

    /// Has a session end at that time, unless it gets a socket before.
    pub(super) fn end_at(&mut self, session: String, end: Millis, worker: WorkerId) {
        self.keep(&session);
        self.due.insert((end, session.clone()));
        self.ending.insert(session, (end, worker));
    }

    /// Has the sessions whose last socket a worker held end at a time, if they would later.
    pub(super) fn hasten(&mut self, worker: WorkerId, end: Millis) {
        let later = self.ending.iter().filter(|(_, (at, holder))| *holder == worker && *at > end);
        for session in later.map(|(session, _)| session.clone()).collect::<Vec<_>>() {
            self.end_at(session, end, worker);
        }
    }

    /// Takes a session out of those that are about to end.
    fn keep(&mut self, session: &str) -> bool {
        let Some((end, _)) = self.ending.remove(session) else { return false };
        self.due.remove(&(end, session.to_owned()));
        true
    }

    /// A link is gone, and with it the sockets it held.
    pub(super) fn forget(&mut self, link: LinkId, worker: WorkerId, end: Millis) {
        let held = self.live.iter().filter(|(_, parts)| parts.iter().any(|part| part.link == link));
        let held: Vec<String> = held.map(|(session, _)| session.clone()).collect();
        for session in held {
            self.hold(link, worker, session, 0, end);
        }
    }

    /// Whether it has sockets, or had until a moment ago.
    pub(super) fn is_live(&self, session: &str) -> bool {
        self.live.contains_key(session) || self.ending.contains_key(session)
    }

    /// How many have sockets, or had until a moment ago.
    pub(super) fn count(&self) -> u64 {
        (self.live.len() + self.ending.len()) as u64
    }

    /// The links that hold sockets of a session, and how many sockets there are.
    pub(super) fn holders(&self, session: &str) -> (Vec<LinkId>, u64) {
        let parts = self.live.get(session).map(Vec::as_slice).unwrap_or_default();
        let sockets = parts.iter().map(|part| u64::from(part.sockets)).sum();
        (parts.iter().map(|part| part.link).collect(), sockets)
    }

    /// Takes a session that is over, and the worker that held its last socket.
    pub(super) fn take_ended(&mut self, now: Millis) -> Option<(String, WorkerId)> {
        if self.next_end()? > now {
            return None;
        }
        let (_, session) = self.due.pop_first()?;
        let (_, worker) = self.ending.remove(&session)?;
        Some((session, worker))
    }

    /// When the next session ends.
    pub(super) fn next_end(&self) -> Option<Millis> {
        self.due.first().map(|(end, _)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (LinkId, WorkerId) = (LinkId(1), WorkerId(1));
    const TWO: (LinkId, WorkerId) = (LinkId(2), WorkerId(2));

    fn hold(sessions: &mut Sessions, (link, worker): (LinkId, WorkerId), sockets: u32, end: Millis) -> Turn {
        sessions.hold(link, worker, "s".to_owned(), sockets, end)
    }

    #[test]
    fn a_session_ends_once_after_its_last_socket() {
        let mut sessions = Sessions::default();
        assert_eq!(hold(&mut sessions, ONE, 1, 0), Turn::Began);
        assert_eq!(hold(&mut sessions, TWO, 2, 0), Turn::Same);
        assert_eq!(sessions.holders("s"), (vec![LinkId(1), LinkId(2)], 3));
        assert_eq!(hold(&mut sessions, ONE, 0, 10), Turn::Same);
        assert_eq!(hold(&mut sessions, TWO, 0, 20), Turn::Ending);
        assert_eq!(hold(&mut sessions, TWO, 0, 30), Turn::Same, "it has ended already");
        assert!(sessions.is_live("s") && sessions.count() == 1 && sessions.take_ended(19).is_none());
        assert_eq!(sessions.next_end(), Some(20));
        assert_eq!(sessions.take_ended(20), Some(("s".to_owned(), WorkerId(2))));
        assert!(!sessions.is_live("s") && sessions.count() == 0 && sessions.take_ended(99).is_none());
    }

    #[test]
    fn a_socket_within_the_grace_keeps_the_session() {
        let mut sessions = Sessions::default();
        hold(&mut sessions, ONE, 1, 0);
        hold(&mut sessions, ONE, 0, 10);
        assert_eq!(hold(&mut sessions, TWO, 1, 0), Turn::Same);
        assert!(sessions.take_ended(99).is_none());
        sessions.forget(LinkId(2), WorkerId(2), 50);
        assert_eq!(sessions.take_ended(50), Some(("s".to_owned(), WorkerId(2))));
    }
}
