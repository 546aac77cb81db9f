//! What an instance says: its stdout and stderr as log records, one a line, and what it logs. Each record names the
//! component, and what it was called for.
//!
//! Lines of stderr are held while the guest runs, also while it yields to the thread's other tasks, and written when
//! it returns or waits. A call that fails is told of in one record that has them, so that a panic's words are neither
//! said twice nor apart from the rest. What has no line's end yet is written when the instance ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use sc_core::controller::{Generation, WorkerView};
use sc_core::ids::SocketId;
use sc_core::limits::LOG_LINE_MAX;
use sc_core::log::{CUT, GUEST, Occasion, shortened};
use send_wrapper::SendWrapper;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::socketcluster::controller::log::Level;

/// Lines of stderr that are held; those before them are written.
const HELD: usize = 16;
/// Most bytes of each in the record of a call that failed.
const LAST_LINE_MAX: usize = 500;
/// Room a guest is told it has per write.
const WRITE_MAX: usize = 64 * 1024;

/// All that one instance says. Clones share it.
#[derive(Clone)]
pub(crate) struct Voice(Arc<Shared>);

struct Shared {
    /// Whether any line is held, known without the lock.
    holds: AtomicBool,
    said: Mutex<Said>,
}

struct Said {
    component: String,
    /// What the instance is called for; its room is kept from call to call.
    event: String,
    socket: Option<SocketId>,
    /// Knows the sockets' names. Only touched by the thread that made it.
    view: Option<SendWrapper<Rc<dyn WorkerView>>>,
    stdout: Line,
    stderr: Line,
    held: VecDeque<String>,
}

/// What was written to a stream since its last line's end.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// Whether there was more than a line's room.
    is_cut: bool,
}

impl Line {
    fn push(&mut self, piece: &[u8]) {
        let room = LOG_LINE_MAX.saturating_sub(self.bytes.len());
        self.is_cut |= piece.len() > room;
        self.bytes.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }

    /// Its text; the next line begins.
    fn take(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        // What stands for bytes that are no text is longer than they are.
        let mut text = shortened(text.trim_end(), LOG_LINE_MAX).into_owned();
        if std::mem::take(&mut self.is_cut) && !text.ends_with(CUT) {
            text.push_str(CUT);
        }
        self.bytes.clear();
        text
    }
}

impl Voice {
    /// The voice of an instance of that generation. The view is that of a worker.
    pub(crate) fn new(generation: &Generation, view: Option<Rc<dyn WorkerView>>) -> Self {
        Self::of(generation.label().to_string(), view)
    }

    /// The same by the component's label.
    pub(crate) fn of(component: String, view: Option<Rc<dyn WorkerView>>) -> Self {
        let said = Said {
            component,
            event: String::new(),
            socket: None,
            view: view.map(SendWrapper::new),
            stdout: Line::default(),
            stderr: Line::default(),
            held: VecDeque::new(),
        };
        Voice(Arc::new(Shared { holds: AtomicBool::new(false), said: Mutex::new(said) }))
    }

    pub(crate) fn stdout(&self) -> Stream {
        Stream { voice: self.clone(), is_stderr: false }
    }

    pub(crate) fn stderr(&self) -> Stream {
        Stream { voice: self.clone(), is_stderr: true }
    }

    /// A call begins.
    pub(crate) fn begin(&self, occasion: &(impl Occasion + ?Sized)) {
        self.release();
        let mut said = self.said();
        said.event.clear();
        occasion.describe(&mut said.event);
        said.socket = occasion.socket();
    }

    /// Logs what the guest wants logged.
    pub(crate) fn log(&self, at: Level, message: &str) {
        self.said().log(at, &shortened(message, LOG_LINE_MAX));
    }

    /// Writes the lines that are held: the guest has returned, or waits.
    pub(crate) fn release(&self) {
        if self.0.holds.load(Ordering::Relaxed) {
            self.0.holds.store(false, Ordering::Relaxed);
            self.said().release();
        }
    }

