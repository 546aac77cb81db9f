//! `sc-host dev`: builds and serves an app, watches its sources, rebuilds and swaps the controller in place. What
//! fails changes nothing: the running controller goes on, and the compiler's message is on the terminal.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::build::build;
use super::ends::Ends;
use super::setup::{first_build, setup};
use super::watch::{Watch, default_paths};
use super::{ORDERS, block_on, certificate, record};
use crate::admin::Admin;
use crate::cli::RunArgs;
use crate::component::{self, Components};
use crate::config::{FILE, Mode, ProcessEnvironment, Settings};
use crate::error::HostError;
use crate::master::{self, Listeners, spawn};
use crate::reloader::{Origins, Reloader};
use crate::{sdk, telemetry};

/// Runs it.
pub(crate) fn run(args: &RunArgs, https: bool, began: Instant) -> Result<(), HostError> {
    let (more, certificate) = match https {
        true => certificate::flags().map(|(flags, file)| (flags, Some(file)))?,
        false => (Vec::new(), None),
    };
    let flags = args.flags().into_iter().chain(more).collect();
    let environment = ProcessEnvironment::default();
    let origins = Origins { app: args.app.clone(), flags, mode: Mode::Dev, environment };
    let settings = origins.load()?;
    let format = settings.log.format;
    let (logs, _printer) = telemetry::start(format, &settings.log.level);
    let served = block_on(async move {
        if let Some(file) = certificate {
            let file = file.display();
            tracing::info!(certificate = %file, "a certificate of this machine's own: trust it, or have node do so with NODE_EXTRA_CA_CERTS={file}");
        }
        let components = Rc::new(Components::open(None)?);
        let mut ends = Ends::new()?;
        let mut sources = Sources::watch(&settings)?;
        let prepare = async {
            setup(&settings, |line| tracing::info!(command = line, "setting the app up")).await?;
            add_target(&settings).await;
            if let Some(note) = first_build(&settings) {
                tracing::info!("{note}");
            }
            sources.first_build(&settings).await?;
            component::public(&settings)
        };
        ends.or(prepare).await?;
        let admin = Admin::open(&settings).await?;
        let (order, orders) = mpsc::channel(ORDERS);
        let reloader = Reloader::new(origins, &settings, Rc::clone(&components), order.clone());
        let bound = Listeners::bind(&settings.app, settings.tls.as_ref());
        let serving = master::serve(settings.clone(), bound, &components, logs, began, orders);
        tokio::select! {
            served = serving => served,
            never = sources.follow(&settings, &reloader) => match never {},
            () = admin.serve(order, Rc::clone(&reloader)) => Ok(()),
            () = ends.hung_up() => Err(HostError::Interrupted),
        }
    });
    served.inspect_err(|error| record(format, error))
}

/// Never.
enum Never {}

/// The app's sources and its configuration.
struct Sources {
    watch: Watch,
}

impl Sources {
    fn watch(settings: &Settings) -> Result<Self, HostError> {
        let folder = &settings.app.folder;
        let mut paths = settings.watch.clone().unwrap_or_else(|| default_paths(folder));
        // What the build makes and the controller writes is no source.
        let granted = settings.controller.guest.dirs.iter().filter(|grant| grant.write);
        let mut made: Vec<_> = granted.map(|grant| grant.host.clone()).collect();
        match settings.build {
            None => paths = vec![component::path(settings)?.to_owned()],
            Some(_) => made.extend(settings.component.clone()),
        }
        paths.extend(settings.middleware.iter().map(|it| it.component.clone()));
        paths.extend(settings.balancer_component.iter().map(|(path, _)| path.clone()));
        paths.extend(settings.store_component.clone());
        paths.extend(settings.site.clone());
        paths.push(folder.join(FILE));
        let watch = Watch::new(&paths, &made).map_err(|error| HostError::Os {
            what: "watching the sources",
            source: std::io::Error::other(error),
        })?;
        let shown: Vec<_> = watch.paths().iter().map(|path| path.display().to_string()).collect();
        tracing::info!(paths = shown.join(", "), "watching");
        Ok(Sources { watch })
    }

    /// Builds until it works once. What no edit of the sources can mend is an error.
    async fn first_build(&mut self, settings: &Settings) -> Result<(), HostError> {
        loop {
            match built(settings).await {
                Err(error @ HostError::Build(_)) => {
                    tracing::error!(error = error.flat(), "nothing to run: waiting for a change");
                    self.watch.changed().await;
                }
                built => return built,
            }
        }
    }

    /// Rebuilds after each change and has the workers take what came out.
    async fn follow(&mut self, settings: &Settings, reloader: &Rc<Reloader>) -> Never {
        loop {
            self.watch.changed().await;
            if let Err(error) = replace(settings, reloader).await {
                tracing::error!(error, "nothing was swapped: the running controller stays");
            }
        }
    }
}

async fn built(settings: &Settings) -> Result<(), HostError> {
    if let Some(link) = &settings.sdk
        && let Some(folder) = sdk::lay(link)?
    {
        tracing::info!(folder = %folder.display(), link = %link.display(), "the SDK is laid out");
    }
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

/// Builds and swaps what changed.
async fn replace(settings: &Settings, reloader: &Rc<Reloader>) -> Result<(), String> {
    built(settings).await.map_err(|error| error.flat())?;
    let began = Instant::now();
    // Whoever edits the code knows what it imports.
    let reloaded = reloader.reload(Vec::new(), None, true).await.map_err(|error| error.reason)?;
    let after_ms = began.elapsed().as_millis() as u64;
    if reloaded.swapped.is_empty() {
        tracing::info!("the build gave the same component: nothing to swap");
    }
    for component in reloaded.swapped {
        tracing::info!(component, after_ms, "swapped");
    }
    Ok(())
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
