//! Files that the configuration names. A host that root started, and that goes on as another user, cannot read all of them
//! again: of such a file it keeps what it held at the start.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::process::geteuid;

/// Reads files. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Rc<Kept>);

#[derive(Default)]
struct Kept {
    read: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
    /// From now on, what may not be read is as it was.
    is_sealed: Cell<bool>,
    stale: RefCell<BTreeSet<PathBuf>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What files hold is secret.
        f.debug_struct("Kept").field("is_sealed", &self.is_sealed).finish_non_exhaustive()
    }
}

impl Files {
    /// A file's bytes; none when it has more than `most`.
    pub(crate) fn read(&self, file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        let read = std::fs::metadata(file).and_then(|data| match data.len() > most {
            true => Ok(None),
            false => std::fs::read(file).map(Some),
        });
        let Kept { read: kept, is_sealed, stale } = &*self.0;
        match read {
            Ok(Some(bytes)) if geteuid().is_root() => {
                kept.borrow_mut().insert(file.to_owned(), bytes.clone());
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied && is_sealed.get() => {
                let Some(bytes) = kept.borrow().get(file).cloned() else { return Err(error) };
                stale.borrow_mut().insert(file.to_owned());
                Ok(Some(bytes))
            }
            read => read,
        }
    }

    /// This process is another user's from now on.
    pub(crate) fn seal(&self) {
        self.0.is_sealed.set(true);
    }

    /// The files that were taken as they were, since this was asked last.
    pub(crate) fn take_stale(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.0.stale.borrow_mut())
    }
}
