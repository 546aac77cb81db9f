//! The folder in which the app's data outlives the host: the lock that keeps a second host out, the secrets that all
//! processes and restarts share, and a folder for each store's journal.
//!
//! Without a folder the secrets are made anew, and sessions, tokens and values end with the host.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sc_core::session_id::{ClusterKey, SessionIds};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::config::Settings;
use crate::error::HostError;
use crate::user::User;

/// The layout of the folder that this host writes and reads.
const VERSION: u32 = 1;
/// The file of the key that a controller replaced `auth.key` with.
const ROTATED: &str = "auth.rotated";
/// Bytes of a secret.
const SECRET: usize = 32;

/// For a key of tokens that is still to reach the disk when the host ends.
const KEEP_DEADLINE: Duration = Duration::from_secs(5);

/// The folder, held for as long as the host lives.
pub(crate) struct DataDir {
    /// Where a rotated key of tokens outlives the host; none if it does not.
    keeps: Option<PathBuf>,
    /// The newest such key that is not being written yet.
    next_key: Option<String>,
    /// What is being written, in another thread: a disk may take its time.
    writing: Option<JoinHandle<io::Result<()>>>,
    _lock: Option<File>,
}

/// What the folder is, in its file `format.json`.
#[derive(Serialize, Deserialize)]
struct Format {
    /// Its layout.
    version: u32,
    /// How many stores the data are spread over.
    stores: usize,
}

impl DataDir {
    /// Opens or makes the folder, and fills in what the children get of it.
    pub(crate) fn open(settings: &mut Settings, port: u16) -> Result<Self, HostError> {
        let folder = settings.data_dir.clone();
        let lock = match &folder {
            Some(folder) => Some(take(folder, settings.app.stores, settings.app.user.as_ref())?),
            None => None,
        };
        let secret = |name: &str| secret(folder.as_deref(), name);
        let host = settings.worker.sessions.ids.host.clone();
        let ids = SessionIds { key: ClusterKey(secret("cluster.key")?), host, port };
        settings.worker.sessions.ids = ids.clone();
        settings.balancer.session_ids = ids;
        // A key of the configuration's own is not this folder's to keep.
        let mut keeps = None;
        if settings.worker.auth.key.is_empty() {
            keeps = folder.as_deref().map(|folder| folder.join(ROTATED));
            settings.worker.auth.key = match keeps.as_deref().map(rotated).transpose()?.flatten() {
                Some(key) => key,
                None => hex(&secret("auth.key")?),
            };
        }
        Ok(DataDir { keeps, next_key: None, writing: None, _lock: lock })
    }

    /// Keeps the key that a controller replaced the first one with, for the next start. Of those that come while one
    /// is being written, only the last is kept. Needs [`DataDir::tend`] to be awaited, and a tokio runtime.
    pub(crate) fn keep_auth_key(&mut self, key: &str) {
        if self.keeps.is_some() {
            self.next_key = Some(key.to_owned());
            self.write_next();
        }
    }

    fn write_next(&mut self) {
        if self.writing.is_none()
            && let (Some(file), Some(key)) = (self.keeps.clone(), self.next_key.take())
        {
            self.writing = Some(spawn_blocking(move || put(&file, key.as_bytes())));
        }
    }

    /// Goes on once a key is written; for ever, if none is. Cancel safe.
    pub(crate) async fn tend(&mut self) {
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.writing = None;
        if let Err(error) = written {
            tracing::error!(%error, "the new key of tokens cannot be kept: the next start has the old one");
        }
        self.write_next();
    }

    /// Waits until all keys are written.
    pub(crate) async fn finish(&mut self) {
        let all = async {
            while self.writing.is_some() {
                self.tend().await;
            }
        };
        if timeout(KEEP_DEADLINE, all).await.is_err() {
            tracing::error!("the new key of tokens is not written: the next start may have the old one");
        }
    }
}

/// The folder of a store's journal.
pub(crate) fn store_folder(data_dir: &Path, store: u16) -> PathBuf {
    data_dir.join(format!("store-{store}"))
}

