//! Drives a component: one event, one call, its effects; then the next. When a call fails, its caller and the calls
//! parked in the instance get an error, a fresh instance takes over and is told of the live sockets, and everything
//! else goes on (`failure`). Another generation takes the place of a running one in between two calls (`swap`), and
//! may have to give it back (`rollback`); what the old instance had begun it may finish (`retired`).

mod ends;
mod failure;
mod guarding;
mod retired;
mod rollback;
mod swap;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_core::backoff::Backoff;
use sc_core::controller::{Command, Controller, ControllerSource, Event, Generation, StartError, StartInfo};
use sc_core::limits::{GUARDS_WAIT, RESUME_SLICE};
use sc_core::log::FAULT;
use tokio::sync::mpsc;

use self::retired::Retired;
use self::rollback::Previous;
pub(crate) use self::swap::Order;
use self::swap::Stage;
use crate::calls::Calls;
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

/// Instances of a generation that may die, one after the other, of being told of a socket.
const FATAL: u32 = 2;

/// The driver; it owns the instances.
pub(crate) struct Driver<S: ControllerSource> {
    worker: Rc<Worker>,
    seat: Rc<Seat>,
    source: Rc<S>,
    /// What runs, or is to run again.
    generation: Generation,
    info: StartInfo,
    orders: mpsc::Receiver<Order>,
    /// The number of the last one that is to be answered.
    order: u64,
    instance: Option<S::Instance>,
    /// The instance's number, from 1.
    number: u64,
    /// Sockets the instance was not told of yet.
    resume: VecDeque<Rc<Socket>>,
    /// Channels that the instance before watched are given up once this one has said all of its own.
    inherits: bool,
    backoff: Backoff,
    /// The generation whose guards are in force.
    guarding: Option<String>,
    /// Until when those of the generation before stay beside them.
    guards_until: Option<Instant>,
    stage: Stage<S::Instance>,
    previous: Option<Previous>,
    retired: VecDeque<Retired<S::Instance>>,
}

