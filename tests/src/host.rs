//! A host as a real process: `sc-host run` with a free port, its records read as JSON.
//!
//! Invariant: the master dies with the [`Host`], by SIGKILL, and its children by themselves with it. Price: a test's
//! host starts in some tenths of a second; tests share none, so that each reads alone.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Once, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::log::Log;
use crate::run::{self, Finished};
use crate::wait;
use crate::{jwt, paths, usage};

/// For a start that may have to compile several components first, in niced processes on a busy machine.
const START: Duration = Duration::from_secs(300);

/// For what is asked of a running host: a reload may have to compile.
const ASKED: Duration = wait::COMPILED;

/// For a turn on the machine: those before may be soaks, of half an hour each when the tests are long.
const TURN: Duration = Duration::from_secs(60 * 60);

/// Hosts of tests that measure run alone; all others side by side.
static MACHINE: RwLock<()> = RwLock::const_new(());

type SharedTurn = RwLockReadGuard<'static, ()>;

thread_local! {
    /// The turn that the hosts of one test share, for each test has a thread of its own. Were a second host to ask for
    /// a turn of its own, it would wait behind a test that waits for the machine, and that one for the first host.
    static SHARED: RefCell<Weak<SharedTurn>> = const { RefCell::new(Weak::new()) };
}

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts connections.
    Balancer,
    /// Holds sockets.
    Worker,
    /// Carries publications.
    Store,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Balancer => "balancer",
            Role::Worker => "worker",
            Role::Store => "store",
        })
    }
}

/// What a host is to be started with.
#[derive(Debug)]
pub struct HostBuilder {
    binary: PathBuf,
    command: &'static str,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    key: Option<&'static str>,
    alone: bool,
    /// Its runtime folder; many hosts of one app run side by side here.
    runtime: std::io::Result<TempDir>,
}

impl HostBuilder {
    /// A host from that binary: one worker, balancer and store, any free port of this machine, the tests' key.
    pub fn new(binary: &str) -> Self {
        // Tests that open a thousand connections need more descriptors than a shell usually gives.
        static RAISED: Once = Once::new();
        RAISED.call_once(|| {
            let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
            let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        });
        let args = ["--host", "127.0.0.1", "--port", "0", "--log-format", "json"].map(str::to_owned).to_vec();
        let variables = Vec::new();
        HostBuilder {
            binary: binary.into(),
            command: "run",
            args,
            variables,
            key: Some(jwt::KEY),
            alone: false,
            runtime: tempfile::Builder::new().prefix("sc-run-").tempdir(),
        }
        .set("app.workers", 1)
        .set("app.data_dir", "none")
    }

    /// Another subcommand in place of `run`.
    pub fn command(mut self, command: &'static str) -> Self {
        self.command = command;
        self
    }

    /// `dev` in place of `run`.
    pub fn dev(mut self) -> Self {
        self.command = "dev";
        self
    }

    /// Adds an argument as it is.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Takes an option that has a value away again.
    pub fn without(mut self, flag: &str) -> Self {
        if let Some(at) = self.args.iter().position(|arg| arg == flag) {
            self.args.drain(at..(at + 2).min(self.args.len()));
        }
        self
    }

    /// Takes all options away that the file could give too.
    pub fn bare(mut self) -> Self {
        self.args.clear();
        self.variables.clear();
        self
    }

    /// Serves the app in that folder.
    pub fn app(self, folder: &Path) -> Self {
        self.arg(folder.display().to_string())
    }

    /// Serves that component.
    pub fn component(self, file: &Path) -> Self {
        self.arg("--worker").arg(file.display().to_string())
    }

    /// So many workers.
    pub fn workers(self, count: usize) -> Self {
        self.set("app.workers", count)
    }

    /// So many stores.
    pub fn stores(self, count: usize) -> Self {
        self.set("app.stores", count)
    }

