//! The master's loop: hears children, signals, orders and the clock, and keeps every place filled.
//!
//! Invariant: nothing in here waits for a child. Messages are queued, ends and answers are reported, and what has to
//! happen at a time is asked for in [`Supervisor::due`].

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Instant;

use sc_core::controller::Generation;
use sc_core::limits::STATUS_INTERVAL;
use sc_core::link::control::{ApiCall, FromChild, Load, Phase as HostPhase, ToChild};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::calls::{self, Calls};
use super::child::{Note, Report};
use super::credentials::Present;
use super::data_dir::DataDir;
use super::drain::Drain;
use super::links::{Link, Relinks};
use super::listen::Listeners;
use super::name::{ChildName, Role};
use super::reload::{Outcome, Reload};
use super::signals::Signals;
use super::slot::{FROZEN, Phase, Slot};
use super::status::Status;
use crate::component::Prepared;
use crate::config::{Settings, TlsSettings};
use crate::error::HostError;
use crate::telemetry::Logs;

/// Reports of children that may wait for the loop; children's owners wait past it.
const REPORTS: usize = 1024;

/// What is asked of the running host. An answer's asker may be gone.
#[derive(Debug)]
pub(crate) enum Order {
    /// Replace a component of a role, one process after the other. Answered when all have it, or none.
    Reload(Box<Generation>, oneshot::Sender<Outcome>),
    /// Have balancers serve TLS with these. Answered when all do, or none.
    Credentials(Box<TlsSettings>, oneshot::Sender<Outcome>),
    /// The code that runs.
    Running(oneshot::Sender<Running>),
    /// What runs.
    Status(oneshot::Sender<Status>),
    /// Have workers do something.
    Call(ApiCall, oneshot::Sender<calls::Answer>),
}

/// The code that runs.
#[derive(Debug)]
pub(crate) struct Running {
    /// The present generations of all components.
    pub(crate) generations: Vec<Generation>,
    /// The compiled files of all components.
    pub(crate) compiled: Vec<PathBuf>,
}

/// Keeps the children.
pub(crate) struct Supervisor {
    pub(super) settings: Settings,
    data_dir: DataDir,
    pub(super) controller: Generation,
    /// The stores' controller, if there is one.
    pub(super) store: Option<Generation>,
    /// Components that decide about actions, in their order.
    pub(super) middleware: Vec<Generation>,
    /// The balancers' controller, if there is one.
    pub(super) balancer: Option<Generation>,
    pub(super) site: Option<Generation>,
    pub(super) listeners: Listeners,
    /// What balancers serve TLS with, if it is served.
    pub(super) tls: Option<Present>,
    pub(super) logs: Logs,
    pub(super) slots: BTreeMap<ChildName, Slot>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) lives: u64,
    pub(super) phase: HostPhase,
    pub(super) reload: Option<Reload>,
    /// How many orders reloads have given; each is known by its number.
    pub(super) reload_orders: u64,
    /// Reloads that wait for the one under way, or for the host to be ready.
    pub(super) reloads: VecDeque<(Generation, oneshot::Sender<Outcome>)>,
    pub(super) calls: Calls,
    pub(super) began: Instant,
    pub(super) relinks: Relinks,
    inbox: mpsc::Receiver<Report>,
    pub(super) drain: Option<Drain>,
    pub(super) done: bool,
    /// Why it ends, if that is an error.
    pub(super) crashed: Option<HostError>,
    ticked: Instant,
}

impl Supervisor {
    /// A supervisor with empty places for all configured children. `began` is when the program started.
    pub(crate) fn new(
        settings: Settings,
        data_dir: DataDir,
        prepared: Prepared,
        listeners: Listeners,
        tls: Option<Present>,
        logs: Logs,
        began: Instant,
    ) -> Self {
        let now = Instant::now();
        let (reports, inbox) = mpsc::channel(REPORTS);
        let places = |role: Role, count: usize| {
            let indexes = 0..u16::try_from(count).unwrap_or(u16::MAX);
            indexes.map(move |index| (ChildName { role, index }, Slot::new(now)))
        };
        let app = &settings.app;
        let slots = places(Role::Store, app.stores)
            .chain(places(Role::Worker, app.workers))
            .chain(places(Role::Balancer, app.balancers))
            .collect();
        Supervisor {
            settings,
            data_dir,
            controller: prepared.controller,
            store: prepared.store,
            middleware: prepared.middleware,
            balancer: prepared.balancer,
            site: prepared.site,
            listeners,
            tls,
            logs,
            slots,
            reports,
            lives: 0,
            phase: HostPhase::Starting,
            reload: None,
            reload_orders: 0,
            reloads: VecDeque::new(),
            calls: Calls::default(),
            began,
            relinks: Relinks::default(),
            inbox,
            drain: None,
            done: false,
            crashed: None,
            ticked: now,
        }
    }

