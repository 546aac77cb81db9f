//! Growing pauses between attempts: what restarts children and guests without spinning.

use std::time::{Duration, Instant};

/// Pauses that double from `first` to `most` and start over after `healthy` without a failure.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    healthy: Duration,
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The first failure after a healthy time is retried at once, the second after `first`.
    pub fn new(first: Duration, most: Duration, healthy: Duration) -> Self {
        Backoff { first, most, healthy, failures: 0, last: None }
    }

    /// Notes a failure at `now` and says how long to wait before the next attempt.
    pub fn fail(&mut self, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now.duration_since(last) >= self.healthy) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => self.first.saturating_mul(1 << (n - 1).min(20)).min(self.most),
        };
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_start_over_after_health() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 3 * second, 10 * second);
        let start = Instant::now();
        let pauses: Vec<_> = (0..4).map(|_| backoff.fail(start)).collect();
        assert_eq!(pauses, [Duration::ZERO, second, 2 * second, 3 * second]);
        assert_eq!(backoff.fail(start + 10 * second), Duration::ZERO);
    }
}