    /// The call has failed: what it wrote to stderr at last, for the record of that.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.0.holds.store(false, Ordering::Relaxed);
        let mut said = self.said();
        said.end_stdout();
        said.end_stderr();
        // Rust's hint is about the guest's environment, which its author cannot set.
        let lines = said.held.drain(..).filter(|line| !line.starts_with("note: run with `RUST_BACKTRACE=1`"));
        lines.map(|line| shortened(&line, LAST_LINE_MAX).into_owned()).collect()
    }

    fn write(&self, bytes: &[u8], is_stderr: bool) {
        let mut said = self.said();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let line = if is_stderr { &mut said.stderr } else { &mut said.stdout };
            line.push(piece);
            match (ends, is_stderr) {
                (true, true) => said.end_stderr(),
                (true, false) => said.end_stdout(),
                (false, _) => {}
            }
        }
        if !said.held.is_empty() {
            self.0.holds.store(true, Ordering::Relaxed);
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn event(&self) -> Option<&str> {
        Some(&*self.event).filter(|event| !event.is_empty())
    }

    fn socket(&self) -> Option<Box<str>> {
        self.socket.zip(self.view.as_ref()).and_then(|(socket, view)| view.socket_name(socket))
    }

    fn log(&self, at: Level, message: &str) {
        macro_rules! record {
            ($level:ident) => {
                tracing::$level!(
                    target: GUEST,
                    component = self.component,
                    event = self.event(),
                    socket = self.socket().as_deref(),
                    stream = "log",
                    "{message}"
                )
            };
        }
        match at {
            Level::Error => record!(error),
            Level::Warn => record!(warn),
            Level::Info => record!(info),
            Level::Debug => record!(debug),
            Level::Trace => record!(trace),
        }
    }

    fn end_stdout(&mut self) {
        if self.stdout.bytes.is_empty() {
            return;
        }
        let text = self.stdout.take();
        tracing::info!(
            target: GUEST,
            component = self.component,
            event = self.event(),
            socket = self.socket().as_deref(),
            stream = "stdout",
            "{text}"
        );
    }

    fn end_stderr(&mut self) {
        let text = self.stderr.take();
        if !text.is_empty() {
            self.held.push_back(text);
        }
        if self.held.len() > HELD
            && let Some(oldest) = self.held.pop_front()
        {
            self.warn(&oldest);
        }
    }

    fn release(&mut self) {
        while let Some(line) = self.held.pop_front() {
            self.warn(&line);
        }
    }

    fn warn(&self, line: &str) {
        tracing::warn!(
            target: GUEST,
            component = self.component,
            event = self.event(),
            socket = self.socket().as_deref(),
            stream = "stderr",
            "{line}"
        );
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        self.end_stdout();
        self.end_stderr();
        self.release();
    }
}

/// One stream of an instance.
#[derive(Clone)]
pub(crate) struct Stream {
    voice: Voice,
    is_stderr: bool,
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.voice.write(&bytes, self.is_stderr);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.voice.write(bytes, self.is_stderr);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_bounded_and_says_so() {
        let mut line = Line::default();
        line.push(&[b'x'; LOG_LINE_MAX]);
        assert_eq!(line.take(), "x".repeat(LOG_LINE_MAX));
        (0..100).for_each(|_| line.push(&[b'x'; LOG_LINE_MAX / 2]));
        assert_eq!(line.take(), "x".repeat(LOG_LINE_MAX) + CUT);
        line.push(&[0xff; LOG_LINE_MAX]);
        let text = line.take();
        assert!(text.len() <= LOG_LINE_MAX + CUT.len() && text.ends_with(CUT), "{} bytes", text.len());
        line.push(b"short ");
        assert_eq!(line.take(), "short");
    }

    #[test]
    fn the_last_lines_are_cut_further_and_say_so() {
        let voice = Voice::of("chat@1".to_owned(), None);
        voice.write(format!("{}\nshort\n", "x".repeat(1000)).as_bytes(), true);
        assert_eq!(voice.last_lines(), ["x".repeat(LAST_LINE_MAX) + CUT, "short".to_owned()]);
    }
}
