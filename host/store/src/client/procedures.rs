//! Procedures of the stores' controller.

use bytes::Bytes;
use sc_core::ids::StoreId;
use sc_core::limits::STORE_DEADLINE;
use sc_wire::store::{Request, Tree};
use tokio::time::Instant;

use super::{CallError, Stores};
use crate::shard;

impl Stores {
    /// Runs a procedure of the stores' controller next to the data under a path, and resolves to its answer.
    ///
    /// # Errors
    /// All of [`CallError`].
    pub fn run(
        &self,
        tree: &Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<Bytes>,
    ) -> impl Future<Output = Result<Option<Bytes>, CallError>> + use<> {
        let store = shard::of_path(tree, &path, self.count()).unwrap_or(StoreId(0));
        let tree = tree.clone();
        self.wait(store, |link, waiter| {
            link.ask(|op| Request::Run { op: Some(op), tree, path, procedure, argument }, waiter);
        })
    }

    /// Has a procedure run when this worker is gone.
    ///
    /// # Errors
    /// `Busy`, or `TooLarge` when it is larger than a frame may be.
    pub fn run_at_end(
        &self,
        tree: &Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<Bytes>,
    ) -> Result<(), CallError> {
        let store = shard::of_path(tree, &path, self.count()).unwrap_or(StoreId(0));
        let request = Request::Run { op: None, tree: tree.clone(), path, procedure, argument };
        let Some(link) = self.inner.links.get(usize::from(store.0)) else { return Err(CallError::Lost) };
        link.borrow_mut().tell(request, Instant::now() + STORE_DEADLINE)
    }
}