    /// Runs until drained. On an error all children are killed first, and what they still say is logged.
    pub(crate) async fn run(
        mut self,
        signals: &mut Signals,
        orders: mpsc::Receiver<Order>,
    ) -> Result<(), HostError> {
        let ended = self.live(signals, orders).await;
        if ended.is_err() {
            self.put_down().await;
        }
        self.data_dir.finish().await;
        ended
    }

    async fn live(
        &mut self,
        signals: &mut Signals,
        mut orders: mpsc::Receiver<Order>,
    ) -> Result<(), HostError> {
        let mut tick = tokio::time::interval(STATUS_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.act(Instant::now())?;
            if self.done {
                return self.crashed.take().map_or(Ok(()), Err);
            }
            let due = self.due();
            let time = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(report) = self.inbox.recv() => self.hear(report)?,
                end = signals.next() => self.begin_drain(end)?,
                Some(order) = orders.recv() => self.obey(order),
                _ = tick.tick() => self.tick(Instant::now()),
                () = self.data_dir.tend() => {}
                () = time => {}
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Reload(generation, done) => {
                self.reloads.push_back((*generation, done));
                self.next_reload();
            }
            Order::Credentials(tls, done) => self.use_credentials(*tls, done, Instant::now()),
            Order::Running(answer) => {
                let generations: Vec<_> =
                    self.generations().map(|(_, generation)| generation.clone()).collect();
                let compiled =
                    generations.iter().map(|generation| generation.component.compiled.clone()).collect();
                let _ = answer.send(Running { generations, compiled });
            }
            Order::Status(answer) => {
                let _ = answer.send(self.status(Instant::now()));
            }
            Order::Call(call, done) => self.call(&call, done, Instant::now()),
        }
    }

