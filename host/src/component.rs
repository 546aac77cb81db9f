//! The components: found, and compiled once into the cache. The master compiles in a niced child with bounded
//! memory, so that a large component (a Python one takes seconds) holds up neither its loop nor the machine.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, nice, set_parent_process_death_signal, setrlimit};
use sc_core::causes::causes;
use sc_core::controller::{ComponentRef, Generation};
use sc_guest::Cache;
use tokio::io::AsyncWriteExt as _;

use crate::config::{ControllerSettings, MiddlewareSettings, Settings};
use crate::error::HostError;
use crate::exit::Exit;
use crate::master::{drop_reloads, spawn};
use crate::telemetry::{self, Who};
use crate::user::User;

/// The compiling child's memory in bytes. It bounds what is used, not address space: engines reserve much of that.
const COMPILE_MEMORY: u64 = 4 << 30;
/// How much the compiling child yields to other work.
const COMPILE_NICE: i32 = 10;
/// The longest compilation.
const COMPILE_DEADLINE: Duration = Duration::from_secs(600);

/// What the compiling child prints: nothing, or why it failed.
type Compiled = Result<(), String>;

/// The cache of compiled components. Must live as long as children that map its files.
pub(crate) struct Components {
    cache: Cache,
    /// Removed at the end when it is not the user's.
    _folder: Option<tempfile::TempDir>,
}

/// What the children run.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// The worker's controller.
    pub(crate) controller: Generation,
    /// The stores' controller, if there is one.
    pub(crate) store: Option<Generation>,
    /// What decides about actions, in its order.
    pub(crate) middleware: Vec<Generation>,
    /// The balancers' controller, if there is one.
    pub(crate) balancer: Option<Generation>,
    /// What answers the requests that the worker's routes do not take, if there is such.
    pub(crate) site: Option<Generation>,
}

impl Components {
    /// Opens the cache of this user, who may be another one than the environment was made for, or one that ends with
    /// this program where users have no folder for it.
    pub(crate) fn open(other: Option<&User>) -> Result<Self, HostError> {
        let opened = match other {
            None => Cache::open_default(),
            Some(user) => Cache::open_of(user.home.as_deref()),
        };
        let error = match opened {
            Ok(cache) => return Ok(Components { cache, _folder: None }),
            Err(error) => causes(&error),
        };
        tracing::warn!(error, "the cache cannot be used: components are compiled at each start");
        let opened = tempfile::tempdir().map(|folder| (Cache::open(folder.path()), folder));
        let unusable = |source| HostError::Os { what: "making a folder for compiled components", source };
        match opened.map_err(unusable)? {
            (Ok(cache), folder) => Ok(Components { cache, _folder: Some(folder) }),
            (Err(error), _) => Err(unusable(std::io::Error::other(causes(&error)))),
        }
    }

    /// Keeps the compiled files of running components while others come and go.
    pub(crate) fn hold(&self, running: &[PathBuf]) {
        self.cache.hold(running);
    }

    /// All components of the app, compiled. Dropping the future ends the compilation.
    pub(crate) async fn prepare_all(&self, settings: &Settings) -> Result<Prepared, HostError> {
        let store = match &settings.store_component {
            Some(path) => {
                let (path, name) = (existing(path, "[store]")?, store_name(&settings.app.name));
                Some(self.generation(path, &name, &settings.store_controller).await?)
            }
            None => None,
        };
        let balancer = match &settings.balancer_component {
            Some((path, config)) => Some(
                self.generation(existing(path, "[balancer]")?, &balancer_name(&settings.app.name), config)
                    .await?,
            ),
            None => None,
        };
        let site = match &settings.site {
            Some(path) => Some(self.prepare_site(existing(path, "[http]")?, settings).await?),
            None => None,
        };
        let mut middleware = Vec::new();
        for it in &settings.middleware {
            middleware.push(self.prepare_middleware(it).await?);
        }
        Ok(Prepared { controller: self.prepare(settings).await?, store, middleware, balancer, site })
    }

    /// The worker's controller, compiled. Dropping the future ends the compilation.
    pub(crate) async fn prepare(&self, settings: &Settings) -> Result<Generation, HostError> {
        self.generation(path(settings)?, &settings.app.name, &settings.controller).await
    }

    /// A middleware, compiled. Dropping the future ends the compilation.
    async fn prepare_middleware(&self, it: &MiddlewareSettings) -> Result<Generation, HostError> {
        self.generation(existing(&it.component, "[[middleware]]")?, &it.name, &it.controller).await
    }

    /// The generation of a component, compiled, with what it runs with.
    pub(crate) async fn generation(
        &self,
        path: &Path,
        name: &str,
        with: &ControllerSettings,
    ) -> Result<Generation, HostError> {
        let component = self.compiled(path, name).await?;
        let ControllerSettings { config, guest, fails_open } = with.clone();
        let all = serde_json::to_vec(&(&component.hash, &config, &guest, fails_open));
        let all = all.map_err(|error| bad(path, format!("what it runs with has no form: {error}")))?;
        Ok(Generation { component, config, guest, fails_open, hash: sc_guest::content_hash(&all) })
    }

    /// The app's site, compiled and looked at: whether it is one cannot show itself before a request comes.
    async fn prepare_site(&self, path: &Path, settings: &Settings) -> Result<Generation, HostError> {
        let site = self.generation(path, &site_name(&settings.app.name), &settings.site_controller).await?;
        let compiled = &site.component.compiled;
        let checked = sc_guest::engine().and_then(|engine| sc_guest::check_site(&engine, compiled));
        checked.map_err(|error| bad(path, causes(&error)))?;
        Ok(site)
    }

