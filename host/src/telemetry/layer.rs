//! From tracing events to records. Fields of the spans around an event are added to it, the innermost winning. Of
//! notices, of faults and of what user code says only so many are taken as [`LeftOut`] lets through.

use std::sync::Arc;

use sc_core::causes::causes;
use sc_core::log::{FAULT, GUEST, NOTICE};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::Who;
use super::left_out::LeftOut;
use super::limiter::{OF_GUEST, OF_HOST};
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
    pub(crate) sink: Arc<S>,
    /// What is left out.
    pub(crate) left_out: Arc<LeftOut>,
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
        let target = event.metadata().target();
        let rate = match target {
            NOTICE | FAULT => Some(OF_HOST),
            GUEST => Some(OF_GUEST),
            _ => None,
        };
        let key = rate.map(|rate| self.left_out.takes(event, rate));
        // It is left out.
        if matches!(key, Some(None)) {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.map.extend(of_span.map.clone());
            }
        }
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::INFO if target == NOTICE => "notice",
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let record = Record {
            timestamp: timestamp(),
            level: level.to_owned(),
            role: self.who.role.to_owned(),
            id: self.who.id,
            pid: std::process::id(),
            message: fields.message,
            fields: fields.map,
        };
        if let Some(key) = key.flatten() {
            self.left_out.learn(key, &record);
        }
        self.sink.write(record);
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
            // See `sc_core::log::Lines`.
            name @ ("backtrace" | "last_lines") => {
                if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
                    self.map.insert(name.to_owned(), text.lines().map(Value::from).collect());
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
        self.put(field, causes(value).into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<Record>>>);

    impl Memory {
        fn records(&self) -> Vec<Record> {
            self.0.lock().expect("no panic").clone()
        }
    }

    /// Has records written by what is done, and then those that tell of the others.
    fn records(work: impl FnOnce()) -> Vec<Record> {
        let (memory, left_out) = (Memory::default(), Arc::<LeftOut>::default());
        let who = Who { role: "worker", id: 1 };
        let layer = RecordLayer { who, sink: Arc::new(memory.clone()), left_out: Arc::clone(&left_out) };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        left_out.tell(&memory);
        memory.records()
    }

    impl Sink for Memory {
        fn write(&self, record: Record) {
            self.0.lock().expect("no panic").push(record);
        }
    }

    #[test]
    fn events_become_records_with_the_fields_of_their_spans() {
        let records = records(|| {
            let span = tracing::info_span!("request", request = 7);
            let _inside = span.enter();
            tracing::warn!(id = 5, name = "x", backtrace = "a\nb", last_lines = "", "a thing happened");
        });
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!((record.level.as_str(), record.message.as_str()), ("warn", "a thing happened"));
        assert_eq!((record.role.as_str(), record.id), ("worker", 1));
        assert_eq!(
            Value::from(record.fields.clone()),
            serde_json::json!({"field_id": 5, "name": "x", "request": 7, "backtrace": ["a", "b"]})
        );
    }

    #[test]
    fn notices_have_a_level_of_their_own_and_a_bound_for_each_component() {
        let records = records(|| {
            for number in 0..100 {
                let component = if number == 50 { "rare@1" } else { "chat@1" };
                tracing::info!(target: NOTICE, component = %component, number, "an action was blocked");
            }
        });
        assert!(records.iter().all(|record| record.level == "notice"));
        let of = |component: &str| {
            let of_it = records.iter().filter(|record| record.fields["component"] == component);
            of_it.map(|record| record.fields.get("left_out").cloned()).collect::<Vec<_>>()
        };
        assert_eq!(of("rare@1"), [None]);
        assert_eq!(of("chat@1"), [None, None, None, None, None, Some(94.into())]);
    }

    #[test]
    fn what_user_code_says_is_bounded_for_each_component_and_level() {
        let records = records(|| {
            for number in 0..5_000 {
                tracing::info!(target: GUEST, component = "chat@1", stream = "log", "line {number}");
            }
            tracing::error!(target: GUEST, component = "chat@1", stream = "log", "it matters");
            tracing::info!(target: GUEST, component = "rare@1", stream = "log", "it matters too");
        });
        let said = |text: &str| records.iter().filter(|record| record.message.contains(text)).count();
        assert_eq!(said("it matters"), 2);
        let whole = said("line ");
        assert!((1_000..5_000).contains(&whole), "{whole}");
        let [told] =
            records.iter().filter(|record| record.fields.contains_key("left_out")).collect::<Vec<_>>()[..]
        else {
            panic!("one record tells of the others: {records:?}")
        };
        assert_eq!((told.level.as_str(), told.stream()), ("info", None));
        let fields = serde_json::json!({
            "kind": "what user code says (log)", "component": "chat@1", "left_out": 5_000 - whole
        });
        assert_eq!(Value::from(told.fields.clone()), fields);
    }

    #[test]
    fn faults_at_another_place_are_seen_and_counts_sum() {
        let records = records(|| {
            for number in 0..100_u64 {
                let place = if number == 99 { "pay" } else { "ping" };
                tracing::error!(target: FAULT, component = "chat@1", place, failed = number, "a call failed");
            }
            tracing::error!(place = "ping", "of another kind");
        });
        assert!(records.iter().any(|record| record.fields["place"] == "pay"));
        let failed: u64 = records.iter().filter_map(|record| record.fields.get("failed")?.as_u64()).sum();
        assert_eq!(failed, (0..100).sum::<u64>());
        assert_eq!(records.len(), 5 + 1 + 1 + 1, "{records:?}");
    }
}
