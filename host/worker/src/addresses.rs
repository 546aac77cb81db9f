//! How many sockets a client address may have, on all workers together. Each worker counts its own, and the store that an
//! address falls to adds them up: it is asked before a socket opens, and told when one is over.
//!
//! A store that is down, or does not answer, keeps nobody out; until it is back each worker bounds its own sockets. A
//! worker that dies takes its sockets along, for its link to the store ends with it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use sc_core::client::block_of;
use sc_store::client::Stores;
use tokio::time::{Instant, timeout};

use crate::upgrade::Refusal;

/// How long a store may take to say whether there is room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two warnings of refused sockets.
const QUIET: Duration = Duration::from_secs(10);

/// The worker's sockets by address.
pub(crate) struct Addresses {
    /// How many sockets one address may have; none for no limit.
    limit: Option<u32>,
    stores: Stores,
    held: RefCell<HashMap<IpAddr, u32, RandomState>>,
    refused: Cell<u64>,
    warned: Cell<Option<Instant>>,
}

/// A socket's place among those of its address, given back when dropped.
pub(crate) struct Place {
    addresses: Rc<Addresses>,
    block: IpAddr,
}

/// An address has as many sockets as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full(IpAddr);

impl Full {
    /// For the client; the original's words.
    pub(crate) fn reason(self) -> String {
        format!("Reached connection limit for the address {}", self.0)
    }

    /// The answer to a request for a socket.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(429, &self.reason()).with("Retry-After", "10")
    }
}

impl Addresses {
    pub(crate) fn new(limit: Option<u32>, stores: Stores) -> Rc<Self> {
        let (held, refused, warned) = (RefCell::default(), Cell::new(0), Cell::new(None));
        Rc::new(Addresses { limit, stores, held, refused, warned })
    }

    /// Takes a place for a socket of an address; nothing to hold where there is no limit.
    pub(crate) async fn enter(self: &Rc<Self>, address: IpAddr) -> Result<Option<Place>, Full> {
        let Some(limit) = self.limit else { return Ok(None) };
        let block = block_of(address);
        if self.count(block) >= limit {
            return Err(self.refuse(address, limit));
        }
        let place = Place::take(self, block);
        let asked = self.count(block);
        match timeout(PATIENCE, self.stores.enter_address(block, asked, limit)).await {
            Ok(Ok(true)) if self.count(block) == asked => Ok(Some(place)),
            // Others came or went meanwhile, or the store does not know of this one.
            Ok(Ok(true) | Err(_)) | Err(_) => {
                self.tell(block);
                Ok(Some(place))
            }
            Ok(Ok(false)) => Err(self.refuse(address, limit)),
        }
    }

    fn count(&self, block: IpAddr) -> u32 {
        self.held.borrow().get(&block).copied().unwrap_or(0)
    }

    fn tell(&self, block: IpAddr) {
        self.stores.hold_address(block, self.count(block));
    }

    fn refuse(&self, address: IpAddr, limit: u32) -> Full {
        self.refused.set(self.refused.get() + 1);
        let now = Instant::now();
        if self.warned.get().is_none_or(|warned| now.duration_since(warned) >= QUIET) {
            tracing::warn!(
                %address,
                limit,
                refused = self.refused.replace(0),
                "an address has as many sockets as it may: more are refused"
            );
            self.warned.set(Some(now));
        }
        Full(address)
    }
}

impl Place {
    fn take(addresses: &Rc<Addresses>, block: IpAddr) -> Self {
        *addresses.held.borrow_mut().entry(block).or_default() += 1;
        Place { addresses: Rc::clone(addresses), block }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.addresses.held.borrow_mut();
        if let Some(count) = held.get_mut(&self.block) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.block);
            }
        }
        drop(held);
        self.addresses.tell(self.block);
    }
}
