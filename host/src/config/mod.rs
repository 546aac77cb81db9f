//! The configuration of one start: `sc.toml` < environment < flags, resolved and validated before anything is bound.
//! Every error names its key, its place and what would be right.

mod api;
mod classic;
mod components;
mod files;
mod key_files;
pub(crate) mod keys;
mod middleware;
mod pem;
mod problem;
mod raw;
mod resolve;
mod setup;
#[cfg(test)]
mod tests;
mod times;
mod tls;
mod typed;
mod units;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sc_core::config::{BalancerConfig, GuestConfig, StoreConfig, WorkerConfig};
use sc_core::tls::Credentials;

pub(crate) use files::Files;
pub(crate) use problem::Problems;
pub(crate) use raw::{Environment, Flag, ProcessEnvironment};
pub(crate) use setup::SetupSettings;
pub(crate) use tls::SOON;
pub(crate) use validate::{NAME_RULE, is_name};

use crate::error::HostError;
use crate::telemetry::LogFormat;
use crate::user::User;

/// The file of an app's folder.
pub(crate) const FILE: &str = "sc.toml";

/// What the configuration is for: it decides a few defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All addresses, a worker for each core.
    Serve,
    /// This machine only, one worker.
    Dev,
    /// To find a running host, or to build: no file or folder that the configuration names is looked at. Secrets may
    /// lie elsewhere, or be for the host's user alone, and folders may come of the build.
    WithoutFiles,
}

/// Everything that was configured.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The app and its processes.
    pub(crate) app: AppSettings,
    /// The worker controller's file.
    pub(crate) component: Option<PathBuf>,
    /// What it runs with.
    pub(crate) controller: ControllerSettings,
    /// What builds it, for `sh -c` in the app's folder.
    pub(crate) build: Option<String>,
    /// Components that decide about actions, in their order.
    pub(crate) middleware: Vec<MiddlewareSettings>,
    /// The file of the `wasi:http` component.
    pub(crate) site: Option<PathBuf>,
    /// What it runs with.
    pub(crate) site_controller: ControllerSettings,
    /// Where the SDK is laid out for the build.
    pub(crate) sdk: Option<PathBuf>,
    /// What is done once, before the first build.
    pub(crate) setup: Option<SetupSettings>,
    /// What `dev` watches.
    pub(crate) watch: Option<Vec<PathBuf>>,
    /// The file of the key of tokens; without one the key is random.
    pub(crate) key_file: Option<PathBuf>,
    /// Files of public keys whose tokens are good as well.
    pub(crate) public_key_files: Vec<PathBuf>,
    /// Where data outlives the host; none keeps all in memory.
    pub(crate) data_dir: Option<PathBuf>,
    /// The stores' controller's file.
    pub(crate) store_component: Option<PathBuf>,
    /// What it runs with.
    pub(crate) store_controller: ControllerSettings,
    /// For stores, without their folder.
    pub(crate) store: StoreConfig,
    /// For workers.
    pub(crate) worker: WorkerConfig,
    /// For balancers.
    pub(crate) balancer: BalancerConfig,
    /// TLS, if it is served.
    pub(crate) tls: Option<TlsSettings>,
    /// The API for backends, if there is one.
    pub(crate) api: Option<ApiSettings>,
    /// The balancers' controller's file, and what it is configured with.
    pub(crate) balancer_component: Option<(PathBuf, ControllerSettings)>,
    /// The log.
    pub(crate) log: LogSettings,
    /// How long a host that is to end still serves while its health says that it drains.
    pub(crate) drain_announce: Duration,
    /// For the whole drain, from there on.
    pub(crate) drain_timeout: Duration,
    /// Odd things that stop nothing, for the log.
    pub(crate) warnings: Vec<String>,
    /// Every key that was given, with its value: what differs at a reload was changed.
    pub(crate) given: BTreeMap<String, serde_json::Value>,
}

/// A component that decides about actions.
#[derive(Clone, Debug)]
pub(crate) struct MiddlewareSettings {
    /// Its name, unlike any other's.
    pub(crate) name: String,
    /// Its file.
    pub(crate) component: PathBuf,
    /// What it runs with.
    pub(crate) controller: ControllerSettings,
}

