//! What children write to stdout and stderr: records are printed as they are, other lines become records. The last
//! lines of each child, and what it said of a panic, are kept for the record of its death.
//!
//! Bounds: a line is cut at [`LINE_MAX`], a child's memory is [`TAIL`] lines and one panic.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sc_core::limits::LOG_LINE_MAX;
use sc_core::log::cut;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::name::ChildName;
use crate::telemetry::{Logs, Record, timestamp};

/// Longest line in bytes: the record of a call that failed, with the escapes of all its lines in JSON. What a guest
/// says itself is half of that.
const LINE_MAX: usize = 16 * LOG_LINE_MAX;
/// Lines kept of each child.
const TAIL: usize = 20;
/// Bytes kept of each of them.
const TAIL_LINE: usize = 512;

/// A child's last words.
pub(crate) type Tail = Rc<RefCell<LastWords>>;

/// What a child wrote last.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastWords {
    /// Its lines, the latest at the end.
    pub(crate) lines: VecDeque<String>,
    /// The words and the place of its last panic, if there was any.
    pub(crate) panic: Option<String>,
}

impl LastWords {
    /// The lines as one text.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Whose lines these are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    /// The child.
    pub(crate) name: ChildName,
    /// Its process.
    pub(crate) pid: u32,
    /// The level of lines that are no records.
    pub(crate) level: &'static str,
}

/// Prints a child's lines until its end of the pipe is closed.
pub(crate) async fn follow(mut pipe: impl AsyncRead + Unpin, writer: Writer, logs: Logs, tail: Tail) {
    let mut lines = Lines::default();
    let mut chunk = vec![0; 8 * 1024];
    while let Ok(read) = pipe.read(&mut chunk).await {
        let print = |line: &[u8]| {
            if let Some(record) = record(line, writer) {
                remember(&tail, &record);
                logs.print(record);
            }
        };
        if read == 0 {
            lines.end(print);
            return;
        }
        lines.feed(chunk.get(..read).unwrap_or_default(), print);
    }
}

/// A line as a record: the child's own, or one around its text.
fn record(line: &[u8], writer: Writer) -> Option<Record> {
    let identified = |record: Record| Record {
        role: writer.name.role.word().to_owned(),
        id: writer.name.index,
        pid: writer.pid,
        ..record
    };
    if let Ok(record) = serde_json::from_slice::<Record>(line) {
        return Some(identified(record));
    }
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    (!text.is_empty()).then(|| {
        identified(Record {
            timestamp: timestamp(),
            level: writer.level.to_owned(),
            role: String::new(),
            id: 0,
            pid: 0,
            message: text.to_owned(),
            fields: serde_json::Map::new(),
        })
    })
}

fn remember(tail: &Tail, record: &Record) {
    let mut text = record.message.clone();
    // Lists are in the record itself, which came just before.
    for (key, value) in record.fields.iter().filter(|(_, value)| !value.is_array()) {
        text.push_str(&format!(" {key}={value}"));
    }
    // User code writes what it wants into its messages, and must not say lines of its own about a death.
    let text = cut(&text, TAIL_LINE).replace(['\n', '\r'], " ");
    let mut tail = tail.borrow_mut();
    if let Some(panic) = record.fields.get("panic").and_then(Value::as_str) {
        let place = record.fields.get("place").and_then(Value::as_str).unwrap_or("an unknown place");
        tail.panic = Some(format!("{}, at {place}", cut(panic, TAIL_LINE)));
    }
    if tail.lines.len() == TAIL {
        tail.lines.pop_front();
    }
    tail.lines.push_back(format!("{} {text}", record.level));
}

/// Cuts bytes into lines of bounded length; the rest of a longer line is dropped.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    cut: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut print: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LINE_MAX.saturating_sub(self.line.len());
            self.cut |= text.len() > room;
            self.line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if ends {
                self.end(&mut print);
            }
        }
    }

    fn end(&mut self, mut print: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.cut) {
            self.line.extend_from_slice(" [cut]".as_bytes());
        }
        if !self.line.is_empty() {
            print(&self.line);
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Writer = Writer {
        name: ChildName { role: super::super::name::Role::Worker, index: 2 },
        pid: 9,
        level: "warn",
    };

    #[test]
    fn lines_are_whole_whatever_the_cuts() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in ["on", "e\ntwo\n\nth", "ree"] {
            lines.feed(chunk.as_bytes(), |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.end(|line| seen.push(String::from_utf8_lossy(line).into_owned()));
        assert_eq!(seen, ["one", "two", "three"]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for _ in 0..100 {
            lines.feed(&[b'x'; 4096], |_| {});
        }
        lines.feed(b"\nshort\n", |line| seen.push(line.len()));
        assert_eq!(seen, [LINE_MAX + " [cut]".len(), "short".len()]);
    }

    #[test]
    fn records_keep_their_fields_and_get_the_true_identity() {
        let line =
            br#"{"timestamp":"t","level":"info","role":"master","id":0,"pid":1,"message":"hi","count":3}"#;
        let record = record(line, WRITER).expect("a record");
        assert_eq!((record.role.as_str(), record.id, record.pid), ("worker", 2, 9));
        assert_eq!(record.fields.get("count"), Some(&3.into()));
    }

    #[test]
    fn other_lines_are_wrapped_and_the_last_are_remembered() {
        let tail = Tail::default();
        for number in 0..30 {
            remember(&tail, &record(format!("line {number}\n").as_bytes(), WRITER).expect("a record"));
        }
        assert_eq!(tail.borrow().lines.len(), TAIL);
        assert_eq!(tail.borrow().lines.back().map(String::as_str), Some("warn line 29"));
        assert!(record(b"  \n", WRITER).is_none());
    }

    #[test]
    fn a_message_is_one_line_of_the_last_ones() {
        let tail = Tail::default();
        let line = br#"{"timestamp":"t","level":"info","role":"","id":0,"pid":1,"message":"hi\r\nerror forged","stream":"log","name":"a\nb"}"#;
        remember(&tail, &record(line, WRITER).expect("a record"));
        assert_eq!(tail.take().text(), r#"info hi  error forged name="a\nb" stream="log""#);
    }

    #[test]
    fn a_panic_is_remembered_and_its_backtrace_is_not_said_again() {
        let tail = Tail::default();
        let line = br#"{"timestamp":"t","level":"error","role":"","id":0,"pid":1,"message":"it panicked","panic":"boom","place":"src/a.rs:1:2","backtrace":["a","b"]}"#;
        remember(&tail, &record(line, WRITER).expect("a record"));
        remember(&tail, &record(b"bye\n", WRITER).expect("a record"));
        let tail = tail.take();
        assert_eq!(tail.panic.as_deref(), Some("boom, at src/a.rs:1:2"));
        assert_eq!(tail.lines, [r#"error it panicked panic="boom" place="src/a.rs:1:2""#, "warn bye"]);
    }
}
