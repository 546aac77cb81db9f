//! What waits to be sent to one client. Bounded in bytes, those of the queue itself among them: publications may be
//! dropped, oldest first, because their channel goes on without them; anything else is owed to the client, who is
//! closed when it does not fit.
//!
//! Packets may be collected into a batch, an array that is one message; it keeps its place among the others.

use std::collections::VecDeque;

use sc_core::config::SlowClient;
use sc_wire::encode;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame;

/// What an entry takes beside its text: its place in the queue, and what an allocation costs.
const ENTRY_COST: usize = 96;

/// One thing to send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message that is owed.
    Text(Utf8Bytes),
    /// A publication, whose bytes many sockets share.
    Publication(Utf8Bytes),
    /// A ping: the one message that is never part of a batch, and no packet whose place counts.
    Ping(&'static str),
    /// A packet of the classic protocol, as it goes out.
    Packet(Utf8Bytes),
    /// The end.
    Close(Option<CloseFrame>),
}

impl Outgoing {
    fn cost(&self) -> usize {
        match self {
            Outgoing::Text(text) | Outgoing::Publication(text) | Outgoing::Packet(text) => cost(text.len()),
            Outgoing::Ping(text) => cost(text.len()),
            Outgoing::Close(_) => 0,
        }
    }

    fn is_publication(&self) -> bool {
        matches!(self, Outgoing::Publication(_))
    }
}

fn cost(length: usize) -> usize {
    length + ENTRY_COST
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Packets of the batch that is being collected; behind all that waits.
    batch: Vec<Utf8Bytes>,
    bytes: usize,
    /// Publications among what waits.
    publications: usize,
    /// No publication waits before this place: who drops many does not look at all others for each.
    first_publication: usize,
    dropped: u64,
}

