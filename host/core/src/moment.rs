//! Points in time that all processes of the host understand alike.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Nanoseconds of the system's monotonic clock, which its processes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let nanos = time.tv_nsec.unsigned_abs();
        Moment(time.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}
