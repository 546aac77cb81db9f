//! A guest's stdout and stderr as log records, one a line. What has no line's end yet is kept, and written when the
//! instance ends, so that the last words of a panic are seen.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use sc_core::limits::LOG_LINE_MAX;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Lines of a call's stderr that its error repeats; a panic has two.
const LAST_WORDS: usize = 3;
/// Most bytes of each.
const LAST_WORDS_MAX: usize = 200;
/// Room a guest is told it has per write.
const WRITE_MAX: usize = 64 * 1024;

/// At most as many bytes as a log line may have.
pub(crate) fn cut(text: &str) -> &str {
    cut_at(text, LOG_LINE_MAX)
}

fn cut_at(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// One stream of one instance; clones share its line.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Line>>);

struct Line {
    component: String,
    stream: &'static str,
    unfinished: Vec<u8>,
    /// The latest lines of the running call, of stderr only.
    latest: VecDeque<String>,
}

impl Output {
    pub(crate) fn new(component: &str, stream: &'static str) -> Self {
        let line =
            Line { component: component.to_owned(), stream, unfinished: Vec::new(), latest: VecDeque::new() };
        Output(Arc::new(Mutex::new(line)))
    }

    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
    }

    /// A call begins: what was said before does not explain its end.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latest.clear();
    }

    /// What the running call said last.
    pub(crate) fn last_words(&self) -> String {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest: Vec<&str> = line.latest.iter().map(String::as_str).collect();
        latest.join(" / ")
    }

    /// Writes what has no line's end.
    pub(crate) fn finish(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end();
    }
}

impl Line {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let room = LOG_LINE_MAX.saturating_sub(self.unfinished.len());
            self.unfinished.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if ends {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.unfinished);
        let (component, stream, text) = (&*self.component, self.stream, text.trim_end());
        if stream == "stderr" {
            tracing::warn!(target: "guest", component, stream, "{text}");
            // Rust's hint is about the guest's environment, which its author cannot set.
            if !text.is_empty() && !text.starts_with("note: run with `RUST_BACKTRACE=1`") {
                if self.latest.len() == LAST_WORDS {
                    self.latest.pop_front();
                }
                self.latest.push_back(cut_at(text, LAST_WORDS_MAX).to_owned());
            }
        } else {
            tracing::info!(target: "guest", component, stream, "{text}");
        }
        self.unfinished.clear();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Output::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Output::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
