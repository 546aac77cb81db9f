//! A worker process from its start to its end: the control link, the links it brings, and the drain.

use std::cell::OnceCell;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::join_all;

use sc_core::config::WorkerConfig;
use sc_core::controller::{Cause, ControllerSource, Generation, StartError, StartInfo};
use sc_core::ids::WorkerId;
use sc_core::limits::STATUS_INTERVAL;
use sc_core::link::LinkError;
use sc_core::link::control::{ChildLink, FromChild, Giver, HandoffReceiver, HandoffSender, Phase, ToChild};
use sc_core::moment::Moment;
use sc_store::client::Stores;
use sc_wire::close;
use tokio::sync::mpsc;

use crate::arrival;
use crate::controller::{Driver, Order};
use crate::exchange::Exchange;
use crate::heartbeat;
use crate::operator;
use crate::seat::Seat;
use crate::site::SitePlace;
use crate::worker::Worker;

/// Messages that may wait for the master.
const TO_MASTER: usize = 1024;
/// Orders that may wait for one component.
const ORDERS: usize = 8;

/// What a worker starts with; see [`sc_core::link::control::Start::Worker`].
#[derive(Clone, Debug)]
pub struct WorkerStart {
    /// Its number.
    pub id: WorkerId,
    /// How many workers there are.
    pub workers: u16,
    /// How many stores there are.
    pub stores: u16,
    /// Its options.
    pub config: WorkerConfig,
    /// Its controller.
    pub controller: Generation,
    /// Its middleware, in the order in which they decide.
    pub middleware: Vec<Generation>,
    /// Why it starts.
    pub cause: Cause,
    /// The host's phase.
    pub phase: Phase,
}

/// Why a worker ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The controller does not start; the master was told.
    #[error("the controller does not start")]
    Refused(#[source] StartError),
    /// The control link failed.
    #[error("the link to the master failed")]
    Control(#[from] LinkError),
}

/// Runs a worker until it is drained or the master is gone. `sources` are those of the middleware, in order, then the
/// controller's. Requests that no endpoint here takes go to `site`. Must run in a `LocalSet`.
pub async fn run<S: ControllerSource + 'static>(
    control: ChildLink,
    start: WorkerStart,
    sources: Vec<S>,
    site: Option<SitePlace>,
) -> Result<(), WorkerError> {
    let (to_master, from_worker) = mpsc::channel(TO_MASTER);
    let worker = assemble(&start, site, to_master);
    let info = StartInfo {
        worker: u32::from(start.id.0),
        workers: u32::from(start.workers),
        app: start.config.app.as_str().into(),
        config: "{}".to_owned(),
        cause: start.cause,
    };
    let (drivers, orders) = match boot(&worker, start, sources, info).await {
        Ok(booted) => booted,
        Err((component, error)) => {
            // The controller needs no name.
            let component = Some(component).filter(|name| **name != *worker.app.name);
            control.send(&FromChild::Refused { component, reason: error.to_string() }, &[]).await?;
            return Err(WorkerError::Refused(error));
        }
    };
    control.send(&FromChild::Ready, &[]).await?;
    tokio::select! {
        ended = listen(&control, &worker, &orders) => Ok(ended?),
        ended = report(&control, &worker, from_worker) => Ok(ended?),
        _ = join_all(drivers.into_iter().map(Driver::run)) => Ok(()),
        () = heartbeat::run(&worker) => Ok(()),
        () = worker.keep_flushing() => Ok(()),
    }
}

/// What drives a worker's components, and where each takes its orders, in the order of their places.
type Booted<S> = (Vec<Driver<S>>, Vec<mpsc::Sender<Order>>);

/// Starts the first instance of each component; of one that does not start, its name.
async fn boot<S: ControllerSource + 'static>(
    worker: &Rc<Worker>,
    start: WorkerStart,
    sources: Vec<S>,
    info: StartInfo,
) -> Result<Booted<S>, (String, StartError)> {
    let (mut drivers, mut orders) = (Vec::new(), Vec::new());
    let generations = start.middleware.into_iter().chain([start.controller]);
    for ((generation, source), seat) in generations.zip(sources).zip(&worker.seats) {
        let name = generation.name().to_owned();
        let info = StartInfo { config: generation.config.clone(), ..info.clone() };
        let (sender, queue) = mpsc::channel(ORDERS);
        let driver = Driver::boot(Rc::clone(worker), Rc::clone(seat), source, generation, info, queue).await;
        drivers.push(driver.map_err(|error| (name, error))?);
        orders.push(sender);
    }
    Ok((drivers, orders))
}

fn assemble(start: &WorkerStart, site: Option<SitePlace>, to_master: mpsc::Sender<FromChild>) -> Rc<Worker> {
    // The stores' links report to the worker, which owns the stores.
    let back: Rc<OnceCell<Weak<Worker>>> = Rc::default();
    let receiver = Rc::clone(&back);
    let stores = Stores::new(start.stores, move |event| {
        if let Some(worker) = receiver.get().and_then(Weak::upgrade) {
            Exchange::receive(&worker, event);
        }
    });
    let tokens = Arc::new(AtomicU64::new(1));
    let middleware = start.middleware.iter().enumerate();
    let middleware = middleware.map(|(index, generation)| Seat::new(index, generation, &tokens)).collect();
    let app = Seat::new(start.middleware.len(), &start.controller, &tokens);
    let worker = Rc::new(Worker::new(start, stores, site, middleware, app, to_master));
    // The cell is new, so this cannot be its second value.
    let _ = back.set(Rc::downgrade(&worker));
    worker
}

