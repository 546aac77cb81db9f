//! A hub with a journal, whose disk can be made to fail, and links to it.

use bytes::Bytes;
use sc_core::config::GuestConfig;
use sc_core::controller::ComponentRef;
use sc_core::link::frames::{FrameReceiver, FrameSender};
use sc_wire::store::{KeyErrorKind, KeyOp, OpId, Run, Tree};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::keyspace::Place;

/// Runs a test's future; one that hangs fails.
pub(super) fn test(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { tokio::time::timeout(Duration::from_secs(20), run).await };
    LocalSet::new().block_on(&runtime, limited).expect("done in time");
}

pub(super) struct Rig {
    pub(super) hub: Rc<RefCell<Hub>>,
    pub(super) folder: TempDir,
    driver: Option<AbortOnDropHandle<()>>,
    /// Replaces the controller's generation, and where the master hears of it.
    pub(super) reloads: Option<(mpsc::Sender<Reload>, MasterLink)>,
}

impl Rig {
    pub(super) fn new(config: StoreConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (journal, _) = Journal::open_now(folder.path(), drop).expect("a journal");
        let commit = Commit::new(journal, config.fsync);
        let hub = Hub::new(StoreId(0), config, Keyspace::new(true), Some(commit));
        Rig { hub: Rc::new(RefCell::new(hub)), folder, driver: None, reloads: None }
    }

    /// One whose controller runs.
    pub(super) async fn driven(fakes: &Fakes) -> Self {
        let mut rig = Rig::new(config());
        let booted = Driver::boot(Rc::clone(&rig.hub), fakes.clone(), generation("0"), Cause::Boot).await;
        let (driver, reloads) = booted.expect("a controller");
        let (ours, theirs) = packet_pair().expect("a pair");
        let control = ChildLink::new(theirs).expect("a link");
        let running = tokio::task::spawn_local(async move { driver.run(&control).await });
        rig.reloads = Some((reloads, MasterLink::new(ours).expect("a link")));
        rig.driver = Some(AbortOnDropHandle::new(running));
        rig
    }

    /// Has another generation take over.
    pub(super) fn reload(&self, hash: &str) {
        let (reloads, _) = self.reloads.as_ref().expect("a controller");
        reloads.try_send((1, generation(hash))).expect("room");
    }

    /// How the next swap ended.
    pub(super) async fn reloaded(&self) -> Result<(), String> {
        let (_, control) = self.reloads.as_ref().expect("a controller");
        match said(control).await {
            FromChild::Reloaded(_, outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn link(&self, worker: u16) -> Wire {
        let (ours, theirs) = stream_pair().expect("a pair");
        links::serve(&self.hub, WorkerId(worker), theirs).expect("served");
        Wire::new(ours)
    }

    pub(super) fn write_to(&self, device: &str) -> std::sync::Arc<File> {
        self.hub.borrow_mut().commit.as_mut().expect("a journal").journal.write_to(device)
    }

    pub(super) fn write_back_to(&self, segment: std::sync::Arc<File>) {
        self.hub.borrow_mut().commit.as_mut().expect("a journal").journal.write_back_to(segment);
    }

    /// What a store that began now would have under a key.
    pub(super) fn kept(&self, key: &str) -> Option<Bytes> {
        let mut keys = Keyspace::new(false);
        Journal::open_now(self.folder.path(), |change| keys.apply(change)).expect("a journal");
        keys.act(0, &place(key), KeyOp::Get).expect("got")
    }

    pub(super) fn segments(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<_> = names
            .map(|entry| entry.expect("a file").file_name().into_string().expect("a name"))
            .filter(|name| name != "lock")
            .collect();
        names.sort();
        names
    }
}

pub(super) fn generation(hash: &str) -> Generation {
    let component = ComponentRef { name: "fake".to_owned(), compiled: "none".into(), hash: hash.to_owned() };
    let (memory_max, cpu_per_call) = (1 << 26, Duration::from_millis(20));
    let guest = GuestConfig { memory_max, cpu_per_call, env: Vec::new(), dirs: Vec::new() };
    Generation { component, config: "{}".to_owned(), guest, fails_open: false, hash: hash.to_owned() }
}

pub(super) fn place(key: &str) -> Place {
    Place { tree: Tree::Global, path: vec![key.to_owned()] }
}

pub(super) fn procedure(name: &str, argument: &'static str) -> Run {
    let argument = Some(Bytes::from_static(argument.as_bytes()));
    Run { tree: Tree::Global, path: Vec::new(), procedure: name.to_owned(), argument }
}

/// A worker's end of a link.
pub(super) struct Wire {
    pub(super) sender: FrameSender<Request>,
    receiver: FrameReceiver<Reply>,
    last: OpId,
    /// What came without having been asked for.
    pub(super) heard: Vec<Reply>,
    _writing: AbortOnDropHandle<()>,
}

impl Wire {
    pub(super) fn new(end: std::os::fd::OwnedFd) -> Self {
        let (sender, receiver, drain) = split::<Request, Reply>(end).expect("a link");
        let writing = AbortOnDropHandle::new(tokio::task::spawn_local(drain));
        Wire { sender, receiver, last: 0, heard: Vec::new(), _writing: writing }
    }

    pub(super) fn say(&mut self, request: impl FnOnce(OpId) -> Request) -> OpId {
        self.last += 1;
        self.sender.send(&request(self.last)).expect("sent");
        self.last
    }

    /// What comes next without having been asked for.
    pub(super) async fn hear(&mut self) -> Reply {
        self.receiver.recv().await.expect("a frame").expect("a message")
    }

    /// The answer to an operation: a value, or the name of a refusal.
    pub(super) async fn answer(&mut self, op: OpId) -> Result<Option<Bytes>, (KeyErrorKind, String)> {
        loop {
            match self.hear().await {
                Reply::Value { op: got, value } if got == op => return Ok(value),
                Reply::Done { op: got } if got == op => return Ok(None),
                Reply::Failed { op: got, error } if got == op => return Err((error.kind, error.message)),
                Reply::Problem { op: got, message, .. } if got == op => {
                    return Err((KeyErrorKind::Procedure, message));
                }
                other => self.heard.push(other),
            }
        }
    }

    pub(super) async fn act(
        &mut self,
        key: &str,
        action: KeyOp,
    ) -> Result<Option<Bytes>, (KeyErrorKind, String)> {
        let Place { tree, path } = place(key);
        let op = self.say(|op| Request::Key { op, tree, path, action });
        self.answer(op).await
    }

    pub(super) async fn set(&mut self, key: &str, value: &'static str) -> Result<(), KeyErrorKind> {
        let value = Bytes::from_static(value.as_bytes());
        self.act(key, KeyOp::Set { value }).await.map(drop).map_err(|(kind, _)| kind)
    }

    pub(super) async fn get(&mut self, key: &str) -> Option<Bytes> {
        self.act(key, KeyOp::Get).await.expect("got")
    }

    pub(super) async fn run(
        &mut self,
        name: &str,
        argument: &'static str,
    ) -> Result<Option<Bytes>, (KeyErrorKind, String)> {
        let op = self.say(|op| Request::Run { op, run: procedure(name, argument) });
        self.answer(op).await
    }
}
