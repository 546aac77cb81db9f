//! Procedures of the stores' controller.

use bytes::Bytes;
use sc_core::ids::StoreId;
use sc_wire::store::{Request, Run, Tree};

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
        let run = Run { tree: tree.clone(), path, procedure, argument };
        self.wait(store, |link, waiter| link.ask(|op| Request::Run { op, run }, waiter))
    }

    /// Has a procedure run when this worker is gone. A store that comes back is told anew.
    ///
    /// # Errors
    /// `Busy` when too many, or too many bytes of them, wait for that already; `TooLarge` when it is larger than a
    /// frame may be.
    pub fn run_at_end(
        &self,
        tree: &Tree,
        path: Vec<String>,
        procedure: String,
        argument: Option<Bytes>,
    ) -> Result<(), CallError> {
        let store = shard::of_path(tree, &path, self.count()).unwrap_or(StoreId(0));
        let run = Run { tree: tree.clone(), path, procedure, argument };
        let Some(link) = self.inner.links.get(usize::from(store.0)) else { return Err(CallError::Lost) };
        link.borrow_mut().run_at_end(run)
    }
}
