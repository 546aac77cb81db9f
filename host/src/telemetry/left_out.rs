//! Decides which notices, faults and words of user code are written, and writes now and then how many were left out.
//! An event that is left out costs little: only its kind and its count are looked at, and no text is made of it.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::layer::Sink;
use super::limiter::{ABOUT, Key, Limiter, PERIOD, Rate};
use super::record::{Record, timestamp};

/// Counts of records that were not written.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    limiter: Mutex<Limiter>,
    counted: Condvar,
}

impl LeftOut {
    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of an event that is to be written; none for one that is left out at that rate.
    pub(super) fn takes(&self, event: &Event<'_>, rate: Rate) -> Option<Key> {
        let mut kind = KindVisitor::of(event);
        event.record(&mut kind);
        let key = kind.key(rate);
        let taken = self.limiter().takes(key, kind.failed, Instant::now());
        if !taken {
            self.counted.notify_one();
        }
        taken.then_some(key)
    }

    /// A record was written.
    pub(super) fn learn(&self, key: Key, record: &Record) {
        self.limiter().learn(key, record);
    }

    /// Writes what was left out since the last time.
    pub(crate) fn tell(&self, sink: &impl Sink) {
        let records = self.limiter().left_out(&timestamp());
        records.into_iter().for_each(|record| sink.write(record));
    }

    /// Does so each period in which there is something to tell, for ever.
    pub(crate) fn keep_telling(&self, sink: &impl Sink) {
        loop {
            let mut limiter = self.limiter();
            while !limiter.has_left_out() {
                limiter = self.counted.wait(limiter).unwrap_or_else(PoisonError::into_inner);
            }
            drop(limiter);
            std::thread::sleep(PERIOD);
            self.tell(sink);
        }
    }
}

/// Finds out what kind of record an event would be, and no more.
struct KindVisitor {
    callsite: u64,
    kind: DefaultHasher,
    failed: u64,
}

impl KindVisitor {
    fn of(event: &Event<'_>) -> Self {
        let mut kind = DefaultHasher::new();
        event.metadata().callsite().hash(&mut kind);
        KindVisitor { callsite: kind.finish(), kind, failed: 0 }
    }

    fn key(&self, rate: Rate) -> Key {
        Key { callsite: self.callsite, kind: self.kind.finish(), rate }
    }

    fn is_about(field: &Field) -> bool {
        ABOUT.contains(&field.name())
    }
}

impl std::fmt::Write for KindVisitor {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.kind.write(text.as_bytes());
        Ok(())
    }
}

impl Visit for KindVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if Self::is_about(field) {
            // Hashing does not fail.
            let _ = write!(self, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if Self::is_about(field) {
            self.kind.write(value.as_bytes());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "failed" {
            self.failed = value;
        }
    }
}
