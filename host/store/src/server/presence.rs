//! Who is on which channel, as the workers say it, and which links want to hear of changes.
//!
//! Members belong to their worker, not to its link: when only the link breaks they stay for a lease, until the worker
//! has said all of them again. When the master says that the worker is gone, they go at once. So nobody leaves who is
//! there, and everybody leaves once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use foldhash::fast::RandomState;
use sc_core::ids::WorkerId;
use sc_wire::store::{Change, Member, OfEach};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::keyspace::Millis;
use crate::pubsub::LinkId;

/// How long members of a worker stay whose link broke while it is not known to be gone.
const LEASE_MS: Millis = 10_000;

/// What happened on a channel.
#[derive(Debug, PartialEq)]
pub(super) struct Turn {
    pub(super) channel: String,
    pub(super) change: Change,
    pub(super) member: Member,
}

#[derive(Debug)]
struct Known {
    member: Member,
    worker: WorkerId,
    /// The worker's link that said it last.
    said_by: LinkId,
}

/// All members, and who watches them.
#[derive(Debug, Default)]
pub(super) struct Presence {
    channels: HashMap<String, BTreeMap<u64, Known>, RandomState>,
    watchers: HashMap<String, BTreeSet<LinkId>, RandomState>,
    /// Workers without a link, and when their members are given up.
    leases: BTreeMap<WorkerId, Millis>,
}

impl Presence {
    /// A socket is on a channel, or has changed; none if that was known.
    pub(super) fn join(
        &mut self,
        link: LinkId,
        worker: WorkerId,
        channel: String,
        member: Member,
        again: bool,
    ) -> Option<Turn> {
        let members = self.channels.entry(channel.clone()).or_default();
        let known = Known { member: member.clone(), worker, said_by: link };
        let change = match members.insert(member.socket, known) {
            Some(before) if before.member == member => return None,
            Some(_) => Change::Update,
            // Who watches was told of a gap.
            None if again => return None,
            None => Change::Join,
        };
        Some(Turn { channel, change, member })
    }

    /// How many members all channels have.
    pub(super) fn count(&self) -> u64 {
        self.channels.values().map(|members| members.len() as u64).sum()
    }

    /// A socket left a channel.
    pub(super) fn leave(&mut self, channel: &str, socket: u64) -> Option<Turn> {
        let members = self.channels.get_mut(channel)?;
        let Known { member, .. } = members.remove(&socket)?;
        if members.is_empty() {
            self.channels.remove(channel);
        }
        Some(Turn { channel: channel.to_owned(), change: Change::Leave, member })
    }

    /// A worker has a link again: its members stay until it has said all of them.
    pub(super) fn linked(&mut self, worker: WorkerId) {
        self.leases.remove(&worker);
    }

    /// A worker has said all its members over this link; the others are gone.
    pub(super) fn all_again(&mut self, link: LinkId, worker: WorkerId) -> Vec<Turn> {
        self.remove(|known| known.worker == worker && known.said_by != link)
    }

    /// A link broke: it watches no more, and its worker's members get their lease.
    pub(super) fn unlinked(&mut self, link: LinkId, worker: WorkerId, now: Millis) {
        self.watchers.retain(|_, links| {
            links.remove(&link);
            !links.is_empty()
        });
        self.leases.insert(worker, now.saturating_add(LEASE_MS));
    }

    /// A worker is known to be gone.
    pub(super) fn gone(&mut self, worker: WorkerId) -> Vec<Turn> {
        self.leases.remove(&worker);
        self.remove(|known| known.worker == worker)
    }

    /// Gives up the members of workers that did not come back in time.
    pub(super) fn expire(&mut self, now: Millis) -> Vec<Turn> {
        let over: Vec<_> =
            self.leases.iter().filter(|(_, end)| **end <= now).map(|(worker, _)| *worker).collect();
        over.into_iter().flat_map(|worker| self.gone(worker)).collect()
    }

    fn remove(&mut self, is_gone: impl Fn(&Known) -> bool) -> Vec<Turn> {
        let mut turns = Vec::new();
        self.channels.retain(|channel, members| {
            for (_, Known { member, .. }) in members.extract_if(.., |_, known| is_gone(known)) {
                turns.push(Turn { channel: channel.clone(), change: Change::Leave, member });
            }
            !members.is_empty()
        });
        turns
    }

    /// A link wants to hear of a channel's changes, or no more.
    pub(super) fn watch(&mut self, link: LinkId, channel: String, on: bool) {
        if on {
            self.watchers.entry(channel).or_default().insert(link);
        } else if let Some(links) = self.watchers.get_mut(&channel) {
            links.remove(&link);
            if links.is_empty() {
                self.watchers.remove(&channel);
            }
        }
    }

    /// The links that want to hear of a channel's changes.
    pub(super) fn watchers(&self, channel: &str) -> Vec<LinkId> {
        self.watchers.get(channel).map(|links| links.iter().copied().collect()).unwrap_or_default()
    }

