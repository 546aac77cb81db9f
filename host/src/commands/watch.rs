//! Watches an app's sources. Only changed contents count: a touched file, a branch switched there and back, or an
//! editor's temporary file are no change.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    _debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    touched: mpsc::Receiver<()>,
    paths: Vec<PathBuf>,
    digest: u64,
}

impl Watch {
    /// Begins to watch those of the paths that exist: files, and folders with all that is in them. Contents from now
    /// on are what changes are compared with.
    pub(super) fn new(paths: Vec<PathBuf>) -> Result<Self, notify::Error> {
        // One waiting touch is as good as many.
        let (touch, touched) = mpsc::channel(1);
        let mut debouncer = new_debouncer(DEBOUNCE, None, move |events: DebounceEventResult| {
            let counts = match &events {
                Ok(events) => events.iter().any(|event| !matches!(event.kind, EventKind::Access(_))),
                Err(_) => true,
            };
            if counts {
                let _ = touch.try_send(());
            }
        })?;
        let paths: Vec<_> = paths.into_iter().filter(|path| path.exists()).collect();
        for path in &paths {
            match path.is_dir() {
                true => debouncer.watch(path, RecursiveMode::Recursive)?,
                // Editors replace files: only the folder sees the new one.
                false => debouncer.watch(folder_of(path), RecursiveMode::NonRecursive)?,
            }
        }
        let digest = digest(&paths);
        Ok(Watch { _debouncer: debouncer, touched, paths, digest })
    }

    /// What is watched.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Waits until contents differ from what they were at the last time. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            if self.touched.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            let paths = self.paths.clone();
            let now = tokio::task::spawn_blocking(move || digest(&paths)).await;
            if let Ok(now) = now
                && now != std::mem::replace(&mut self.digest, now)
            {
                return;
            }
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

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A number that changes with the contents.
fn digest(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut left = FILES_MAX;
    for path in paths {
        add(path, &mut hasher, &mut left, true);
    }
    hasher.finish()
}

fn add(path: &Path, hasher: &mut DefaultHasher, left: &mut usize, named: bool) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let skipped = name.starts_with('.') || name.ends_with('~') || MADE.contains(&name.as_ref());
    if *left == 0 || (skipped && !named) {
        return;
    }
    *left -= 1;
    hasher.write(path.as_os_str().as_encoded_bytes());
    if path.is_dir() {
        let Ok(entries) = std::fs::read_dir(path) else { return };
        let mut entries: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort();
        for entry in entries {
            add(&entry, hasher, left, false);
        }
        return;
    }
    let Ok(metadata) = std::fs::metadata(path) else { return };
    hasher.write_u64(metadata.len());
    if metadata.len() > FILE_MAX {
        let time = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        hasher.write_u128(time.unwrap_or_default().as_nanos());
    } else if let Ok(bytes) = std::fs::read(path) {
        hasher.write(&bytes);
    }
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
        let paths = [folder.path().join("src")];
        let before = digest(&paths);
        std::fs::write(folder.path().join("src/lib.rs"), "one").expect("a file");
        std::fs::write(folder.path().join("src/target/out"), "made").expect("a file");
        std::fs::write(folder.path().join("src/.lib.rs.swp"), "temporary").expect("a file");
        assert_eq!(digest(&paths), before);
        std::fs::write(folder.path().join("src/lib.rs"), "two").expect("a file");
        assert_ne!(digest(&paths), before);
    }

    #[tokio::test]
    async fn a_written_file_is_noticed() {
        let folder = folder();
        let file = folder.path().join("src/lib.rs");
        let mut watch =
            Watch::new(vec![folder.path().join("src"), folder.path().join("missing")]).expect("a watch");
        assert_eq!(watch.paths().len(), 1);
        std::fs::write(&file, "two").expect("a file");
        tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("noticed");
    }
}
