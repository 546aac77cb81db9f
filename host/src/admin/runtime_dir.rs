//! The folder of a running host: its lock, by which a second host of the same app is refused, and its admin socket.
//! Both end with the process, however it ends: the lock is the kernel's, and a socket that nobody listens at is
//! replaced by the next host that holds the lock.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::net::UnixListener;

use super::socket;
use crate::config::Settings;
use crate::error::HostError;
use crate::user::User;

/// The longest path that a Unix socket may have on Linux, without the byte that ends it.
const SOCKET_PATH_MAX: usize = 107;
/// Characters of the hash in the folder's name.
const HASH: usize = 8;

/// The folder, held.
pub(crate) struct RuntimeDir {
    path: PathBuf,
    _lock: File,
}

impl RuntimeDir {
    /// Where the folder of an app's host is: where the user says, else in `$XDG_RUNTIME_DIR/sc-host`, or a folder of
    /// this user's under the system's one for temporary files, under the app's name and a hash of where it lies.
    pub(crate) fn path(settings: &Settings) -> PathBuf {
        if let Some(path) = &settings.app.runtime_dir {
            return path.clone();
        }
        let place = match (&settings.component, settings.app.folder.as_os_str().is_empty()) {
            (Some(component), true) => component.clone(),
            _ if settings.app.folder.as_os_str().is_empty() => PathBuf::from("."),
            _ => settings.app.folder.clone(),
        };
        let place = fs::canonicalize(&place).unwrap_or(place);
        let hash = sc_guest::content_hash(place.as_os_str().as_encoded_bytes());
        base(settings.app.user.as_ref()).join(format!(
            "{}-{}",
            settings.app.name,
            hash.get(..HASH).unwrap_or(&hash)
        ))
    }

    /// Where the folder of a host is that may run: that of the user whom the app names, or of who runs this, as `dev`
    /// does.
    pub(crate) fn find(mut settings: Settings) -> PathBuf {
        let path = Self::path(&settings);
        if settings.app.user.is_some() && !socket(&path).exists() {
            settings.app.user = None;
            return Self::path(&settings);
        }
        path
    }

    /// Makes the folder and takes it. The listener is this user's alone.
    pub(super) fn take(settings: &Settings) -> Result<(Self, UnixListener), HostError> {
        let path = Self::path(settings);
        let refuse = |reason: String| HostError::RuntimeDir {
            path: path.clone(),
            reason,
            help: match &settings.app.user {
                Some(user) if is_anothers(&path) => format!(
                    "give it to the user of the host: chown {} {}; or name another folder with --runtime-dir",
                    user.name,
                    path.display()
                ),
                _ => "name another folder with --runtime-dir".to_owned(),
            },
        };
        if socket(&path).as_os_str().len() > SOCKET_PATH_MAX {
            return Err(refuse("its path is too long for a socket".to_owned()));
        }
        let made = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        if settings.app.runtime_dir.is_none() {
            // Where all users may make folders, somebody else may have been there first.
            let base = base(settings.app.user.as_ref());
            made(&base).map_err(|error| refuse(error.to_string()))?;
            is_ours(&base).map_err(refuse)?;
        }
        made(&path).map_err(|error| refuse(error.to_string()))?;
        is_ours(&path).map_err(refuse)?;
        let lock = lock(&path).map_err(|error| refuse(format!("its lock: {error}")))?;
        let Some(lock) = lock else {
            let pid = fs::read_to_string(path.join("lock")).unwrap_or_default().trim().to_owned();
            return Err(HostError::Running { app: settings.app.name.clone(), pid, path });
        };
        // Whoever left it is gone: the lock is ours.
        let _ = fs::remove_file(socket(&path));
        let listener = UnixListener::bind(socket(&path)).and_then(|listener| {
            fs::set_permissions(socket(&path), fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| refuse(format!("its socket: {error}")))?;
        Ok((RuntimeDir { path, _lock: lock }, listener))
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = fs::remove_file(socket(&self.path));
    }
}

/// The environment was made for who starts the host, not for whom it goes on as.
fn base(user: Option<&User>) -> PathBuf {
    let of = |uid: u32| std::env::temp_dir().join(format!("sc-host-{uid}"));
    match (user, std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())) {
        (Some(user), _) => of(user.uid()),
        (None, Some(folder)) => PathBuf::from(folder).join("sc-host"),
        (None, None) => of(rustix::process::geteuid().as_raw()),
    }
}

/// A folder of another user could hold a socket of theirs, and a link could lead to it.
fn is_ours(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is no folder".to_owned());
    }
    if is_anothers(path) {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        return Err("other users may write to it: chmod 700, or name a folder for this alone".to_owned());
    }
    Ok(())
}

fn is_anothers(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() != rustix::process::geteuid().as_raw())
}

/// The lock, with this process's number in it; none if another process holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0));
    let mut file = options.open(path.join("lock"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut before = String::new();
    // What it holds is of no meaning to us.
    let _ = file.read_to_string(&mut before);
    file.set_len(0)?;
    let mut file_at_start = &file;
    io::Seek::rewind(&mut file_at_start)?;
    writeln!(file_at_start, "{}", std::process::id())?;
    Ok(Some(file))
}
