//! Which links want which channel. Leaving is rare, so a link's end walks all channels rather than that every link
//! keeps a list of its own.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Names a link for as long as the store lives; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// Channels and the links subscribed to them.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_name: HashMap<String, Vec<LinkId>, RandomState>,
}

impl Channels {
    /// Subscribes a link; once is as good as twice. Whether it is the channel's first.
    pub(crate) fn subscribe(&mut self, link: LinkId, channel: String) -> bool {
        let links = self.by_name.entry(channel).or_default();
        if !links.contains(&link) {
            links.push(link);
            return links.len() == 1;
        }
        false
    }

    /// Ends a link's subscription. Whether it was the channel's last.
    pub(crate) fn unsubscribe(&mut self, link: LinkId, channel: &str) -> bool {
        let Some(links) = self.by_name.get_mut(channel) else { return false };
        links.retain(|subscribed| *subscribed != link);
        let was_last = links.is_empty();
        if was_last {
            self.by_name.remove(channel);
        }
        was_last
    }

    /// Ends all subscriptions of a link; the channels whose last it was.
    pub(crate) fn forget(&mut self, link: LinkId) -> Vec<String> {
        let mut left = Vec::new();
        self.by_name.retain(|channel, links| {
            links.retain(|subscribed| *subscribed != link);
            if links.is_empty() {
                left.push(channel.clone());
            }
            !links.is_empty()
        });
        left
    }

    /// How many channels have a subscribed link.
    pub(crate) fn count(&self) -> u64 {
        self.by_name.len() as u64
    }

    /// The links subscribed to a channel.
    pub(crate) fn links(&self, channel: &str) -> &[LinkId] {
        self.by_name.get(channel).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_subscribed_once_and_forgotten_whole() {
        let (one, two) = (LinkId(1), LinkId(2));
        let mut channels = Channels::default();
        for (link, channel, is_first) in
            [(one, "a", true), (one, "a", false), (two, "a", false), (one, "b", true)]
        {
            assert_eq!(channels.subscribe(link, channel.to_owned()), is_first);
        }
        assert_eq!(channels.links("a"), [one, two]);
        assert!(!channels.unsubscribe(two, "a") && !channels.unsubscribe(two, "b"));
        assert_eq!((channels.links("a"), channels.links("b")), ([one].as_slice(), [one].as_slice()));
        assert!(channels.unsubscribe(one, "b"));
        assert_eq!(channels.forget(one), ["a"]);
        assert!(channels.links("a").is_empty() && channels.count() == 0);
    }
}
