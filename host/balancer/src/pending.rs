//! Connections that are not handed over: how many there may be, in all and of one address. Past either bound the
//! oldest is closed, so that clients that send nothing never keep out those that do.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use sc_core::client::block_of;
use sc_core::log::NOTICE;
use tokio::task::AbortHandle;

/// All pending connections. Ages are their numbers: lower is older.
#[derive(Debug)]
pub(crate) struct Pending {
    max: usize,
    max_per_address: usize,
    last: u64,
    all: BTreeMap<u64, Connection>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    /// Connections with a request under way, and those of each address.
    working: usize,
    working_by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    task: Option<AbortHandle>,
}

/// A connection's place among the pending; given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pending: Rc<RefCell<Pending>>,
    id: u64,
    address: IpAddr,
    /// Whether its connection is about to end.
    ends: bool,
}

/// Work on a request of a connection, which meanwhile is not pending. When this is dropped, it is again, as the
/// newest, unless its connection ends.
#[derive(Debug)]
pub(crate) struct Work {
    place: Rc<RefCell<Place>>,
    connection: Option<Connection>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut place = self.place.borrow_mut();
        let pending = Rc::clone(&place.pending);
        let mut pending = pending.borrow_mut();
        pending.working = pending.working.saturating_sub(1);
        if let Entry::Occupied(mut working) = pending.working_by_address.entry(block_of(place.address)) {
            *working.get_mut() -= 1;
            if *working.get() == 0 {
                working.remove();
            }
        }
        if let Some(Connection { address, task }) = self.connection.take().filter(|_| !place.ends) {
            place.id = pending.admit(address);
            if let Some(task) = task {
                pending.own(place.id, task);
            }
        }
    }
}

impl Place {
    /// Takes a place, and the oldest connection's if need be.
    pub(crate) fn take(pending: &Rc<RefCell<Pending>>, address: IpAddr) -> Self {
        let id = pending.borrow_mut().admit(address);
        Place { pending: Rc::clone(pending), id, address, ends: false }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The connection is about to end: nobody has to make room for it once more.
    pub(crate) fn end(&mut self) {
        self.ends = true;
    }

    /// Begins to work on a request, unless that is done for `most` connections, or for as many of its address as may
    /// be pending.
    pub(crate) fn work(place: &Rc<RefCell<Self>>, most: usize) -> Option<Work> {
        let held = place.borrow();
        let mut pending = held.pending.borrow_mut();
        if pending.working >= most {
            return None;
        }
        let most_of_address = pending.max_per_address;
        let of_address = pending.working_by_address.entry(block_of(held.address)).or_default();
        if *of_address >= most_of_address {
            return None;
        }
        *of_address += 1;
        pending.working += 1;
        let connection = pending.remove(held.id);
        Some(Work { place: Rc::clone(place), connection })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pending.borrow_mut().remove(self.id);
    }
}

impl Pending {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Pending {
            max: max.max(1),
            max_per_address: max_per_address.max(1),
            last: 0,
            all: BTreeMap::new(),
            by_address: HashMap::new(),
            working: 0,
            working_by_address: HashMap::new(),
        }
    }

    /// Names the task that serves a connection, to be aborted when the connection must go.
    pub(crate) fn own(&mut self, id: u64, task: AbortHandle) {
        if let Some(connection) = self.all.get_mut(&id) {
            connection.task = Some(task);
        }
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    fn admit(&mut self, address: IpAddr) -> u64 {
        let address = block_of(address);
        let of_address = self.by_address.get(&address);
        if let Some(oldest) =
            of_address.filter(|ids| ids.len() >= self.max_per_address).and_then(BTreeSet::first)
        {
            self.close(*oldest);
        }
        if self.all.len() >= self.max
            && let Some((oldest, _)) = self.all.first_key_value()
        {
            self.close(*oldest);
        }
        self.last += 1;
        self.all.insert(self.last, Connection { address, task: None });
        self.by_address.entry(address).or_default().insert(self.last);
        self.last
    }

    fn close(&mut self, id: u64) {
        let Some(Connection { address, task }) = self.remove(id) else { return };
        if let Some(task) = task {
            task.abort();
        }
        tracing::info!(
            target: NOTICE,
            %address,
            "too many connections have not sent their request, so the oldest was closed"
        );
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.all.remove(&id)?;
        if let Some(ids) = self.by_address.get_mut(&connection.address) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&connection.address);
            }
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_in_all_and_of_one_address() {
        let pending = Rc::new(RefCell::new(Pending::new(4, 2)));
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let mut places: Vec<_> = [1, 2, 2, 2, 3, 4].map(|last| Place::take(&pending, address(last))).into();
        let left: Vec<_> = pending.borrow().all.keys().copied().collect();
        assert_eq!(left, [3, 4, 5, 6], "2 went for its address, 1 for all");
        let last = Rc::new(RefCell::new(places.pop().expect("a place")));
        let work = Place::work(&last, 1).expect("room");
        assert!(Place::work(&last, 1).is_none(), "one is under way");
        assert_eq!(pending.borrow().all.len(), 3);
        drop(work);
        assert_eq!(pending.borrow().all.last_key_value().map(|(id, _)| *id), Some(7), "it is the newest");
        drop(last);
        places.clear();
        assert!(pending.borrow().all.is_empty() && pending.borrow().by_address.is_empty());
    }

    fn places(pending: &Rc<RefCell<Pending>>, addresses: &[u8]) -> Vec<Rc<RefCell<Place>>> {
        let place = |last: &u8| Place::take(pending, IpAddr::from([127, 0, 0, *last]));
        addresses.iter().map(|last| Rc::new(RefCell::new(place(last)))).collect()
    }

    #[test]
    fn one_address_has_not_all_that_is_worked_on() {
        let pending = Rc::new(RefCell::new(Pending::new(10, 2)));
        let mut works = Vec::new();
        for last in [1, 1] {
            let place = places(&pending, &[last]).pop().expect("a place");
            works.push(Place::work(&place, 10).expect("room"));
        }
        let places = places(&pending, &[1, 2]);
        assert!(Place::work(&places[0], 10).is_none(), "two of its address are under way");
        let _other = Place::work(&places[1], 10).expect("room for another address");
        works.pop();
        works.push(Place::work(&places[0], 10).expect("room again"));
        works.clear();
        assert_eq!(pending.borrow().working_by_address.len(), 1, "what has ended is forgotten");
    }

    #[test]
    fn nobody_makes_room_for_a_connection_that_ends() {
        let pending = Rc::new(RefCell::new(Pending::new(1, 1)));
        let ending = places(&pending, &[1]).pop().expect("a place");
        let work = Place::work(&ending, 1).expect("room");
        let _stranger = places(&pending, &[2]);
        ending.borrow_mut().end();
        drop((work, ending));
        assert_eq!(pending.borrow().all.keys().copied().collect::<Vec<_>>(), [2]);
    }
}