/// Acts on what the master says, until it is gone or a drain is done.
async fn listen(
    control: &ChildLink,
    worker: &Rc<Worker>,
    orders: &[mpsc::Sender<Order>],
) -> Result<(), LinkError> {
    while let Some((message, mut descriptors)) = control.recv().await? {
        let end = descriptors.pop().ok_or_else(|| io::Error::other(LinkError::NoDescriptor));
        match message {
            ToChild::StoreLink(store) => {
                if let Err(error) = end.and_then(|end| worker.stores.attach(store, end)) {
                    tracing::error!(store = %store, error = %error, "the link to a store cannot be used");
                    // The master lays another one.
                    worker.tell_master(FromChild::StoreLost(store));
                }
            }
            ToChild::HandoffTo(peer) => match end.and_then(HandoffSender::new) {
                Ok(link) => drop(worker.peers.borrow_mut().insert(peer, Rc::new(link))),
                Err(error) => {
                    tracing::error!(worker = %peer, error = %error, "the link to a worker cannot be used");
                    worker.tell_master(FromChild::HandoffsLost(Giver::Worker(worker.id), peer));
                }
            },
            ToChild::HandoffFrom(giver) => match end.and_then(HandoffReceiver::new) {
                Ok(link) => worker.tasks.spawn_local(arrival::receive(Rc::clone(worker), giver, link)),
                Err(error) => {
                    tracing::error!(?giver, error = %error, "a link that brings connections cannot be used");
                    worker.tell_master(FromChild::HandoffsLost(giver, worker.id));
                }
            },
            ToChild::Retire(peer) => {
                worker.peers.borrow_mut().remove(&peer);
            }
            ToChild::Phase(phase) => worker.phase.set(phase),
            ToChild::AuthKey(key) => worker.tokens.settle(&key),
            ToChild::Reload(number, generation) => {
                let name = generation.name().to_owned();
                order(worker, orders, &name, Order::Reload(number, generation));
            }
            ToChild::RollBack(number, name) => order(worker, orders, &name, Order::RollBack(number)),
            ToChild::Keep(name) => order(worker, orders, &name, Order::Keep),
            ToChild::Call(number, call) => operator::serve(worker, number, call),
            ToChild::Drain(within_ms) => {
                drain(worker, Duration::from_millis(within_ms)).await;
                if let Some(key) = worker.rotation.take() {
                    control.send(&key, &[]).await?;
                }
                control.send(&FromChild::Drained, &[]).await?;
                return Ok(());
            }
            ToChild::Start(_)
            | ToChild::WorkerLink(_)
            | ToChild::Load(_)
            | ToChild::Credentials(..)
            | ToChild::RedirectTo(_) => {
                tracing::error!("the master sent a worker a message for another role");
            }
        }
    }
    Ok(())
}

/// Passes an order on to the component's driver, or the site.
fn order(worker: &Worker, orders: &[mpsc::Sender<Order>], name: &str, order: Order) {
    let number = order.number();
    if let Some(site) = worker.site.as_ref().filter(|site| site.name() == name) {
        let outcome = site.obey(order);
        if let Some(number) = number {
            worker.tell_master(FromChild::Reloaded(number, outcome));
        }
        return;
    }
    let seat = worker.seats.iter().find(|seat| *seat.name == *name);
    let refused = match seat.and_then(|seat| orders.get(seat.index)) {
        None => format!("this worker has no component {name}"),
        Some(queue) => match queue.try_send(order) {
            Ok(()) => return,
            Err(_) => "too many orders wait already".to_owned(),
        },
    };
    if let Some(number) = number {
        worker.tell_master(FromChild::Reloaded(number, Err(refused)));
    }
}

/// Closes every socket with 1001, lets the controller hear of it and finish what it was asked, within a deadline.
async fn drain(worker: &Rc<Worker>, within: Duration) {
    worker.leaving.set(true);
    worker.draining.notify_waiters();
    for socket in worker.hub.all() {
        socket.leaves();
        worker.close_socket(&socket, close::GOING_AWAY, "");
    }
    let finished = async {
        worker.hub.until_empty().await;
        worker.connections.until_done().await;
        worker.links.until_done().await;
        // An answer brings a call, and a call may ask again.
        while !(worker.seats.iter().all(|seat| seat.calls.is_idle()) && worker.answers.len() == 0) {
            for seat in &worker.seats {
                seat.calls.until_idle().await;
            }
            worker.answers.until_done().await;
        }
        worker.stores.written().await;
    };
    if tokio::time::timeout(within, finished).await.is_err() {
        tracing::warn!(
            sockets = worker.hub.all().len(),
            "the drain's deadline passed before all was finished"
        );
    }
}

/// Tells the master the counts, each second, and whatever else it should hear.
async fn report(
    control: &ChildLink,
    worker: &Worker,
    mut messages: mpsc::Receiver<FromChild>,
) -> Result<(), LinkError> {
    // All workers count at the same time, so that a balancer compares what belongs together.
    let period = u64::try_from(STATUS_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
    let rest = Duration::from_nanos(period - Moment::now().0 % period);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + rest, STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => message,
                None => return Ok(()),
            },
            _ = ticks.tick() => FromChild::Status {
                sockets: worker.hub.open_count(),
                held: worker.hub.held(),
                at: Moment::now(),
                packets: worker.hub.packet_count(),
                guest_failures: worker.guest_failures.get(),
            },
        };
        control.send(&message, &[]).await?;
    }
}
