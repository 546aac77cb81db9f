//! Procedures of the store's controller: one at a time, with the data for itself, and all or nothing. While one runs,
//! the links wait; what it publishes goes out when it has ended well. The [`Driver`] hands them to the instance.

mod driver;
mod swap;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::{Rc, Weak};

use bytes::Bytes;
use sc_core::controller::{Json, ProcedureData};
use sc_core::ids::WorkerId;
use sc_core::limits::RUNS_AT_END;
use sc_core::log::FAULT;
use sc_wire::store::{KeyError, KeyErrorKind, KeyOp, OpId, Reply, Run};
use tokio::sync::Notify;

pub(super) use self::driver::Driver;
pub(super) use self::swap::Reload;
use super::commit::{Commit, Said};
use super::hub::Hub;
use crate::change::Change;
use crate::keyspace::{Keyspace, Millis, Place};
use crate::pubsub::LinkId;
use crate::shard;

/// Procedures and turns of channels that may wait.
const QUEUE_MAX: usize = 10_000;
const NO_CONTROLLER: &str = "no store controller is configured: set store.component in sc.toml";

/// Something for the controller to do.
enum Job {
    Run {
        /// Who is answered.
        answer: Option<(LinkId, OpId)>,
        run: Run,
    },
    Channel {
        name: String,
        is_subscribed: bool,
    },
}

/// What the running call has done so far.
struct Running {
    /// When it began: for its data no time passes.
    now: Millis,
    /// None for a call that works on no data.
    base: Option<Place>,
    undo: Vec<Change>,
    publications: Vec<(String, Option<Bytes>)>,
}

/// What waits for the controller.
#[derive(Default)]
pub(super) struct Procedures {
    queue: VecDeque<Job>,
    at_end: HashMap<WorkerId, BTreeMap<u64, Run>>,
    running: Option<Running>,
    /// Links wait while a procedure is asked for or runs.
    asked: usize,
    hears_channels: bool,
    arrived: Rc<Notify>,
    idle: Rc<Notify>,
    exists: bool,
}

impl Procedures {
    /// A channel has its first subscriber, or lost its last.
    pub(super) fn channel(&mut self, name: String, is_subscribed: bool) {
        if self.hears_channels && self.queue.len() < QUEUE_MAX {
            self.queue.push_back(Job::Channel { name, is_subscribed });
            self.arrived.notify_one();
        }
    }

