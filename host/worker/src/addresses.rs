//! How many sockets a client address may have, on all workers together. Each worker counts its own, and the store that
//! an address falls to adds them up: it is asked before a socket opens, and told when one is over.
//!
//! A store that is down, or does not answer, keeps nobody out; until it is back each worker bounds its own sockets. A
//! worker that dies takes its sockets along, for its link to the store ends with it.
//!
//! A classic client is refused by a socket that tells it so and closes. These have a bound of their own. So have
//! polling sockets that are not open yet, with or without a limit: they cost their client no connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use foldhash::fast::RandomState;
use sc_core::client::block_of;
use sc_core::log::NOTICE;
use sc_store::client::Stores;
use tokio::time::timeout;

use crate::upgrade::Refusal;

/// How long a store may take to say whether there is room.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sockets of one address that tell their clients why and close, at most; and never more than its limit. Each is gone
/// once its client has read that, or a few seconds later.
const TURNED_AWAY: u32 = 16;
/// Polling sockets of one address that are not open yet, at most. Of real clients each opens after two requests; many
/// of them may have one address, that of a proxy which nobody called trusted.
const ARRIVING: u32 = 256;

/// The worker's sockets by address.
pub(crate) struct Addresses {
    /// How many sockets one address may have; none for no limit.
    limit: Option<u32>,
    stores: Stores,
    held: Counts,
    turned_away: Counts,
    arriving: Counts,
}

/// Sockets by whom they count for.
#[derive(Default)]
struct Counts(RefCell<HashMap<IpAddr, u32, RandomState>>);

impl Counts {
    fn of(&self, block: IpAddr) -> u32 {
        self.0.borrow().get(&block).copied().unwrap_or(0)
    }

    fn add(&self, block: IpAddr) {
        *self.0.borrow_mut().entry(block).or_default() += 1;
    }

    fn take_off(&self, block: IpAddr) {
        let mut counts = self.0.borrow_mut();
        if let Some(count) = counts.get_mut(&block) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&block);
            }
        }
    }
}

/// A socket's place among those of its address, given back when dropped.
pub(crate) struct Place {
    addresses: Rc<Addresses>,
    block: IpAddr,
    kind: Kind,
}

/// What a place is one of. Stores know of the first kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Held,
    TurnedAway,
    Arriving,
}

/// A classic client whose address has as many sockets as it may, and that is told so by one more, which closes.
pub(crate) struct TurnedAway {
    pub(crate) full: Full,
    /// The place of that socket.
    pub(crate) place: Place,
}

/// An address has as many sockets as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full(IpAddr);

impl Full {
    /// For the client; the original's words.
    pub(crate) fn reason(self) -> String {
        format!("Reached connection limit for the address {}", self.0)
    }

    /// The answer to a request for a socket. That it was refused is noted already.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(429, &self.reason()).with("Retry-After", "10").quiet()
    }
}

impl Addresses {
    pub(crate) fn new(limit: Option<u32>, stores: Stores) -> Rc<Self> {
        Rc::new(Addresses {
            limit,
            stores,
            held: Counts::default(),
            turned_away: Counts::default(),
            arriving: Counts::default(),
        })
    }

    /// Takes a place for a socket of an address; nothing to hold where there is no limit.
    pub(crate) async fn enter(self: &Rc<Self>, address: IpAddr) -> Result<Option<Place>, Full> {
        let Some(limit) = self.limit else { return Ok(None) };
        let block = block_of(address);
        if self.held.of(block) >= limit {
            return Err(refuse(address, limit));
        }
        let place = Place::take(self, block, Kind::Held);
        let asked = self.held.of(block);
        match timeout(PATIENCE, self.stores.enter_address(block, asked, limit)).await {
            Ok(Ok(true)) if self.held.of(block) == asked => Ok(Some(place)),
            // Others came or went meanwhile, or the store does not know of this one.
            Ok(Ok(true) | Err(_)) | Err(_) => {
                self.tell(block);
                Ok(Some(place))
            }
            Ok(Ok(false)) => Err(refuse(address, limit)),
        }
    }

    /// Takes a place for a socket that tells a classic client why it is refused.
    ///
    /// # Errors
    /// There are as many of these as may be: the client is refused without one.
    pub(crate) fn turn_away(self: &Rc<Self>, full: Full) -> Result<TurnedAway, Full> {
        let block = block_of(full.0);
        let most = self.limit.map_or(TURNED_AWAY, |limit| limit.min(TURNED_AWAY));
        match self.turned_away.of(block) < most {
            true => Ok(TurnedAway { full, place: Place::take(self, block, Kind::TurnedAway) }),
            false => Err(full),
        }
    }

    /// Takes a place for a polling socket, which it gives back once it is open.
    pub(crate) fn arrive(self: &Rc<Self>, address: IpAddr) -> Result<Place, Full> {
        let block = block_of(address);
        if self.arriving.of(block) < ARRIVING {
            return Ok(Place::take(self, block, Kind::Arriving));
        }
        tracing::info!(
            target: NOTICE, %address, most = ARRIVING,
            "too many polling sockets of an address have not opened yet: one more was refused"
        );
        Err(Full(address))
    }

    fn tell(&self, block: IpAddr) {
        self.stores.hold_address(block, self.held.of(block));
    }
}

fn refuse(address: IpAddr, limit: u32) -> Full {
    tracing::info!(target: NOTICE, %address, limit, "an address has as many sockets as it may: one more was refused");
    Full(address)
}

impl Place {
    fn take(addresses: &Rc<Addresses>, block: IpAddr, kind: Kind) -> Self {
        let place = Place { addresses: Rc::clone(addresses), block, kind };
        place.counts().add(block);
        place
    }

    fn counts(&self) -> &Counts {
        match self.kind {
            Kind::Held => &self.addresses.held,
            Kind::TurnedAway => &self.addresses.turned_away,
            Kind::Arriving => &self.addresses.arriving,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts().take_off(self.block);
        if self.kind == Kind::Held {
            self.addresses.tell(self.block);
        }
    }
}
