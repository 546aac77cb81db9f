//! A reload from its order to its end: the configuration is read again, what changed is compiled and compared with
//! what runs, and each new generation is given to the workers. All of it takes effect, or nothing.

mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sc_core::controller::{Generation, short_hash};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::spawn_local;

use self::wanted::{Wanted, chosen};
use crate::certificates::Certificates;
use crate::component::Components;
use crate::config::{Flag, Mode, ProcessEnvironment, Settings, keys};
use crate::error::HostError;
use crate::master::{Order, Running};
use crate::report;

type Given = BTreeMap<String, serde_json::Value>;

/// Where a host's configuration comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    /// The app's folder or file, as the user named it.
    pub(crate) app: Option<PathBuf>,
    /// The command line's options.
    pub(crate) flags: Vec<Flag>,
    /// What the host was started for.
    pub(crate) mode: Mode,
    /// Variables, and files as they were read.
    pub(crate) environment: ProcessEnvironment,
}

impl Origins {
    /// Reads everything as it is now.
    pub(crate) fn load(&self) -> Result<Settings, HostError> {
        Settings::load(self.app.as_deref(), self.flags.clone(), &self.environment, self.mode)
    }
}

/// Reloads a running host, one reload at a time.
pub(crate) struct Reloader {
    origins: Origins,
    components: Rc<Components>,
    orders: mpsc::Sender<Order>,
    /// What the running host was configured with.
    given: Mutex<Given>,
    certificates: Certificates,
}

/// A component that is to be replaced.
struct Step {
    old: Generation,
    new: Generation,
    path: PathBuf,
    imports: BTreeSet<String>,
    rights: String,
}

/// What a reload did.
#[derive(Debug, Default)]
pub(crate) struct Reloaded {
    /// The new generations, as the log names them.
    pub(crate) swapped: Vec<String>,
    lines: Vec<String>,
}

/// Why a reload did not take place, for the user.
#[derive(Debug)]
pub(crate) struct NotReloaded {
    /// In words.
    pub(crate) reason: String,
    /// Whether some of it did all the same.
    pub(crate) partial: bool,
}

impl From<String> for NotReloaded {
    fn from(reason: String) -> Self {
        NotReloaded { reason, partial: false }
    }
}

impl Reloaded {
    /// What happened, for people.
    pub(crate) fn report(self) -> Vec<String> {
        self.lines
    }
}

impl Reloader {
    pub(crate) fn new(
        origins: Origins,
        settings: &Settings,
        components: Rc<Components>,
        orders: mpsc::Sender<Order>,
    ) -> Rc<Self> {
        let given = Mutex::new(settings.given.clone());
        let certificates = Certificates::new(settings.tls.as_ref());
        Rc::new(Reloader { origins, components, orders, given, certificates })
    }

    /// Replaces what changed: of the named components, or of all. A file in the place of the configured one is for one
    /// component, and counts until the next reload without it.
    ///
    /// # Errors
    /// Why it did not take place, for the user.
    pub(crate) async fn reload(
        self: &Rc<Self>,
        names: Vec<String>,
        file: Option<PathBuf>,
        allow_new_imports: bool,
    ) -> Result<Reloaded, NotReloaded> {
        let this = Rc::clone(self);
        // Whoever asked may be gone before it is done; half a reload would be worse.
        let task =
            spawn_local(async move { this.reload_now(&names, file.as_deref(), allow_new_imports).await });
        task.await.unwrap_or_else(|error| Err(NotReloaded { reason: error.to_string(), partial: true }))
    }

    async fn reload_now(
        &self,
        names: &[String],
        file: Option<&Path>,
        allow_new_imports: bool,
    ) -> Result<Reloaded, NotReloaded> {
        let mut given = self.given.lock().await;
        let fresh = self.origins.load();
        let stale = self.stale(fresh.as_ref().ok());
        let fresh = fresh.map_err(|error| match &stale {
            Some(stale) => format!("{}; {stale}", error.flat()),
            None => error.flat(),
        })?;
        refuse_fixed(&given, &fresh.given)?;
        let wanted = chosen(&fresh, names, file)?;
        let tls = match (names, file) {
            ([], None) => self.certificates.wanted(&fresh)?,
            _ => None,
        };
        let Running { generations: running, compiled } = self.running().await?;
        self.components.hold(&compiled);
        let mut reloaded = Reloaded { lines: Vec::from_iter(stale), ..Reloaded::default() };
        let mut steps = Vec::new();
        for component in &wanted {
            match self.step(component, &running, allow_new_imports).await? {
                Some(step) => steps.push(step),
                None => reloaded.lines.push(format!("{}: unchanged", component.name)),
            }
        }
        self.take(&steps).await?;
        for component in &wanted {
            given.retain(|key, _| !key.starts_with(&component.place));
            let fresh = fresh.given.iter().filter(|(key, _)| key.starts_with(&component.place));
            given.extend(fresh.map(|(key, value)| (key.clone(), value.clone())));
        }
        if let Some(tls) = tls {
            let replaced = self.certificates.replace(tls, &self.orders).await;
            let partial = !steps.is_empty();
            reloaded.lines.push(replaced.map_err(|reason| NotReloaded { reason, partial })?);
            given.retain(|key, _| !key.starts_with("tls."));
            let fresh = fresh.given.iter().filter(|(key, _)| key.starts_with("tls."));
            given.extend(fresh.map(|(key, value)| (key.clone(), value.clone())));
        }
        for Step { old, new, imports, rights, .. } in steps {
            let (before, after) = (short_hash(&old.hash), short_hash(&new.hash));
            reloaded.lines.push(format!("{}: {before} is replaced by {after}", new.name()));
            reloaded.lines.push(format!("  imports: {}", by_package(&imports)));
            reloaded.lines.push(format!("  may use: {rights}"));
            reloaded.swapped.push(new.label().to_string());
        }
        Ok(reloaded)
    }

