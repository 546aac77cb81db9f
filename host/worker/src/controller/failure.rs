//! What happens when an instance fails: those who wait for it are told at once, and a fresh one takes over. What was
//! queued waits for that one; when none starts, calls are refused while the pauses grow.

use std::rc::Rc;
use std::time::Instant;

use sc_core::controller::{CallError, Cause, ControllerSource, Event, Failure};
use sc_core::ids::Token;
use sc_core::log::{Described, Occasion as _};
use sc_core::{cannot_start, fault};
use sc_wire::encode;

use super::Driver;
use crate::calls::Calls;
use crate::effects;
use crate::gate::Gate;
use crate::socket::Socket;

impl<S: ControllerSource + 'static> Driver<S> {
    /// Tries until an instance runs.
    pub(super) async fn restart(&mut self) {
        self.info.cause = Cause::Crash;
        let mut was_down = false;
        while let Err(error) = self.start().await {
            let pause = self.backoff.fail(Instant::now());
            let retry_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            cannot_start!(
                error,
                { component = %self.generation.label(), attempt = self.backoff.failures(), retry_ms, },
                "the controller cannot be restarted"
            );
            was_down = true;
            let until = tokio::time::Instant::now() + pause;
            self.seat.calls.abandon(true);
            loop {
                self.end_overdue();
                self.settle_guards();
                self.refuse_queued().await;
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    () = self.seat.calls.arrived() => {}
                    // New code may be the cure.
                    Some(order) = self.orders.recv() => self.obey(order).await,
                    switch = self.stage.started() => self.switch(switch).await,
                }
                if self.instance.is_some() {
                    return self.seat.calls.abandon(false);
                }
            }
        }
        self.seat.calls.abandon(false);
        // What failed before has said that a fresh one takes over.
        if was_down {
            tracing::info!(component = %self.generation.label(), "a fresh instance of the controller took over");
        }
    }

    /// Answers queued calls with an error and drops queued messages; what tells of sockets stays, and what a replaced
    /// instance waits for goes to that one.
    async fn refuse_queued(&mut self) {
        let seat = Rc::clone(&self.seat);
        let calls = &seat.calls;
        let mut kept = Vec::new();
        while let Some((event, socket)) = calls.pop() {
            if let Some(token) = event.answers() {
                self.hand_to_retired(token, &event).await;
                continue;
            }
            let Some(event) = self.claim(event) else { continue };
            match event {
                Event::Message { reply: Some(reply), .. } => {
                    self.refuse(reply, "The controller is down and being restarted");
                }
                Event::Request(request) => self.worker.requests.refuse(request.token),
                Event::Action { action, .. } | Event::RequestAction { action, .. } => {
                    Gate::refuse(&self.worker, &self.seat, action);
                }
                Event::SocketEnd { .. } => self.note_end(&event, None),
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

    /// The instance is dead. Its caller and the calls parked in it are answered at once; but an event that a
    /// generation on probation fails at goes to the one before.
    pub(super) fn failed(&mut self, error: &CallError, event: &Event, socket: Option<&Rc<Socket>>) {
        self.worker.guest_failures.set(self.worker.guest_failures.get() + 1);
        let on_probation = self.stage.is_on_probation();
        if on_probation {
            self.withdraw(event);
            self.stage.fail(format!("it failed on probation, in {}: {error}", Described(event)));
        }
        let other =
            event.socket().filter(|_| socket.is_none()).and_then(|socket| self.worker.hub.get(socket));
        let socket = socket.or(other.as_ref()).map(|socket| &*socket.name);
        let failed = self.end_instance("The controller failed while it worked on this call");
        if on_probation {
            fault!(
                error,
                error,
                { component = %self.generation.label(), event = %Described(event), socket, failed, },
                "a call of the new generation failed on probation: the one before comes back"
            );
        } else {
            fault!(
                error,
                error,
                { component = %self.generation.label(), event = %Described(event), socket, failed, },
                "a call of the controller failed; its commands are dropped and a fresh instance takes over"
            );
        }
    }

    /// The instance that was given the event is not to be held to it.
    fn withdraw(&self, event: &Event) {
        match event {
            Event::Message { reply: Some(reply), .. } => self.seat.calls.given_to(*reply, 0),
            Event::Request(request) => self.worker.requests.given_to(request.token, 0),
            Event::Action { action, .. } | Event::RequestAction { action, .. } => {
                drop(Gate::give(&self.worker, *action, 0));
            }
            _ => {}
        }
    }

    /// Queues an event again that had no effects, when another generation is to have it.
    pub(super) fn give_back(&self, event: Event, socket: Option<Rc<Socket>>) {
        let socket = socket.filter(|_| !matches!(event, Event::Action { .. }));
        self.seat.calls.put_back(event, socket);
    }

    /// The running instance is gone; gives how many waited for it.
    pub(super) fn end_instance(&mut self, why: &str) -> usize {
        self.instance = None;
        self.seat.interests.vacate();
        self.fail_all_of(self.number, why)
    }

    /// An instance is gone: its timers end, and those who wait for it are told. Gives how many these were.
    pub(super) fn fail_all_of(&self, instance: u64, why: &str) -> usize {
        self.seat.timers.cancel_all_of(&self.worker, instance);
        let actions = Gate::fail_all_of(&self.worker, &self.seat, instance, why);
        if !self.is_app() {
            return actions;
        }
        let requests = self.worker.requests.fail_all_of(instance);
        let replies = self.seat.calls.take_replies_of(instance);
        let failed = actions + requests + replies.len();
        for (token, reply) in replies {
            if let Some(socket) = self.worker.hub.open_socket(reply.socket) {
                Calls::settled(&socket, token);
                if !reply.is_awaited(&socket, self.worker.config.protocol.ack_timeout) {
                    continue;
                }
                let error = effects::error_text(&Failure::named("ControllerError", why));
                self.worker.hub.send(&socket, encode::refusal(&reply.call, &error, None));
            }
        }
        failed
    }

    /// Ends what a socket caused of which no instance is told any more.
    pub(super) fn refuse_event(&mut self, event: &Event, socket: &Rc<Socket>) {
        match event {
            Event::Message { reply: Some(reply), .. } => {
                self.refuse(*reply, "The controller failed each time it was told of this socket");
            }
            Event::Action { action, .. } => Gate::refuse(&self.worker, &self.seat, *action),
            _ => self.note_end(event, Some(socket)),
        }
    }

    fn refuse(&self, reply: Token, why: &str) {
        let error = effects::error_text(&Failure::named("ControllerError", why));
        effects::answer(&self.worker, reply, |call| encode::refusal(call, &error, None));
    }
}
