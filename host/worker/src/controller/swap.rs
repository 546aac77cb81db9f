//! Another generation takes a running one's place. It is started beside it; then, between two calls, the old one's
//! state is taken and restored, and the new one gets all that comes from there on. At first it is on probation: a call
//! that fails had no effects, so the generation before comes back as it was at the swap, and gets that event too. The
//! master hears how it ended, and has the other workers go back as well.

use std::rc::Rc;
use std::time::Instant;

use sc_core::controller::{
    Cause, Command, Controller, ControllerSource, Event, Generation, Snapshot, SnapshotError, StartError,
    StartInfo,
};
use sc_core::limits::{OVERSLEPT, PROBATION, PROBATION_EVENTS, SWAP_WAIT};
use sc_core::link::control::FromChild;
use tokio::task::{JoinError, JoinSet};

use super::Driver;
use super::ends::Ends;
use super::rollback::Previous;

/// What the master wants of a component. Numbered orders are answered by their number.
#[derive(Debug)]
pub(crate) enum Order {
    /// Take another generation.
    Reload(u64, Box<Generation>),
    /// Go back to the one before.
    RollBack(u64),
    /// The last swap is final.
    Keep,
}

impl Order {
    /// The number of one that is answered.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Order::Reload(number, _) | Order::RollBack(number) => Some(*number),
            Order::Keep => None,
        }
    }
}

/// An instance with what it asked for while it started.
type Started<I> = Result<(I, Vec<Command>), StartError>;

/// How far a swap is.
pub(super) enum Stage<I> {
    /// There is none.
    Settled,
    /// An instance of the new generation starts beside the running one.
    Starting(Box<Generation>, JoinSet<Started<I>>),
    /// The new generation runs: so many events more until it has proved itself, or a time from when it has been told
    /// of every socket.
    Probation { events: u32, until: Option<Instant> },
    /// It failed, for this reason.
    Failed(String),
}

impl<I: 'static> Stage<I> {
    pub(super) fn is_on_probation(&self) -> bool {
        matches!(self, Stage::Probation { .. })
    }

    /// Probation from now on.
    fn probation(events: u32) -> Self {
        Stage::Probation { events, until: Some(Instant::now() + PROBATION) }
    }

    pub(super) fn is_rolling_back(&self) -> bool {
        matches!(self, Stage::Failed(_))
    }

    /// A call with that event went well. To be told of sockets proves little.
    pub(super) fn count(&mut self, event: &Event) {
        if let Stage::Probation { events, .. } = self
            && !matches!(event, Event::Resume(_))
        {
            *events = events.saturating_sub(1);
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        *self = Stage::Failed(why);
    }

    /// The new generation and its instance, once that has started; for ever without a swap. Cancel safe.
    pub(super) async fn started(&mut self) -> Switch<I> {
        if let Stage::Starting(_, task) = self
            && let Some(ended) = task.join_next().await
        {
            return self.switch(ended);
        }
        std::future::pending().await
    }

    /// The same if it is so now.
    fn try_started(&mut self) -> Option<Switch<I>> {
        let Stage::Starting(_, task) = self else { return None };
        let ended = task.try_join_next()?;
        Some(self.switch(ended))
    }

    fn switch(&mut self, ended: Result<Started<I>, JoinError>) -> Switch<I> {
        let generation = match std::mem::replace(self, Stage::Settled) {
            Stage::Starting(generation, _) => Some(*generation),
            _ => None,
        };
        let started = ended.unwrap_or_else(|error| Err(StartError::Load(error.to_string())));
        Switch { generation, started }
    }
}

/// A new generation, and how its start ended.
pub(super) struct Switch<I> {
    generation: Option<Generation>,
    started: Started<I>,
}

