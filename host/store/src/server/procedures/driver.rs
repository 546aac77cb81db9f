//! Who hands jobs to the controller's instance, one at a time, starts another one after a crash, and has another
//! generation take its place.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sc_core::backoff::Backoff;
use sc_core::controller::{
    CallError, Cause, Failure, Generation, StartError, StartInfo, StoreCall, StoreController,
    StoreControllerSource,
};
use sc_core::ids::StoreId;
use sc_core::link::control::ChildLink;
use sc_core::log::Described;
use sc_core::{cannot_start, fault};
use sc_wire::store::{OpId, Reply, Run};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::swap::{Reload, Swap, started};
use super::{Desk, Hub, Job};
use crate::keyspace::Place;

/// Reloads that may wait.
const RELOADS: usize = 4;

/// Drives the controller; it owns the instance.
pub(in crate::server) struct Driver<S: StoreControllerSource> {
    pub(super) hub: Rc<RefCell<Hub>>,
    pub(super) source: Rc<S>,
    pub(super) generation: Generation,
    pub(super) info: StartInfo,
    /// None also while it works.
    pub(super) instance: Option<S::Instance>,
    backoff: Backoff,
    reloads: mpsc::Receiver<Reload>,
    /// What is to take the instance's place.
    pub(super) swap: Option<Swap<S::Instance>>,
}

impl<S: StoreControllerSource + 'static> Driver<S> {
    /// Starts the first instance. The sender replaces the component.
    pub(in crate::server) async fn boot(
        hub: Rc<RefCell<Hub>>,
        source: S,
        generation: Generation,
        cause: Cause,
    ) -> Result<(Self, mpsc::Sender<Reload>), StartError> {
        let info = {
            let hub = hub.borrow();
            let (StoreId(id), config) = (hub.id(), hub.config());
            StartInfo {
                worker: u32::from(id),
                workers: u32::from(config.stores),
                app: config.app.as_str().into(),
                config: generation.config.clone(),
                cause,
            }
        };
        let backoff =
            Backoff::new(Duration::from_millis(100), Duration::from_secs(10), Duration::from_secs(30));
        let (sender, reloads) = mpsc::channel(RELOADS);
        let source = Rc::new(source);
        let mut driver =
            Driver { hub, source, generation, info, instance: None, backoff, reloads, swap: None };
        driver.start().await?;
        driver.hub.borrow_mut().procedures.exists = true;
        Ok((driver, sender))
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let desk = Desk::new(&self.hub);
        let instance = self.source.start(&self.generation, &self.info, Rc::<Desk>::clone(&desk)).await?;
        self.take_over(instance, &desk);
        Ok(())
    }

    /// The instance gets all that comes from now on.
    pub(super) fn take_over(&mut self, instance: S::Instance, desk: &Desk) {
        desk.is_manned.set(true);
        self.hub.borrow_mut().procedures.hears_channels = instance.hears_channels();
        self.instance = Some(instance);
    }

    /// Hands jobs to the controller, and replaces it between two of them, for ever.
    pub(in crate::server) async fn run(mut self, control: &ChildLink) {
        loop {
            tokio::select! {
                biased;
                Some(reload) = self.reloads.recv() => {
                    self.begin_swap(control, reload, self.instance.is_some()).await;
                }
                started = started(&mut self.swap) => self.switch(control, started).await,
                job = next(&self.hub) => match self.instance.take() {
                    Some(instance) => {
                        let is_run = matches!(job, Job::Run { .. });
                        self.instance = self.employ(control, instance, job).await;
                        self.hub.borrow_mut().procedures_ended(usize::from(is_run));
                    }
                    None => {
                        // It waits with the others, who are refused when nobody comes.
                        self.hub.borrow_mut().procedures.queue.push_front(job);
                        self.restart(control).await;
                    }
                },
            }
        }
    }

    async fn restart(&mut self, control: &ChildLink) {
        self.info.cause = Cause::Crash;
        while self.instance.is_none() {
            let Err(error) = self.start().await else { return };
            let pause = self.backoff.fail(Instant::now());
            cannot_start!(
                error,
                { component = %self.generation.label(), },
                "the store's controller cannot be restarted"
            );
            self.rest(control, pause.max(Duration::from_millis(10))).await;
        }
    }

    /// Refuses what comes for so long, or until another generation has taken over.
    async fn rest(&mut self, control: &ChildLink, pause: Duration) {
        let arrived = Rc::clone(&self.hub.borrow().procedures.arrived);
        let until = tokio::time::Instant::now() + pause;
        while self.instance.is_none() {
            self.refuse_queued();
            tokio::select! {
                () = sleep_until(until) => return,
                () = arrived.notified() => {}
                Some(reload) = self.reloads.recv() => self.begin_swap(control, reload, false).await,
                started = started(&mut self.swap) => self.switch(control, started).await,
            }
        }
    }

    /// The links are not kept waiting for a controller that does not start.
    fn refuse_queued(&self) {
        let mut hub = self.hub.borrow_mut();
        let mut refused = 0;
        while let Some(job) = hub.procedures.queue.pop_front() {
            if let Job::Run { answer, .. } = job {
                refused += 1;
                hub.refuse(answer, "the store's controller is down and being restarted");
            }
        }
        hub.procedures_ended(refused);
    }

    /// Has the instance do one job. A reload is heard meanwhile, so that who is to take over starts beside it and has
    /// what waits behind the job. The instance comes back unless it failed.
    async fn employ(
        &mut self,
        control: &ChildLink,
        mut instance: S::Instance,
        job: Job,
    ) -> Option<S::Instance> {
        let hub = Rc::clone(&self.hub);
        let worked = {
            let mut work = pin!(work(&hub, &mut instance, job));
            loop {
                tokio::select! {
                    biased;
                    worked = &mut work => break worked,
                    Some(reload) = self.reloads.recv() => self.begin_swap(control, reload, true).await,
                }
            }
        };
        let Err((error, event)) = worked else { return Some(instance) };
        fault!(
            error,
            error,
            { component = %self.generation.label(), event, },
            "a call of the store's controller failed; what it did is undone and a fresh instance takes over"
        );
        None
    }
}

