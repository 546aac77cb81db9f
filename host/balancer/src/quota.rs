//! Chooses a worker for a connection that belongs to none, so that all workers have about equally many.
//!
//! The last report of loads says how many connections each worker lacks to have as many as the fullest. Each balancer
//! owes its share of that debt, and pays the largest debt first. Once nothing is owed, workers are dealt from a
//! shuffled deck, so that a burst between two reports spreads evenly too.

use sc_core::ids::WorkerId;

/// Debts and deck of one balancer.
#[derive(Debug)]
pub(crate) struct Quota {
    balancers: u32,
    /// Connections owed to workers, ascending.
    debts: Vec<(u32, WorkerId)>,
    deck: Vec<WorkerId>,
    random: u64,
}

impl Quota {
    /// For one of so many balancers, with a random seed.
    pub(crate) fn new(balancers: usize, seed: u64) -> Self {
        let balancers = u32::try_from(balancers.max(1)).unwrap_or(u32::MAX);
        Quota { balancers, debts: Vec::new(), deck: Vec::new(), random: seed }
    }

    /// Takes a report of live workers' sockets.
    pub(crate) fn report(&mut self, loads: impl Iterator<Item = (WorkerId, u32)> + Clone) {
        let most = loads.clone().map(|(_, sockets)| sockets).max().unwrap_or(0);
        let debt = |sockets: u32| {
            let behind = u64::from(most - sockets.min(most));
            let share = (behind * 2 + u64::from(self.balancers)) / (u64::from(self.balancers) * 2);
            u32::try_from(share).unwrap_or(u32::MAX)
        };
        self.debts =
            loads.map(|(worker, sockets)| (debt(sockets), worker)).filter(|(debt, _)| *debt > 0).collect();
        self.debts.sort_unstable();
        // What it had dealt before is in the report.
        self.deck.clear();
    }

    /// Notes that the set of live workers is another.
    pub(crate) fn changed(&mut self, is_live: impl Fn(WorkerId) -> bool) {
        self.debts.retain(|(_, worker)| is_live(*worker));
        self.deck.clear();
    }

    /// One of the eligible workers; none of none.
    pub(crate) fn choose(&mut self, eligible: &[WorkerId]) -> Option<WorkerId> {
        let owed = self.debts.iter().rposition(|(_, worker)| eligible.contains(worker));
        if let Some((debt, worker)) = owed.and_then(|at| self.debts.get_mut(at)) {
            let worker = *worker;
            *debt -= 1;
            if *debt == 0 {
                self.debts.retain(|(debt, _)| *debt > 0);
            }
            return Some(worker);
        }
        if !self.deck.iter().any(|worker| eligible.contains(worker)) {
            self.deck = eligible.to_vec();
            for at in (1..self.deck.len()).rev() {
                let other = self.below(at + 1);
                self.deck.swap(at, other);
            }
        }
        let at = self.deck.iter().rposition(|worker| eligible.contains(worker))?;
        Some(self.deck.remove(at))
    }

    /// A random number below the bound (splitmix64; its bias for few workers is below 2^-40).
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u16) -> Vec<WorkerId> {
        (0..count).map(WorkerId).collect()
    }

    fn choose(quota: &mut Quota, count: u16, times: usize) -> Vec<u32> {
        let mut counts = vec![0; usize::from(count)];
        for _ in 0..times {
            let worker = quota.choose(&workers(count)).expect("a worker");
            counts[usize::from(worker.0)] += 1;
        }
        counts
    }

    #[test]
    fn a_burst_is_dealt_evenly_and_not_in_a_fixed_order() {
        let mut quota = Quota::new(1, 7);
        assert_eq!(choose(&mut quota, 3, 60), [20, 20, 20]);
        let firsts: std::collections::BTreeSet<_> =
            (0..30).map(|seed| Quota::new(1, seed).choose(&workers(3))).collect();
        assert_eq!(firsts.len(), 3);
    }

    #[test]
    fn debts_are_paid_first_and_shared_among_balancers() {
        let report = [(WorkerId(0), 30), (WorkerId(1), 27), (WorkerId(2), 21)];
        let mut quota = Quota::new(1, 7);
        quota.report(report.into_iter());
        assert_eq!(choose(&mut quota, 3, 12), [0, 3, 9]);
        assert_eq!(choose(&mut quota, 3, 3), [1, 1, 1]);
        let mut quota = Quota::new(2, 7);
        quota.report(report.into_iter());
        assert_eq!(choose(&mut quota, 3, 7), [0, 2, 5], "3/2 and 9/2, rounded half up");
    }

    #[test]
    fn a_worker_that_is_gone_is_owed_nothing() {
        let mut quota = Quota::new(1, 7);
        quota.report([(WorkerId(0), 0), (WorkerId(1), 9)].into_iter());
        quota.changed(|worker| worker != WorkerId(0));
        assert_eq!(quota.choose(&[WorkerId(1)]), Some(WorkerId(1)));
        assert_eq!(quota.choose(&[]), None);
    }

    #[test]
    fn who_is_not_eligible_keeps_what_it_is_owed() {
        let mut quota = Quota::new(1, 7);
        quota.report([(WorkerId(0), 0), (WorkerId(1), 8), (WorkerId(2), 9)].into_iter());
        let others: Vec<_> = (0..5).map(|_| quota.choose(&[WorkerId(1), WorkerId(2)])).collect();
        assert!(others.iter().all(|worker| *worker != Some(WorkerId(0))));
        assert_eq!(choose(&mut quota, 3, 9), [9, 0, 0]);
    }
}
