//! Who is linked with whom. The master makes every link and hands out both ends; a child that starts is linked with
//! those that live, and whoever starts later is linked with it then.
//!
//! Worker and store share a link from the worker's start on. Connections are given to workers that are ready: by
//! every balancer, and by every other worker.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::ids::{BalancerId, StoreId, WorkerId};
use sc_core::link::control::{Giver, ToChild};
use sc_core::link::{packet_pair, stream_pair};

use super::name::{ChildName, Role};

/// A link to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    /// Operations and publications.
    Data(WorkerId, StoreId),
    /// Connections.
    Connections(Giver, WorkerId),
}

/// One end of a link, with the message that hands it out.
pub(crate) type End = (ChildName, ToChild, OwnedFd);

impl Link {
    /// Who gets its ends.
    pub(crate) fn sides(self) -> [ChildName; 2] {
        match self {
            Link::Data(worker, store) => [ChildName::worker(worker.0), ChildName::store(store.0)],
            // The taker first: a giver uses its end at once.
            Link::Connections(giver, worker) => [ChildName::worker(worker.0), giver_name(giver)],
        }
    }

    /// Makes the link.
    pub(crate) fn make(self) -> io::Result<[End; 2]> {
        let [first, second] = self.sides();
        Ok(match self {
            Link::Data(worker, store) => {
                let (one, two) = stream_pair()?;
                [(first, ToChild::StoreLink(store), one), (second, ToChild::WorkerLink(worker), two)]
            }
            Link::Connections(giver, worker) => {
                let (one, two) = packet_pair()?;
                [(first, ToChild::HandoffFrom(giver), one), (second, ToChild::HandoffTo(worker), two)]
            }
        })
    }
}

fn giver_name(giver: Giver) -> ChildName {
    match giver {
        Giver::Balancer(id) => ChildName::balancer(id.0),
        Giver::Worker(id) => ChildName::worker(id.0),
    }
}

/// The children that live, as far as links go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Living {
    /// Workers that were told what to be.
    pub(crate) workers: Vec<u16>,
    /// Those of them that are ready.
    pub(crate) ready: Vec<u16>,
    /// Stores that were told what to be.
    pub(crate) stores: Vec<u16>,
    /// Balancers that were told what to be.
    pub(crate) balancers: Vec<u16>,
}

/// Links of a child that was just told what to be.
pub(crate) fn at_start(name: ChildName, living: &Living) -> Vec<Link> {
    let index = name.index;
    match name.role {
        Role::Worker => {
            living.stores.iter().map(|store| Link::Data(WorkerId(index), StoreId(*store))).collect()
        }
        Role::Store => {
            living.workers.iter().map(|worker| Link::Data(WorkerId(*worker), StoreId(index))).collect()
        }
        Role::Balancer => {
            let giver = Giver::Balancer(BalancerId(index));
            living.ready.iter().map(|worker| Link::Connections(giver, WorkerId(*worker))).collect()
        }
    }
}

/// Links of a worker that just got ready.
pub(crate) fn when_ready(worker: WorkerId, living: &Living) -> Vec<Link> {
    let balancers =
        living.balancers.iter().map(|id| Link::Connections(Giver::Balancer(BalancerId(*id)), worker));
    let others = living.ready.iter().map(|id| WorkerId(*id)).filter(|other| *other != worker);
    let both_ways = others.flat_map(|other| {
        [Link::Connections(Giver::Worker(other), worker), Link::Connections(Giver::Worker(worker), other)]
    });
    balancers.chain(both_ways).collect()
}

/// A link mostly breaks because an end died: within this time the one is noticed after the other.
pub(crate) const SETTLE: Duration = Duration::from_millis(50);

/// Links that broke, or could not be taken, while both ends live, with growing pauses between attempts.
#[derive(Debug, Default)]
pub(crate) struct Relinks {
    pauses: BTreeMap<Link, Backoff>,
    waiting: BTreeMap<Link, Instant>,
}

