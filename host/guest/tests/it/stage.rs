//! What every test needs around a guest: a cache, a worker's view, limits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sc_core::config::GuestConfig;
use sc_core::controller::{
    Cause, Command, ComponentRef, ControllerSource as _, Event, Failure, Generation, HostAccess, SocketInfo,
    StartError, StartInfo, WorkerView,
};
use sc_core::ids::{SocketId, Token};
use sc_guest::{Cache, Guest, Guests};

/// A worker without sockets.
struct Nobody;

impl WorkerView for Nobody {
    fn socket(&self, _: SocketId) -> Option<SocketInfo> {
        None
    }

    fn socket_name(&self, _: SocketId) -> Option<Box<str>> {
        None
    }

    fn session_sockets(&self, _: &str) -> Vec<SocketId> {
        Vec::new()
    }

    fn sign(&self, claims: &str, _: Option<Duration>) -> Result<String, Failure> {
        Ok(format!("signed {claims}"))
    }

    fn verify(&self, _: &str) -> Result<String, Failure> {
        Err(Failure::named("AuthTokenInvalidError", "jwt malformed"))
    }

    fn may_rotate(&self) -> bool {
        true
    }

    fn header(&self, _: SocketId, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn subscriptions(&self, _: SocketId) -> Vec<String> {
        Vec::new()
    }
}

/// One worker process's share: guests, and what they were compiled into.
pub(crate) struct Stage {
    pub(crate) guests: Guests,
    config: GuestConfig,
    pub(crate) access: HostAccess,
    cache: Cache,
    _folder: tempfile::TempDir,
}

/// The limits tests run under unless they say otherwise: the defaults of `sc.toml`.
pub(crate) fn config() -> GuestConfig {
    GuestConfig {
        memory_max: 64 << 20,
        cpu_per_call: Duration::from_millis(50),
        env: Vec::new(),
        dirs: Vec::new(),
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: GuestConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Stage {
            guests: Guests::new(&sc_guest::engine().unwrap()).unwrap(),
            config,
            access: HostAccess { view: Rc::new(Nobody), tokens: Arc::new(AtomicU64::new(1)) },
            cache: Cache::open(folder.path()).unwrap(),
            _folder: folder,
        }
    }

    pub(crate) fn component(&self, bytes: &[u8]) -> ComponentRef {
        let compiled = self.cache.compile(bytes).unwrap();
        ComponentRef { name: "guest".to_owned(), compiled, hash: sc_guest::content_hash(bytes) }
    }

    pub(crate) async fn start(&self, bytes: &[u8]) -> Result<(Guest, Vec<Command>), StartError> {
        let info =
            StartInfo { worker: 0, workers: 1, app: "test".into(), config: "{}".into(), cause: Cause::Boot };
        let component = self.component(bytes);
        let (config, guest, hash) = ("{}".into(), self.config.clone(), component.hash.clone());
        let generation = Generation { component, config, guest, fails_open: false, hash };
        self.guests.start(&generation, &info, &self.access).await
    }

    pub(crate) async fn guest(&self, bytes: &[u8]) -> Guest {
        self.start(bytes).await.unwrap().0
    }
}

/// A message of socket 7.
pub(crate) fn message(event: &str, data: Option<&str>) -> Event {
    Event::Message {
        socket: SocketId(7),
        event: event.into(),
        data: data.map(Into::into),
        reply: Some(Token(3)),
    }
}

/// Runs a test as a worker runs: one thread, local tasks.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Counts the turns that other work of the thread gets while a guest runs.
pub(crate) fn other_work() -> (Rc<RefCell<u32>>, tokio::task::JoinHandle<()>) {
    let turns = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&turns);
    let task = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            *counted.borrow_mut() += 1;
        }
    });
    (turns, task)
}

/// CPU time of this thread.
pub(crate) fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Burns that much of this thread's CPU.
pub(crate) fn burn(time: Duration) {
    let until = cpu() + time;
    while cpu() < until {}
}
