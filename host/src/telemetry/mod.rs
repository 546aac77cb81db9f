//! Logs of every process. A child writes records as JSON lines to its stderr; the master reads them and prints all
//! records, its own too, on stdout in one format.
//!
//! Price: the printing is a thread of its own behind a bounded queue. When whoever reads stdout is slower than the
//! log for long, records are dropped and counted; the master never waits for them. One more thread in each process tells
//! of notices and faults that were left out; it sleeps while there are none.

mod layer;
mod left_out;
mod levels;
mod limiter;
mod panic;
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
use left_out::LeftOut;
pub(crate) use levels::filter;
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
    queue: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

/// What the printing thread is to do.
#[derive(Debug)]
enum Order {
    Print(Box<Record>),
    /// Say so once all before it is printed.
    Flush(SyncSender<()>),
    End,
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
        if self.queue.try_send(Order::Print(Box::new(record))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a moment until all is printed.
    fn flush(&self) {
        let (printed, all) = sync_channel(1);
        if self.queue.try_send(Order::Flush(printed)).is_ok() {
            let _ = all.recv_timeout(FLUSH_DEADLINE);
        }
    }
}

/// Waits for the last records when dropped.
#[derive(Debug)]
pub(crate) struct Printer {
    logs: Logs,
    left_out: Arc<LeftOut>,
    done: Receiver<()>,
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.left_out.tell(&self.logs);
        let deadline = Instant::now() + FLUSH_DEADLINE;
        while self.logs.queue.try_send(Order::End).is_err() && Instant::now() < deadline {
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
    let logs = Logs { queue, dropped: Arc::clone(&dropped) };
    std::thread::spawn(move || {
        print(&records, &dropped, format);
        let _ = finished.send(());
    });
    let left_out = subscribe(Who { role: "master", id: 0 }, level, logs.clone());
    let last = logs.clone();
    std::panic::set_hook(Box::new(move |panic| {
        panic::record(panic);
        // What comes next may be the end of the process, and with it of the thread that prints.
        last.flush();
    }));
    let printer = Printer { logs: logs.clone(), left_out, done };
    (logs, printer)
}

/// Tells of what a child left out, when dropped.
#[derive(Debug)]
pub(crate) struct ChildLog(Arc<LeftOut>);

impl Drop for ChildLog {
    fn drop(&mut self) {
        self.0.tell(&Parent);
    }
}

/// Starts a child's log.
pub(crate) fn start_child(who: Who, level: &str) -> ChildLog {
    let left_out = subscribe(who, level, Parent);
    std::panic::set_hook(Box::new(panic::record));
    ChildLog(left_out)
}

fn subscribe(who: Who, level: &str, sink: impl Sink) -> Arc<LeftOut> {
    let filter = filter(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (sink, left_out) = (Arc::new(sink), Arc::<LeftOut>::default());
    let layer = RecordLayer { who, sink: Arc::clone(&sink), left_out: Arc::clone(&left_out) };
    // A second subscriber in one process is only possible in tests, where the first one is as good.
    let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
    let told = Arc::clone(&left_out);
    let thread = std::thread::Builder::new().name("left out".to_owned());
    if let Err(error) = thread.spawn(move || told.keep_telling(&*sink)) {
        tracing::warn!(%error, "no thread can tell of records that are left out: the end of the process will");
    }
    left_out
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

/// Prints until told to end.
fn print(orders: &Receiver<Order>, dropped: &AtomicU64, format: LogFormat) {
    let mut out = std::io::stdout();
    let color = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    loop {
        let record = match orders.recv() {
            Ok(Order::Print(record)) => *record,
            Ok(Order::Flush(printed)) => {
                let _ = printed.try_send(());
                continue;
            }
            Ok(Order::End) | Err(_) => return,
        };
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
