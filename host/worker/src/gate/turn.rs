//! What of one socket waits for verdicts: the packets it sent, the messages they come in, and the publications on
//! their way to it. Each of the three keeps its order and goes on by itself.

use std::collections::VecDeque;
use std::rc::Rc;

use sc_core::ids::Token;
use sc_core::limits::{GUEST_QUEUE_PER_SOCKET, TURN_BYTES};
use sc_wire::packet::Call;
use serde_json::value::RawValue;

use super::Publication;
use crate::seat::Seat;

/// One socket's part.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) packets: Row<Behind>,
    pub(crate) messages: Row<RawMessage>,
    pub(crate) outward: Row<Rc<Publication>>,
    /// The socket is among those whose next publication is to be asked about.
    pub(super) is_listed: bool,
    /// A bit for each place that was given an action of it; the last one stands for all above it.
    asked: u64,
}

/// The action of a kind that waits for its verdict, and what came after it.
pub(crate) struct Row<T> {
    pub(super) held: Option<Token>,
    behind: VecDeque<T>,
    bytes: usize,
}

/// A packet that waits for the one before it.
pub(crate) struct Behind {
    pub(super) event: String,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) call: Call,
}

/// A message that nothing was read in.
pub(crate) struct RawMessage {
    pub(crate) text: String,
    pub(crate) is_binary: bool,
}

/// What takes room while it waits.
pub(crate) trait Weighs {
    fn bytes(&self) -> usize;
}

impl Behind {
    pub(crate) fn new(event: &str, data: Option<&RawValue>, call: Call) -> Self {
        Behind { event: event.to_owned(), data: data.map(RawValue::to_owned), call }
    }
}

impl Weighs for Behind {
    fn bytes(&self) -> usize {
        self.event.len() + self.data.as_ref().map_or(0, |data| data.get().len())
    }
}

impl Weighs for RawMessage {
    fn bytes(&self) -> usize {
        self.text.len()
    }
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Row { held: None, behind: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Weighs> Row<T> {
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_none() && self.behind.is_empty()
    }

    /// Whether nothing more should join it.
    pub(super) fn is_full(&self) -> bool {
        self.behind.len() >= GUEST_QUEUE_PER_SOCKET || self.bytes >= TURN_BYTES
    }

    /// Joins those that wait behind the one whose verdict is awaited.
    pub(crate) fn queue(&mut self, next: T) {
        self.bytes += next.bytes();
        self.behind.push_back(next);
    }

    /// Joins those that wait, ahead of them all: it is part of what was taken out last.
    pub(crate) fn queue_first(&mut self, next: T) {
        self.bytes += next.bytes();
        self.behind.push_front(next);
    }

    /// The next one, unless one is held.
    pub(super) fn next(&mut self) -> Option<T> {
        if self.is_held() {
            return None;
        }
        let next = self.behind.pop_front()?;
        self.bytes -= next.bytes();
        Some(next)
    }
}

impl Turn {
    /// Whether the socket should not be read.
    pub(crate) fn is_behind(&self) -> bool {
        self.packets.is_full() || self.messages.is_full()
    }

    /// A component is given an action of it.
    pub(super) fn note(&mut self, seat: &Seat) {
        self.asked |= bit(seat);
    }

    /// Whether a component was given an action of it.
    pub(super) fn was_given(&self, seat: &Seat) -> bool {
        self.asked & bit(seat) != 0
    }
}

fn bit(seat: &Seat) -> u64 {
    1 << seat.index.min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_full_of_many_or_of_large_ones() {
        let message = |length| RawMessage { text: "x".repeat(length), is_binary: false };
        let mut row = Row { held: Some(Token(1)), ..Row::default() };
        for _ in 0..GUEST_QUEUE_PER_SOCKET {
            assert!(!row.is_full());
            row.queue(message(1));
        }
        assert!(row.is_full() && row.next().is_none());
        row.held = None;
        assert!(row.next().is_some() && !row.is_full());
        row.queue(message(TURN_BYTES));
        assert!(row.is_full());
        while row.next().is_some() {}
        assert!(row.is_idle() && row.bytes == 0);
    }
}
