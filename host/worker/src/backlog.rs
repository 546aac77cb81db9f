//! What of a socket's messages waits for room. One message may bring many thousands of packets: past what may wait of
//! one socket, the rest of it stays the text that it came as, and the socket is not read until that is done.

use std::collections::VecDeque;

use serde_json::value::RawValue;

/// The messages, oldest first.
#[derive(Default)]
pub(crate) struct Backlog(VecDeque<Rest>);

struct Rest {
    text: Box<str>,
    is_binary: bool,
    /// Where the next packet of a batch begins, or what is between it and the one before; none for a message that was
    /// not read at all.
    at: Option<usize>,
}

/// What is to be handled next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// A packet of a batch.
    Packet(Box<str>),
    /// A whole message, and whether it is binary.
    Message(Box<str>, bool),
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps a batch but for its first packets, ahead of all that waits.
    pub(crate) fn keep_batch(&mut self, text: &str, but: usize) {
        let mut at = text.find('[').map_or(text.len(), |bracket| bracket + 1);
        for _ in 0..but {
            at = element(text, at).map_or(text.len(), |(_, end)| end);
        }
        self.0.push_front(Rest { text: text.into(), is_binary: false, at: Some(at) });
    }

    /// Keeps a message behind all that waits.
    pub(crate) fn keep(&mut self, text: &str, is_binary: bool) {
        self.0.push_back(Rest { text: text.into(), is_binary, at: None });
    }

    /// Takes what comes next.
    pub(crate) fn next(&mut self) -> Option<Next> {
        loop {
            let Rest { text, at, .. } = self.0.front_mut()?;
            if let Some(at) = at
                && let Some((packet, end)) = element(text, *at)
            {
                *at = end;
                return Some(Next::Packet(packet.into()));
            }
            let Rest { text, is_binary, at } = self.0.pop_front()?;
            if at.is_none() {
                return Some(Next::Message(text, is_binary));
            }
        }
    }
}

/// The first element from there on of an array that was read once, and where it ends.
fn element(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?.trim_start_matches([',', ' ', '\n', '\r', '\t']);
    if rest.starts_with(']') {
        return None;
    }
    let start = text.len() - rest.len();
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
    let value = values.next()?.ok()?;
    Some((value.get(), start + values.byte_offset()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(backlog: &mut Backlog) -> Vec<Next> {
        std::iter::from_fn(|| backlog.next()).collect()
    }

    fn packets(texts: &[&str]) -> Vec<Next> {
        texts.iter().map(|text| Next::Packet((*text).into())).collect()
    }

    #[test]
    fn a_batch_goes_on_where_it_was_left() {
        let all = [r#"{"event":"a,]"}"#, "[1,[2]]", "3", "\"x\\\"]\"", "null", "-1.5e3", "{}"];
        let texts = [format!("[{}]", all.join(",")), format!("\n [ {} ]\t", all.join(" ,\r\n "))];
        for (text, but) in texts.iter().flat_map(|text| (0..=all.len()).map(move |but| (text, but))) {
            let mut backlog = Backlog::default();
            backlog.keep_batch(text, but);
            assert_eq!(rest(&mut backlog), packets(&all[but..]), "{text}");
            assert!(backlog.is_empty());
        }
    }

    #[test]
    fn messages_wait_behind_the_batch_before_them() {
        let mut backlog = Backlog::default();
        backlog.keep_batch("[1,2,3]", 1);
        backlog.keep("", true);
        assert_eq!(backlog.next(), Some(Next::Packet("2".into())));
        backlog.keep("[4,5]", false);
        let behind = [Next::Message("".into(), true), Next::Message("[4,5]".into(), false)];
        assert_eq!(backlog.next(), Some(Next::Packet("3".into())));
        assert_eq!(rest(&mut backlog), behind);
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!("[1,{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let mut backlog = Backlog::default();
        backlog.keep_batch(&deep, 1);
        assert_eq!(rest(&mut backlog).len(), 1);
    }
}