/// What a component runs with.
#[derive(Clone, Debug)]
pub(crate) struct ControllerSettings {
    /// Its configuration, a JSON object.
    pub(crate) config: String,
    /// What an instance may use.
    pub(crate) guest: GuestConfig,
    /// Whether actions go on when it cannot decide.
    pub(crate) fails_open: bool,
}

/// The app and its processes.
#[derive(Clone, Debug)]
pub(crate) struct AppSettings {
    /// Its name.
    pub(crate) name: String,
    /// Where its host's lock and admin socket lie; none for the app's own place.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// Who the host goes on as, once root has started it.
    pub(crate) user: Option<User>,
    /// Whether a process that dies is started again; else the host ends.
    pub(crate) reboot_on_crash: bool,
    /// Its folder; relative paths of the file start here.
    pub(crate) folder: PathBuf,
    /// The address to listen on, an IP address or a name.
    pub(crate) host: String,
    /// The port; 0 for any free one.
    pub(crate) port: usize,
    /// Processes of each role.
    pub(crate) workers: usize,
    /// See `workers`.
    pub(crate) balancers: usize,
    /// See `workers`.
    pub(crate) stores: usize,
}

/// TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    /// Certificates, read and checked, without the keys of tickets.
    pub(crate) credentials: Credentials,
    /// Each certificate for people: its hosts and its end.
    pub(crate) described: Vec<String>,
    /// When the first of them ends.
    pub(crate) ends: SystemTime,
    /// A port for plain HTTP that sends requests here; 0 for any free one.
    pub(crate) redirect_http: Option<u16>,
    /// For a handshake.
    pub(crate) handshake_timeout: Duration,
}

/// The API for backends.
#[derive(Clone)]
pub(crate) struct ApiSettings {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// What a request has to know.
    pub(crate) key: Rc<str>,
}

impl std::fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiSettings").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The log.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    /// For people or for programs.
    pub(crate) format: LogFormat,
    /// A level, or directives such as `info,sc_worker=debug`.
    pub(crate) level: String,
}

impl Settings {
    /// Reads and checks everything. `app` is a folder with `sc.toml`, or the file itself; without one, the current
    /// folder, unless a flag or variable names the component: then no file is needed and none is read.
    pub(crate) fn load(
        app: Option<&Path>,
        flags: Vec<Flag>,
        environment: &impl Environment,
        mode: Mode,
    ) -> Result<Self, HostError> {
        let bare = app.is_none()
            && (flags.iter().any(|(key, ..)| *key == "worker.component")
                || environment.variables().iter().any(|(name, _)| name == "SC_WORKER"));
        let file = if bare { None } else { Some(find(app.unwrap_or_else(|| Path::new(".")))?) };
        let text = match &file {
            Some(file) => Some(text(&environment.files(), file)?),
            None => None,
        };
        let folder = file.as_deref().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
        let mut layers = raw::Layers::read(file.as_deref().zip(text.as_deref()), environment, flags)?;
        let mut settings = resolve::resolve(&mut layers, folder, mode);
        validate::validate(&mut settings, &mut layers, mode);
        match layers.problems.is_empty() {
            true => Ok(settings),
            false => Err(Problems { problems: layers.problems }.into()),
        }
    }
}

/// The text of the configuration file. One that is too large shows when it is read as TOML.
fn text(files: &Files, file: &Path) -> Result<String, HostError> {
    let text = files.read(file, u64::MAX).and_then(|bytes| {
        String::from_utf8(bytes.unwrap_or_default())
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))
    });
    text.map_err(|source| HostError::Unreadable { what: "configuration", path: file.to_owned(), source })
}

/// The configuration file of what was named as an app.
fn find(app: &Path) -> Result<PathBuf, HostError> {
    let missing = |help: String| Err(HostError::NoApp { path: app.to_owned(), help });
    match app.extension().and_then(|extension| extension.to_str()) {
        Some("wasm") => missing(format!("to run a component by itself: --worker {}", app.display())),
        Some("toml") if app.is_file() => Ok(app.to_owned()),
        _ if app.join(FILE).is_file() => Ok(app.join(FILE)),
        _ if !app.is_dir() => missing("name an existing folder that holds sc.toml".to_owned()),
        _ => missing("create a sc.toml there, name another folder, or use --worker FILE.wasm".to_owned()),
    }
}
