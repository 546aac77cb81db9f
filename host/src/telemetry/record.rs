//! One record of the log: the shape that children send to the master and that `--log-format json` prints, and its
//! form for people.

use std::fmt::Write as _;

use sc_core::log::{escaped, visible};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// One line each, for people.
    Human,
    /// One JSON object a line: `timestamp`, `level`, `role`, `id`, `pid`, `message`, then the record's own fields.
    Json,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// RFC 3339 in UTC.
    pub(crate) timestamp: String,
    /// `error`, `warn`, `notice`, `info`, `debug` or `trace`.
    pub(crate) level: String,
    /// `master`, `balancer`, `worker` or `store`.
    pub(crate) role: String,
    /// Which one of the role.
    pub(crate) id: u16,
    /// Its process.
    pub(crate) pid: u32,
    /// A fixed sentence; with a field `stream` a text of user code, without either a line that was no record.
    pub(crate) message: String,
    /// What varies.
    #[serde(flatten)]
    pub(crate) fields: Map<String, Value>,
}

/// Now, as records carry it.
pub(crate) fn timestamp() -> String {
    let mut text = String::new();
    match SystemTime.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        Err(_) => "1970-01-01T00:00:00Z".to_owned(),
    }
}

impl Record {
    /// Where user code said the message, if it is a text of its own: `stdout`, `stderr` or `log`.
    pub(crate) fn stream(&self) -> Option<&str> {
        self.fields.get("stream").and_then(Value::as_str)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| ROW + name.len() + weight(value));
        ROW * 4 + self.message.len() + fields.sum::<usize>()
    }

    /// The record as one line of JSON, without the line's end.
    pub(crate) fn json(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned());
        // JSON allows these as they are, but some terminals obey them, and some readers of lines end one at them. They
        // can only be within strings.
        let is_obeyed = |c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        match text.contains(is_obeyed) {
            false => text,
            true => escaped(&text, is_obeyed, |c| format!("\\u{:04x}", u32::from(c))),
        }
    }

    /// The record for people; with `color`, for a terminal.
    pub(crate) fn human(&self, color: bool) -> String {
        let (code, name) = match self.level.as_str() {
            "error" => ("31", " ERROR"),
            "warn" => ("33", "  WARN"),
            "notice" => ("36", "NOTICE"),
            "info" => ("32", "  INFO"),
            "debug" => ("34", " DEBUG"),
            _ => ("35", " TRACE"),
        };
        // Microseconds and the date's letters say nothing to the eye.
        let time = self.timestamp.get(..23).unwrap_or(&self.timestamp).replace('T', " ");
        let who = match self.role.as_str() {
            "master" => self.role.clone(),
            role => format!("{role} {}", self.id),
        };
        let mut line = match color {
            true => {
                format!("\x1b[2m{time}\x1b[0m \x1b[{code}m{name}\x1b[0m {who:<10} {}", visible(&self.message))
            }
            false => format!("{time} {name} {who:<10} {}", visible(&self.message)),
        };
        let (mut blocks, mut text) = (String::new(), String::new());
        // The record `ready` is for programs; its sentence says it all to people.
        let shown =
            Some(&self.fields).filter(|fields| fields.get("event").is_none_or(|event| event != "ready"));
        for (key, value) in shown.into_iter().flatten() {
            if value.as_str() == Some("") {
                continue;
            }
            let mut block = |rows: &mut dyn Iterator<Item = &str>| {
                let _ = write!(blocks, "\n    {key}:");
                rows.for_each(|row| {
                    let _ = write!(blocks, "\n      {}", visible(row));
                });
            };
            match value {
                Value::String(value) if value.contains('\n') => block(&mut value.lines()),
                Value::Array(rows) if rows.iter().all(Value::is_string) => {
                    block(&mut rows.iter().filter_map(Value::as_str));
                }
                Value::String(value) if value.contains(char::is_whitespace) => {
                    let _ = write!(text, " {key}={value:?}");
                }
                Value::String(value) => {
                    let _ = write!(text, " {key}={}", visible(value));
                }
                other => {
                    let _ = write!(text, " {key}={other}");
                }
            }
        }
        match color {
            true if !text.is_empty() => {
                let _ = write!(line, "\x1b[2m{text}\x1b[0m");
            }
            _ => line.push_str(&text),
        }
        line.push_str(&blocks);
        line
    }
}

/// What a value, or a row of a list, takes beside its text.
const ROW: usize = 48;

fn weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(rows) => rows.iter().map(|row| ROW + weight(row)).sum(),
        // Fields are flat; see `Fields::put`.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut fields = Map::new();
        fields.insert("url".to_owned(), "http://127.0.0.1:8000/".into());
        fields.insert("last_lines".to_owned(), vec!["one", "two"].into());
        Record {
            timestamp: "2026-01-02T03:04:05.678901Z".to_owned(),
            level: "info".to_owned(),
            role: "worker".to_owned(),
            id: 3,
            pid: 77,
            message: "all is well".to_owned(),
            fields,
        }
    }

    #[test]
    fn json_keeps_everything() {
        let line = record().json();
        assert!(line.starts_with(r#"{"timestamp":"2026-01-02T03:04:05.678901Z","level":"info","role":"worker","id":3,"pid":77,"message":"all is well""#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("a record"), record());
    }

    #[test]
    fn people_read_one_line_and_indented_blocks() {
        let expected = "2026-01-02 03:04:05.678   INFO worker 3   all is well url=http://127.0.0.1:8000/\n    last_lines:\n      one\n      two";
        assert_eq!(record().human(false), expected);
    }

    #[test]
    fn nobody_forges_a_line() {
        let mut record = record();
        record.message = "hello\n2026-01-02 ERROR\x1b[2J".to_owned();
        record.fields.insert("url".to_owned(), "a\x07".into());
        let line = record.human(false);
        assert!(line.contains(r"hello\n2026-01-02 ERROR\u{1b}[2J url=a\u{7}"), "{line}");
    }

    #[test]
    fn nobody_reorders_a_line_or_ends_it() {
        let mut record = record();
        record.message =
            "a\u{202e}b\u{200b}c\u{85}d\u{2028}e \u{e9}\u{301}\u{1f469}\u{200d}\u{1f680}".to_owned();
        let line = record.human(false);
        let shown = "a\\u{202e}b\\u{200b}c\\u{85}d\\u{2028}e \u{e9}\u{301}\u{1f469}\u{200d}\u{1f680} url";
        assert!(line.contains(shown), "{line}");
        let line = record.json();
        assert!(line.contains("c\\u0085d\\u2028e \u{e9}"), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("a record"), record);
    }

    #[test]
    fn timestamps_are_utc() {
        assert!(timestamp().ends_with('Z'));
        assert!(timestamp().len() > 20);
    }
}
