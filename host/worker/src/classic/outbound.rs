//! What a classic client is told, in its words. The outbox holds the modern protocol's texts, which many sockets
//! share; they are put into others when they are written.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use foldhash::fast::RandomState;
use sc_wire::classic::outbound::{self, Told};
use sc_wire::classic::{event, packet};
use sc_wire::packet::string;
use serde_json::value::RawValue;

use super::{Classic, Layer};
use crate::socket::Socket;

/// Calls for several things at once that wait for all their answers.
const SEVERAL: usize = 100;

/// Calls of which each part is answered by itself, while their client waits for one answer.
#[derive(Default)]
pub(super) struct Several(RefCell<HashMap<i64, Parts, RandomState>>);

#[derive(Default)]
struct Parts {
    left: Cell<usize>,
    failed: Cell<bool>,
}

impl Several {
    /// Notes that a call has so many parts; false when too many such calls wait.
    pub(super) fn begin(&self, call: i64, parts: usize) -> bool {
        let mut calls = self.0.borrow_mut();
        if calls.len() >= SEVERAL {
            return false;
        }
        calls.insert(call, Parts { left: Cell::new(parts), failed: Cell::new(false) });
        true
    }

    /// Whether an answer is to be told: one of a call without parts, the first that says no, or the last one.
    fn is_told(&self, call: &str, failed: bool) -> bool {
        let mut calls = self.0.borrow_mut();
        let Some((call, parts)) = call.parse().ok().and_then(|call| Some((call, calls.get(&call)?))) else {
            return true;
        };
        let (left, had_failed) = (parts.left.get().saturating_sub(1), parts.failed.get());
        parts.left.set(left);
        parts.failed.set(had_failed || failed);
        if left == 0 {
            calls.remove(&call);
        }
        !had_failed && (failed || left == 0)
    }
}

impl Classic {
    /// The packets that say what a queued text says: none, one, or two.
    pub(crate) fn packets(&self, socket: &Socket, text: &str) -> impl Iterator<Item = String> + use<> {
        let (mut first, mut second) = (None, None);
        match outbound::read(text) {
            Told::Answer { to, error, data } => {
                if self.several.is_told(to, error.is_some()) {
                    first = Some(outbound::answer(to, error.map(RawValue::get), data.map(RawValue::get)));
                }
            }
            Told::Publication { channel, data } => {
                let data = data.map(RawValue::get);
                if self.layer.get() != Layer::Channels {
                    first = Some(outbound::event(channel.get(), data, socket.next_cid()));
                }
                if self.layer.get() != Layer::Events {
                    second = Some(outbound::publication(channel.get(), data));
                }
            }
            Told::KickOut(data) => {
                first = Some(outbound::event("\"kickOut\"", Some(data.get()), socket.next_cid()));
            }
            // Names that the client uses within itself would break it.
            Told::Event { name, data, cid } if !string(name).is_some_and(|name| event::is_local(&name)) => {
                let cid = cid.unwrap_or_else(|| socket.next_cid());
                first = Some(outbound::event(name.get(), data.map(RawValue::get), cid));
            }
            Told::Event { .. } | Told::Nothing => {}
        }
        [first, second].into_iter().flatten().map(|json| packet::message(&json))
    }
}

#[cfg(test)]
mod tests {
    use super::Several;

    #[test]
    fn parts_have_one_answer() {
        let several = Several::default();
        assert!(several.is_told("7", false), "a call without parts");
        assert!(several.begin(7, 3));
        assert_eq!(["7", "7", "7", "7"].map(|call| several.is_told(call, false)), [false, false, true, true]);
        assert!(several.begin(8, 3));
        assert_eq!([false, true, true].map(|failed| several.is_told("8", failed)), [false, true, false]);
        assert!(several.0.borrow().is_empty());
    }

    #[test]
    fn no_more_calls_wait_than_there_is_room_for() {
        let several = Several::default();
        assert!((0..100).all(|call| several.begin(call, 2)) && !several.begin(100, 2));
    }
}
