//! What workers say of sessions, and what all sockets of one are told.

use bytes::Bytes;
use sc_core::limits::STORE_DEADLINE;
use sc_wire::store::{Request, SessionMessage};
use tokio::time::Instant;

use super::{CallError, Stores};
use crate::shard;

impl Stores {
    /// Says how many sockets of a session this worker holds. A store that comes back is told anew.
    pub fn hold_session(&self, session: &str, sockets: u32) {
        let store = shard::of_session(session, self.count());
        if let Some(link) = self.inner.links.get(usize::from(store.0)) {
            link.borrow_mut().hold_session(session, sockets);
        }
    }

    /// Tells all sockets of a session, on all workers.
    ///
    /// # Errors
    /// `Busy`, or `TooLarge` when it is larger than a frame may be.
    pub fn tell_session(&self, session: &str, message: SessionMessage) -> Result<(), CallError> {
        let store = shard::of_session(session, self.count());
        let request = Request::TellSession { op: None, session: session.to_owned(), message };
        let Some(link) = self.inner.links.get(usize::from(store.0)) else { return Err(CallError::Lost) };
        link.borrow_mut().tell(request, Instant::now() + STORE_DEADLINE)?;
        self.inner.arm();
        Ok(())
    }

    /// As [`Stores::tell_session`]; resolves to the number of sockets that were told, the left out one included.
    ///
    /// # Errors
    /// All of [`CallError`].
    pub fn tell_session_and_count(
        &self,
        session: &str,
        message: SessionMessage,
    ) -> impl Future<Output = Result<Option<Bytes>, CallError>> + use<> {
        let store = shard::of_session(session, self.count());
        let session = session.to_owned();
        self.wait(store, |link, waiter| {
            link.ask(|op| Request::TellSession { op: Some(op), session, message }, waiter);
        })
    }
}
