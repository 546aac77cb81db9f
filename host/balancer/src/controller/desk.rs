//! Where requests wait for the controller, and what becomes of those that it does not decide in time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sc_core::controller::{Arrival, Generation, HttpCall, Ruling};
use sc_core::log::{Described, NOTICE};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

/// Requests that may wait for the controller.
const QUEUE_MAX: usize = 4096;
/// How long one may wait, its own call included; two calls' time if that is longer.
const WAIT: Duration = Duration::from_secs(1);
/// Between two warnings of requests that found no place in the line or no verdict in time.
const QUIET: Duration = Duration::from_secs(10);
/// A request in line.
pub(super) struct Waiting {
    pub(super) arrival: Arrival,
    pub(super) answer: oneshot::Sender<Vec<Ruling>>,
}

/// Where requests wait for the controller.
#[derive(Default)]
pub(crate) struct Desk {
    queue: RefCell<VecDeque<Waiting>>,
    arrived: Notify,
    /// What the log calls the generation that decides.
    label: RefCell<Box<str>>,
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
    pub(super) fn new(generation: &Generation) -> Self {
        let desk = Desk::default();
        desk.obey(generation);
        desk
    }

    /// Waits and decides from now on as that generation is configured.
    pub(super) fn obey(&self, generation: &Generation) {
        *self.label.borrow_mut() = generation.label().to_string().into();
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

    /// Gives notice of a request that the controller blocked, with this status if it was answered.
    pub(crate) fn note_block(&self, call: &HttpCall<'_>, status: Option<u16>, address: IpAddr) {
        let (component, event) = (self.label.borrow(), Described(call));
        tracing::info!(target: NOTICE, %component, %event, status, %address, "a request was blocked");
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

    /// The next request in line. Cancel safe: it is taken only when it is returned.
    pub(super) async fn next(&self) -> Waiting {
        loop {
            match self.take() {
                Some(waiting) => return waiting,
                None => self.arrived.notified().await,
            }
        }
    }

    /// Waits for another request.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The next request that somebody still waits for.
    fn take(&self) -> Option<Waiting> {
        let mut queue = self.queue.borrow_mut();
        while let Some(waiting) = queue.pop_front() {
            if !waiting.answer.is_closed() {
                return Some(waiting);
            }
        }
        None
    }

    /// No instance runs, so nobody is kept waiting.
    pub(super) fn refuse_all(&self) {
        self.queue.borrow_mut().clear();
    }
}