    /// Does everything whose time has come.
    fn act(&mut self, now: Instant) -> Result<(), HostError> {
        let names: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.due().is_some_and(|due| due <= now))
            .map(|(name, _)| *name)
            .collect();
        for name in names {
            match self.slots.get_mut(&name) {
                Some(Slot { phase: Phase::Pausing(_), .. }) => self.fill(name, now)?,
                Some(slot) => slot.kill_late(),
                None => {}
            }
        }
        for link in self.relinks.take_due(now) {
            self.lay(link);
        }
        self.reload_overdue(now);
        self.credentials_overdue(now);
        self.calls.end_overdue(now);
        self.drain_on(now);
        Ok(())
    }

    /// When [`Supervisor::act`] is needed next, whatever else happens.
    fn due(&self) -> Option<Instant> {
        let slots = self.slots.values().filter_map(Slot::due).min();
        let drain = self.drain.as_ref().map(Drain::due);
        let reload = self.reload.as_ref().and_then(Reload::due);
        let tls = self.tls.as_ref().and_then(Present::due);
        [slots, drain, reload, tls, self.relinks.due(), self.calls.due()].into_iter().flatten().min()
    }

    fn hear(&mut self, report: Report) -> Result<(), HostError> {
        let Report { name, life, note } = report;
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        if slot.child().is_none_or(|child| child.life != life) {
            return Ok(());
        }
        match note {
            Note::Said(message) => return self.heed(name, message),
            Note::Stuck => self.put_away(name, "it did not read its messages"),
            Note::Garbled(error) => self.put_away(name, &format!("its control link failed: {error}")),
            Note::Exited(exited) => return self.ended(name, &exited, Instant::now()),
        }
        Ok(())
    }

    fn heed(&mut self, name: ChildName, message: FromChild) -> Result<(), HostError> {
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        slot.heard = Instant::now();
        match (message, name.as_worker()) {
            (FromChild::Ready, _) => self.ready(name),
            (FromChild::Alive, _) => {}
            (FromChild::Opening(bytes), None) => self.opening(name, bytes),
            (FromChild::Holds(counts), None) => slot.holds = counts,
            (FromChild::Refused { component, reason }, _) => {
                if self.phase == HostPhase::Starting {
                    return Err(self.refused(name, component, reason));
                }
                slot.kill(&format!("it refused to start: {reason}"));
            }
            (FromChild::DataUnusable(reason), _) => {
                if self.phase == HostPhase::Starting {
                    return Err(self.unusable(reason));
                }
                slot.kill(&format!("it cannot use its folder: {reason}"));
            }
            (FromChild::Status { sockets, held, at, packets, guest_failures }, Some(worker)) => {
                tracing::trace!(child = %name, sockets, packets, guest_failures, "a worker's counts");
                slot.counts.heard(sockets, packets, guest_failures, slot.heard);
                slot.load = Some(Load { worker, sockets: held, at });
            }
            (FromChild::Answered(call, outcome), Some(worker)) => self.calls.answered(call, worker, outcome),
            (FromChild::StoreLost(store), Some(worker)) => {
                // A store that died gets its links when the next one starts.
                if self.slots.get(&ChildName::store(store.0)).is_some_and(Slot::is_linked) {
                    tracing::warn!(child = %name, store = %store, "a worker lost its link to a store");
                    self.relinks.lost(Link::Data(worker, store), Instant::now());
                }
            }
            (FromChild::HandoffsLost(giver, worker), _) => {
                // A worker that died, or is not ready yet, gets its links when it is.
                if self.slots.get(&ChildName::worker(worker.0)).is_some_and(Slot::is_ready) {
                    tracing::warn!(child = %name, ?giver, %worker, "a link for connections was not taken");
                    self.relinks.lost(Link::Connections(giver, worker), Instant::now());
                }
            }
            (FromChild::Reloaded(number, outcome), _) => self.reloaded(name, number, outcome),
            (FromChild::RotateAuthKey(key), Some(_)) => {
                tracing::info!(child = %name, "the key of tokens is replaced on all workers");
                self.data_dir.keep_auth_key(&key);
                self.settings.worker.auth.key.clone_from(&key);
                self.tell(Role::Worker, &ToChild::AuthKey(key));
            }
            (FromChild::Credentialed(number, outcome), _) => self.credentialed(name, number, outcome),
            (FromChild::Drained, _) => tracing::debug!(child = %name, "a child has drained"),
            _ => tracing::warn!(child = %name, "a message that only workers send was ignored"),
        }
        Ok(())
    }

    /// Who refuses to start speaks of its component.
    fn refused(&self, child: ChildName, component: Option<String>, reason: String) -> HostError {
        if let Some(name) = component {
            return HostError::Refused { who: format!("the middleware {name}"), reason };
        }
        let component = match child.role {
            Role::Worker => self.settings.component.as_ref(),
            Role::Store => self.settings.store_component.as_ref(),
            Role::Balancer => self.settings.balancer_component.as_ref().map(|(path, _)| path),
        };
        let who = match component {
            Some(path) => format!("the component {}", path.display()),
            None => child.to_string(),
        };
        HostError::Refused { who, reason }
    }

    /// A store cannot use its folder.
    fn unusable(&self, reason: String) -> HostError {
        let path = self.settings.data_dir.clone().unwrap_or_default();
        let help = "nothing in it was changed; mend it, or name another folder with --data-dir".to_owned();
        HostError::DataDir { path, reason, help }
    }

    /// Each second: balancers learn the workers' loads, frozen children are killed.
    fn tick(&mut self, now: Instant) {
        // After a pause of the master itself, what children said still waits unread.
        let late = now.duration_since(std::mem::replace(&mut self.ticked, now)) > 3 * STATUS_INTERVAL;
        let mut loads = Vec::new();
        let mut frozen = Vec::new();
        for (name, slot) in &mut self.slots {
            if !slot.is_ready() {
                continue;
            }
            if late {
                slot.heard = now;
            }
            if now.duration_since(slot.heard) > FROZEN && slot.reason.is_none() {
                frozen.push(*name);
            }
            if name.as_worker().is_some() {
                loads.extend(slot.load);
            }
        }
        self.tend_credentials(now);
        self.tell(Role::Balancer, &ToChild::Load(loads));
        for name in frozen {
            self.put_away(name, "it is frozen: no report in 10 s");
        }
    }

    /// Kills all children and waits a moment for their last words.
    async fn put_down(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.kill("the host ends"));
        let gone = async {
            while self.slots.values().any(|slot| slot.child().is_some()) {
                let Some(report) = self.inbox.recv().await else { return };
                if let (Note::Exited(_), Some(slot)) = (report.note, self.slots.get_mut(&report.name)) {
                    slot.phase = Phase::Gone;
                }
            }
        };
        let _ = tokio::time::timeout(STATUS_INTERVAL, gone).await;
    }
}