impl<S: ControllerSource + 'static> Driver<S> {
    pub(super) async fn obey(&mut self, order: Order) {
        self.order = order.number().unwrap_or(self.order);
        match order {
            Order::Reload(_, generation) => self.begin(generation),
            Order::RollBack(_) => {
                let stage = std::mem::replace(&mut self.stage, Stage::Settled);
                let outcome = match (self.previous.take(), stage) {
                    (_, Stage::Starting(..)) => Ok(()),
                    (Some(previous), _) => self.go_back(previous, true).await,
                    (None, _) => Err("there is no generation to go back to".to_owned()),
                };
                self.tell(outcome);
            }
            Order::Keep => {
                self.previous = None;
                self.settle_ends();
            }
        }
    }

    /// Starts an instance of the new generation while the running one works on.
    fn begin(&mut self, generation: Box<Generation>) {
        let (source, access, new) = (Rc::clone(&self.source), self.worker.access(), generation.clone());
        let info = self.info_of(&new, Cause::Reload);
        let mut task = JoinSet::new();
        task.spawn_local(async move { source.start(&new, &info, &access).await });
        // Whatever swap was under way is dropped: a master that gives another order does not wait for its end.
        self.stage = Stage::Starting(generation, task);
    }

    pub(super) fn info_of(&self, generation: &Generation, cause: Cause) -> StartInfo {
        StartInfo { config: generation.config.clone(), cause, ..self.info.clone() }
    }

    /// Goes on with a swap whose next step is due.
    pub(super) async fn swap_on(&mut self) {
        match &self.stage {
            Stage::Settled => {}
            Stage::Starting(..) => {
                if let Some(switch) = self.stage.try_started() {
                    self.switch(switch).await;
                }
            }
            Stage::Probation { events: 0, .. } => self.prove(),
            // Nobody watched while this process did not run: the time begins anew.
            Stage::Probation { until: Some(until), events } if until.elapsed() > OVERSLEPT => {
                self.stage = Stage::probation(*events);
            }
            Stage::Probation { until: Some(until), .. } if *until <= Instant::now() => self.prove(),
            Stage::Probation { until: None, events } if self.resume.is_empty() => {
                self.stage = Stage::probation(*events);
            }
            Stage::Probation { .. } => {}
            Stage::Failed(_) => self.recover().await,
        }
        if !self.retired.is_empty() {
            self.end_overdue();
        }
    }

    /// The new generation has proved itself.
    fn prove(&mut self) {
        self.stage = Stage::Settled;
        self.tell(Ok(()));
    }

    /// When [`Driver::swap_on`] is needed next, whatever else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let probation = match &self.stage {
            Stage::Probation { until, .. } => *until,
            _ => None,
        };
        probation.into_iter().chain(self.guards_until).chain(self.retired_due()).min()
    }

    /// The new instance takes over, or nothing changes.
    pub(super) async fn switch(&mut self, switch: Switch<S::Instance>) {
        let Some(generation) = switch.generation else { return };
        let new = generation.label().to_string();
        match self.exchange(generation, switch.started).await {
            Ok(()) => {
                tracing::info!(component = new, "a new generation runs, on probation");
                self.stage = Stage::Probation { events: PROBATION_EVENTS, until: None };
            }
            Err(reason) => {
                tracing::warn!(
                    component = %self.generation.label(),
                    new,
                    reason,
                    "the generation was not replaced"
                );
                self.tell(Err(reason));
            }
        }
    }

    async fn exchange(
        &mut self,
        generation: Generation,
        started: Started<S::Instance>,
    ) -> Result<(), String> {
        let (mut instance, mut commands) = started.map_err(|error| error.to_string())?;
        let snapshot = self.state().await?;
        if let Some(state) = &snapshot {
            commands.extend(instance.restore(state).await.map_err(|error| error.to_string())?);
        }
        let generation = std::mem::replace(&mut self.generation, generation);
        self.previous = Some(Previous { generation, snapshot, number: self.number, ends: Ends::default() });
        self.succeed(instance, commands);
        Ok(())
    }

    /// The running instance's state, taken after what it waits for has had a moment to come.
    pub(super) async fn state(&mut self) -> Result<Option<Snapshot>, String> {
        let until = Instant::now() + SWAP_WAIT;
        let waits = |this: &Self| this.instance.as_ref().is_some_and(|running| running.outstanding() > 0);
        while waits(self) && Instant::now() < until {
            if let Some(event) = self.seat.calls.pop_answer() {
                self.hand_over(event, None).await;
                self.seat.calls.done();
            } else if tokio::time::timeout_at(until.into(), self.seat.calls.arrived()).await.is_err() {
                break;
            }
        }
        let Some(running) = &mut self.instance else { return Ok(None) };
        match running.snapshot().await {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => {
                if let SnapshotError::Failed(_) = error {
                    self.end_instance("The controller failed while it was replaced");
                }
                Err(format!("the running generation's state is not to be had: {error}"))
            }
        }
    }

    /// An instance of the present generation, which is another one now, takes the running one's place.
    pub(super) fn succeed(&mut self, instance: S::Instance, commands: Vec<Command>) {
        let (old, number) = (self.instance.take(), self.number);
        self.seat.obey(&self.generation);
        self.info = self.info_of(&self.generation, Cause::Reload);
        self.take_over(instance, commands);
        if let Some(old) = old {
            self.retire(old, number);
        }
    }

    /// Answers the last order.
    pub(super) fn tell(&self, outcome: Result<(), String>) {
        self.worker.tell_master(FromChild::Reloaded(self.order, outcome));
    }
}
