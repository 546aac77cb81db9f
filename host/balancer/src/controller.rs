//! The controller's desk: requests wait in line, and one driver hands them to the instance, one at a time. Nobody waits
//! there longer than a moment: what the controller has not decided by then, or failed to decide, its `on_failure` decides.
//! Accepting and all connections go on meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::config::BalancerConfig;
use sc_core::controller::{
    Arrival, BalancerController, BalancerControllerSource, Cause, Generation, Ruling, Snapshot, StartError,
    StartInfo,
};
use sc_core::ids::BalancerId;
use sc_core::link::control::{ChildLink, FromChild};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

/// Requests that may wait for the controller.
const QUEUE_MAX: usize = 4096;
/// How long one may wait, its own call included; two calls' time if that is longer.
const WAIT: Duration = Duration::from_secs(1);
/// Between two warnings of requests that found no place in the line or no verdict in time.
const QUIET: Duration = Duration::from_secs(10);
/// Reloads that may wait.
const RELOADS: usize = 4;

struct Waiting {
    arrival: Arrival,
    answer: oneshot::Sender<Vec<Ruling>>,
}

/// Where requests wait for the controller.
#[derive(Default)]
pub(crate) struct Desk {
    queue: RefCell<VecDeque<Waiting>>,
    arrived: Notify,
    fails_open: Cell<bool>,
    wait: Cell<Duration>,
    warned: Cell<Option<Instant>>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("waiting", &self.queue.borrow().len()).finish_non_exhaustive()
    }
}

impl Desk {
    fn new(generation: &Generation) -> Self {
        let desk = Desk::default();
        desk.obey(generation);
        desk
    }

    /// Waits and decides from now on as that generation is configured.
    fn obey(&self, generation: &Generation) {
        self.fails_open.set(generation.fails_open);
        self.wait.set(WAIT.max(generation.guest.cpu_per_call.saturating_mul(2)));
    }

    /// What the controller asks for; none when the request is refused because it has not decided.
    pub(crate) async fn ask(&self, arrival: Arrival) -> Option<Vec<Ruling>> {
        let (answer, verdict) = oneshot::channel();
        if self.queue.borrow().len() >= QUEUE_MAX {
            return self.undecided("too many requests wait for the balancer's controller");
        }
        self.queue.borrow_mut().push_back(Waiting { arrival, answer });
        self.arrived.notify_one();
        match timeout(self.wait.get(), verdict).await {
            Ok(Ok(rulings)) => Some(rulings),
            // Who failed has said so.
            Ok(Err(_)) => self.policy(),
            Err(_) => self.undecided("requests wait too long for the balancer's controller"),
        }
    }

    fn policy(&self) -> Option<Vec<Ruling>> {
        self.fails_open.get().then(Vec::new)
    }

    fn undecided(&self, why: &str) -> Option<Vec<Ruling>> {
        let now = Instant::now();
        if self.warned.get().is_none_or(|warned| now.duration_since(warned) >= QUIET) {
            self.warned.set(Some(now));
            tracing::warn!(fails_open = self.fails_open.get(), "{why}: `on_failure` decides about them");
        }
        self.policy()
    }

    /// The next request that somebody still waits for.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.queue.borrow_mut();
        while let Some(waiting) = queue.pop_front() {
            if !waiting.answer.is_closed() {
                return Some(waiting);
            }
        }
        None
    }

    /// No instance runs, so nobody is kept waiting.
    fn refuse_all(&self) {
        self.queue.borrow_mut().clear();
    }
}

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
    source: S,
    generation: Generation,
    info: StartInfo,
    instance: Option<S::Instance>,
    backoff: Backoff,
    reloads: mpsc::Receiver<Generation>,
}

