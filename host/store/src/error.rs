//! What can go wrong in a store process.

use std::io;
use std::path::PathBuf;

use sc_core::link::LinkError;

use crate::journal::JournalError;

/// A store that cannot go on. The text is for the user.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The link to the master broke.
    #[error("the store's control link failed")]
    Control(#[from] LinkError),
    /// The folder of the journal is of no use.
    #[error("the folder {} cannot be used", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The controller does not start; the master was told.
    #[error("the store's controller does not start")]
    Controller(#[source] sc_core::controller::StartError),
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