    /// Any option of `sc.toml`, such as `protocol.ping_interval`, by its environment variable.
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        let key = match key {
            "protocol.origins" => "origins",
            key => key.strip_prefix("app.").unwrap_or(key),
        };
        self.variables.push((format!("SC_{}", key.replace('.', "_").to_uppercase()), value.to_string()));
        self
    }

    /// Any environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().display().to_string()));
        self
    }

    /// No key file: the host makes a random key, or finds its own in the configuration.
    pub fn own_key(mut self) -> Self {
        self.key = None;
        self
    }

    /// Keeps its data in that folder.
    pub fn data_dir(self, folder: &Path) -> Self {
        self.set("app.data_dir", folder.display())
    }

    /// Gives its runtime folder to another user, whom it is to go on as.
    pub fn owned_by(self, user: u32) -> Self {
        let given =
            |runtime: TempDir| std::os::unix::fs::chown(runtime.path(), Some(user), None).map(|()| runtime);
        HostBuilder { runtime: self.runtime.and_then(given), ..self }
    }

    /// Runs while no other test's host does: for tests that measure.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    fn build(&self) -> anyhow::Result<Command> {
        let mut command = run::command(&self.binary);
        command.arg(self.command).args(&self.args);
        command.env("XDG_CACHE_HOME", paths::target_folder("test-cache")?).env("NO_COLOR", "1");
        let runtime = self.runtime.as_ref().map_err(|error| anyhow!("no runtime folder: {error}"))?;
        command.env("SC_RUNTIME_DIR", runtime.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(key) = self.key {
            let file = paths::target_folder("test-keys")?.join(key);
            if !file.is_file() {
                // Another test may be writing it now: a rename is whole.
                let new = tempfile::NamedTempFile::new_in(paths::target_folder("test-keys")?)?;
                std::fs::write(new.path(), format!("{key}\n"))?;
                new.persist(&file)?;
            }
            command.env("SC_AUTH_KEY_FILE", file);
        }
        Ok(command)
    }

    /// Runs it to its end: for what must not start.
    pub fn run(self, deadline: Duration) -> anyhow::Result<Finished> {
        run::finish(&mut self.build()?, deadline)
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> anyhow::Result<Host> {
        self.start_within(START).await
    }

    /// Starts it and waits so long until it is ready.
    pub async fn start_within(self, deadline: Duration) -> anyhow::Result<Host> {
        let turn = Turn::take(self.alone).await?;
        let began = Instant::now();
        let mut child = self
            .build()?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} could not be started", self.binary.display()))?;
        let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let log = Log::read(vec![Box::new(out), Box::new(err)]);
        let (address, started_in, runtime) = (String::new(), Duration::ZERO, self.runtime?);
        let mut host =
            Host { child, log, address, started_in, ended: None, binary: self.binary, runtime, _turn: turn };
        let address = host.log.wait("the record `ready`", deadline, 0, ready_address).await?;
        host.started_in = began.elapsed();
        host.address = address;
        Ok(host)
    }
}

/// The address in the record `ready`.
fn ready_address(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let of_master = record.get("role")? == "master" && record.get("message")?.as_str()?.contains("ready");
    let url = record.get("url")?.as_str()?;
    let address = url.trim_start_matches("http://").trim_start_matches("https://");
    of_master.then(|| address.trim_end_matches('/').to_owned())
}

