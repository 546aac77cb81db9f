//! The master's records that wait to be printed: so many, and so many bytes. What comes on top is dropped and counted.
//! User code speaks as often as it likes, so the last quarter of the room is kept for all other records: a death or a
//! panic is not lost to what components say.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::layer::Sink;
use super::record::{Record, timestamp};

/// Records that may wait.
const RECORDS: usize = 8192;
/// Bytes of them.
const BYTES: usize = 16 << 20;
/// What is no record has places of its own.
const ORDERS: usize = 64;

/// The master's log. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    queue: SyncSender<Order>,
    waiting: Waiting,
}

/// What the printing thread is to do.
#[derive(Debug)]
pub(super) enum Order {
    Print(Box<Record>),
    /// Say so once all before it is printed.
    Flush(SyncSender<()>),
    End,
}

/// A log, and what is ordered of its printer.
pub(super) fn queue() -> (Logs, Receiver<Order>, Waiting) {
    let (queue, orders) = sync_channel(RECORDS + ORDERS);
    let waiting = Waiting::default();
    (Logs { queue, waiting: waiting.clone() }, orders, waiting)
}

impl Sink for Logs {
    fn write(&self, record: Record) {
        self.print(record);
    }
}

impl Logs {
    /// A log that nobody reads.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        queue().0
    }

    /// Prints a record; drops it when too many wait.
    pub(crate) fn print(&self, record: Record) {
        // When there is no printer any more, nobody is left to count for.
        if self.waiting.enter(&record) {
            let _ = self.queue.try_send(Order::Print(Box::new(record)));
        }
    }

    /// Waits a moment until all is printed.
    pub(super) fn flush(&self, deadline: Duration) {
        let (printed, all) = sync_channel(1);
        if self.queue.try_send(Order::Flush(printed)).is_ok() {
            let _ = all.recv_timeout(deadline);
        }
    }

    /// Has the printer end; false while it has no room for that.
    pub(super) fn end(&self) -> bool {
        self.queue.try_send(Order::End).is_ok()
    }
}

/// Counts what waits, and what found no room or could not be printed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    records: usize,
    bytes: usize,
    dropped: Dropped,
}

/// Records that nobody will read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    all: u64,
    /// Those among them in which user code speaks.
    of_user_code: u64,
}

impl Waiting {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record may wait; else it is counted as dropped.
    fn enter(&self, record: &Record) -> bool {
        let (bytes, is_users) = (record.weight(), record.stream().is_some());
        let part = |most: usize| if is_users { most / 4 * 3 } else { most };
        let mut counts = self.counts();
        let fits = counts.records < part(RECORDS) && counts.bytes.saturating_add(bytes) <= part(BYTES);
        if fits {
            counts.records += 1;
            counts.bytes += bytes;
        } else {
            counts.dropped.count(is_users);
        }
        fits
    }

    /// A record is printed now.
    pub(super) fn leave(&self, record: &Record) {
        let mut counts = self.counts();
        counts.records -= 1;
        counts.bytes -= record.weight();
    }

    /// A record could not be printed.
    pub(super) fn lose(&self, record: &Record) {
        self.counts().dropped.count(record.stream().is_some());
    }

    /// What was dropped and not told of yet, if anything.
    pub(super) fn take_dropped(&self) -> Option<Dropped> {
        Some(std::mem::take(&mut self.counts().dropped)).filter(|dropped| dropped.all > 0)
    }

    /// That could not be told.
    pub(super) fn give_back(&self, untold: Dropped) {
        let dropped = &mut self.counts().dropped;
        dropped.all += untold.all;
        dropped.of_user_code += untold.of_user_code;
    }
}

impl Dropped {
    fn count(&mut self, is_users: bool) {
        self.all += 1;
        self.of_user_code += u64::from(is_users);
    }

    /// The record that tells of it.
    pub(super) fn record(self) -> Record {
        let mut fields = serde_json::Map::new();
        fields.insert("dropped".to_owned(), self.all.into());
        if self.of_user_code > 0 {
            fields.insert("of_user_code".to_owned(), self.of_user_code.into());
        }
        Record {
            timestamp: timestamp(),
            level: "warn".to_owned(),
            role: "master".to_owned(),
            id: 0,
            pid: std::process::id(),
            message: "records were dropped: the log could not be written, or whoever reads it is too slow"
                .to_owned(),
            fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Record {
        let mut record = plain();
        record.fields.insert("stream".to_owned(), "stdout".into());
        record.message = text.to_owned();
        record
    }

    fn plain() -> Record {
        Record {
            fields: serde_json::Map::new(),
            message: "a process died".to_owned(),
            ..Dropped::default().record()
        }
    }

    /// The records that wait, and what was dropped.
    fn waiting(orders: &Receiver<Order>, waiting: &Waiting) -> (usize, Option<Dropped>) {
        let mut count = 0;
        while let Ok(Order::Print(record)) = orders.try_recv() {
            waiting.leave(&record);
            count += 1;
        }
        let counts = waiting.counts();
        assert_eq!((counts.records, counts.bytes), (0, 0));
        drop(counts);
        (count, waiting.take_dropped())
    }

    #[test]
    fn user_code_leaves_room_for_other_records() {
        let (logs, orders, counts) = queue();
        (0..RECORDS).for_each(|_| logs.print(said("hello")));
        (0..100).for_each(|_| logs.print(plain()));
        let dropped = Dropped { all: RECORDS as u64 / 4, of_user_code: RECORDS as u64 / 4 };
        assert_eq!(waiting(&orders, &counts), (RECORDS / 4 * 3 + 100, Some(dropped)));
        (0..RECORDS + 7).for_each(|_| logs.print(plain()));
        assert!(logs.end(), "what is no record has room");
        assert_eq!(waiting(&orders, &counts), (RECORDS, Some(Dropped { all: 7, of_user_code: 0 })));
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        const LINE: usize = 64 << 10;
        let (logs, orders, counts) = queue();
        (0..1_000).for_each(|_| logs.print(said(&"x".repeat(LINE))));
        logs.print(plain());
        let (count, dropped) = waiting(&orders, &counts);
        assert!(count > 100 && count * LINE < BYTES / 4 * 3 + LINE, "{count} wait");
        assert_eq!(dropped.map(|dropped| dropped.all), Some(1_001 - count as u64));
    }

    #[test]
    fn what_was_dropped_is_told_by_kind() {
        let record = Dropped { all: 5, of_user_code: 3 }.record();
        assert_eq!(record.fields["dropped"], 5);
        assert_eq!(record.fields["of_user_code"], 3);
        assert!(!Dropped { all: 5, of_user_code: 0 }.record().fields.contains_key("of_user_code"));
    }
}
