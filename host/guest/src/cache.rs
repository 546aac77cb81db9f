//! Compiled components on disk. The master compiles a component once; children only map the file. An entry is named by
//! the component's content, the wasmtime version and the engine's settings, and carries a checksum beside it: an entry
//! that is torn or was changed is compiled again. Entries are written aside and renamed, so writers never meet.
//!
//! The folder holds the entries that were used last. One that a living host may still map for a new child is locked
//! by it and stays.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use wasmtime::component::Component;

use crate::cache_dir;
use crate::engine::{Engine, engine};
use crate::error::{GuestError, chain};

/// Entries kept; the one that was used longest ago goes first.
const ENTRIES: usize = 32;

/// Entries that one cache holds for its host: the running component, and many a new one that was refused since.
const HELD: usize = 64;

/// SHA-256 of a component's bytes, in hex.
pub fn content_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of compiled components.
#[derive(Clone)]
pub struct Cache {
    folder: PathBuf,
    engine: Engine,
    /// Entries that were found last through this cache, locked, with their inodes.
    in_use: Arc<Mutex<VecDeque<(u64, File)>>>,
}

impl Cache {
    /// Opens, or makes, the folder. It must belong to this user alone: what lies in it is run as native code.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, GuestError> {
        let folder: PathBuf = folder.into();
        cache_dir::claim(&folder).map_err(|reason| GuestError::Cache { path: folder.clone(), reason })?;
        Ok(Cache { folder, engine: engine()?, in_use: Arc::default() })
    }

    /// Opens the user's own, [`cache_dir::path`].
    pub fn open_default() -> Result<Self, GuestError> {
        Self::open(cache_dir::path())
    }

    /// The same for a process that went on as another user than its environment was made for: below that user's home,
    /// if there is one, else, or if nothing can be written there, below the system's folder for temporary files.
    pub fn open_of(home: Option<&Path>) -> Result<Self, GuestError> {
        let own = cache_dir::path_of(home);
        Self::open(&own).or_else(|error| {
            if home.is_some() {
                tracing::info!(%error, "no cache below the user's home: temporary files are its place");
            }
            Self::open(cache_dir::temporary())
        })
    }

    /// The cache's folder.
    pub fn dir(&self) -> &Path {
        &self.folder
    }

    /// The compiled component, if the cache holds it intact. The path stays good until 64 others were found, even
    /// when somebody empties the folder: it leads through this process's own handle.
    pub fn lookup(&self, component: &[u8]) -> Option<PathBuf> {
        let entry = self.entry(component);
        let inode = |metadata: fs::Metadata| metadata.ino();
        // Whoever prunes holds the lock until the entry is gone: what is then locked here is no entry any more, or
        // another host has written it anew.
        let mut file = loop {
            let file = File::open(&entry).ok()?;
            file.lock_shared().ok()?;
            if fs::metadata(&entry).map(inode).ok()? == file.metadata().map(inode).ok()? {
                break file;
            }
        };
        let mut compiled = Vec::new();
        file.read_to_end(&mut compiled).ok()?;
        let expected = fs::read_to_string(checksum_of(&entry)).ok()?;
        if content_hash(&compiled) != expected.trim() {
            tracing::warn!(entry = %entry.display(), "a compiled component is damaged and is compiled again");
            return None;
        }
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!(entry = %entry.display(), %error, "the use of a compiled component cannot be noted");
        }
        let inode = file.metadata().map(inode).ok()?;
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        // Found again, it becomes the newest, and its handle stays the same.
        let known = in_use.iter().position(|(known, _)| *known == inode);
        let found = known.and_then(|known| in_use.remove(known)).unwrap_or((inode, file));
        let handle = found.1.as_raw_fd();
        in_use.push_back(found);
        if in_use.len() > HELD {
            in_use.pop_front();
        }
        Some(PathBuf::from(format!("/proc/{}/fd/{handle}", std::process::id())))
    }

    /// Counts entries that were found earlier as found last, so that those of running components stay held.
    pub fn hold(&self, found: &[PathBuf]) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        for path in found {
            let handle = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            let known = in_use.iter().position(|(_, file)| Some(file.as_raw_fd()) == handle);
            if let Some(entry) = known.and_then(|known| in_use.remove(known)) {
                in_use.push_back(entry);
            }
        }
    }

    /// Compiles a component and keeps it. Takes seconds of CPU for a large one.
    pub fn compile(&self, component: &[u8]) -> Result<PathBuf, GuestError> {
        check_kind(component)?;
        let compiled = self
            .engine
            .inner
            .precompile_component(component)
            .map_err(|error| GuestError::uncompiled(&error))?;
        let entry = self.entry(component);
        self.keep(&entry, &compiled).map_err(|error| GuestError::Cache {
            path: self.folder.clone(),
            reason: format!("a compiled component cannot be written: {error}"),
        })?;
        Ok(entry)
    }

    fn entry(&self, component: &[u8]) -> PathBuf {
        let mut settings = DefaultHasher::new();
        self.engine.inner.precompile_compatibility_hash().hash(&mut settings);
        self.folder.join(format!("{}-{:016x}.cwasm", content_hash(component), settings.finish()))
    }

    /// The checksum goes last: without it the entry does not count.
    fn keep(&self, entry: &Path, compiled: &[u8]) -> io::Result<()> {
        self.write(entry, compiled)?;
        self.write(&checksum_of(entry), content_hash(compiled).as_bytes())?;
        if let Err(error) = self.prune() {
            tracing::warn!(folder = %self.folder.display(), %error, "old compiled components cannot be removed");
        }
        Ok(())
    }

    /// Removes the entries that were used longest ago and that no host holds.
    fn prune(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "cwasm") {
                // Gone already when another host prunes.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                entries.push((metadata.modified()?, path));
            }
        }
        entries.sort_unstable_by(|one, other| other.cmp(one));
        for (_, entry) in entries.into_iter().skip(ENTRIES) {
            let Ok(file) = File::open(&entry) else { continue };
            if file.try_lock().is_ok() {
                // Without its checksum it does not count, so the order hurts nobody.
                for path in [checksum_of(&entry), entry] {
                    match fs::remove_file(path) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut aside = NamedTempFile::new_in(&self.folder)?;
        aside.write_all(bytes)?;
        aside.persist(path).map(|_: File| ()).map_err(|error| error.error)
    }
}

fn checksum_of(entry: &Path) -> PathBuf {
    entry.with_extension("sha256")
}

/// Tells components from core modules and from other files, by their first eight bytes.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), GuestError> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(GuestError::CoreModule),
        _ => Err(GuestError::NotWasm),
    }
}