    /// A component, compiled now or before, under the name that its log records have.
    async fn compiled(&self, path: &Path, name: &str) -> Result<ComponentRef, HostError> {
        let bytes = read(path)?;
        let hash = sc_guest::content_hash(&bytes);
        let compiled = match self.cache.lookup(&bytes) {
            Some(compiled) => compiled,
            None => {
                tracing::info!(component = %path.display(), "compiling the component; the result is kept for the next start");
                let began = Instant::now();
                self.compile(path, &bytes).await?;
                tracing::info!(after_ms = began.elapsed().as_millis() as u64, "compiled");
                self.cache
                    .lookup(&bytes)
                    .ok_or_else(|| bad(path, "its compiled form did not reach the cache".to_owned()))?
            }
        };
        Ok(ComponentRef { name: name.to_owned(), compiled, hash })
    }

    async fn compile(&self, path: &Path, bytes: &[u8]) -> Result<(), HostError> {
        let mut child =
            spawn::compile(self.cache.dir()).map_err(HostError::os("starting the compilation"))?;
        let input = child.stdin.take();
        let feed = async {
            if let Some(mut input) = input {
                // A child that ends early says why on its output.
                let _ = input.write_all(bytes).await;
            }
        };
        let work = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = match tokio::time::timeout(COMPILE_DEADLINE, work).await {
            Ok(output) => output.map_err(HostError::os("waiting for the compilation"))?,
            Err(_) => {
                return Err(bad(
                    path,
                    format!("it takes longer than {} s to compile", COMPILE_DEADLINE.as_secs()),
                ));
            }
        };
        match serde_json::from_slice::<Compiled>(&output.stdout) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(bad(path, reason)),
            Err(_) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().next_back().unwrap_or("it said nothing");
                Err(bad(path, format!("its compilation died ({}): {last}", output.status)))
            }
        }
    }
}

/// What an app's balancers' controller is called.
pub(crate) fn balancer_name(app: &str) -> String {
    format!("{app}-balancer")
}

/// What an app's stores' controller is called.
pub(crate) fn store_name(app: &str) -> String {
    format!("{app}-store")
}

/// What an app's site is called.
pub(crate) fn site_name(app: &str) -> String {
    format!("{app}-site")
}

/// Whether that is the name of a component that is named by itself.
pub(crate) fn is_taken(app: &str, name: &str) -> bool {
    [balancer_name(app), store_name(app), site_name(app)].iter().any(|taken| taken == name)
}

/// The configured component, which exists.
pub(crate) fn path(settings: &Settings) -> Result<&Path, HostError> {
    let path = settings.component.as_deref().ok_or(HostError::NoComponent)?;
    if path.exists() {
        return Ok(path);
    }
    let help = match &settings.build {
        Some(_) => format!("build it: sc-host build {}", settings.app.folder.display()).trim_end().to_owned(),
        None => {
            "correct the path, or say how to build it: `build` in the section [worker] of sc.toml".to_owned()
        }
    };
    Err(HostError::MissingComponent { path: path.to_owned(), help })
}

/// A configured file, which exists; `section` is where sc.toml names it.
pub(crate) fn existing<'p>(path: &'p Path, section: &str) -> Result<&'p Path, HostError> {
    if path.exists() {
        return Ok(path);
    }
    let help = format!("correct `component` in the section {section} of sc.toml, or build that file first");
    Err(HostError::MissingComponent { path: path.to_owned(), help })
}

/// The configured component after its build.
pub(crate) fn made(settings: &Settings) -> Result<&Path, HostError> {
    path(settings).map_err(|error| match error {
        HostError::MissingComponent { path, .. } if settings.build.is_some() => {
            let help =
                "the build command made no such file: correct `component` or `build` in the section [worker]";
            HostError::MissingComponent { path, help: help.to_owned() }
        }
        error => error,
    })
}

/// The folder of static files, which a build may have made.
pub(crate) fn public(settings: &Settings) -> Result<(), HostError> {
    match &settings.worker.public {
        Some(folder) if !folder.is_dir() => Err(HostError::Build(format!(
            "`app.public` names {}, which is no folder after the build: create it, or correct the path",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// The compiling child: reads the component from its input, fills the cache, prints the outcome.
pub(crate) fn compile_child(cache: &Path) -> Exit {
    telemetry::start_child(Who { role: "master", id: 0 }, "warn");
    let deaf = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _entered = runtime.enter();
        drop_reloads()
    };
    if let Err(error) = deaf() {
        tracing::warn!(%error, "a signal to reload will end the compilation");
    }
    let modest = || -> std::io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        nice(COMPILE_NICE)?;
        let limit = Some(COMPILE_MEMORY);
        Ok(setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit })?)
    };
    if let Err(error) = modest() {
        tracing::warn!(%error, "the compilation could not be made modest");
    }
    let compiled: Compiled = compile_input(cache);
    let exit = if compiled.is_ok() { Exit::Done } else { Exit::BadComponent };
    let text = serde_json::to_string(&compiled).unwrap_or_default();
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => exit,
        Err(_) => Exit::Os,
    }
}

fn compile_input(cache: &Path) -> Compiled {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let cache = Cache::open(cache).map_err(|error| causes(&error))?;
    cache.compile(&bytes).map(|_| ()).map_err(|error| causes(&error))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, HostError> {
    std::fs::read(path).map_err(|source| HostError::Unreadable {
        what: "component",
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn bad(path: &Path, reason: String) -> HostError {
    HostError::BadComponent { name: path.display().to_string(), reason }
}