impl Relinks {
    /// A child lost its link.
    pub(crate) fn lost(&mut self, link: Link, now: Instant) {
        let fresh =
            || Backoff::new(Duration::from_millis(100), Duration::from_secs(5), Duration::from_secs(30));
        let pause = self.pauses.entry(link).or_insert_with(fresh).fail(now);
        self.waiting.entry(link).or_insert(now + pause.max(SETTLE));
    }

    /// A child ended: its links are made when the next one starts.
    pub(crate) fn forget(&mut self, name: ChildName) {
        self.waiting.retain(|link, _| !link.sides().contains(&name));
    }

    /// The links whose time has come.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Link> {
        self.waiting.extract_if(.., |_, due| *due <= now).map(|(link, _)| link).collect()
    }

    /// When the next one's time comes.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Starts children in an order and collects the links.
    fn boot(order: &[ChildName]) -> Vec<Link> {
        let mut living = Living::default();
        let mut links = Vec::new();
        for name in order {
            links.extend(at_start(*name, &living));
            match name.role {
                Role::Worker => {
                    living.workers.push(name.index);
                    links.extend(when_ready(WorkerId(name.index), &living));
                    living.ready.push(name.index);
                }
                Role::Store => living.stores.push(name.index),
                Role::Balancer => living.balancers.push(name.index),
            }
        }
        links
    }

    #[test]
    fn any_order_of_starting_gives_each_link_once() {
        let (store, worker, balancer) = (ChildName::store, ChildName::worker, ChildName::balancer);
        let orders = [
            [store(0), worker(0), worker(1), balancer(0)],
            [balancer(0), worker(1), store(0), worker(0)],
            [worker(0), balancer(0), worker(1), store(0)],
        ];
        for order in orders {
            let links = boot(&order);
            let texts: BTreeSet<_> = links.iter().map(|link| format!("{link:?}")).collect();
            assert_eq!(texts.len(), links.len(), "{order:?}");
            // Two to the store, two from the balancer, one each way between the workers.
            assert_eq!(links.len(), 6, "{order:?}");
        }
    }

    #[test]
    fn a_restarted_worker_is_linked_with_all_that_live() {
        let living =
            Living { workers: vec![0, 1, 2], ready: vec![0, 2], stores: vec![0, 1], balancers: vec![0] };
        assert_eq!(at_start(ChildName::worker(1), &living).len(), 2);
        assert_eq!(when_ready(WorkerId(1), &living).len(), 1 + 4);
    }

    #[test]
    fn ends_go_to_both_sides() {
        let [(taker, taken, _), (giver, given, _)] =
            Link::Connections(Giver::Balancer(BalancerId(0)), WorkerId(3)).make().expect("a link");
        assert_eq!((taker, giver), (ChildName::worker(3), ChildName::balancer(0)));
        assert!(matches!(taken, ToChild::HandoffFrom(Giver::Balancer(_))));
        assert!(matches!(given, ToChild::HandoffTo(WorkerId(3))));
    }

    #[test]
    fn a_link_that_breaks_again_and_again_is_remade_ever_more_slowly() {
        let mut relinks = Relinks::default();
        let (link, now) = (Link::Data(WorkerId(0), StoreId(0)), Instant::now());
        relinks.lost(link, now);
        relinks.lost(link, now);
        let first = now + SETTLE;
        assert_eq!(relinks.take_due(first), [link], "soon, and only once");
        assert_eq!(relinks.due(), None);
        relinks.lost(link, now);
        assert!(relinks.take_due(first).is_empty());
        assert!(relinks.due().is_some_and(|due| due > first));
        relinks.forget(ChildName::store(1));
        assert!(relinks.due().is_some());
        relinks.forget(ChildName::store(0));
        assert_eq!(relinks.due(), None);
        let link = Link::Connections(Giver::Balancer(BalancerId(0)), WorkerId(0));
        relinks.lost(link, now);
        assert_eq!(relinks.take_due(first), [link], "each has pauses of its own");
    }
}
