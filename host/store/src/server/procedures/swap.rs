//! Another generation takes the running one's place. Its instance starts beside the running one, without a way to the
//! data; then, between two jobs, it gets all that waits and comes. What runs at that moment ends in the old instance,
//! within its own limits. An instance has no state that could be carried over: what must stay is in the data.

use std::rc::Rc;

use sc_core::controller::{Cause, Generation, StartError, StartInfo, StoreControllerSource};
use sc_core::limits::{READY_DEADLINE, RETIRED_DEADLINE};
use sc_core::link::control::{ChildLink, FromChild};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use super::Desk;
use super::driver::Driver;

type Started<I> = Result<I, StartError>;

/// The number of a reload, by which it is answered, and the generation that is to run.
pub(in crate::server) type Reload = (u64, Generation);

/// A generation whose instance starts.
pub(super) struct Swap<I> {
    number: u64,
    generation: Generation,
    info: StartInfo,
    desk: Rc<Desk>,
    /// Until then it takes over, or not at all: the master waits no longer.
    until: Instant,
    starting: JoinSet<Started<I>>,
}

/// How the start of a swap's instance ended; for ever without a swap. Cancel safe.
pub(super) async fn started<I: 'static>(swap: &mut Option<Swap<I>>) -> Result<Started<I>, JoinError> {
    if let Some(swap) = swap
        && let Some(ended) = swap.starting.join_next().await
    {
        return ended;
    }
    std::future::pending().await
}

impl<S: StoreControllerSource + 'static> Driver<S> {
    /// Starts an instance of another generation while the running one works on. A swap that was under way is dropped:
    /// a master that gives another order does not wait for its end. `has_instance` unless that failed: then the same
    /// generation is worth another start.
    pub(super) async fn begin_swap(
        &mut self,
        control: &ChildLink,
        (number, generation): Reload,
        has_instance: bool,
    ) {
        self.swap = None;
        if generation.hash == self.generation.hash && has_instance {
            return tell(control, number, Ok(())).await;
        }
        let config = generation.config.clone();
        let info = StartInfo { cause: Cause::Reload, config, ..self.info.clone() };
        let desk = Desk::new(&self.hub);
        let mut starting = JoinSet::new();
        let (source, new, told) = (Rc::clone(&self.source), generation.clone(), info.clone());
        let data = Rc::<Desk>::clone(&desk);
        starting.spawn_local(async move {
            let started = timeout(READY_DEADLINE, source.start(&new, &told, data)).await;
            let late = || StartError::Load(format!("it did not start in {} s", READY_DEADLINE.as_secs()));
            started.unwrap_or_else(|_| Err(late()))
        });
        let until = Instant::now() + READY_DEADLINE + RETIRED_DEADLINE;
        self.swap = Some(Swap { number, generation, info, desk, until, starting });
    }

    /// The new instance takes over, or nothing changes.
    pub(super) async fn switch(
        &mut self,
        control: &ChildLink,
        started: Result<Started<S::Instance>, JoinError>,
    ) {
        let Some(Swap { number, generation, info, desk, until, .. }) = self.swap.take() else { return };
        let component = generation.label().to_string();
        let started = started.unwrap_or_else(|error| Err(StartError::Load(error.to_string())));
        let outcome = match started {
            Err(error) => Err(error.to_string()),
            Ok(_) if Instant::now() > until => Err("a procedure went on for too long".to_owned()),
            Ok(instance) => {
                (self.generation, self.info) = (generation, info);
                self.take_over(instance, &desk);
                Ok(())
            }
        };
        match &outcome {
            Ok(()) => tracing::info!(component, "the store's controller is replaced"),
            Err(reason) => {
                tracing::warn!(component, reason, "the store's controller stays as it was");
            }
        }
        tell(control, number, outcome).await;
    }
}

async fn tell(control: &ChildLink, number: u64, outcome: Result<(), String>) {
    // A master that is gone needs no telling.
    let _ = control.send(&FromChild::Reloaded(number, outcome), &[]).await;
}
