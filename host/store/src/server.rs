//! The store process: links of workers in, operations on the keyspace, the channels and the sessions, answers out.
//!
//! The operations of a link are done in their order, each at once, so the answers of a link are in its order too
//! and a publication reaches every link in the order in which its publisher sent it. Nothing is acknowledged before
//! it is done, and no change before the journal holds it. A journal whose sync failed ends the process: what its
//! memory and the disk have could differ, and the next one makes both the same again.

mod addresses;
mod answers;
mod clock;
mod commit;
mod compaction;
mod crowd;
mod hub;
mod links;
mod presence;
mod procedures;
mod sessions;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use sc_core::causes::causes;
use sc_core::config::{Fsync, StoreConfig};
use sc_core::controller::{Cause, Generation, StoreControllerSource};
use sc_core::ids::StoreId;
use sc_core::limits::STATUS_INTERVAL;
use sc_core::link::control::{ChildLink, FromChild, ToChild, keep_alive};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use self::commit::Commit;
use self::hub::Hub;
use self::procedures::{Driver, Reload};
use crate::StoreError;
use crate::journal::{Journal, JournalError, Progress};
use crate::keyspace::Keyspace;

/// How often memory of expired values is freed (operations never see them anyway), and how often the journal reaches
/// the disk with `fsync = interval`.
const SWEEP: Duration = Duration::from_secs(1);
/// For a process that had this store's folder before: it is about to be gone.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Messages of the master that may wait for the journal; more are left in the link.
const EARLY_MAX: usize = 1024;

type Early = VecDeque<(ToChild, Vec<OwnedFd>)>;

/// Serves until the master is gone or has it drained. Runs inside a `LocalSet`.
///
/// On [`ToChild::Drain`] it goes on until its last worker's link is gone or the deadline has passed, then says so.
///
/// # Errors
/// When the control link fails, or the journal cannot be used; the master is told why.
pub async fn run<S: StoreControllerSource + 'static>(
    control: ChildLink,
    id: StoreId,
    config: StoreConfig,
    controller: Option<(S, Generation, Cause)>,
) -> Result<(), StoreError> {
    let mut early = Early::new();
    let opened = match &config.folder {
        Some(folder) => match open_alive(&control, folder, id, config.fsync, &mut early).await {
            Ok(Some((keys, commit, lock))) => (keys, Some(commit), Some(lock)),
            Ok(None) => return Ok(()),
            Err(StoreError::Control(error)) => return Err(error.into()),
            Err(error) => {
                control.send(&FromChild::DataUnusable(causes(&error)), &[]).await?;
                return Err(error);
            }
        },
        None => (Keyspace::new(false), None, None),
    };
    let (keys, commit, _lock) = opened;
    let hub = Rc::new(RefCell::new(Hub::new(id, config, keys, commit)));
    let booted = match controller {
        Some((source, generation, cause)) => {
            match Driver::boot(Rc::clone(&hub), source, generation, cause).await {
                Ok(booted) => Some(booted),
                Err(error) => {
                    control
                        .send(&FromChild::Refused { component: None, reason: error.to_string() }, &[])
                        .await?;
                    return Err(StoreError::Controller(error));
                }
            }
        }
        None => None,
    };
    let (driver, reloads) = booted.unzip();
    let drive = async {
        match driver {
            Some(driver) => driver.run(&control).await,
            None => std::future::pending().await,
        }
    };
    control.send(&FromChild::Ready, &[]).await?;
    tokio::select! {
        () = drive => Ok(()),
        served = serve(&control, early, id, &hub, reloads.as_ref()) => served,
        never = keep_alive(&control, || FromChild::Holds(hub.borrow().counts())) => match never {},
        error = sync(&hub) => Err(error.into()),
        error = compaction::run(&hub) => Err(error.into()),
    }
}

/// Acts on what the master says, and on what is due.
async fn serve(
    control: &ChildLink,
    mut early: Early,
    id: StoreId,
    hub: &Rc<RefCell<Hub>>,
    reloads: Option<&mpsc::Sender<Reload>>,
) -> Result<(), StoreError> {
    let changed = hub.borrow().changed();
    hub.borrow_mut().expect_sessions();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline: Option<Instant> = None;
    loop {
        let drained = async {
            match deadline {
                Some(deadline) if !hub.borrow().is_idle() => tokio::time::sleep_until(deadline).await,
                Some(_) => {}
                None => std::future::pending().await,
            }
        };
        let next_end = hub.borrow().until_next_end().map_or(SWEEP, |next| next.min(SWEEP));
        let received = async {
            match early.pop_front() {
                Some(message) => Ok(Some(message)),
                None => control.recv().await,
            }
        };
        tokio::select! {
            received = received => match received? {
                None => return Ok(()),
                Some((ToChild::WorkerLink(worker), descriptors)) => match descriptors.into_iter().next() {
                    Some(end) => match links::serve(hub, worker, end) {
                        Ok(()) => tracing::debug!(store = %id, %worker, "a worker is linked"),
                        Err(error) => tracing::error!(store = %id, %worker, %error, "a worker's link cannot be used"),
                    },
                    None => tracing::error!(store = %id, %worker, "a worker's link came without its descriptor"),
                },
                Some((ToChild::Reload(number, generation), _)) => {
                    reload(control, reloads, (number, *generation)).await?;
                }
                Some((ToChild::Retire(worker), _)) => hub.borrow_mut().worker_gone(worker),
                Some((ToChild::Drain(ms), _)) => deadline = Some(Instant::now() + Duration::from_millis(ms)),
                Some((other, _)) => {
                    let message = std::mem::discriminant(&other);
                    tracing::warn!(store = %id, received = ?message, "a message that is not for stores was ignored");
                }
            },
            () = drained => {
                finish(hub).await?;
                // A master that is gone needs no telling.
                let _ = control.send(&FromChild::Drained, &[]).await;
                return Ok(());
            }
            () = changed.notified() => {}
            () = tokio::time::sleep(next_end) => hub.borrow_mut().sweep(),
            _ = sweep.tick() => hub.borrow_mut().sweep(),
        }
    }
}

