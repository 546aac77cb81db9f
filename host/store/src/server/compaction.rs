//! Keeps the journal short: now and then it begins anew with an image of all data, taken tree by tree between other
//! work, and what is older is deleted once the image is whole. Whatever moment the process dies in, what lies on the
//! disk gives the same data.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::hub::Hub;
use super::sync_once;
use crate::change::Change;
use crate::journal::{COMPACT_OVER, Compaction, Journal, JournalError, Progress};
use crate::keyspace::{Imager, Keyspace};

/// Between two looks whether it is time.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of images in a row before other work has its turn.
const SLICE: usize = 128 * 1024;
/// Bytes of images that are synced in one go while nobody works on the data: what takes a disk long shows progress.
const SYNC_SLICE: u64 = 64 << 20;

/// Compacts whenever the journal wants it, until the disk fails.
pub(super) async fn run(hub: &Rc<RefCell<Hub>>) -> JournalError {
    loop {
        tokio::time::sleep(LOOK).await;
        let wants =
            hub.borrow().commit.as_ref().is_some_and(|commit| commit.journal.wants_compaction(COMPACT_OVER));
        if !wants {
            continue;
        }
        if let Err(error) = compact(hub).await {
            if matches!(error, JournalError::NotSynced { .. }) {
                return error;
            }
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the journal could not be shortened: it will be tried again");
            tokio::time::sleep(60 * LOOK).await;
        }
    }
}

pub(super) async fn compact(hub: &Rc<RefCell<Hub>>) -> Result<(), JournalError> {
    hub.borrow_mut().commit();
    sync_once(hub).await?;
    let (compaction, mut imager) = {
        let mut hub = hub.borrow_mut();
        if hub.procedures.is_running() {
            // What it took away for a while would be in no image: later.
            return Ok(());
        }
        let Some(commit) = &mut hub.commit else { return Ok(()) };
        let compaction: Compaction = commit.journal.begin_compaction()?;
        (compaction, Imager::new(&hub.keys))
    };
    while take_slice(hub, &mut imager)? {
        tokio::task::yield_now().await;
    }
    sync_once(hub).await?;
    let mut hub = hub.borrow_mut();
    let Some(commit) = &mut hub.commit else { return Ok(()) };
    let before = commit.journal.disk_bytes();
    commit.journal.finish_compaction(compaction)?;
    let after = commit.journal.disk_bytes();
    tracing::info!(before, after, "the journal was shortened");
    Ok(())
}

/// Takes some images; false when there are no more. A disk that takes none ends the compaction, not the changes.
fn take_slice(hub: &Rc<RefCell<Hub>>, imager: &mut Imager) -> Result<bool, JournalError> {
    let mut hub = hub.borrow_mut();
    if hub.procedures.is_running() {
        // Half of what it does may be undone.
        return Ok(true);
    }
    // What is not in the journal is in no image.
    hub.commit();
    let images = slice(&hub.keys, imager);
    if let Some(commit) = &mut hub.commit {
        commit.journal.write_images(&images)?;
    }
    Ok(!images.is_empty())
}

/// Compacts while nobody works on the data yet.
pub(super) async fn at_once(
    mut journal: Journal,
    keys: &Keyspace,
    progress: &Progress,
) -> Result<Journal, JournalError> {
    let compaction = journal.begin_compaction()?;
    match write_all(&mut journal, compaction, keys, progress).await {
        Ok(()) => Ok(journal),
        Err(error) => {
            journal.give_up();
            Err(error)
        }
    }
}

async fn write_all(
    journal: &mut Journal,
    compaction: Compaction,
    keys: &Keyspace,
    progress: &Progress,
) -> Result<(), JournalError> {
    let mut imager = Imager::new(keys);
    let mut synced = journal.position();
    loop {
        let before = journal.position();
        let images = slice(keys, &mut imager);
        if images.is_empty() {
            return journal.finish_compaction(compaction);
        }
        journal.write_images(&images)?;
        if journal.position() - synced >= SYNC_SLICE {
            journal.sync_handle().sync_data().map_err(|error| journal.not_synced(error))?;
            synced = journal.position();
        }
        progress.made(journal.position() - before).await;
    }
}

/// The next images, as many as have their turn; none when all were taken.
fn slice(keys: &Keyspace, imager: &mut Imager) -> Vec<Change> {
    let (mut images, mut bytes) = (Vec::new(), 0);
    while bytes < SLICE {
        let Some(image) = imager.next(keys) else { break };
        bytes += weight(&image);
        images.push(image);
    }
    images
}

fn weight(image: &Change) -> usize {
    match image {
        Change::Image { value, .. } => value.len() + 64,
        _ => 64,
    }
}
