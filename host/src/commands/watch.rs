//! Watches an app's sources. Only changed contents count: a touched file, a branch switched there and back, or an
//! editor's temporary file are no change.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use notify::{EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, RecommendedCache, new_debouncer};
use tokio::sync::mpsc;

/// Changes within this time are one change.
const DEBOUNCE: Duration = Duration::from_millis(150);
/// Folders whose contents are made, not written.
const MADE: &[&str] = &["target", "node_modules", "dist", "build", "__pycache__"];
/// Files that are read to compare; more are not worth the time.
const FILES_MAX: usize = 20_000;
/// Larger files are compared by size and time.
const FILE_MAX: u64 = 4 << 20;

/// Sources under watch.
pub(super) struct Watch {
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    touched: mpsc::Receiver<()>,
    sources: Sources,
    watched: BTreeMap<PathBuf, Watched>,
    digest: u64,
}

/// What counts and what does not.
#[derive(Clone, Debug)]
struct Sources {
    paths: Vec<PathBuf>,
    made: Vec<PathBuf>,
}

/// A folder under the system's watch: which one it was then, and whether all below it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watched {
    inode: u64,
    mode: RecursiveMode,
}

impl Watch {
    /// Begins to watch files, and folders with all that is in them, but not what is in `made`. Contents from now on
    /// are what changes are compared with. A path that does not exist is waited for.
    pub(super) fn new(paths: &[PathBuf], made: &[PathBuf]) -> Result<Self, notify::Error> {
        // One waiting touch is as good as many.
        let (touch, touched) = mpsc::channel(1);
        let debouncer = new_debouncer(DEBOUNCE, None, move |events: DebounceEventResult| {
            let counts = match &events {
                Ok(events) => events.iter().any(|event| !matches!(event.kind, EventKind::Access(_))),
                Err(_) => true,
            };
            if counts {
                let _ = touch.try_send(());
            }
        })?;
        let sources = Sources {
            paths: paths.iter().map(|path| absolute(path)).collect(),
            made: made.iter().map(|path| absolute(path)).collect(),
        };
        let digest = sources.digest();
        let mut watch = Watch { debouncer, touched, sources, watched: BTreeMap::new(), digest };
        watch.renew()?;
        Ok(watch)
    }

    /// What is watched.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.sources.paths
    }

    /// Waits until contents differ from what they were at the last time. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            if self.touched.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.renew() {
                tracing::warn!(%error, "some sources cannot be watched any more");
            }
            let sources = self.sources.clone();
            let now = tokio::task::spawn_blocking(move || sources.digest()).await;
            if let Ok(now) = now
                && now != std::mem::replace(&mut self.digest, now)
            {
                return;
            }
        }
    }

    /// Has the system watch what is there now. A folder that was replaced by another one of its name is watched anew.
    fn renew(&mut self) -> Result<(), notify::Error> {
        let wanted = self.sources.folders();
        for (folder, watched) in std::mem::take(&mut self.watched) {
            match wanted.get(&folder) {
                Some(still) if *still == watched => drop(self.watched.insert(folder, watched)),
                // It may be gone, and its watch with it.
                _ => drop(self.debouncer.unwatch(&folder)),
            }
        }
        for (folder, watched) in wanted {
            if !self.watched.contains_key(&folder) {
                self.debouncer.watch(&folder, watched.mode)?;
                self.watched.insert(folder, watched);
            }
        }
        Ok(())
    }
}

impl Sources {
    /// The folders to watch: those that are sources with all below them, and the ones that hold a source, because
    /// only they see it replaced, or made at last.
    fn folders(&self) -> BTreeMap<PathBuf, Watched> {
        let mut folders = BTreeMap::new();
        let mut add = |folder: &Path, mode| {
            let Ok(metadata) = std::fs::metadata(folder) else { return };
            let watched = folders.entry(folder.to_owned()).or_insert(Watched { inode: metadata.ino(), mode });
            if mode == RecursiveMode::Recursive {
                watched.mode = mode;
            }
        };
        for path in &self.paths {
            if path.is_dir() {
                add(path, RecursiveMode::Recursive);
            }
            if let Some(above) = path.ancestors().skip(1).find(|above| above.is_dir()) {
                add(above, RecursiveMode::NonRecursive);
            }
        }
        folders
    }

