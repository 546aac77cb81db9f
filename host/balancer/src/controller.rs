//! The controller's desk: requests wait in line (`desk`), and one driver hands them to the instance, one at a time.
//! Nobody waits there longer than a moment: what the controller has not decided by then, or failed to decide, its
//! `on_failure` decides. Accepting and all connections go on meanwhile. Another generation takes over between two
//! calls (`swap`).

mod desk;
mod swap;

use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::config::BalancerConfig;
use sc_core::controller::{
    BalancerController, BalancerControllerSource, Cause, Generation, StartError, StartInfo,
};
use sc_core::ids::BalancerId;
use sc_core::link::control::ChildLink;
use sc_core::log::Described;
use sc_core::{cannot_start, fault};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

pub(crate) use self::desk::Desk;
use self::desk::Waiting;
use self::swap::Successor;

/// Reloads that may wait.
const RELOADS: usize = 4;

/// The number of a reload, and the generation that is to run.
pub(crate) type Reload = (u64, Generation);

/// A balancer's controller and what it is configured with.
#[derive(Debug)]
pub struct Controlled<S> {
    /// Makes instances.
    pub source: S,
    /// The component and its options.
    pub generation: Generation,
    /// Why it starts.
    pub cause: Cause,
}

/// Owns the instance.
pub(crate) struct Driver<S: BalancerControllerSource> {
    pub(crate) desk: Rc<Desk>,
    source: Rc<S>,
    generation: Generation,
    info: StartInfo,
    instance: Option<S::Instance>,
    /// What is to take the instance's place.
    successor: Successor<S::Instance>,
    backoff: Backoff,
    reloads: mpsc::Receiver<Reload>,
}

impl<S: BalancerControllerSource + 'static> Driver<S> {
    /// Starts the first instance. The sender replaces the component.
    pub(crate) async fn boot(
        id: BalancerId,
        balancer: &BalancerConfig,
        controlled: Controlled<S>,
    ) -> Result<(Self, mpsc::Sender<Reload>), StartError> {
        let Controlled { source, generation, cause } = controlled;
        let info = StartInfo {
            worker: id.0.into(),
            workers: u32::try_from(balancer.balancers).unwrap_or(u32::MAX),
            app: balancer.app.as_str().into(),
            config: generation.config.clone(),
            cause,
        };
        let instance = source.start(&generation, &info).await?;
        let backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(10), Duration::from_secs(30));
        let (sender, reloads) = mpsc::channel(RELOADS);
        let desk = Rc::new(Desk::new(&generation));
        let (source, instance, successor) = (Rc::new(source), Some(instance), Successor::default());
        let driver = Driver { desk, source, generation, info, instance, successor, backoff, reloads };
        Ok((driver, sender))
    }

    /// Hands requests to the controller, and replaces it between two calls, for ever.
    pub(crate) async fn run(mut self, control: &ChildLink) {
        loop {
            tokio::select! {
                biased;
                Some(reload) = self.reloads.recv() => self.begin(reload),
                switch = self.successor.started() => self.switch(control, switch).await,
                waiting = self.desk.next() => match self.instance {
                    Some(_) => self.decide(waiting).await,
                    None => self.restart(control, waiting).await,
                },
            }
        }
    }

    async fn decide(&mut self, waiting: Waiting) {
        let Some(instance) = &mut self.instance else { return };
        match instance.arrive(&waiting.arrival).await {
            // Who waited may have given up.
            Ok(rulings) => drop(waiting.answer.send(rulings)),
            Err(error) => {
                fault!(
                    error,
                    error,
                    {
                        component = %self.generation.label(),
                        event = %Described(&waiting.arrival),
                        address = waiting.arrival.address,
                    },
                    "a call of the balancer's controller failed; `on_failure` decides about its request, and a fresh instance takes over"
                );
                self.instance = None;
            }
        }
    }

    /// Starts a fresh instance for the first request that needs one. While none starts, nobody waits for it.
    async fn restart(&mut self, control: &ChildLink, first: Waiting) {
        self.info.cause = Cause::Crash;
        match self.source.start(&self.generation, &self.info).await {
            Ok(instance) => {
                self.instance = Some(instance);
                return self.decide(first).await;
            }
            Err(error) => {
                cannot_start!(
                    error,
                    { component = %self.generation.label(), },
                    "the balancer's controller cannot be restarted"
                );
            }
        }
        drop(first);
        let pause = self.backoff.fail(Instant::now()).max(Duration::from_millis(10));
        let until = tokio::time::Instant::now() + pause;
        loop {
            self.desk.refuse_all();
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.desk.arrived() => {}
                Some(reload) = self.reloads.recv() => self.begin(reload),
                switch = self.successor.started() => {
                    self.switch(control, switch).await;
                    if self.instance.is_some() {
                        return;
                    }
                }
            }
        }
    }
}