/// The client reads too slowly for the policy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Outbox {
    /// Queues a message within `most` bytes.
    pub(crate) fn push(
        &mut self,
        message: Outgoing,
        most: usize,
        policy: SlowClient,
    ) -> Result<(), Overflow> {
        if !matches!(message, Outgoing::Ping(_)) {
            self.seal();
        }
        let cost = message.cost();
        // A single message above the bound is let through alone: it is bounded by what a packet may be.
        while self.bytes.saturating_add(cost) > most && !self.waiting.is_empty() {
            match policy {
                SlowClient::DropOldest if self.drop_oldest() => {}
                SlowClient::DropOldest if message.is_publication() => {
                    self.dropped += 1;
                    return Ok(());
                }
                _ => return Err(Overflow),
            }
        }
        self.bytes += cost;
        if message.is_publication() {
            if self.publications == 0 {
                self.first_publication = self.waiting.len();
            }
            self.publications += 1;
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Adds a packet to the batch within `most` bytes; one that does not fit ends the batch and waits by itself.
    pub(crate) fn collect(
        &mut self,
        message: Outgoing,
        most: usize,
        policy: SlowClient,
    ) -> Result<(), Overflow> {
        match message {
            Outgoing::Text(packet) | Outgoing::Publication(packet)
                if self.bytes + cost(packet.len()) <= most =>
            {
                self.bytes += collected(&packet);
                self.batch.push(packet);
                Ok(())
            }
            other => self.push(other, most, policy),
        }
    }

    /// Ends the batch, if there is one: it becomes one message, an array even of a single packet.
    pub(crate) fn seal(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut self.batch);
        self.bytes -= packets.iter().map(collected).sum::<usize>();
        let batch = Outgoing::Text(encode::batch(&packets).into());
        self.bytes += batch.cost();
        self.waiting.push_back(batch);
    }

    /// Drops the oldest publication; false when none waits.
    fn drop_oldest(&mut self) -> bool {
        if self.publications == 0 {
            return false;
        }
        let mut from_first = self.waiting.iter().enumerate().skip(self.first_publication);
        let Some((oldest, _)) = from_first.find(|(_, message)| message.is_publication()) else {
            return false;
        };
        self.first_publication = oldest;
        if let Some(message) = self.waiting.remove(oldest) {
            self.bytes -= message.cost();
            self.publications -= 1;
            self.dropped += 1;
        }
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.cost();
        self.publications -= usize::from(message.is_publication());
        self.first_publication = self.first_publication.saturating_sub(1);
        // A burst's room is given back.
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        Some(message)
    }

    /// Forgets what waits, to close at once.
    pub(crate) fn clear(&mut self) {
        self.waiting = VecDeque::new();
        self.batch = Vec::new();
        self.bytes = 0;
        self.publications = 0;
    }

    /// Publications that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What a packet of a batch takes, with the comma or bracket that it will have.
fn collected(packet: &Utf8Bytes) -> usize {
    cost(packet.len()) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(text: &str) -> Outgoing {
        Outgoing::Publication(text.into())
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.pop())
            .map(|message| match message {
                Outgoing::Text(text) | Outgoing::Publication(text) | Outgoing::Packet(text) => {
                    text.as_str().to_owned()
                }
                Outgoing::Ping(text) => text.to_owned(),
                Outgoing::Close(_) => "close".to_owned(),
            })
            .collect()
    }

    #[test]
    fn the_oldest_publications_make_room() {
        let mut outbox = Outbox::default();
        for message in [publication("aa"), Outgoing::Text("bb".into()), publication("cc"), publication("dd")]
        {
            outbox.push(message, 3 * cost(2), SlowClient::DropOldest).expect("room is made");
        }
        assert_eq!(outbox.dropped(), 1);
        assert_eq!(drain(&mut outbox), ["bb", "cc", "dd"]);
    }

    #[test]
    fn what_is_owed_is_never_dropped() {
        let mut outbox = Outbox::default();
        outbox.push(Outgoing::Text("aaaa".into()), cost(4), SlowClient::DropOldest).expect("room");
        assert_eq!(outbox.push(publication("b"), cost(4), SlowClient::DropOldest), Ok(()));
        assert_eq!(outbox.push(Outgoing::Text("b".into()), cost(4), SlowClient::DropOldest), Err(Overflow));
        assert_eq!(drain(&mut outbox), ["aaaa"]);
    }

    #[test]
    fn the_other_policy_drops_nothing() {
        let mut outbox = Outbox::default();
        outbox.push(publication("aaaa"), cost(4), SlowClient::Close).expect("room");
        assert_eq!(outbox.push(publication("b"), cost(4), SlowClient::Close), Err(Overflow));
    }

    #[test]
    fn one_message_above_the_bound_passes_alone() {
        let mut outbox = Outbox::default();
        outbox.push(publication("aaaaaaaa"), cost(4), SlowClient::Close).expect("alone");
    }

    #[test]
    fn small_messages_count_with_what_they_take() {
        let mut outbox = Outbox::default();
        for _ in 0..10 {
            outbox.push(Outgoing::Text("1".into()), 10 * cost(1), SlowClient::Close).expect("room");
        }
        let full = outbox.push(Outgoing::Text("1".into()), 10 * cost(1), SlowClient::Close);
        assert_eq!(full, Err(Overflow));
    }

    /// The place of the first publication is right however the queue changes.
    #[test]
    fn the_oldest_is_found_among_others() {
        let mut outbox = Outbox::default();
        let text = || Outgoing::Text("x".into());
        let push = |outbox: &mut Outbox, message| {
            outbox.push(message, 6 * cost(1), SlowClient::DropOldest).expect("room is made");
        };
        for message in [text(), publication("1"), text(), publication("2"), publication("3"), text()] {
            push(&mut outbox, message);
        }
        push(&mut outbox, publication("4"));
        assert!(matches!(outbox.pop(), Some(Outgoing::Text(_))));
        push(&mut outbox, text());
        push(&mut outbox, publication("5"));
        assert_eq!((outbox.dropped(), outbox.publications), (2, 3));
        assert_eq!(drain(&mut outbox), ["x", "3", "x", "4", "x", "5"]);
        assert_eq!((outbox.bytes, outbox.publications), (0, 0));
        push(&mut outbox, publication("6"));
        assert!(outbox.drop_oldest() && !outbox.drop_oldest());
    }

    #[test]
    fn a_batch_keeps_its_place_and_its_bound() {
        let mut outbox = Outbox::default();
        let text = |text: &str| Outgoing::Text(text.into());
        for packet in ["1", "2"] {
            outbox.collect(text(packet), 4 * cost(4), SlowClient::Close).expect("room");
        }
        outbox.push(Outgoing::Ping("#1"), 4 * cost(4), SlowClient::Close).expect("room");
        outbox.push(text("3"), 4 * cost(4), SlowClient::Close).expect("room");
        outbox.collect(text("4"), 4 * cost(4), SlowClient::Close).expect("room");
        assert_eq!(outbox.collect(text("1234567890"), 4 * cost(4), SlowClient::Close), Err(Overflow));
        outbox.seal();
        assert_eq!(drain(&mut outbox), ["#1", "[1,2]", "3", "[4]"]);
        assert_eq!(outbox.bytes, 0);
    }
}
