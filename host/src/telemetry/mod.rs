//! Logs of every process. A child writes records as JSON lines to its stderr; the master reads them and prints all
//! records, its own too, on stdout in one format.
//!
//! Price: the printing is a thread of its own behind a bounded queue. When whoever reads stdout is slower than the
//! log for long, records are dropped and counted; the master never waits for them. A child does wait, until the master
//! has read what it wrote: so what user code says is bounded where it is said. One more thread in each process tells
//! of records that were left out; it sleeps while there are none.

mod layer;
mod left_out;
mod levels;
mod limiter;
mod panic;
mod print;
mod queue;
mod record;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use layer::{RecordLayer, Sink};
use left_out::LeftOut;
pub(crate) use levels::filter;
pub(crate) use queue::Logs;
pub(crate) use record::{LogFormat, Record, timestamp};

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
        while !self.logs.end() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Starts the master's log.
pub(crate) fn start(format: LogFormat, level: &str) -> (Logs, Printer) {
    let (logs, orders, waiting) = queue::queue();
    let (finished, done) = sync_channel(1);
    std::thread::spawn(move || {
        print::print(&orders, &waiting, format);
        let _ = finished.send(());
    });
    let left_out = subscribe(Who { role: "master", id: 0 }, level, logs.clone());
    let last = logs.clone();
    std::panic::set_hook(Box::new(move |panic| {
        panic::record(panic);
        // What comes next may be the end of the process, and with it of the thread that prints.
        last.flush(FLUSH_DEADLINE);
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
