//! What waits to be sent to one client. Bounded in bytes: publications may be dropped, oldest first, because their
//! channel goes on without them; anything else is owed to the client, who is closed when it does not fit.
//!
//! Packets may be collected into a batch, an array that is one message; it keeps its place among the others.

use std::collections::VecDeque;

use sc_core::config::SlowClient;
use sc_wire::encode;
use tungstenite::Utf8Bytes;
use tungstenite::protocol::CloseFrame;

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
    fn len(&self) -> usize {
        match self {
            Outgoing::Text(text) | Outgoing::Publication(text) | Outgoing::Packet(text) => text.len(),
            Outgoing::Ping(text) => text.len(),
            Outgoing::Close(_) => 0,
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Outgoing>,
    /// Packets of the batch that is being collected; behind all that waits.
    batch: Vec<Utf8Bytes>,
    bytes: usize,
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
        let length = message.len();
        // A single message above the bound is let through alone: it is bounded by what a packet may be.
        while self.bytes + length > most && !self.waiting.is_empty() {
            match (policy, self.oldest_publication()) {
                (SlowClient::DropOldest, Some(oldest)) => self.drop_at(oldest),
                (SlowClient::DropOldest, None) if matches!(message, Outgoing::Publication(_)) => {
                    self.dropped += 1;
                    return Ok(());
                }
                _ => return Err(Overflow),
            }
        }
        self.bytes += length;
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
            Outgoing::Text(packet) | Outgoing::Publication(packet) if self.bytes + packet.len() <= most => {
                // With the comma or bracket that it will have.
                self.bytes += packet.len() + 1;
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
        self.bytes -= packets.iter().map(|packet| packet.len() + 1).sum::<usize>();
        let batch = Outgoing::Text(encode::batch(&packets).into());
        self.bytes += batch.len();
        self.waiting.push_back(batch);
    }

    fn oldest_publication(&self) -> Option<usize> {
        self.waiting.iter().position(|message| matches!(message, Outgoing::Publication(_)))
    }

    fn drop_at(&mut self, index: usize) {
        if let Some(message) = self.waiting.remove(index) {
            self.bytes -= message.len();
            self.dropped += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.len();
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
    }

    /// Publications that were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
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
            outbox.push(message, 6, SlowClient::DropOldest).expect("room is made");
        }
        assert_eq!(outbox.dropped(), 1);
        assert_eq!(drain(&mut outbox), ["bb", "cc", "dd"]);
    }

    #[test]
    fn what_is_owed_is_never_dropped() {
        let mut outbox = Outbox::default();
        outbox.push(Outgoing::Text("aaaa".into()), 4, SlowClient::DropOldest).expect("room");
        assert_eq!(outbox.push(publication("b"), 4, SlowClient::DropOldest), Ok(()));
        assert_eq!(outbox.push(Outgoing::Text("b".into()), 4, SlowClient::DropOldest), Err(Overflow));
        assert_eq!(drain(&mut outbox), ["aaaa"]);
    }

    #[test]
    fn the_other_policy_drops_nothing() {
        let mut outbox = Outbox::default();
        outbox.push(publication("aaaa"), 4, SlowClient::Close).expect("room");
        assert_eq!(outbox.push(publication("b"), 4, SlowClient::Close), Err(Overflow));
    }

    #[test]
    fn one_message_above_the_bound_passes_alone() {
        let mut outbox = Outbox::default();
        outbox.push(publication("aaaaaaaa"), 4, SlowClient::Close).expect("alone");
    }

    #[test]
    fn a_batch_keeps_its_place_and_its_bound() {
        let mut outbox = Outbox::default();
        let text = |text: &str| Outgoing::Text(text.into());
        for packet in ["1", "2"] {
            outbox.collect(text(packet), 16, SlowClient::Close).expect("room");
        }
        outbox.push(Outgoing::Ping("#1"), 16, SlowClient::Close).expect("room");
        outbox.push(text("3"), 16, SlowClient::Close).expect("room");
        outbox.collect(text("4"), 16, SlowClient::Close).expect("room");
        assert_eq!(outbox.collect(text("12345678"), 16, SlowClient::Close), Err(Overflow));
        outbox.seal();
        assert_eq!(drain(&mut outbox), ["#1", "[1,2]", "3", "[4]"]);
        assert_eq!(outbox.bytes, 0);
    }
}
