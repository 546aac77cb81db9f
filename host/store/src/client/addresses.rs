//! What workers say of, and ask about, how many sockets a client address has.

use std::net::IpAddr;

use sc_wire::store::Request;

use super::{CallError, Stores};
use crate::shard;

impl Stores {
    /// Says how many sockets of an address this worker holds. A store that comes back is told anew.
    pub fn hold_address(&self, address: IpAddr, sockets: u32) {
        let store = shard::of_address(address, self.count());
        if let Some(link) = self.inner.links.get(usize::from(store.0)) {
            let link = &mut *link.borrow_mut();
            link.note_address(address, sockets);
            link.say(&Request::AddressSockets { address, sockets });
        }
    }

    /// The same, if all workers together then hold `most` at most: resolves to whether they do. A refusal leaves what
    /// the store knew; whoever asked says what holds.
    ///
    /// # Errors
    /// All of [`CallError`]; `Lost` at once while the store is down.
    pub fn enter_address(
        &self,
        address: IpAddr,
        sockets: u32,
        most: u32,
    ) -> impl Future<Output = Result<bool, CallError>> + use<> {
        let answer = self.wait(shard::of_address(address, self.count()), |link, waiter| {
            link.note_address(address, sockets);
            link.ask_now(|op| Request::EnterAddress { op, address, sockets, most }, waiter);
        });
        async move { Ok(answer.await?.is_some_and(|value| &*value == b"true")) }
    }
}