/// Makes the folder if need be, locks it and checks what it is.
fn take(folder: &Path, stores: usize, user: Option<&User>) -> Result<File, HostError> {
    let unusable = |reason: String, help: &str| HostError::DataDir {
        path: folder.to_owned(),
        reason,
        help: help.to_owned(),
    };
    let failed = |what: &str, error: &io::Error| {
        let mend = match user {
            Some(user) => {
                format!("give it to the user of the host: chown -R {} {}", user.name, folder.display())
            }
            None => "make it a folder that this user may write".to_owned(),
        };
        let help = format!(
            "{mend}; or name another one with --data-dir, or keep all in memory with --data-dir none"
        );
        unusable(format!("{what}: {error}"), &help)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed("it cannot be made", &error))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join("lock"))
        .map_err(|error| failed("its lock cannot be made", &error))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(unusable(
                "another host uses it".to_owned(),
                "stop that host, or give this one a folder of its own with --data-dir",
            ));
        }
        Err(TryLockError::Error(error)) => return Err(failed("it cannot be locked", &error)),
    }
    let file = folder.join("format.json");
    let format = match std::fs::read(&file) {
        Ok(text) => serde_json::from_slice::<Format>(&text).map_err(|error| {
            let reason = format!("{} is not what this host writes: {error}", file.display());
            unusable(reason, "restore that file from a copy, or name another folder")
        })?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let format = Format { version: VERSION, stores };
            let text = serde_json::to_vec(&format).map_err(io::Error::other);
            text.and_then(|text| put(&file, &text))
                .map_err(|error| failed("it cannot be written", &error))?;
            format
        }
        Err(error) => return Err(failed("it cannot be read", &error)),
    };
    if format.version > VERSION {
        let reason = format!(
            "it was written by a newer sc-host: its format is {}, and this one reads {VERSION}",
            format.version
        );
        return Err(unusable(reason, "use that sc-host again, or name another folder"));
    }
    if format.stores != stores {
        let reason = format!("its data are spread over {} stores, not {stores}", format.stores);
        let help = format!("run it with --stores {}, or name another folder", format.stores);
        return Err(unusable(reason, &help));
    }
    Ok(lock)
}

/// A secret of the folder, made when it is not there; without a folder a new one.
fn secret(folder: Option<&Path>, name: &str) -> Result<[u8; SECRET], HostError> {
    let Some(folder) = folder else { return random() };
    let file = folder.join(name);
    let unusable = |reason: String| HostError::DataDir {
        path: folder.to_owned(),
        reason,
        help: format!("restore {name} from a copy; without it, sessions or tokens given out so far are void"),
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            parse(text.trim()).ok_or_else(|| unusable(format!("{name} does not hold 64 hexadecimal digits")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = random()?;
            put(&file, hex(&made).as_bytes())
                .map_err(|error| unusable(format!("{name} cannot be written: {error}")))?;
            Ok(made)
        }
        Err(error) => Err(unusable(format!("{name} cannot be read: {error}"))),
    }
}

/// The key that a controller left, if one did.
fn rotated(file: &Path) -> Result<Option<String>, HostError> {
    match std::fs::read_to_string(file) {
        Ok(key) if !key.is_empty() => Ok(Some(key)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        outcome => {
            let why = outcome.map_or_else(|error| error.to_string(), |_| "it is empty".to_owned());
            Err(HostError::DataDir {
                path: file.to_owned(),
                reason: format!("it cannot be read: {why}"),
                help: "restore it from a copy, or remove it to go back to auth.key".to_owned(),
            })
        }
    }
}

/// Writes a file that is there whole or not at all, also after the machine's end, and that only this user reads.
pub(crate) fn put(file: &Path, text: &[u8]) -> io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut new = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    new.write_all(text)?;
    new.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

pub(super) fn random() -> Result<[u8; SECRET], HostError> {
    let mut bytes = [0; SECRET];
    getrandom::fill(&mut bytes)
        .map_err(|error| HostError::os("making a secret")(io::Error::other(error.to_string())))?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn parse(text: &str) -> Option<[u8; SECRET]> {
    let mut bytes = [0; SECRET];
    if text.len() != 2 * SECRET {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = secret(Some(folder.path()), "a.key").expect("made");
        assert_eq!(secret(Some(folder.path()), "a.key").expect("read"), made);
        assert_ne!(secret(Some(folder.path()), "b.key").expect("made"), made);
        std::fs::write(folder.path().join("a.key"), "short").expect("written");
        assert!(secret(Some(folder.path()), "a.key").is_err());
    }

    #[tokio::test]
    async fn a_rotated_key_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(ROTATED);
        assert_eq!(rotated(&file).expect("read"), None);
        let mut kept = DataDir { keeps: Some(file.clone()), next_key: None, writing: None, _lock: None };
        for key in ["first", "unseen", "another\nkey "] {
            kept.keep_auth_key(key);
        }
        assert!(kept.next_key.is_some(), "one after the other");
        kept.finish().await;
        assert_eq!(rotated(&file).expect("read").as_deref(), Some("another\nkey "));
        std::fs::write(&file, "").expect("written");
        assert!(rotated(&file).is_err());
    }

    #[test]
    fn a_folder_has_one_host_and_one_format() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = take(folder.path(), 2, None).expect("taken");
        let reason = |taken: Result<File, HostError>| taken.expect_err("refused").flat();
        assert!(reason(take(folder.path(), 2, None)).contains("another host uses it"));
        drop(held);
        assert!(reason(take(folder.path(), 3, None)).contains("--stores 2"));
        std::fs::write(folder.path().join("format.json"), r#"{"version":9,"stores":2}"#).expect("written");
        assert!(reason(take(folder.path(), 2, None)).contains("newer sc-host"));
    }
}