    /// Who is on a channel, as a JSON object; in the order in which sockets opened on each worker.
    pub(super) fn members(&self, channel: &str, of_each: OfEach) -> Bytes {
        let members = self.channels.get(channel);
        let shown = |known: &'_ Known| Shown::of(&known.member, of_each);
        let list = List {
            count: members.map_or(0, BTreeMap::len),
            members: (of_each != OfEach::Nothing)
                .then(|| members.into_iter().flat_map(BTreeMap::values).map(shown).collect()),
        };
        // Texts in it were checked where they came in; an error would be a member that is not shown.
        serde_json::to_vec(&list).unwrap_or_else(|_| b"{}".to_vec()).into()
    }
}

#[derive(Serialize)]
struct List {
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Shown>>,
}

/// A member as it is told.
#[derive(Serialize)]
struct Shown {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Shown {
    fn of(member: &Member, of_each: OfEach) -> Self {
        let all = of_each == OfEach::All;
        let data = member.data.as_deref().and_then(|data| serde_json::from_slice(data).ok());
        Shown {
            id: member.name.clone(),
            socket: all.then_some(member.socket),
            session: all.then(|| member.session.clone()),
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

    fn member(socket: u64) -> Member {
        Member { socket, name: format!("n{socket}"), session: "secret".into(), data: None }
    }

    fn names(turns: &[Turn]) -> Vec<(&'static str, u64)> {
        turns.iter().map(|turn| (turn.change.as_str(), turn.member.socket)).collect()
    }

    fn join(presence: &mut Presence, link: u64, worker: usize, socket: u64, again: bool) -> Option<Change> {
        let turn = presence.join(LinkId(link), W[worker], "c".into(), member(socket), again);
        turn.map(|turn| turn.change)
    }

    #[test]
    fn members_come_change_and_go_once() {
        let mut presence = Presence::default();
        assert_eq!(join(&mut presence, 1, 0, 1, false), Some(Change::Join));
        assert_eq!(join(&mut presence, 1, 0, 1, false), None);
        let changed = Member { data: Some(Bytes::from_static(b"{\"a\":1}")), ..member(1) };
        let turn = presence.join(LinkId(1), W[0], "c".into(), changed, false);
        assert_eq!(turn.map(|turn| turn.change), Some(Change::Update));
        assert_eq!(presence.members("c", OfEach::Nothing), r#"{"count":1}"#);
        assert_eq!(
            presence.members("c", OfEach::Public),
            r#"{"count":1,"members":[{"id":"n1","data":{"a":1}}]}"#
        );
        assert_eq!(
            presence.members("c", OfEach::All),
            r#"{"count":1,"members":[{"id":"n1","socket":1,"session":"secret","data":{"a":1}}]}"#
        );
        assert!(presence.leave("c", 1).is_some() && presence.leave("c", 1).is_none());
        assert_eq!(presence.members("c", OfEach::Public), r#"{"count":0,"members":[]}"#);
    }

    #[test]
    fn a_worker_that_is_gone_takes_its_members_along_at_once() {
        let mut presence = Presence::default();
        for (link, worker, socket) in [(1, 0, 1), (1, 0, 2), (2, 1, 3)] {
            join(&mut presence, link, worker, socket, false);
        }
        presence.unlinked(LinkId(1), W[0], 0);
        assert_eq!(names(&presence.gone(W[0])), [("leave", 1), ("leave", 2)]);
        assert!(presence.expire(Millis::MAX).is_empty(), "once");
        assert_eq!(presence.members("c", OfEach::Nothing), r#"{"count":1}"#);
    }

    #[test]
    fn a_link_that_breaks_costs_no_member_that_is_said_again() {
        let mut presence = Presence::default();
        for socket in [1, 2] {
            join(&mut presence, 1, 0, socket, false);
        }
        presence.unlinked(LinkId(1), W[0], 0);
        assert!(presence.expire(LEASE_MS - 1).is_empty());
        presence.linked(W[0]);
        assert_eq!(join(&mut presence, 2, 0, 2, true), None);
        assert_eq!(names(&presence.all_again(LinkId(2), W[0])), [("leave", 1)]);
        presence.unlinked(LinkId(2), W[0], 100);
        assert_eq!(names(&presence.expire(100 + LEASE_MS)), [("leave", 2)], "a worker that stays away");
    }

    #[test]
    fn a_new_store_hears_of_members_without_a_word_to_watchers() {
        let mut presence = Presence::default();
        presence.watch(LinkId(1), "c".into(), true);
        assert_eq!(join(&mut presence, 1, 0, 1, true), None);
        assert_eq!(presence.watchers("c"), [LinkId(1)]);
        presence.unlinked(LinkId(1), W[0], 0);
        assert!(presence.watchers("c").is_empty() && presence.watchers.is_empty());
    }
}
