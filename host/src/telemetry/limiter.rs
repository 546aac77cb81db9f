//! How many records of one kind a process writes: so many at once, then so many a second ([`Rate`]). The others are
//! counted, and the counts told each [`PERIOD`], so that a flood drowns nobody and no number is lost. Time is passed
//! in.
//!
//! A kind is a place in this program, with the component and the function of it that a record is about: the first
//! record of each is always written whole. What a component says itself is of one kind for each level of its log and
//! each of its streams: errors are not hidden by what it tells beside them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::record::Record;

/// How many records of a kind are written: so many at once, then one each `refill`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    burst: u32,
    refill: Duration,
}

/// Of what the host says: the second record of a kind tells little that the first did not.
pub(super) const OF_HOST: Rate = Rate { burst: 5, refill: Duration::from_secs(1) };
/// Of what user code says, each line of which may be the one that its author looks for: more than anybody reads as it
/// comes, and less than keeps the event loop that writes it or the master that prints it from their work.
pub(super) const OF_GUEST: Rate = Rate { burst: 1_000, refill: Duration::from_millis(5) };
/// Between two records that say what was left out.
pub(super) const PERIOD: Duration = Duration::from_secs(5);
/// Kinds that are told apart; those that come on top share one count for each place in the program.
const KINDS: usize = 256;
/// Fields that say what a kind is about.
pub(super) const ABOUT: [&str; 2] = ["component", "place"];

/// Whose record an event would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The place in the program.
    pub(super) callsite: u64,
    /// That and what it is about.
    pub(super) kind: u64,
    /// How many may be written.
    pub(super) rate: Rate,
}

/// The kinds that were seen lately.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    kinds: HashMap<u64, Kind>,
}

#[derive(Debug)]
struct Kind {
    rate: Rate,
    room: u32,
    /// When the room was counted.
    since: Instant,
    left_out: u64,
    /// Sum of their fields `failed`.
    failed: u64,
    /// How the others are told of.
    about: Option<Record>,
}

impl Kind {
    fn gain(&mut self, now: Instant) {
        let Rate { burst, refill } = self.rate;
        let gained = now.saturating_duration_since(self.since).as_nanos() / refill.as_nanos();
        let gained = u32::try_from(gained).unwrap_or(u32::MAX).min(burst);
        self.room = self.room.saturating_add(gained).min(burst);
        self.since = if self.room == burst { now } else { self.since + refill * gained };
    }

    /// Whether nothing of it has been written lately, and nothing is to be told.
    fn is_quiet(&self) -> bool {
        self.room == self.rate.burst && self.left_out == 0
    }
}

impl Limiter {
    /// Whether a record is to be written; else it is counted, with the `failed` that it would have told of.
    pub(super) fn takes(&mut self, key: Key, failed: u64, now: Instant) -> bool {
        let place = self.place(key, now);
        let Key { rate, .. } = key;
        let fresh = Kind { rate, room: rate.burst, since: now, left_out: 0, failed: 0, about: None };
        let kind = self.kinds.entry(place).or_insert(fresh);
        kind.gain(now);
        match kind.room.checked_sub(1) {
            Some(room) => {
                kind.room = room;
                true
            }
            None => {
                kind.left_out += 1;
                kind.failed += failed;
                false
            }
        }
    }

    /// A record was written: those of its kind that are left out will be told of in its words.
    pub(super) fn learn(&mut self, key: Key, record: &Record) {
        let kind = if self.kinds.contains_key(&key.kind) { key.kind } else { key.callsite };
        if let Some(Kind { about: about @ None, .. }) = self.kinds.get_mut(&kind) {
            let fields = ABOUT.iter().filter_map(|name| record.fields.get_key_value(*name));
            let fields: Map<_, _> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
            // What user code says is a text of its own each time.
            let kind = match record.stream() {
                Some(stream) => format!("what user code says ({stream})"),
                None => record.message.clone(),
            };
            let kind = [("kind".to_owned(), Value::from(kind))];
            *about = Some(Record { fields: kind.into_iter().chain(fields).collect(), ..record.clone() });
        }
    }

    /// Whether anything was left out that was not told of.
    pub(super) fn has_left_out(&self) -> bool {
        self.kinds.values().any(|kind| kind.left_out > 0)
    }

    /// The records that tell of what was left out since the last call.
    pub(super) fn left_out(&mut self, timestamp: &str) -> Vec<Record> {
        let mut records = Vec::new();
        for kind in self.kinds.values_mut().filter(|kind| kind.left_out > 0) {
            let (left_out, failed) = (std::mem::take(&mut kind.left_out), std::mem::take(&mut kind.failed));
            let Some(mut record) = kind.about.clone() else { continue };
            timestamp.clone_into(&mut record.timestamp);
            "more records of a kind were left out".clone_into(&mut record.message);
            record.fields.insert("left_out".to_owned(), left_out.into());
            if failed > 0 {
                record.fields.insert("failed".to_owned(), failed.into());
            }
            records.push(record);
        }
        records
    }

