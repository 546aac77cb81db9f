//! The order of shutdown: announce (if configured); balancers stop accepting; workers close their sockets; stores end
//! after the last worker, then balancers that still relay TLS; at the deadline the rest is killed.
//!
//! A pure state machine: the supervisor tells it who lives and does what it says.

use std::time::{Duration, Instant};

use super::name::Role;

/// How long workers wait for balancers to stop accepting: a connection being handed over still arrives.
const ACCEPTING: Duration = Duration::from_secs(1);
/// Time kept back from the children's deadline, so that they end themselves before they are killed.
const MARGIN: Duration = Duration::from_millis(500);
/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(2);

/// Where the drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The host still serves, until then; its health says that it drains.
    Announced(Instant),
    /// Balancers stop accepting, until then at most.
    Balancers(Instant),
    /// Workers finish.
    Workers,
    /// Stores finish, and balancers that still pump.
    Stores,
    /// What is left was killed; until then its end is awaited.
    Killed(Instant),
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell all of a role to drain within so much time.
    Tell(Role, Duration),
    /// Kill everything.
    Kill,
    /// All have ended.
    Done,
}

/// How many children of each role live.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Balancers.
    pub(crate) balancers: usize,
    /// Workers.
    pub(crate) workers: usize,
    /// Stores.
    pub(crate) stores: usize,
}

/// A drain under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    began: Instant,
    deadline: Instant,
    stage: Stage,
}

impl Drain {
    /// Begins it: for the time of `announce` everything goes on, then `timeout` is left for the rest.
    pub(crate) fn begin(now: Instant, announce: Duration, timeout: Duration) -> Self {
        let until = now + announce;
        Drain { began: now, deadline: until + timeout, stage: Stage::Announced(until) }
    }

    /// Whether the host still serves as before.
    pub(crate) fn is_announced(&self) -> bool {
        matches!(self.stage, Stage::Announced(_))
    }

    /// The next step, if there is one now. To be asked again until there is none, after each child's end and when
    /// [`Drain::due`] has come.
    pub(crate) fn step(&mut self, now: Instant, left: Left) -> Option<Step> {
        let all = left.balancers + left.workers + left.stores;
        match self.stage {
            _ if all == 0 => Some(Step::Done),
            Stage::Killed(until) => (now >= until).then_some(Step::Done),
            _ if now >= self.deadline => {
                self.stage = Stage::Killed(now + KILLED);
                Some(Step::Kill)
            }
            Stage::Announced(until) if now >= until => {
                self.stage = Stage::Balancers(self.deadline.min(now + ACCEPTING));
                Some(Step::Tell(Role::Balancer, self.rest(now)))
            }
            Stage::Balancers(until) if left.balancers == 0 || now >= until => {
                self.stage = Stage::Workers;
                Some(Step::Tell(Role::Worker, self.rest(now)))
            }
            Stage::Workers if left.workers == 0 => {
                self.stage = Stage::Stores;
                Some(Step::Tell(Role::Store, self.rest(now)))
            }
            Stage::Announced(_) | Stage::Balancers(_) | Stage::Workers | Stage::Stores => None,
        }
    }

    /// When to ask for a step even if no child ended.
    pub(crate) fn due(&self) -> Instant {
        match self.stage {
            Stage::Announced(until) | Stage::Balancers(until) | Stage::Killed(until) => until,
            Stage::Workers | Stage::Stores => self.deadline,
        }
    }

    /// How long it has taken so far.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }

    fn rest(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now).saturating_sub(MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn left(balancers: usize, workers: usize, stores: usize) -> Left {
        Left { balancers, workers, stores }
    }

    #[test]
    fn roles_end_in_their_order() {
        let now = Instant::now();
        let mut drain = Drain::begin(now, Duration::ZERO, 30 * SECOND);
        let first = drain.step(now, left(1, 2, 1));
        assert_eq!(first, Some(Step::Tell(Role::Balancer, Duration::from_millis(29_500))));
        assert_eq!(drain.step(now, left(1, 2, 1)), None);
        assert!(matches!(drain.step(now, left(0, 2, 1)), Some(Step::Tell(Role::Worker, _))));
        assert_eq!(drain.step(now, left(0, 2, 1)), None);
        assert_eq!(drain.step(now, left(0, 1, 1)), None);
        assert!(matches!(drain.step(now, left(0, 0, 1)), Some(Step::Tell(Role::Store, _))));
        assert_eq!(drain.step(now, left(0, 0, 1)), None);
        assert_eq!(drain.step(now, left(0, 0, 0)), Some(Step::Done));
    }

    #[test]
    fn an_announced_end_comes_later() {
        let now = Instant::now();
        let mut drain = Drain::begin(now, 5 * SECOND, 2 * SECOND);
        assert_eq!((drain.step(now, left(1, 1, 1)), drain.is_announced()), (None, true));
        assert_eq!(drain.due(), now + 5 * SECOND);
        let first = drain.step(now + 5 * SECOND, left(1, 1, 1));
        assert_eq!(first, Some(Step::Tell(Role::Balancer, Duration::from_millis(1_500))));
        assert!(!drain.is_announced());
    }

    #[test]
    fn a_balancer_that_pumps_holds_up_no_worker() {
        let now = Instant::now();
        let mut drain = Drain::begin(now, Duration::ZERO, 30 * SECOND);
        drain.step(now, left(1, 1, 1));
        assert_eq!(drain.due(), now + ACCEPTING);
        assert!(matches!(drain.step(now + ACCEPTING, left(1, 1, 1)), Some(Step::Tell(Role::Worker, _))));
        assert!(matches!(drain.step(now + ACCEPTING, left(1, 0, 1)), Some(Step::Tell(Role::Store, _))));
        assert_eq!(drain.step(now + ACCEPTING, left(1, 0, 0)), None);
        assert_eq!(drain.step(now + ACCEPTING, left(0, 0, 0)), Some(Step::Done));
    }

    #[test]
    fn the_deadline_kills_and_then_nothing_holds_the_end() {
        let now = Instant::now();
        let mut drain = Drain::begin(now, Duration::ZERO, 2 * SECOND);
        drain.step(now, left(1, 1, 1));
        drain.step(now + SECOND, left(0, 1, 1));
        assert_eq!(drain.due(), now + 2 * SECOND);
        assert_eq!(drain.step(now + 2 * SECOND, left(0, 1, 1)), Some(Step::Kill));
        assert_eq!(drain.step(now + 2 * SECOND, left(0, 1, 1)), None);
        assert_eq!(drain.step(now + 2 * SECOND + KILLED, left(0, 1, 1)), Some(Step::Done));
    }
}
