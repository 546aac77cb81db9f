//! From tracing events to records. Fields of the spans around an event are added to it, the innermost winning.

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::Who;
use super::record::{Record, timestamp};

/// Where records go.
pub(crate) trait Sink: Send + Sync + 'static {
    /// Takes a record without waiting.
    fn write(&self, record: Record);
}

/// Turns events into records of one process.
pub(crate) struct RecordLayer<S> {
    /// Whose records.
    pub(crate) who: Who,
    /// Where to.
    pub(crate) sink: S,
}

impl<S: Sink, R: Subscriber + for<'a> LookupSpan<'a>> Layer<R> for RecordLayer<S> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, R>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, R>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.map.extend(of_span.map.clone());
            }
        }
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        self.sink.write(Record {
            timestamp: timestamp(),
            level: level.to_owned(),
            role: self.who.role.to_owned(),
            id: self.who.id,
            pid: std::process::id(),
            message: fields.message,
            fields: fields.map,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    map: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {
                self.message = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                }
            }
            // Names of the record's own members would be read back as those.
            name @ ("timestamp" | "level" | "role" | "id" | "pid") => {
                self.map.insert(format!("field_{name}"), value);
            }
            name => {
                self.map.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.put(field, text.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<Record>>>);

    impl Sink for Memory {
        fn write(&self, record: Record) {
            self.0.lock().expect("no panic").push(record);
        }
    }

    #[test]
    fn events_become_records_with_the_fields_of_their_spans() {
        let memory = Memory::default();
        let who = Who { role: "worker", id: 1 };
        let layer = RecordLayer { who, sink: memory.clone() };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("request", request = 7);
            let _inside = span.enter();
            tracing::warn!(id = 5, name = "x", "a thing happened");
        });
        let records = memory.0.lock().expect("no panic");
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!((record.level.as_str(), record.message.as_str()), ("warn", "a thing happened"));
        assert_eq!((record.role.as_str(), record.id), ("worker", 1));
        assert_eq!(
            Value::from(record.fields.clone()),
            serde_json::json!({"field_id": 5, "name": "x", "request": 7})
        );
    }
}