/// Does one job: all of it, or nothing. An error is the instance's end; with it comes what the log calls the job.
async fn work<I: StoreController>(
    hub: &RefCell<Hub>,
    instance: &mut I,
    job: Job,
) -> Result<(), (CallError, String)> {
    let of = |call: &StoreCall<'_>| Described(call).to_string();
    match job {
        Job::Channel { name, is_subscribed } => {
            hub.borrow_mut().begin(None);
            let outcome = instance.channel(&name, is_subscribed).await;
            let mut hub = hub.borrow_mut();
            match &outcome {
                Ok(()) => hub.keep(),
                Err(_) => hub.take_back(),
            }
            outcome.map_err(|error| (error, of(&StoreCall::Channel(&name, is_subscribed))))
        }
        Job::Run { answer, run: Run { tree, path, procedure, argument } } => {
            hub.borrow_mut().begin(Some(Place { tree, path }));
            let text = argument.as_deref().and_then(|text| std::str::from_utf8(text).ok());
            let outcome = instance.run(&procedure, text).await;
            let mut hub = hub.borrow_mut();
            match outcome {
                Ok(Ok(value)) => {
                    hub.keep();
                    if let Some((link, op)) = answer {
                        let value = value.map(Bytes::from);
                        hub.answer(link, Reply::Value { op, value }, true);
                    }
                    Ok(())
                }
                Ok(Err(failure)) => {
                    hub.take_back();
                    if let Some((link, op)) = answer {
                        hub.answer(link, problem(op, failure), false);
                    }
                    Ok(())
                }
                Err(error) => {
                    hub.take_back();
                    hub.refuse(answer, &format!("the procedure {procedure} failed: {error}"));
                    Err((error, of(&StoreCall::Procedure(&procedure))))
                }
            }
        }
    }
}

/// The next job. Cancel safe: it is taken only when it is returned.
async fn next(hub: &RefCell<Hub>) -> Job {
    let arrived = Rc::clone(&hub.borrow().procedures.arrived);
    loop {
        let job = hub.borrow_mut().procedures.queue.pop_front();
        match job {
            Some(job) => return job,
            None => arrived.notified().await,
        }
    }
}

fn problem(op: OpId, failure: Failure) -> Reply {
    match failure {
        Failure::Text(message) => Reply::Problem { op, name: None, message: message.into(), extra: None },
        Failure::Error { name, message, extra } => {
            Reply::Problem { op, name: name.map(Into::into), message: message.into(), extra }
        }
    }
}
