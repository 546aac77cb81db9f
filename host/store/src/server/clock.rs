//! The store's time: what expires, and when, is counted in it.

use std::time::{Duration, Instant, SystemTime};

use crate::keyspace::Millis;

/// Milliseconds since 1970 that never go back while the process lives.
pub(super) struct Clock {
    began: Instant,
    at: Millis,
}

impl Clock {
    pub(super) fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), at: millis(since) }
    }

    pub(super) fn now(&self) -> Millis {
        self.at.saturating_add(millis(self.began.elapsed()))
    }
}

pub(super) fn millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}
