//! What workers say of, and ask about, who is on a channel.

use bytes::Bytes;
use sc_core::ids::StoreId;
use sc_wire::store::{Member, OfEach, Request};

use super::{CallError, Stores};
use crate::shard;

impl Stores {
    /// Says that a socket of this worker is on a channel, or has changed; `again` when the store may have known it.
    /// While the store is down this does nothing: it is said again after [`super::StoreEvent::Attached`], as are
    /// [`Stores::watch_members`].
    pub fn join(&self, channel: &str, member: Member, again: bool) {
        self.say(channel, &Request::Join { channel: channel.to_owned(), member, again });
    }

    /// Says that a socket of this worker left a channel.
    pub fn leave(&self, channel: &str, socket: u64) {
        self.say(channel, &Request::Leave { channel: channel.to_owned(), socket });
    }

    /// Says that all members on a store's channels were said again.
    pub fn all_again(&self, store: StoreId) {
        if let Some(link) = self.inner.links.get(usize::from(store.0)) {
            link.borrow_mut().say(&Request::AllAgain);
        }
    }

    /// Says whether this worker wants to hear who joins and leaves a channel.
    pub fn watch_members(&self, channel: &str, on: bool) {
        self.say(channel, &Request::WatchMembers { channel: channel.to_owned(), on });
    }

    fn say(&self, channel: &str, request: &Request) {
        let store = shard::of_channel(channel, self.count());
        if let Some(link) = self.inner.links.get(usize::from(store.0)) {
            link.borrow_mut().say(request);
        }
    }

    /// The store that knows a channel.
    pub fn of_channel(&self, channel: &str) -> StoreId {
        shard::of_channel(channel, self.count())
    }

    /// Who is on a channel: a JSON object with `count` and, unless `of_each` is nothing, `members`.
    ///
    /// # Errors
    /// All of [`CallError`].
    pub fn members(
        &self,
        channel: &str,
        of_each: OfEach,
    ) -> impl Future<Output = Result<Option<Bytes>, CallError>> + use<> {
        let channel = channel.to_owned();
        self.wait(self.of_channel(&channel), |link, waiter| {
            link.ask(|op| Request::Members { op, channel, of_each }, waiter);
        })
    }
}
