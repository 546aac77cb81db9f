//! The way back from a swap: the previous generation runs again. It gets the state of the running instance or, where
//! that cannot be had, its own state of the swap; then it is also told which sockets have closed since.

use sc_core::controller::{Cause, Command, Controller, ControllerSource, Generation, Snapshot, StartInfo};

use super::Driver;
use super::ends::Ends;
use super::swap::Stage;

/// What a swap replaced.
pub(super) struct Previous {
    pub(super) generation: Generation,
    pub(super) snapshot: Option<Snapshot>,
    /// The number of its last instance.
    pub(super) number: u64,
    /// Of what it is still to be told when it comes back.
    pub(super) ends: Ends,
}

impl<S: ControllerSource + 'static> Driver<S> {
    /// The generation on probation failed: the one before comes back as it was.
    pub(super) async fn recover(&mut self) {
        let Stage::Failed(reason) = std::mem::replace(&mut self.stage, Stage::Settled) else { return };
        let Some(previous) = self.previous.take() else { return self.tell(Err(reason)) };
        let outcome = match self.go_back(previous, false).await {
            Ok(()) => reason,
            Err(worse) => format!("{reason}; and the one before did not come back by itself: {worse}"),
        };
        self.tell(Err(outcome));
    }

    /// Starts the generation before again, with the state of the running instance if that is to be had and it can take
    /// it, else with that of the swap. When it does not start, it is tried like after a crash.
    pub(super) async fn go_back(&mut self, previous: Previous, with_state: bool) -> Result<(), String> {
        let present = if with_state { self.state().await.ok().flatten() } else { None };
        let info = self.info_of(&previous.generation, Cause::Reload);
        self.generation = previous.generation;
        self.seat.obey(&self.generation);
        self.info = info.clone();
        let of_swap = previous.snapshot.as_ref();
        let mut outcome = Err(String::new());
        let mut ends = None;
        for state in [present.as_ref(), of_swap].into_iter().flatten().map(Some).chain([None]) {
            outcome = self.begun(&info, state).await;
            match (&outcome, state) {
                (Ok(_), Some(state)) => {
                    // The state of the running instance has heard of the ends; without any there is nobody to forget.
                    ends =
                        of_swap.is_some_and(|of_swap| std::ptr::eq(of_swap, state)).then_some(previous.ends);
                    break;
                }
                (Ok(_), None) => break,
                (Err(reason), Some(_)) => tracing::warn!(
                    component = %self.generation.label(),
                    reason,
                    "the generation before could not take over some state"
                ),
                (Err(_), None) => {}
            }
        }
        match outcome {
            Ok((instance, commands)) => {
                self.succeed(instance, commands);
                self.tell_ends(ends.unwrap_or_default());
                tracing::info!(
                    component = %self.generation.label(),
                    "the generation before is back"
                );
                Ok(())
            }
            Err(reason) => {
                self.end_instance("The controller failed while it was replaced");
                Err(reason)
            }
        }
    }

    /// An instance of the present generation with that state.
    async fn begun(
        &self,
        info: &StartInfo,
        state: Option<&Snapshot>,
    ) -> Result<(S::Instance, Vec<Command>), String> {
        let access = self.worker.access();
        let started = self.source.start(&self.generation, info, &access).await;
        let (mut instance, mut commands) = started.map_err(|error| error.to_string())?;
        if let Some(state) = state {
            commands.extend(instance.restore(state).await.map_err(|error| error.to_string())?);
        }
        Ok((instance, commands))
    }
}
