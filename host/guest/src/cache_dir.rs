//! The folder for what a user's hosts can make again. It belongs to that user alone, because what lies in it is run:
//! as native code, or by a compiler.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Where it is: `$XDG_CACHE_HOME/sc-host`, else `$HOME/.cache/sc-host`, else a folder under the system's one for
/// temporary files that names the user.
pub fn path() -> PathBuf {
    match absolute("XDG_CACHE_HOME") {
        Some(caches) => caches.join("sc-host"),
        None => path_of(absolute("HOME").as_deref()),
    }
}

/// The same for a user with that home, whom the environment was not made for.
pub fn path_of(home: Option<&Path>) -> PathBuf {
    home.map_or_else(temporary, |home| home.join(".cache/sc-host"))
}

/// The one under the system's folder for temporary files.
pub fn temporary() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    std::env::temp_dir().join(format!("sc-host-cache-{user}"))
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Makes the folder if it is missing, and shuts others out.
///
/// # Errors
/// Why it is of no use.
pub fn claim(folder: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| error.to_string())?;
    let metadata = fs::metadata(folder).map_err(|error| error.to_string())?;
    // A link counts too: in a folder that all may write to, another user's link could lead to any folder of ours.
    let link = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user || link.uid() != user {
        return Err("it belongs to another user".to_owned());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(|error| format!("others may enter it: {error}"))?;
    }
    // A folder that is full or may not be written to is no cache either.
    NamedTempFile::new_in(folder).map_err(|error| format!("nothing can be written to it: {error}"))?;
    Ok(())
}