    /// A number that changes with the contents.
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut left = FILES_MAX;
        for path in &self.paths {
            self.add(path, &mut hasher, &mut left, true);
        }
        hasher.finish()
    }

    fn add(&self, path: &Path, hasher: &mut DefaultHasher, left: &mut usize, named: bool) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let skipped = name.starts_with('.') || name.ends_with('~') || MADE.contains(&name.as_ref());
        if *left == 0 || (skipped && !named) || self.made.iter().any(|made| made == path) {
            return;
        }
        *left -= 1;
        hasher.write(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else { return };
            let mut entries: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            entries.sort();
            for entry in entries {
                self.add(&entry, hasher, left, false);
            }
            return;
        }
        let Ok(metadata) = std::fs::metadata(path) else { return };
        hasher.write_u64(metadata.len());
        if metadata.len() > FILE_MAX {
            let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hasher.write_u128(time.unwrap_or_default().as_nanos());
        } else if let Ok(bytes) = std::fs::read(path) {
            hasher.write(&bytes);
        }
    }
}

/// What is watched when `worker.watch` does not say: the sources where they usually are, or the whole folder.
pub(super) fn default_paths(folder: &Path) -> Vec<PathBuf> {
    let sources = folder.join("src");
    let first = if sources.is_dir() { sources } else { folder.to_owned() };
    let manifests = ["Cargo.toml", "package.json", "pyproject.toml"].map(|name| folder.join(name));
    [first].into_iter().chain(manifests).collect()
}

/// One name for each path, so that they can be compared.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path)
        .or_else(|_| std::env::current_dir())
        .map(|path| path.components().collect())
        .unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("src/target")).expect("folders");
        std::fs::write(folder.path().join("src/lib.rs"), "one").expect("a file");
        folder
    }

    #[test]
    fn only_contents_count() {
        let folder = folder();
        let made = folder.path().join("src/made.wasm");
        let sources = Sources { paths: vec![folder.path().join("src")], made: vec![made.clone()] };
        let before = sources.digest();
        std::fs::write(folder.path().join("src/lib.rs"), "one").expect("a file");
        std::fs::write(folder.path().join("src/target/out"), "made").expect("a file");
        std::fs::write(folder.path().join("src/.lib.rs.swp"), "temporary").expect("a file");
        std::fs::write(made, "made").expect("a file");
        assert_eq!(sources.digest(), before);
        std::fs::write(folder.path().join("src/lib.rs"), "two").expect("a file");
        assert_ne!(sources.digest(), before);
    }

    async fn notices(watch: &mut Watch) {
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("noticed");
    }

    #[tokio::test]
    async fn a_written_file_is_noticed() {
        let folder = folder();
        let mut watch = Watch::new(&[folder.path().join("src")], &[]).expect("a watch");
        std::fs::write(folder.path().join("src/lib.rs"), "two").expect("a file");
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn what_is_replaced_or_made_later_is_noticed_for_ever() {
        let folder = folder();
        let (sources, later) = (folder.path().join("src"), folder.path().join("later.toml"));
        let mut watch = Watch::new(&[sources.clone(), later.clone()], &[]).expect("a watch");
        std::fs::rename(&sources, folder.path().join("old")).expect("renamed");
        std::fs::create_dir(&sources).expect("a folder");
        std::fs::write(sources.join("lib.rs"), "other").expect("a file");
        notices(&mut watch).await;
        std::fs::write(sources.join("lib.rs"), "another").expect("a file");
        notices(&mut watch).await;
        std::fs::write(later, "made").expect("a file");
        notices(&mut watch).await;
    }
}
