//! Why a journal cannot be read or written. Each text names the file and says what can be done about it.

use std::io;
use std::path::{Path, PathBuf};

use super::segment::VERSION;

/// A journal that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{path} cannot be {what}: sc-host needs the rights to read and write it, and room on its disk")]
    Io {
        /// What was tried, as a participle.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was written may not be on the disk, and never get there.
    #[error(
        "{file} did not reach the disk: changes since it last did are lost if this machine loses its power now; look \
         after the disk. The store ends, and the next one writes its journal anew, from what can still be read"
    )]
    NotSynced {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file with a segment's name is something else.
    #[error(
        "{file} is not a journal of sc-host: move it out of the folder, or restore the segment from a copy"
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// A segment was written by a newer host.
    #[error(
        "{file} has format version {version}, and this sc-host reads versions up to {VERSION}: \
         run the newer sc-host that wrote it"
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A segment is damaged where a crash cannot have damaged it.
    #[error(
        "{file} is damaged at byte {offset}: {what}; restore it from a copy, or give up this record and all later \
         ones: `truncate -s {offset} '{file}'`, and remove the segments with higher numbers"
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where the damaged record begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A segment that others build on is gone.
    #[error(
        "{file} is missing, and later segments build on it: restore it from a copy, or give up what it held by \
         renaming the later ones so that they count up from journal-00000001"
    )]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// More changes at once than a record can hold.
    #[error("changes of {bytes} bytes at once are over the limit of 4 GiB: make them in smaller steps")]
    TooLong {
        /// Their size.
        bytes: usize,
    },
    /// Changes cannot be written as a record.
    #[error("changes cannot be encoded for the journal")]
    Encode(#[from] rmp_serde::encode::Error),
}

impl JournalError {
    /// What makes an error of the operating system's, to be given to `map_err`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
        move |source| JournalError::Io { what, path: path.to_owned(), source }
    }
}