/// Maps a compiled component that a [`Cache`] vouched for.
pub(crate) fn load(engine: &Engine, compiled: &Path) -> Result<Component, GuestError> {
    // SAFETY: the file came out of `precompile_component` of an engine with the same settings, and the master checked
    // its checksum; it lies in a folder that only this user may write to. wasmtime checks version and settings itself.
    #[expect(unsafe_code, reason = "the one door through which compiled code enters")]
    let component = unsafe { Component::deserialize_file(&engine.inner, compiled) };
    component.map_err(|error| GuestError::Invalid(chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> Cache {
        Cache::open(folder).unwrap()
    }

    fn component() -> Vec<u8> {
        wat::parse_str("(component)").unwrap()
    }

    #[test]
    fn an_entry_is_found_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let component = component();
        assert_eq!(cache.lookup(&component), None);
        let entry = cache.compile(&component).unwrap();
        load(&cache.engine, &cache.lookup(&component).unwrap()).unwrap();
        let whole = fs::read(&entry).unwrap();
        fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(cache.lookup(&component), None, "torn");
        let mut flipped = whole.clone();
        flipped[whole.len() - 1] ^= 1;
        fs::write(&entry, flipped).unwrap();
        assert_eq!(cache.lookup(&component), None, "changed");
        assert_eq!(cache.compile(&component).unwrap(), entry);
        let found = cache.lookup(&component).unwrap();
        assert_eq!(cache.lookup(&component).as_ref(), Some(&found));
        fs::remove_dir_all(folder.path()).unwrap();
        load(&cache.engine, &found).unwrap();
    }

    #[test]
    fn writers_at_the_same_time_leave_a_whole_entry() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let component = component();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| cache.compile(&component).unwrap());
            }
        });
        assert!(cache.lookup(&component).is_some());
    }

    #[test]
    fn old_entries_go_unless_a_host_holds_them() {
        let folder = tempfile::tempdir().unwrap();
        let holder = cache(folder.path());
        let numbered =
            |number: usize| wat::parse_str(format!("(component (core module (memory {number})))")).unwrap();
        let compile = |number| cache(folder.path()).compile(&numbered(number)).unwrap();
        let held = compile(0);
        assert!(holder.lookup(&numbered(0)).is_some());
        let age = |entry: &Path, hours: u64| {
            let then = SystemTime::now() - std::time::Duration::from_secs(3600 * hours);
            File::open(entry).unwrap().set_modified(then).unwrap();
        };
        age(&held, 3);
        let old = compile(1);
        age(&old, 2);
        for number in 2..ENTRIES + 2 {
            compile(number);
        }
        assert!(held.exists(), "a host holds it");
        assert!(!old.exists() && !checksum_of(&old).exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2 * (ENTRIES + 1));
        drop(holder);
        compile(ENTRIES + 2);
        assert!(!held.exists());
    }

    #[test]
    fn what_is_no_component_is_named() {
        assert!(matches!(check_kind(b"hello"), Err(GuestError::NotWasm)));
        assert!(matches!(check_kind(&wat::parse_str("(module)").unwrap()), Err(GuestError::CoreModule)));
        let folder = tempfile::tempdir().unwrap();
        let mut broken = component();
        broken.extend([99, 99, 99]);
        assert!(matches!(cache(folder.path()).compile(&broken), Err(GuestError::Invalid(_))));
    }
}