    /// A worker is gone: what it left for this moment is run.
    pub(super) fn worker_gone(&mut self, worker: WorkerId) {
        for run in self.at_end.remove(&worker).unwrap_or_default().into_values() {
            self.push(Job::Run { answer: None, run });
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn push(&mut self, job: Job) {
        self.asked += 1;
        self.queue.push_back(job);
        self.arrived.notify_one();
    }
}

impl Hub {
    /// What tells when the links may go on; none when they may.
    pub(super) fn procedure_ends(&self) -> Option<Rc<Notify>> {
        (self.procedures.asked > 0).then(|| Rc::clone(&self.procedures.idle))
    }

    /// A worker wants a procedure run.
    pub(super) fn ask_for_run(&mut self, link: LinkId, op: OpId, run: Run) {
        let answer = Some((link, op));
        match self.procedures.exists {
            true => self.procedures.push(Job::Run { answer, run }),
            false => self.refuse(answer, NO_CONTROLLER),
        }
    }

    /// A worker wants a procedure run when it is gone; it may have said so before.
    pub(super) fn run_at_end(&mut self, link: LinkId, number: u64, run: Run) {
        if !self.procedures.exists {
            return self.refuse(None, NO_CONTROLLER);
        }
        let Some(worker) = self.worker_of(link) else { return };
        let left = self.procedures.at_end.entry(worker).or_default();
        match left.len() < RUNS_AT_END || left.contains_key(&number) {
            true => drop(left.insert(number, run)),
            false => {
                tracing::warn!(
                    target: FAULT,
                    %worker,
                    "a worker left too many procedures for its end: one is lost"
                )
            }
        }
    }

    /// So many of the procedures that were asked for have ended.
    fn procedures_ended(&mut self, count: usize) {
        self.procedures.asked = self.procedures.asked.saturating_sub(count);
        self.commit();
        if self.procedures.asked == 0 {
            self.procedures.idle.notify_waiters();
            self.changed().notify_one();
        }
    }

    fn refuse(&mut self, answer: Option<(LinkId, OpId)>, message: &str) {
        let Some((link, op)) = answer else {
            return tracing::warn!(target: FAULT, error = message, "a procedure did not run");
        };
        let error = KeyError { kind: KeyErrorKind::Procedure, message: message.to_owned() };
        self.answer(link, Reply::Failed { op, error }, false);
    }

    /// A call begins. What has expired by now is removed before it, so that taking the call back does not take that
    /// back.
    fn begin(&mut self, base: Option<Place>) {
        self.by_itself(Keyspace::expire_due);
        let now = self.now();
        self.procedures.running = Some(Running { now, base, undo: Vec::new(), publications: Vec::new() });
    }

    /// What a call did stays, if the journal takes it; then what it published goes out, ahead of its answer.
    fn keep(&mut self) {
        let Some(Running { base, mut undo, publications, .. }) = self.procedures.running.take() else {
            return;
        };
        if let Some(base) = &base {
            self.age(&base.tree, &mut undo);
        }
        self.note_changes(undo);
        for (channel, data) in publications {
            self.say_in_turn(Said::Publication { channel, data }, base.is_some());
        }
    }

    /// Publishes for a procedure: through a worker, if another store carries the channel.
    pub(super) fn relay(&mut self, channel: String, data: Option<Bytes>) {
        if shard::of_channel(&channel, self.config().stores) == self.id() {
            self.publish(channel, data);
        } else if let Some(link) = self.any_link() {
            self.send(link, &Reply::Relay { channel, data });
        }
    }

    /// What a call did is undone.
    fn take_back(&mut self) {
        let Some(mut running) = self.procedures.running.take() else { return };
        while let Some(change) = running.undo.pop() {
            self.keys.apply(change);
        }
        drop(self.keys.take_changes());
    }

    fn act_in_procedure(&mut self, path: Vec<String>, action: KeyOp) -> Result<Option<Bytes>, KeyError> {
        let running = self.procedures.running.as_mut().ok_or_else(no_data)?;
        let now = running.now;
        let mut place = running.base.clone().ok_or_else(no_data)?;
        place.path.extend(path);
        if !action.only_reads()
            && let Some(refusal) = self.commit.as_ref().and_then(Commit::refusal)
        {
            return Err(refusal);
        }
        self.keys.act_undoably(now, &place, action, &mut running.undo)
    }
}

/// The data as an instance reaches them.
struct Desk {
    hub: Weak<RefCell<Hub>>,
    /// Whether the instance is the one that runs. While it starts, what runs may be another one's procedure.
    is_manned: Cell<bool>,
}

impl Desk {
    fn new(hub: &Rc<RefCell<Hub>>) -> Rc<Self> {
        Rc::new(Desk { hub: Rc::downgrade(hub), is_manned: Cell::new(false) })
    }
}

impl ProcedureData for Desk {
    fn act(&self, path: Vec<String>, action: KeyOp) -> Result<Option<Bytes>, KeyError> {
        if !self.is_manned.get() {
            return Err(no_data());
        }
        match self.hub.upgrade() {
            Some(hub) => hub.borrow_mut().act_in_procedure(path, action),
            None => Err(KeyError { kind: KeyErrorKind::Storage, message: "the store ends".to_owned() }),
        }
    }

    fn publish(&self, channel: String, data: Option<Json>) {
        if self.is_manned.get()
            && let Some(hub) = self.hub.upgrade()
            && let Some(running) = &mut hub.borrow_mut().procedures.running
        {
            running.publications.push((channel, data.map(Bytes::from)));
        }
    }
}

fn no_data() -> KeyError {
    let message = "there are no data here: only a procedure has some".to_owned();
    KeyError { kind: KeyErrorKind::Path, message }
}
