//! How many sockets each client address has, as the links say it. A link that breaks takes its sockets along; its
//! worker says them again over the next one.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::pubsub::LinkId;

/// All addresses with sockets, and how many of them each link holds.
#[derive(Debug, Default)]
pub(super) struct Addresses(HashMap<IpAddr, Vec<(LinkId, u32)>, RandomState>);

impl Addresses {
    /// A link holds so many sockets of an address from now on.
    pub(super) fn hold(&mut self, link: LinkId, address: IpAddr, sockets: u32) {
        let parts = self.0.entry(address).or_default();
        parts.retain(|(holder, _)| *holder != link);
        if sockets > 0 {
            parts.push((link, sockets));
        }
        if parts.is_empty() {
            self.0.remove(&address);
        }
    }

    /// The same, if with those of all other links they are `most` at most; else nothing changes.
    pub(super) fn enter(&mut self, link: LinkId, address: IpAddr, sockets: u32, most: u32) -> bool {
        let parts = self.0.get(&address).map(Vec::as_slice).unwrap_or_default();
        let others = parts.iter().filter(|(holder, _)| *holder != link).map(|(_, held)| u64::from(*held));
        let is_within = others.sum::<u64>() + u64::from(sockets) <= u64::from(most);
        if is_within {
            self.hold(link, address, sockets);
        }
        is_within
    }

    /// A link is gone, and with it the sockets it held.
    pub(super) fn forget(&mut self, link: LinkId) {
        self.0.retain(|_, parts| {
            parts.retain(|(holder, _)| *holder != link);
            !parts.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LinkId = LinkId(1);
    const TWO: LinkId = LinkId(2);

    #[test]
    fn all_links_share_a_limit() {
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut addresses = Addresses::default();
        assert!(addresses.enter(ONE, here, 1, 3) && addresses.enter(TWO, here, 1, 3));
        assert!(addresses.enter(ONE, here, 2, 3));
        assert!(!addresses.enter(TWO, here, 2, 3) && !addresses.enter(ONE, here, 3, 3), "three are there");
        assert!(addresses.enter(TWO, there, 3, 3), "another address");
        addresses.hold(ONE, here, 1);
        assert!(addresses.enter(TWO, here, 2, 3), "one left");
        addresses.forget(TWO);
        assert!(addresses.enter(ONE, here, 3, 3), "a worker died");
        addresses.hold(ONE, here, 0);
        assert!(addresses.0.is_empty(), "nothing is kept of those without sockets");
    }
}
