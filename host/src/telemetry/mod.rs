//! Logs of every process. A child writes records as JSON lines to its stderr; the master reads them and prints all
//! records, its own too, on stdout in one format.
//!
//! Price: the printing is a thread of its own behind a bounded queue. When whoever reads stdout is slower than the
//! log for long, records are dropped and counted; the master never waits for them.

mod layer;
mod record;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use layer::{RecordLayer, Sink};
pub(crate) use record::{LogFormat, Record, timestamp};

/// Records that may wait to be printed.
const QUEUE: usize = 8192;
/// How long the end of the program waits for the last records.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// Whose records these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    /// The role.
    pub(crate) role: &'static str,
    /// Which one of it.
    pub(crate) id: u16,
}

/// The master's log. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    queue: SyncSender<Option<Record>>,
    dropped: Arc<AtomicU64>,
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
        Logs { queue: sync_channel(1).0, dropped: Arc::default() }
    }

    /// Prints a record; drops it when too many wait.
    pub(crate) fn print(&self, record: Record) {
        if self.queue.try_send(Some(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Waits for the last records when dropped.
#[derive(Debug)]
pub(crate) struct Printer {
    stop: SyncSender<Option<Record>>,
    done: Receiver<()>,
}

impl Drop for Printer {
    fn drop(&mut self) {
        let deadline = Instant::now() + FLUSH_DEADLINE;
        while self.stop.try_send(None).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Starts the master's log.
pub(crate) fn start(format: LogFormat, level: &str) -> (Logs, Printer) {
    let (queue, records) = sync_channel(QUEUE);
    let (finished, done) = sync_channel(1);
    let dropped = Arc::new(AtomicU64::new(0));
    let logs = Logs { queue: queue.clone(), dropped: Arc::clone(&dropped) };
    std::thread::spawn(move || {
        print(&records, &dropped, format);
        let _ = finished.send(());
    });
    subscribe(Who { role: "master", id: 0 }, level, logs.clone());
    (logs, Printer { stop: queue, done })
}

/// Starts a child's log.
pub(crate) fn start_child(who: Who, level: &str) {
    subscribe(who, level, Parent);
}

fn subscribe(who: Who, level: &str, sink: impl Sink) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = RecordLayer { who, sink };
    // A second subscriber in one process is only possible in tests, where the first one is as good.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(place, panic = text, "the process panicked");
    }));
}

/// A child's way to the master.
struct Parent;

impl Sink for Parent {
    fn write(&self, record: Record) {
        let mut line = record.json();
        line.push('\n');
        // One write a record: lines of a pipe's size do not mix. The master gone, the log is nobody's.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Prints until told to end by a none.
fn print(records: &Receiver<Option<Record>>, dropped: &AtomicU64, format: LogFormat) {
    let mut out = std::io::stdout();
    let color = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    while let Ok(Some(record)) = records.recv() {
        let lost = match dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            lost => Some(lost_records(lost)),
        };
        for record in lost.into_iter().chain([record]) {
            let mut line = match format {
                LogFormat::Human => record.human(color),
                LogFormat::Json => record.json(),
            };
            line.push('\n');
            let _ = out.write_all(line.as_bytes());
        }
        let _ = out.flush();
    }
}

fn lost_records(lost: u64) -> Record {
    Record {
        timestamp: timestamp(),
        level: "warn".to_owned(),
        role: "master".to_owned(),
        id: 0,
        pid: std::process::id(),
        message: "records were dropped: whoever reads the log is too slow".to_owned(),
        fields: [("dropped".to_owned(), lost.into())].into_iter().collect(),
    }
}