    /// Where a kind is counted.
    fn place(&mut self, key: Key, now: Instant) -> u64 {
        if self.kinds.len() >= KINDS && !self.kinds.contains_key(&key.kind) {
            self.kinds.retain(|_, kind| {
                kind.gain(now);
                !kind.is_quiet()
            });
            if self.kinds.len() >= KINDS {
                return key.callsite;
            }
        }
        key.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { callsite: 1, kind: 2, rate: OF_HOST };

    fn record(message: &str) -> Record {
        let mut fields = Map::new();
        fields.insert("component".to_owned(), "chat@1".into());
        fields.insert("socket".to_owned(), "abc".into());
        Record {
            timestamp: "then".to_owned(),
            level: "notice".to_owned(),
            role: "worker".to_owned(),
            id: 0,
            pid: 1,
            message: message.to_owned(),
            fields,
        }
    }

    fn taken(limiter: &mut Limiter, key: Key, count: u64, now: Instant) -> usize {
        (0..count).filter(|_| limiter.takes(key, 2, now)).count()
    }

    #[test]
    fn a_burst_then_one_a_second() {
        let (mut limiter, began) = (Limiter::default(), Instant::now());
        assert_eq!(taken(&mut limiter, KEY, 100, began), 5);
        assert_eq!(taken(&mut limiter, KEY, 100, began + Duration::from_millis(999)), 0);
        assert_eq!(taken(&mut limiter, KEY, 100, began + Duration::from_millis(1_500)), 1);
        assert_eq!(taken(&mut limiter, KEY, 100, began + Duration::from_millis(2_000)), 1, "none is lost");
        assert_eq!(taken(&mut limiter, KEY, 100, began + Duration::from_secs(3600)), 5);
    }

    #[test]
    fn user_code_may_say_a_lot() {
        let (mut limiter, began) = (Limiter::default(), Instant::now());
        let key = Key { rate: OF_GUEST, ..KEY };
        assert_eq!(taken(&mut limiter, key, 10_000, began), 1_000);
        let mut record = record("hello 1000");
        record.fields.insert("stream".to_owned(), "stdout".into());
        limiter.learn(key, &record);
        let told = limiter.left_out("now");
        let fields = serde_json::json!({
            "kind": "what user code says (stdout)", "component": "chat@1", "left_out": 9_000, "failed": 18_000
        });
        assert_eq!(Value::from(told[0].fields.clone()), fields);
        assert_eq!(taken(&mut limiter, key, 10_000, began + Duration::from_secs(1)), 200);
    }

    #[test]
    fn what_is_left_out_is_told_once_and_sums() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert!(!limiter.has_left_out());
        assert_eq!(taken(&mut limiter, KEY, 12, now), 5);
        limiter.learn(KEY, &record("a thing happened"));
        limiter.learn(KEY, &record("not the first"));
        assert!(limiter.has_left_out());
        let told = limiter.left_out("now");
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].level.as_str(), told[0].timestamp.as_str()), ("notice", "now"));
        let fields = serde_json::json!({
            "kind": "a thing happened", "component": "chat@1", "left_out": 7, "failed": 14
        });
        assert_eq!(Value::from(told[0].fields.clone()), fields);
        assert!(!limiter.has_left_out() && limiter.left_out("now").is_empty());
    }

    #[test]
    fn kinds_do_not_hide_each_other() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(taken(&mut limiter, KEY, 100, now), 5);
        assert_eq!(taken(&mut limiter, Key { kind: 3, ..KEY }, 100, now), 5);
    }

    #[test]
    fn kinds_without_end_take_bounded_memory_and_are_counted() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let mut written = 0;
        for kind in 0..100_000 {
            let key = Key { callsite: u64::MAX, kind, rate: OF_HOST };
            if limiter.takes(key, 1, now) {
                written += 1;
                limiter.learn(key, &record("a thing happened"));
            }
        }
        assert!(limiter.kinds.len() <= KINDS + 1, "{}", limiter.kinds.len());
        let left_out: u64 = limiter.left_out("now").iter().filter_map(|r| r.fields["failed"].as_u64()).sum();
        assert_eq!(written + left_out, 100_000);
        // Those that went quiet make room.
        let later = now + Duration::from_secs(60);
        assert!(limiter.takes(Key { callsite: 7, kind: u64::MAX - 1, rate: OF_HOST }, 1, later));
        assert!(limiter.kinds.len() < 10, "{}", limiter.kinds.len());
    }
}
