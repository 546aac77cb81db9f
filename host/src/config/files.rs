//! Files that the configuration names. A host that root started, and that goes on as another user, cannot read all of
//! them again: of such a file it keeps what it held at the start.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::process::geteuid;

/// Reads files. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    kept: Rc<Kept>,
    /// What is kept goes before what could be read now.
    as_kept: bool,
}

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

impl Kept {
    /// Whether a file that cannot be read for this reason is as it was.
    fn stands_in_for(&self, error: &io::Error) -> bool {
        error.kind() == ErrorKind::PermissionDenied && self.is_sealed.get()
    }

    /// What a file held, if that is known.
    fn take_old(&self, file: &Path) -> Option<Vec<u8>> {
        let bytes = self.read.borrow().get(file).cloned()?;
        self.stale.borrow_mut().insert(file.to_owned());
        Some(bytes)
    }
}

impl Files {
    /// A file's bytes; none when it has more than `most`.
    pub(crate) fn read(&self, file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
        if self.as_kept
            && let Some(bytes) = self.kept.take_old(file)
        {
            return Ok(Some(bytes));
        }
        let read = std::fs::metadata(file).and_then(|data| match data.len() > most {
            true => Ok(None),
            false => std::fs::read(file).map(Some),
        });
        match read {
            Ok(Some(bytes)) if geteuid().is_root() => {
                self.kept.read.borrow_mut().insert(file.to_owned(), bytes.clone());
                Ok(Some(bytes))
            }
            Err(error) if self.kept.stands_in_for(&error) => self.kept.take_old(file).map(Some).ok_or(error),
            read => read,
        }
    }

    /// The same for files of which none is of use with another one's successor, such as a certificate and its key:
    /// when one of them cannot be read again, all are as they were.
    pub(crate) fn of_set(&self, files: &[&Path]) -> Self {
        let is_kept = |file: &Path| {
            std::fs::File::open(file).is_err_and(|error| self.kept.stands_in_for(&error))
                && self.kept.read.borrow().contains_key(file)
        };
        let as_kept = self.as_kept || files.iter().any(|file| is_kept(file));
        Files { kept: Rc::clone(&self.kept), as_kept }
    }

    /// This process is another user's from now on.
    pub(crate) fn seal(&self) {
        self.kept.is_sealed.set(true);
    }

    /// The files that were taken as they were, since this was asked last.
    pub(crate) fn take_stale(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut *self.kept.stale.borrow_mut())
    }
}