/// A turn on the machine, given back when the host is gone; one that is shared, with the last host of its test.
#[derive(Debug)]
enum Turn {
    Alone { _guard: RwLockWriteGuard<'static, ()> },
    Shared { _guard: Arc<SharedTurn> },
}

impl Turn {
    async fn take(alone: bool) -> anyhow::Result<Self> {
        if alone {
            return Ok(Turn::Alone {
                _guard: wait::within(TURN, "the machine alone", MACHINE.write()).await?,
            });
        }
        if let Some(shared) = SHARED.with_borrow(Weak::upgrade) {
            return Ok(Turn::Shared { _guard: shared });
        }
        let shared = Arc::new(wait::within(TURN, "a turn on the machine", MACHINE.read()).await?);
        SHARED.set(Arc::downgrade(&shared));
        Ok(Turn::Shared { _guard: shared })
    }
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    child: Child,
    log: Log,
    address: String,
    started_in: Duration,
    ended: Option<ExitStatus>,
    binary: PathBuf,
    runtime: TempDir,
    _turn: Turn,
}

impl Host {
    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0)
    }

    /// Its runtime folder.
    pub fn runtime_dir(&self) -> &Path {
        self.runtime.path()
    }

    /// Asks it for something by the command line, such as `status --json`.
    pub async fn ask(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let mut command = run::command(&self.binary);
        command.args(arguments).env("SC_RUNTIME_DIR", self.runtime_dir()).env("NO_COLOR", "1");
        tokio::task::spawn_blocking(move || run::finish(&mut command, ASKED)).await?
    }

    /// The records.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// From the start of the process to `ready`.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The master's process.
    pub fn master(&self) -> u32 {
        self.child.id()
    }

    /// The process that has that role now.
    pub fn pid(&self, role: Role, index: u16) -> Option<u32> {
        let label = format!("{}{index}", role.to_string().chars().next().unwrap_or_default());
        let is_it = |pid: &u32| {
            let arguments = usage::arguments(*pid);
            let mut words = arguments.iter().skip_while(|word| *word != "role");
            words.next().is_some() && words.next().is_some_and(|name| *name == label) && run::is_alive(*pid)
        };
        usage::children(self.master()).into_iter().find(is_it)
    }

    /// All processes: the master and its children.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = usage::children(self.master());
        pids.push(self.master());
        pids
    }

    /// Kills a child with SIGKILL and returns its process.
    pub fn kill(&self, role: Role, index: u16) -> anyhow::Result<u32> {
        let pid = self.pid(role, index).with_context(|| format!("{role} {index} is not running"))?;
        run::kill(pid);
        Ok(pid)
    }

    /// Waits until that role runs in another process than `old`.
    pub async fn respawned(&self, role: Role, index: u16, old: u32) -> anyhow::Result<u32> {
        let what = format!("{role} {index} to be started again");
        wait::until(&what, || self.pid(role, index).filter(|pid| *pid != old)).await
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        run::signal(self.master(), signal);
    }

    /// Waits until the master has exited and its log is read, and returns its exit code.
    pub async fn exited(&mut self) -> anyhow::Result<Option<i32>> {
        let child = &mut self.child;
        let status = wait::until("the host to exit", || child.try_wait().ok().flatten()).await;
        let status = status.with_context(|| format!("the log's end:\n{}", self.log.tail(60)))?;
        self.ended = Some(status);
        self.log.ended().await?;
        Ok(status.code())
    }

    /// SIGTERM, then exit 0 in time, with no child left.
    pub async fn stop(mut self) -> anyhow::Result<Duration> {
        let children = usage::children(self.master());
        let began = Instant::now();
        self.signal(Signal::TERM);
        let code = self.exited().await?;
        ensure!(code == Some(0), "it exited with {code:?}:\n{}", self.log.tail(60));
        for pid in children {
            ensure!(!run::is_alive(pid), "child {pid} outlived the master");
        }
        Ok(began.elapsed())
    }

    /// Fails if the log has an error record: for hosts whose test did nothing wrong.
    pub fn is_unhurt(&self) -> anyhow::Result<()> {
        let errors =
            self.log.records().into_iter().filter(|record| record.get("level").is_some_and(|l| l == "error"));
        let errors: Vec<_> = errors.map(|record| record.to_string()).collect();
        if !errors.is_empty() {
            bail!("the host logged errors:\n{}", errors.join("\n"));
        }
        Ok(())
    }
}

impl Drop for Host {
    #[expect(clippy::print_stderr, reason = "a failed test shows its host's log")]
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the host's log ends with ---\n{}", self.log.tail(80));
        }
        if let Ok(folder) = paths::target_folder("test-logs") {
            let file = folder.join(format!("{}-{}.jsonl", paths::test_name(), self.child.id()));
            let _ = std::fs::write(file, self.log.lines().join("\n"));
        }
    }
}
