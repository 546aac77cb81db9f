//! Controllers of stores: named procedures that run next to the data, and who comes and goes on channels.
//!
//! A procedure's operations happen at once, in the data themselves, and are undone if it fails; nobody else touches
//! the data meanwhile.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use sc_wire::store::{KeyError, KeyOp};

use super::{CallError, Failure, Generation, Json, StartError, StartInfo};

/// The data that a running procedure works on.
pub trait ProcedureData {
    /// Does something under a path that starts from the procedure's base. An error outside of a procedure, also of an
    /// instance that starts while another one runs.
    fn act(&self, path: Vec<String>, action: KeyOp) -> Result<Option<Bytes>, KeyError>;

    /// Publishes once the call has returned well.
    fn publish(&self, channel: String, data: Option<Json>);
}

/// A live instance of a store's controller.
pub trait StoreController {
    /// Runs a procedure. The inner error is its own answer; after an outer one the instance must be dropped. Either
    /// way what it did is undone.
    fn run(
        &mut self,
        name: &str,
        argument: Option<&str>,
    ) -> impl Future<Output = Result<Result<Option<Json>, Failure>, CallError>>;

    /// Whether it wants to hear of channels.
    fn hears_channels(&self) -> bool;

    /// A channel has its first subscriber, or has lost its last one, on any worker.
    fn channel(&mut self, channel: &str, is_subscribed: bool) -> impl Future<Output = Result<(), CallError>>;
}

/// Where instances of a store's controller come from.
pub trait StoreControllerSource {
    /// What it makes.
    type Instance: StoreController + 'static;

    /// Loads and starts an instance.
    fn start(
        &self,
        generation: &Generation,
        info: &StartInfo,
        data: Rc<dyn ProcedureData>,
    ) -> impl Future<Output = Result<Self::Instance, StartError>>;
}