    /// Which files were taken as they were at the start, for people; nothing if all could be read.
    fn stale(&self, fresh: Option<&Settings>) -> Option<String> {
        let stale = self.origins.environment.files.take_stale();
        let user = fresh.and_then(|fresh| fresh.app.user.as_ref()).map_or("the host", |user| &user.name);
        let files: Vec<_> = stale.iter().map(|file| file.display().to_string()).collect();
        // Of a certificate and its key, one that can be read stays along with the other.
        let (all, what) = (if files.len() > 1 { "all of " } else { "" }, files.join(", "));
        (!files.is_empty())
            .then(|| format!("{user} may not read {all}{what}: what was read at the start stays"))
    }

    /// What is to be done for one component; nothing if it is as it is to be.
    async fn step(
        &self,
        wanted: &Wanted<'_>,
        running: &[Generation],
        allow_new_imports: bool,
    ) -> Result<Option<Step>, String> {
        let name = &*wanted.name;
        let old = running.iter().find(|generation| generation.name() == name);
        let old = old.ok_or_else(|| format!("the running host has no component {name}: restart it"))?;
        let new = self.components.generation(&wanted.path, name, wanted.controller).await;
        let new = new.map_err(|error| error.flat())?;
        if new.hash == old.hash {
            return Ok(None);
        }
        let imports = report::imports(&new.component).map_err(|error| error.flat())?;
        let before = report::imports(&old.component).map_err(|error| error.flat())?;
        let more: Vec<_> = imports.difference(&before).cloned().collect();
        if !more.is_empty() && !allow_new_imports {
            return Err(format!(
                "{name} imports more than the running one: {}; if that is meant: --allow-new-imports",
                more.join(", ")
            ));
        }
        let rights = report::rights(wanted.controller, wanted.hosts);
        Ok(Some(Step { old: old.clone(), new, path: wanted.path.clone(), imports, rights }))
    }

    /// Takes all steps; when one fails, those before it are taken back.
    async fn take(&self, steps: &[Step]) -> Result<(), NotReloaded> {
        for (at, step) in steps.iter().enumerate() {
            let Err(reason) = self.swap(&step.new).await else { continue };
            let (name, file) = (step.new.name(), step.path.display());
            for taken in steps.iter().take(at).rev() {
                if let Err(worse) = self.swap(&taken.old).await {
                    let stays = taken.new.name();
                    let reason = format!(
                        "{name}: {reason} ({file}); but {stays} is replaced, and did not go back: {worse}"
                    );
                    return Err(NotReloaded { reason, partial: true });
                }
            }
            return Err(format!("{name}: {reason}; nothing was replaced (the file was {file})").into());
        }
        Ok(())
    }

    async fn swap(&self, generation: &Generation) -> Result<(), String> {
        let (done, answered) = oneshot::channel();
        self.order(Order::Reload(Box::new(generation.clone()), done)).await?;
        answered.await.map_err(|_| ENDS.to_owned())?
    }

    async fn running(&self) -> Result<Running, String> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Running(answer)).await?;
        answered.await.map_err(|_| ENDS.to_owned())
    }

    async fn order(&self, order: Order) -> Result<(), String> {
        self.orders.send(order).await.map_err(|_| ENDS.to_owned())
    }
}

pub(crate) const ENDS: &str = "the host ends";

/// Only what a generation consists of can change while the host runs.
fn refuse_fixed(running: &Given, fresh: &Given) -> Result<(), String> {
    let keys: BTreeSet<_> = running.keys().chain(fresh.keys()).collect();
    let changed = keys.into_iter().filter(|key| running.get(*key) != fresh.get(*key));
    let fixed: Vec<_> = changed.filter(|key| !keys::is_live(key)).map(String::as_str).collect();
    match &*fixed {
        [] => Ok(()),
        fixed => Err(format!(
            "these options were changed and take effect at a restart only: {}; restart the host, or change them back",
            fixed.join(", ")
        )),
    }
}

/// Interfaces with those of their package: `wasi:io/{error, poll}`.
fn by_package(interfaces: &BTreeSet<String>) -> String {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in interfaces {
        let (package, interface) = name.split_once('/').unwrap_or((name, ""));
        packages.entry(package).or_default().push(interface);
    }
    let shown = packages.into_iter().map(|(package, interfaces)| match &*interfaces {
        [""] => package.to_owned(),
        [one] => format!("{package}/{one}"),
        several => format!("{package}/{{{}}}", several.join(", ")),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, i32)]) -> Given {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn imports_are_shown_by_package() {
        let names = ["wasi:io/poll", "a:b/c", "wasi:io/error", "odd"].map(str::to_owned);
        assert_eq!(by_package(&names.into()), "a:b/c, odd, wasi:io/{error, poll}");
    }

    #[test]
    fn what_cannot_change_is_named() {
        let before = given(&[("app.port", 1), ("worker.config", 1), ("middleware[0].config", 1)]);
        let fine = given(&[
            ("app.port", 1),
            ("worker.config", 2),
            ("worker.memory", 2),
            ("middleware[0].config", 3),
            ("middleware[0].on_failure", 3),
        ]);
        assert_eq!(refuse_fixed(&before, &fine), Ok(()));
        let not = given(&[("app.port", 2), ("worker.config", 1), ("middleware[1].component", 1)]);
        let refused = refuse_fixed(&before, &not).expect_err("refused");
        assert!(refused.contains("only: app.port, middleware[1].component;"), "{refused}");
    }
}
