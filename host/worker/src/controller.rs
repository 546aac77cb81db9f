//! Drives the controller: one event, one call, its effects; then the next. When a call fails, its caller and the
//! calls parked in the instance get an error, a fresh instance takes over and is told of the live sockets, and
//! everything else goes on.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::controller::{
    CallError, Cause, ComponentRef, Controller, ControllerSource, Event, Failure, StartError, StartInfo,
};
use sc_core::ids::Token;
use sc_core::limits::RESUME_SLICE;
use sc_core::link::control::FromChild;
use sc_wire::encode;
use tokio::sync::mpsc;

use crate::effects;
use crate::exchange::Exchange;
use crate::gate::Gate;
use crate::guest_timers::GuestTimers;
use crate::presence::Presence;
use crate::seat::Seat;
use crate::socket::Socket;
use crate::worker::Worker;

/// Calls in a row before native work has its turn.
const CALLS_PER_TURN: u32 = 64;

/// The driver; it owns the instance.
pub(crate) struct Driver<S: ControllerSource> {
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    source: S,
    component: ComponentRef,
    info: StartInfo,
    reloads: mpsc::Receiver<ComponentRef>,
    instance: Option<S::Instance>,
    /// The instance's number, from 1.
    number: u64,
    /// Tokens below it belong to earlier instances; their answers are dropped.
    first_token: u64,
    /// Sockets the instance was not told of yet.
    resume: VecDeque<Rc<Socket>>,
    backoff: Backoff,
    /// The component whose guards are in force.
    guarding: Option<String>,
}

impl<S: ControllerSource> Driver<S> {
    /// Starts the first instance.
    pub(crate) async fn boot(
        worker: Rc<Worker>,
        seat: Rc<Seat>,
        source: S,
        component: ComponentRef,
        info: StartInfo,
        reloads: mpsc::Receiver<ComponentRef>,
    ) -> Result<Self, StartError> {
        let mut driver = Driver {
            worker,
            seat,
            source,
            component,
            info,
            reloads,
            instance: None,
            number: 0,
            first_token: 0,
            resume: VecDeque::new(),
            backoff: Backoff::new(
                Duration::from_millis(100),
                Duration::from_secs(10),
                Duration::from_secs(30),
            ),
            guarding: None,
        };
        driver.start().await?;
        Ok(driver)
    }

    /// Hands events to the controller, for ever.
    pub(crate) async fn run(mut self) {
        let mut calls = 0;
        loop {
            if let Ok(component) = self.reloads.try_recv() {
                self.reload(component).await;
            }
            if self.instance.is_none() {
                self.restart().await;
            } else if let Some((event, socket)) = self.seat.calls.pop() {
                self.hand_over(event, socket).await;
                self.seat.calls.done();
                calls += 1;
                if calls % CALLS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            } else if self.resume.is_empty() {
                let seat = Rc::clone(&self.seat);
                tokio::select! {
                    () = seat.calls.arrived() => {}
                    Some(component) = self.reloads.recv() => self.reload(component).await,
                }
            } else {
                self.resume_slice().await;
                tokio::task::yield_now().await;
            }
        }
    }

    fn is_app(&self) -> bool {
        Rc::ptr_eq(&self.seat, &self.worker.app)
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let first_token = self.seat.calls.tokens.load(Ordering::Relaxed);
        let access = self.worker.access();
        let (instance, commands) = self.source.start(&self.component, &self.info, None, &access).await?;
        self.take_over(instance, commands, first_token);
        Ok(())
    }

    /// A fresh instance becomes the running one.
    fn take_over(
        &mut self,
        instance: S::Instance,
        commands: Vec<sc_core::controller::Command>,
        first_token: u64,
    ) {
        self.number += 1;
        self.first_token = first_token;
        self.instance = Some(instance);
        self.seat.interests.restart(self.number);
        // After a crash it is the same component, which may say some of its guards later.
        if self.guarding.as_ref() != Some(&self.component.hash) {
            self.guarding = Some(self.component.hash.clone());
            self.seat.guards.restart();
        }
        if self.is_app() {
            self.worker.routes.clear();
            // Sockets that the controller never heard of are still to be opened.
            let known = |socket: &Rc<Socket>| socket.known_by.get() != 0;
            self.resume = self.worker.hub.all().into_iter().filter(known).collect();
        }
        effects::apply(&self.worker, &self.seat, commands);
    }

