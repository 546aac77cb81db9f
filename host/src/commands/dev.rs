//! `sc-host dev`: builds and serves an app, watches its sources, rebuilds and swaps the controller in place. What
//! fails changes nothing: the running controller goes on, and the compiler's message is on the terminal.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::build::build;
use super::watch::{Watch, default_paths};
use super::{block_on, record};
use crate::cli::RunArgs;
use crate::component::{self, Components};
use crate::config::{FILE, Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::master::{self, Order, spawn};
use crate::telemetry;

/// Runs it.
pub(crate) fn run(args: &RunArgs, began: Instant) -> Result<(), HostError> {
    let settings = Settings::load(args.app.as_deref(), args.flags(), &ProcessEnvironment, Mode::Dev)?;
    let format = settings.log.format;
    let (logs, _printer) = telemetry::start(format, &settings.log.level);
    let served = block_on(async move {
        let components = Components::open()?;
        let mut sources = Sources::watch(&settings)?;
        for middleware in &settings.middleware {
            let component = middleware.component.display();
            tracing::info!(%component, "a middleware is not watched: a change takes effect at the next start");
        }
        if let Some(site) = &settings.site {
            let component = site.display();
            tracing::info!(%component, "http.component is not watched: a change takes effect at the next start");
        }
        add_target(&settings).await;
        sources.first_build(&settings).await?;
        let (order, orders) = mpsc::channel(1);
        let serving = master::serve(settings.clone(), &components, logs, began, orders);
        tokio::select! {
            served = serving => served,
            never = sources.follow(&settings, &components, &order) => match never {},
        }
    });
    served.inspect_err(|error| record(format, error))
}

/// Never.
enum Never {}

/// The app's sources, and its configuration, which takes effect at the next start only.
struct Sources {
    watch: Watch,
    file: PathBuf,
    configuration: Option<Vec<u8>>,
}

impl Sources {
    fn watch(settings: &Settings) -> Result<Self, HostError> {
        let folder = &settings.app.folder;
        let file = folder.join(FILE);
        let mut paths = settings.watch.clone().unwrap_or_else(|| default_paths(folder));
        // What the build makes and the controller writes is no source.
        let granted = settings.worker.guest.dirs.iter().filter(|grant| grant.write);
        let mut made: Vec<_> = granted.map(|grant| grant.host.clone()).collect();
        match settings.build {
            None => paths = vec![component::path(settings)?.to_owned()],
            Some(_) => made.extend(settings.component.clone()),
        }
        paths.push(file.clone());
        let watch = Watch::new(&paths, &made).map_err(|error| HostError::Os {
            what: "watching the sources",
            source: std::io::Error::other(error),
        })?;
        let shown: Vec<_> = watch.paths().iter().map(|path| path.display().to_string()).collect();
        tracing::info!(paths = shown.join(", "), "watching");
        let configuration = std::fs::read(&file).ok();
        Ok(Sources { watch, file, configuration })
    }

    /// Builds until it works once. What no edit of the sources can mend is an error.
    async fn first_build(&mut self, settings: &Settings) -> Result<(), HostError> {
        loop {
            match built(settings).await {
                Err(error @ HostError::Build(_)) => {
                    tracing::error!(error = error.flat(), "nothing to run: waiting for a change");
                    self.changed().await;
                }
                built => return built,
            }
        }
    }

    /// Waits for a change; says so when it is one that has no effect yet.
    async fn changed(&mut self) {
        self.watch.changed().await;
        let configuration = std::fs::read(&self.file).ok();
        if configuration != self.configuration {
            self.configuration = configuration;
            tracing::warn!("sc.toml has changed: it takes effect when `sc-host dev` is started again");
        }
    }

    /// Rebuilds after each change and has the workers take what came out.
    async fn follow(
        &mut self,
        settings: &Settings,
        components: &Components,
        order: &mpsc::Sender<Order>,
    ) -> Never {
        // What `serve` starts with; if it cannot be read, `serve` says so.
        let mut live = component::hash(settings).unwrap_or_default();
        loop {
            self.changed().await;
            match replace(settings, components, order, &live).await {
                Ok(Some(hash)) => live = hash,
                Ok(None) => tracing::info!("the build gave the same component: nothing to swap"),
                Err(error) => {
                    tracing::error!(error = error.flat(), "nothing was swapped: the running controller stays")
                }
            }
        }
    }
}

async fn built(settings: &Settings) -> Result<(), HostError> {
    if let Some(line) = &settings.build {
        tracing::info!(command = line, "building");
    }
    let began = Instant::now();
    build(settings).await?;
    if settings.build.is_some() {
        tracing::info!(after_ms = began.elapsed().as_millis() as u64, "built");
    }
    component::made(settings).map(|_| ())
}

/// Builds and swaps. None if the component is the live one.
async fn replace(
    settings: &Settings,
    components: &Components,
    order: &mpsc::Sender<Order>,
    live: &str,
) -> Result<Option<String>, HostError> {
    built(settings).await?;
    let component = components.prepare(settings).await?;
    if component.hash == live {
        return Ok(None);
    }
    let hash = component.hash.clone();
    let refused = |reason: String| HostError::BadComponent { name: component.name.clone(), reason };
    let (done, answer) = oneshot::channel();
    let began = Instant::now();
    let ordered = order.send(Order::Reload { component: component.clone(), done }).await;
    ordered.map_err(|_| refused("the host ends".to_owned()))?;
    match answer.await {
        Ok(Ok(())) => {
            tracing::info!(hash, after_ms = began.elapsed().as_millis() as u64, "swapped on all workers");
            Ok(Some(hash))
        }
        Ok(Err(reason)) => Err(refused(reason)),
        Err(_) => Err(refused("the host ends".to_owned())),
    }
}

/// Adds the compilation target of WebAssembly when the build needs it and rustup does not have it.
async fn add_target(settings: &Settings) {
    let path = settings.component.as_deref().unwrap_or_else(|| Path::new(""));
    let Some(target) =
        wasm_target(&format!("{} {}", settings.build.as_deref().unwrap_or_default(), path.display()))
    else {
        return;
    };
    let folder = &settings.app.folder;
    // Without rustup, the user's own way of getting a compiler provides the target too.
    let Ok(installed) = spawn::rustup(&["target", "list", "--installed"], folder, true).await else { return };
    let installed = String::from_utf8_lossy(&installed.stdout);
    if installed.lines().any(|line| line.trim() == target) {
        return;
    }
    tracing::info!(target, "the compilation target is missing: running `rustup target add {target}`");
    match spawn::rustup(&["target", "add", &target], folder, false).await {
        Ok(output) if output.status.success() => {}
        Ok(output) => tracing::warn!(status = %output.status, "the compilation target could not be added"),
        Err(error) => tracing::warn!(%error, "the compilation target could not be added"),
    }
}

/// The target that a build command or a path names.
fn wasm_target(text: &str) -> Option<String> {
    let start = text.find("wasm32-")?;
    let rest = text.get(start..)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
    rest.get(..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_found_where_it_is_named() {
        let build = "cargo build --release --target wasm32-wasip2";
        assert_eq!(wasm_target(build).as_deref(), Some("wasm32-wasip2"));
        assert_eq!(wasm_target("make target/wasm32-wasip2/release/a.wasm").as_deref(), Some("wasm32-wasip2"));
        assert_eq!(wasm_target("npm run build"), None);
    }
}