impl<S: BalancerControllerSource> Driver<S> {
    /// Starts the first instance. The sender replaces the component.
    pub(crate) async fn boot(
        id: BalancerId,
        balancer: &BalancerConfig,
        controlled: Controlled<S>,
    ) -> Result<(Self, mpsc::Sender<Generation>), StartError> {
        let Controlled { source, generation, cause } = controlled;
        let info = StartInfo {
            worker: id.0.into(),
            workers: u32::try_from(balancer.balancers).unwrap_or(u32::MAX),
            app: balancer.app.as_str().into(),
            config: generation.config.clone(),
            cause,
        };
        let instance = source.start(&generation, &info, None).await?;
        let backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(10), Duration::from_secs(30));
        let (sender, reloads) = mpsc::channel(RELOADS);
        let desk = Rc::new(Desk::new(&generation));
        let driver = Driver { desk, source, generation, info, instance: Some(instance), backoff, reloads };
        Ok((driver, sender))
    }

    /// Hands requests to the controller, and replaces it between two calls, for ever.
    pub(crate) async fn run(mut self, control: &ChildLink) {
        loop {
            tokio::select! {
                biased;
                Some(generation) = self.reloads.recv() => self.replace(control, generation).await,
                waiting = next(&self.desk) => match self.instance {
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
                tracing::error!(
                    component = self.generation.name(), fault = ?error.fault, %error,
                    "a call of the balancer's controller failed; `on_failure` decides about its request, and a fresh instance takes over"
                );
                self.instance = None;
            }
        }
    }

    /// Starts a fresh instance for the first request that needs one. While none starts, nobody waits for it.
    async fn restart(&mut self, control: &ChildLink, first: Waiting) {
        self.info.cause = Cause::Crash;
        match self.source.start(&self.generation, &self.info, None).await {
            Ok(instance) => {
                self.instance = Some(instance);
                return self.decide(first).await;
            }
            Err(error) => {
                tracing::error!(component = self.generation.name(), %error, "the balancer's controller cannot be restarted");
            }
        }
        drop(first);
        let pause = self.backoff.fail(Instant::now()).max(Duration::from_millis(10));
        let until = tokio::time::Instant::now() + pause;
        loop {
            self.desk.refuse_all();
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.desk.arrived.notified() => {}
                Some(generation) = self.reloads.recv() => {
                    self.replace(control, generation).await;
                    if self.instance.is_some() {
                        return;
                    }
                }
            }
        }
    }

    /// Has another generation take over with the state of this one. If it cannot, nothing has changed.
    async fn replace(&mut self, control: &ChildLink, generation: Generation) {
        let name = generation.name().to_owned();
        let outcome = self.start_other(generation).await;
        match &outcome {
            Ok(()) => tracing::info!(
                component = name,
                hash = self.generation.hash,
                "the balancer's controller is replaced"
            ),
            Err(reason) => {
                tracing::warn!(component = name, reason, "the balancer's controller stays as it was")
            }
        }
        // A master that is gone needs no telling.
        let _ = control.send(&FromChild::Reloaded(name, outcome), &[]).await;
    }

    async fn start_other(&mut self, generation: Generation) -> Result<(), String> {
        let snapshot: Option<Snapshot> = match &mut self.instance {
            None => None,
            Some(instance) => match instance.snapshot().await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    self.instance = None;
                    return Err(format!("the running instance failed while it saved its state: {error}"));
                }
            },
        };
        let info = StartInfo { cause: Cause::Reload, config: generation.config.clone(), ..self.info.clone() };
        let started = self.source.start(&generation, &info, snapshot.as_ref()).await;
        self.instance = Some(started.map_err(|error| error.to_string())?);
        self.desk.obey(&generation);
        (self.generation, self.info) = (generation, info);
        Ok(())
    }
}

/// The next request in line. Cancel safe: it is taken only when it is returned.
async fn next(desk: &Desk) -> Waiting {
    loop {
        match desk.next() {
            Some(waiting) => return waiting,
            None => desk.arrived.notified().await,
        }
    }
}