    /// Tries until an instance runs. What was queued waits; calls are refused while the pauses grow.
    async fn restart(&mut self) {
        self.info.cause = Cause::Crash;
        while let Err(error) = self.start().await {
            let pause = self.backoff.fail(Instant::now());
            tracing::error!(
                component = self.component.name,
                error = %error,
                attempt = self.backoff.failures(),
                retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                "the controller cannot be restarted"
            );
            let until = tokio::time::Instant::now() + pause;
            self.seat.calls.abandon(true);
            loop {
                self.refuse_queued();
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    () = self.seat.calls.arrived() => {}
                    Some(component) = self.reloads.recv() => {
                        // New code may be the cure; it starts without the lost state.
                        self.component = component;
                        self.worker.tell_master(FromChild::Reloaded(Ok(())));
                        break;
                    }
                }
            }
        }
        self.seat.calls.abandon(false);
        tracing::info!(component = self.component.name, "a fresh instance of the controller took over");
    }

    /// Answers queued calls with an error and drops queued messages; what tells of sockets stays.
    fn refuse_queued(&self) {
        let calls = &self.seat.calls;
        let mut kept = Vec::new();
        while let Some((event, socket)) = calls.pop() {
            match event {
                Event::Message { reply: Some(reply), .. } => {
                    self.refuse(reply, "The controller is down and being restarted");
                }
                Event::Request(request) => self.worker.requests.refuse(request.token),
                Event::Action { action, .. } | Event::RequestAction { action, .. } => {
                    Gate::refuse(&self.worker, &self.seat, action);
                }
                Event::Open(_)
                | Event::Close { .. }
                | Event::SessionLeave { .. }
                | Event::SessionEnd { .. } => kept.push((event, socket)),
                _ => {}
            }
        }
        for (event, socket) in kept.into_iter().rev() {
            calls.put_back(event, socket);
        }
        calls.done();
    }

    async fn hand_over(&mut self, mut event: Event, mut socket: Option<Rc<Socket>>) {
        if !self.is_due(&event, socket.as_ref()) {
            return;
        }
        if let Some(action) = event.action()
            && !self.instance.as_ref().is_some_and(|instance| instance.handles(event.kind()))
        {
            return Gate::refuse(&self.worker, &self.seat, action);
        }
        if let Event::Action { socket: id, .. } = &event {
            // Who decides about a socket is told of it first.
            let known = self.worker.hub.open_socket(*id).filter(|socket| socket.known_by.get() != 0);
            socket = known.filter(|_| self.is_app());
        }
        if let Some(socket) =
            socket.as_ref().filter(|_| !matches!(event, Event::Open(_) | Event::Close { .. }))
            && socket.known_by.get() != self.number
            && !self.resume_one(socket).await
        {
            return self.seat.calls.put_back(event, Some(Rc::clone(socket)));
        }
        match (&event, &socket) {
            (Event::Message { event: name, reply, .. }, Some(socket)) => {
                if !self.seat.interests.hears(name) {
                    // Nobody listens: such a call is never answered, as clients expect.
                    if let Some(reply) = *reply
                        && self.seat.calls.take_reply(reply).is_some()
                    {
                        crate::calls::Calls::settled(socket, reply);
                    }
                    return;
                }
                if let Some(reply) = *reply {
                    self.seat.calls.given_to(reply, self.number);
                }
            }
            (Event::Request(request), _) => self.worker.requests.given_to(request.token, self.number),
            _ => {}
        }
        if let Some(action) = event.action() {
            let shown = Gate::give(&self.worker, action, self.number);
            if let Event::Action { data, .. } = &mut event {
                *data = shown;
            }
        }
        self.call(&event).await;
        if let (Event::Open(_), Some(socket)) = (&event, &socket) {
            socket.known_by.set(self.number);
        }
    }

    /// Whether the event still means something to this instance.
    fn is_due(&self, event: &Event, socket: Option<&Rc<Socket>>) -> bool {
        match event {
            Event::Timer { token, .. } => GuestTimers::take_turn(&self.worker, &self.seat, *token),
            Event::ClientAnswer { to, .. }
            | Event::Value { to, .. }
            | Event::Published { to, .. }
            | Event::Fetched { to, .. } => to.0 >= self.first_token,
            Event::Request(request) => self.worker.requests.is_waiting(request.token),
            Event::Action { action, .. } | Event::RequestAction { action, .. } => {
                self.worker.gate.is_waiting(*action)
            }
            Event::Message { .. } => socket.is_some_and(|socket| socket.is_open()),
            Event::Close { .. } => socket.is_some_and(|socket| socket.known_by.get() != 0),
            _ => true,
        }
    }

    /// Calls the instance; false when that was its end.
    async fn call(&mut self, event: &Event) -> bool {
        let Some(instance) = &mut self.instance else { return false };
        match instance.call(event).await {
            Ok(commands) => {
                effects::apply(&self.worker, &self.seat, commands);
                true
            }
            Err(error) => {
                self.failed(&error, event);
                false
            }
        }
    }

    async fn resume_one(&mut self, socket: &Rc<Socket>) -> bool {
        let resumed = self.call(&Event::Resume(socket.info())).await;
        // Only now: a message that comes while the call yields must not be measured by interests that it is still to say.
        socket.known_by.set(self.number);
        if !resumed {
            // A controller that dies of a live socket must not die of it in a circle without a pause.
            let pause = self.backoff.fail(Instant::now());
            tokio::time::sleep(pause).await;
        }
        resumed
    }

    async fn resume_slice(&mut self) {
        for _ in 0..RESUME_SLICE {
            let Some(socket) = self.resume.pop_front() else { return };
            if socket.is_open() && socket.known_by.get() != self.number && !self.resume_one(&socket).await {
                return;
            }
        }
    }

    /// The instance is dead. Its caller and the calls parked in it are answered at once.
    fn failed(&mut self, error: &CallError, event: &Event) {
        tracing::error!(
            component = self.component.name,
            fault = ?error.fault,
            call = ?event.kind(),
            error = %error,
            "a call of the controller failed; its commands are dropped and a fresh instance takes over"
        );
        self.worker.guest_failures.set(self.worker.guest_failures.get() + 1);
        self.end_instance("The controller failed while it worked on this call");
    }

    fn end_instance(&mut self, why: &str) {
        self.instance = None;
        self.seat.interests.restart(0);
        self.seat.timers.cancel_all(&self.worker);
        Gate::fail_all_of(&self.worker, &self.seat, self.number, why);
        if !self.is_app() {
            return;
        }
        Exchange::unwatch_all(&self.worker);
        Presence::unwatch_all(&self.worker);
        self.worker.requests.fail_all_of(self.number);
        for (token, reply) in self.seat.calls.take_replies_of(self.number) {
            if let Some(socket) = self.worker.hub.open_socket(reply.socket) {
                crate::calls::Calls::settled(&socket, token);
                let error = effects::error_text(&Failure::named("ControllerError", why));
                self.worker.hub.send(&socket, encode::refusal(&reply.call, &error, None));
            }
        }
    }

    fn refuse(&self, reply: Token, why: &str) {
        let error = effects::error_text(&Failure::named("ControllerError", why));
        effects::answer(&self.worker, reply, |call| encode::refusal(call, &error, None));
    }

    /// Replaces the running instance by one of another component. On any failure the running one stays.
    async fn reload(&mut self, component: ComponentRef) {
        let outcome = self.swap(component).await;
        if let Err(error) = &outcome {
            tracing::error!(error, "the controller was not replaced");
        }
        self.worker.tell_master(FromChild::Reloaded(outcome));
    }

    async fn swap(&mut self, component: ComponentRef) -> Result<(), String> {
        let snapshot = match &mut self.instance {
            None => None,
            Some(running) => match running.snapshot().await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    self.end_instance("The controller failed while it was replaced");
                    return Err(format!("the running controller failed in snapshot: {error}"));
                }
            },
        };
        let first_token = self.seat.calls.tokens.load(Ordering::Relaxed);
        let info = StartInfo { cause: Cause::Reload, ..self.info.clone() };
        let access = self.worker.access();
        let (instance, commands) = self
            .source
            .start(&component, &info, snapshot.as_ref(), &access)
            .await
            .map_err(|error| error.to_string())?;
        self.end_instance("The controller was replaced while this call waited for it");
        self.component = component;
        self.take_over(instance, commands, first_token);
        tracing::info!(
            component = self.component.name,
            hash = self.component.hash,
            "the controller was replaced"
        );
        Ok(())
    }
}