impl<S: ControllerSource + 'static> Driver<S> {
    /// Starts the first instance.
    pub(crate) async fn boot(
        worker: Rc<Worker>,
        seat: Rc<Seat>,
        source: S,
        generation: Generation,
        info: StartInfo,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, StartError> {
        let [first, most, healthy] = [0.1, 10.0, 30.0].map(Duration::from_secs_f64);
        let mut driver = Driver {
            worker,
            seat,
            source: Rc::new(source),
            generation,
            info,
            orders,
            order: 0,
            instance: None,
            number: 0,
            resume: VecDeque::new(),
            inherits: false,
            backoff: Backoff::new(first, most, healthy),
            guarding: None,
            guards_until: None,
            stage: Stage::Settled,
            previous: None,
            retired: VecDeque::new(),
        };
        driver.start().await?;
        Ok(driver)
    }

    /// Hands events to the component, for ever.
    pub(crate) async fn run(mut self) {
        let mut calls = 0;
        loop {
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order).await;
            }
            self.swap_on().await;
            self.settle_guards();
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
                self.disinherit();
                self.idle().await;
            } else {
                self.resume_slice().await;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for something to do.
    async fn idle(&mut self) {
        let seat = Rc::clone(&self.seat);
        let due = self.due();
        tokio::select! {
            () = seat.calls.arrived() => {}
            Some(order) = self.orders.recv() => self.obey(order).await,
            switch = self.stage.started() => self.switch(switch).await,
            () = sleep_until(due) => {}
        }
    }

    fn is_app(&self) -> bool {
        Rc::ptr_eq(&self.seat, &self.worker.app)
    }

    /// A fresh instance of the present generation takes over.
    async fn start(&mut self) -> Result<(), StartError> {
        let access = self.worker.access();
        let (instance, commands) = self.source.start(&self.generation, &self.info, &access).await?;
        self.take_over(instance, commands);
        Ok(())
    }

    /// An instance of the present generation becomes the running one.
    fn take_over(&mut self, instance: S::Instance, commands: Vec<Command>) {
        self.number += 1;
        self.instance = Some(instance);
        self.seat.interests.restart(self.number);
        // After a crash it is the same generation, which may say some of its guards later.
        let is_new = self.guarding.as_ref() != Some(&self.generation.hash);
        if is_new {
            self.guarding = Some(self.generation.hash.clone());
            self.seat.guards.restart();
            self.guards_until = Some(Instant::now() + GUARDS_WAIT);
        }
        if self.is_app() {
            self.worker.routes.clear();
            let all = self.worker.hub.all();
            if is_new {
                // Other code may do better with those that the one before died of.
                all.iter().for_each(|socket| socket.fatal.set(0));
            }
            // Sockets that the controller never heard of are still to be opened.
            let known = |socket: &Rc<Socket>| socket.known_by.get() != 0 && !is_given_up(socket);
            self.resume = all.into_iter().filter(known).collect();
            self.inherits = true;
        }
        effects::apply(&self.worker, &self.seat, self.number, commands);
    }

    /// The instance has had its say about every socket: what only an earlier one watched is watched no more.
    fn disinherit(&mut self) {
        if std::mem::take(&mut self.inherits) {
            Exchange::unwatch_but(&self.worker, self.number);
            Presence::unwatch_but(&self.worker, self.number);
        }
    }

    async fn hand_over(&mut self, event: Event, mut socket: Option<Rc<Socket>>) {
        if !self.is_due(&event, socket.as_ref()) {
            return;
        }
        if let Some(token) = event.answers()
            && !self.instance.as_ref().is_some_and(|instance| instance.awaits(token))
        {
            return self.hand_to_retired(token, &event).await;
        }
        let Some(mut event) = self.claim(event) else { return };
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
        if let Some(socket) = socket.as_ref().filter(|_| !matches!(event, Event::Open(_)))
            && socket.known_by.get() != self.number
        {
            if is_given_up(socket) {
                return self.refuse_event(&event, socket);
            }
            if !self.resume_one(socket).await {
                // One try: a socket that is gone cannot end the attempts by going away.
                if matches!(event, Event::Close { .. }) && !self.stage.is_rolling_back() {
                    return self.note_end(&event, Some(socket));
                }
                return self.seat.calls.put_back(event, Some(Rc::clone(socket)));
            }
        }
        match (&event, &socket) {
            (Event::Message { event: name, reply, .. }, Some(socket)) => {
                if !self.seat.interests.hears(name) {
                    // Nobody listens: such a call is never answered, as clients expect.
                    if let Some(reply) = *reply
                        && self.seat.calls.take_reply(reply).is_some()
                    {
                        Calls::settled(socket, reply);
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
        let number = self.number;
        let went_well = self.call(&event, socket.as_ref()).await;
        if !went_well && self.stage.is_rolling_back() {
            return self.give_back(event, socket);
        }
        self.note_end(&event, socket.as_ref());
        // Also of a call that failed: the next instance is told of the socket as of one that it takes over.
        if let (Event::Open(_), Some(socket)) = (&event, &socket) {
            socket.fatal.set(u32::from(!went_well));
            socket.known_by.set(number);
            socket.opened_to.set(number);
        }
    }

    /// Whether the event still means something.
    fn is_due(&self, event: &Event, socket: Option<&Rc<Socket>>) -> bool {
        match event {
            Event::Timer { token, .. } => GuestTimers::take_turn(&self.worker, &self.seat, *token),
            Event::Request(request) => self.worker.requests.is_waiting(request.token),
            Event::Action { action, .. } | Event::RequestAction { action, .. } => {
                self.worker.gate.is_waiting(*action)
            }
            Event::Message { .. } => socket.is_some_and(|socket| socket.is_open() || socket.left.get()),
            // One without its socket was told before, to a generation that failed.
            Event::Close { .. } => socket.is_none_or(|socket| socket.known_by.get() != 0),
            _ => true,
        }
    }

    /// Calls the instance; false when that was its end. The socket is the event's, if it has one.
    async fn call(&mut self, event: &Event, socket: Option<&Rc<Socket>>) -> bool {
        let Some(instance) = &mut self.instance else { return false };
        match instance.call(event).await {
            Ok(commands) => {
                effects::apply(&self.worker, &self.seat, self.number, commands);
                self.stage.count(event);
                true
            }
            Err(error) => {
                self.failed(&error, event, socket);
                false
            }
        }
    }

    async fn resume_one(&mut self, socket: &Rc<Socket>) -> bool {
        let number = self.number;
        let resumed = self.call(&Event::Resume(socket.info()), Some(socket)).await;
        // Only now: a message that comes while the call yields must not be measured by interests that it is still to
        // say.
        socket.known_by.set(number);
        if resumed {
            socket.fatal.set(0);
        } else if !self.stage.is_rolling_back() {
            socket.fatal.set(socket.fatal.get() + 1);
            if is_given_up(socket) {
                tracing::warn!(
                    target: FAULT,
                    component = %self.generation.label(),
                    socket = &*socket.name,
                    "instances die of this socket: it stays open, but the controller is not told of it again and its \
                     calls fail, until another generation runs"
                );
            } else {
                // A controller that dies of its live sockets must not do so without a pause.
                let pause = self.backoff.fail(Instant::now());
                tokio::time::sleep(pause).await;
            }
        }
        resumed
    }

    async fn resume_slice(&mut self) {
        for _ in 0..RESUME_SLICE {
            let Some(socket) = self.resume.pop_front() else { return };
            if socket.is_open()
                && socket.known_by.get() != self.number
                && !is_given_up(&socket)
                && !self.resume_one(&socket).await
            {
                return;
            }
        }
    }
}

/// Whether the controller is not told of a socket any more: it would take down every instance, and with it all others.
fn is_given_up(socket: &Rc<Socket>) -> bool {
    socket.fatal.get() >= FATAL
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
