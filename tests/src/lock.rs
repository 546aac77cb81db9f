//! Locks between test processes: two that build or install the same thing take turns.

use std::fs::File;

use anyhow::Context as _;

use crate::paths;

/// Held until dropped. Blocks while another process holds it.
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock of that name.
    pub(crate) fn take(name: &str) -> anyhow::Result<Self> {
        let path = paths::target_folder("locks")?.join(name);
        let file = File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        file.lock().with_context(|| format!("{} cannot be locked", path.display()))?;
        Ok(FileLock { _file: file })
    }
}