/// Passes a reload on to the driver, who answers it, unless there is none or it is behind.
async fn reload(
    control: &ChildLink,
    reloads: Option<&mpsc::Sender<Reload>>,
    reload: Reload,
) -> Result<(), StoreError> {
    let number = reload.0;
    let refused = match reloads {
        None => "this store has no controller",
        Some(reloads) => match reloads.try_send(reload) {
            Ok(()) => return Ok(()),
            Err(_) => "too many reloads wait already",
        },
    };
    Ok(control.send(&FromChild::Reloaded(number, Err(refused.to_owned())), &[]).await?)
}

type Brought = (Keyspace, Commit, File);

/// Brings back what the journal holds, however long that takes. As long as it comes on, the master hears so; what the
/// master says meanwhile is kept. None once the master is gone.
async fn open_alive(
    control: &ChildLink,
    folder: &Path,
    id: StoreId,
    fsync: Fsync,
    early: &mut Early,
) -> Result<Option<Brought>, StoreError> {
    let progress = Progress::default();
    let mut opening = std::pin::pin!(open(folder, id, fsync, &progress));
    let mut alive = std::pin::pin!(show_progress(control, &progress));
    loop {
        tokio::select! {
            opened = &mut opening => return opened.map(Some),
            received = control.recv(), if early.len() < EARLY_MAX => match received? {
                Some(message) => early.push_back(message),
                None => return Ok(None),
            },
            never = &mut alive => match never {},
        }
    }
}

/// Tells the master each second how far the opening is, if it came on: of one that hangs it hears nothing.
async fn show_progress(control: &ChildLink, progress: &Progress) -> Infallible {
    let mut ticks = tokio::time::interval(STATUS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = 0;
    loop {
        ticks.tick().await;
        let bytes = progress.bytes();
        if bytes == std::mem::replace(&mut shown, bytes) {
            continue;
        }
        if control.send(&FromChild::Opening(bytes), &[]).await.is_err() {
            // Whoever reads the link sees that it failed.
            std::future::pending().await
        }
    }
}

/// Brings back what the journal holds.
async fn open(folder: &Path, id: StoreId, fsync: Fsync, progress: &Progress) -> Result<Brought, StoreError> {
    let lock = lock(folder).await?;
    let mut keys = Keyspace::new(true);
    let (mut journal, opened) = Journal::open(folder, |change| keys.apply(change), progress).await?;
    if let Some(cut) = &opened.cut {
        tracing::warn!(
            store = %id, file = %cut.file.display(), offset = cut.offset, bytes = cut.bytes,
            "the journal's last record is not whole: it was cut there; a crash in the middle of a write leaves it so, and \
             then nobody was told that it was done, but a disk that lost what it had can leave it so as well"
        );
    }
    if journal.is_doubted() {
        journal = compaction::at_once(journal, &keys, progress).await?;
        tracing::warn!(store = %id, "the disk failed in this store's last life: the journal was written anew");
    }
    let (changes, bytes) = (opened.changes, opened.bytes);
    tracing::info!(store = %id, changes, bytes, after_ms = opened.took.as_millis() as u64, "the journal was read");
    Ok((keys, Commit::new(journal, fsync), lock))
}

/// Waits for the process before this one, which is dead but may not be gone.
async fn lock(folder: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let failed = |error| StoreError::Folder { folder: folder.to_owned(), error };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(folder.join("lock")).map_err(failed)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Brings the journal to the disk until that fails: each second, or whenever an answer waits for it.
async fn sync(hub: &Rc<RefCell<Hub>>) -> JournalError {
    let wants = hub.borrow().commit.as_ref().map(|commit| (commit.fsync(), commit.unsynced()));
    let Some((fsync, unsynced)) = wants.filter(|(fsync, _)| *fsync != Fsync::Never) else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match fsync {
            Fsync::Always => unsynced.notified().await,
            _ => drop(ticks.tick().await),
        }
        if let Err(error) = sync_once(hub).await {
            return error;
        }
    }
}

/// Off this thread: a disk may take its time.
async fn sync_once(hub: &Rc<RefCell<Hub>>) -> Result<(), JournalError> {
    let (file, position) = match &hub.borrow().commit {
        Some(commit) if commit.is_unsynced() => (commit.journal.sync_handle(), commit.journal.position()),
        _ => return Ok(()),
    };
    let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
    let mut hub = hub.borrow_mut();
    match (synced.unwrap_or_else(|error| Err(std::io::Error::other(error))), &hub.commit) {
        (Err(error), Some(commit)) => Err(commit.journal.not_synced(error)),
        _ => {
            hub.synced(position);
            Ok(())
        }
    }
}

/// Before the end everything is on the disk.
async fn finish(hub: &Rc<RefCell<Hub>>) -> Result<(), JournalError> {
    hub.borrow_mut().sweep();
    sync_once(hub).await
}

#[cfg(test)]
mod tests;
