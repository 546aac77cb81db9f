//! The journal of one store: every change appended to files in one folder, from which the data is made again.
//!
//! A journal is segments, `journal-00000001` and on; the last one is written to. What [`Journal::append`] was given at
//! once is replayed whole or not at all. What [`Journal::write`] wrote survives this process, and what a sync of
//! [`Journal::sync_handle`] covered survives the machine. At opening, a torn end of the last segment is cut off, for
//! that is what a crash leaves; anything else that cannot be read is an error, and then the folder is as it was.
//!
//! To shrink, the journal goes on in a new segment that gets an image of all data, between the changes that are made
//! meanwhile, then a checkpoint; then the older segments are deleted. A segment with a checkpoint needs none before
//! it, and until there is one all older ones are kept: a crash at any point leaves all data.
//!
//! A sync that failed is not tried again: the kernel may have dropped what it could not write, and would say that all
//! is well. The folder gets a mark then, and the journal is of no use but to be read; who opens it next makes it begin
//! anew at once ([`Journal::is_doubted`]).
//!
//! The price is a disk of twice the data, and of three times while a compaction takes. Everything here blocks: a write
//! for as long as the kernel takes to copy, a compaction's begin and end for a sync. Only the opening, which reads all
//! there is, lets others have their turn ([`Progress`]).

mod error;
mod read;
mod record;
mod replay;
mod segment;
mod tail;

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::error::JournalError;
use self::record::Written;
use self::replay::Replayed;
use self::tail::Tail;
use crate::change::Change;

/// A journal smaller than this is not worth a compaction.
pub const COMPACT_OVER: u64 = 64 << 20;

/// Bytes of an opening before other work has its turn.
const TURN: u64 = 256 << 10;

/// How far an opening is, for who has to tell one that takes long from one that hangs.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: Cell<u64>,
    since_turn: Cell<u64>,
}

impl Progress {
    /// Bytes read or written by now, each as often as it was.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Counts some, and after enough of them lets the loop turn.
    pub(crate) async fn made(&self, bytes: u64) {
        self.bytes.set(self.bytes.get() + bytes);
        self.since_turn.set(self.since_turn.get() + bytes);
        if self.since_turn.get() >= TURN {
            self.since_turn.set(0);
            tokio::task::yield_now().await;
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    /// Changes replayed.
    pub changes: u64,
    /// Bytes of the segments that they were in.
    pub bytes: u64,
    /// What was cut off; worth a warning.
    pub cut: Option<Cut>,
    /// How long it took.
    pub took: Duration,
}

/// A torn end that was cut off: changes whose write a crash interrupted.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The segment.
    pub file: PathBuf,
    /// Where it ends now; at 0 it begins anew.
    pub offset: u64,
    /// How many bytes were behind.
    pub bytes: u64,
}

/// A compaction that was begun. Dropped, it never ends, but does no harm: the next one makes up for it.
#[derive(Debug)]
#[must_use = "only a compaction that is finished frees the disk"]
pub struct Compaction {
    segment: u64,
}

/// A journal, open for appending. Nobody else may write to its folder.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// The number of the last segment.
    number: u64,
    tail: Tail<Arc<File>>,
    /// The segments before the last: numbers, ascending, and bytes.
    older: Vec<(u64, u64)>,
    /// Bytes of the images of the last checkpoint.
    live: u64,
    /// Bytes of the images in the last segment, while they are not complete.
    images: Option<u64>,
    /// Bytes written.
    position: u64,
    /// The disk may lack a part of what was read.
    is_doubted: bool,
}

impl Journal {
    /// Opens the journal in a folder, or makes one, and gives all changes in it, in order, to `apply`. Dropped before
    /// its end, it has done no harm.
    ///
    /// # Errors
    /// When the folder cannot be used, or the journal is damaged or too new. What `apply` made is worth nothing then.
    pub async fn open(
        folder: &Path,
        mut apply: impl FnMut(Change),
        progress: &Progress,
    ) -> Result<(Journal, Opened), JournalError> {
        let began = Instant::now();
        segment::make_folder(folder)?;
        let is_doubted = segment::is_doubted(folder)?;
        let Replayed { segments: mut older, obsolete, changes, live, cut } =
            replay::replay(folder, &mut apply, progress).await?;
        let bytes = older.iter().map(|&(_, bytes)| bytes).sum();
        let (number, file, length) = match older.pop() {
            None => (1, segment::create(folder, 1)?, segment::START as u64),
            Some((number, length)) => {
                let path = segment::path(folder, number);
                let file = segment::reopen(&path, cut.as_ref().map(|cut| cut.offset))?;
                (number, file, length.max(segment::START as u64))
            }
        };
        let journal = Journal {
            folder: folder.to_owned(),
            number,
            tail: Tail::new(Arc::new(file), length),
            older,
            live,
            images: None,
            position: 0,
            is_doubted,
        };
        if !obsolete.is_empty() {
            // A compaction was stopped before it had deleted them, maybe before its end was on the disk.
            journal.sync()?;
            segment::sync_folder(folder)?;
            journal.delete(obsolete)?;
        }
        Ok((journal, Opened { changes, bytes, cut, took: began.elapsed() }))
    }

    /// Takes changes to be written, which replay together or not at all.
    ///
    /// # Errors
    /// When they are too many for a record. None was taken then.
    pub fn append(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        let before = self.tail.buffer.len();
        record::put(&mut self.tail.buffer, &Written::Changes(changes))?;
        if let Some(images) = &mut self.images
            && changes.iter().all(|change| matches!(change, Change::Image { .. }))
        {
            *images += (self.tail.buffer.len() - before) as u64;
        }
        Ok(())
    }

    /// Hands all that was appended to the kernel.
    ///
    /// # Errors
    /// When the file cannot be written, or only in part. Nothing was written then, and all is kept for another try.
    pub fn write(&mut self) -> Result<(), JournalError> {
        match self.tail.write() {
            Ok(written) => {
                self.position += written;
                Ok(())
            }
            Err(error) => Err(self.io("written")(error)),
        }
    }

    /// Whether there is something to write.
    pub fn is_pending(&self) -> bool {
        !self.tail.buffer.is_empty()
    }

    /// Bytes to write.
    pub fn pending_bytes(&self) -> usize {
        self.tail.buffer.len()
    }

    /// Forgets what was appended since so many bytes were to write.
    pub fn forget_from(&mut self, pending: usize) {
        self.tail.buffer.truncate(pending);
    }

    /// Bytes of records written since opening. What is below this when a sync of [`Journal::sync_handle`] begins is on
    /// the disk when it ends.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file to sync, for another thread. Of a failure [`Journal::not_synced`] is to be told.
    pub fn sync_handle(&self) -> Arc<File> {
        Arc::clone(&self.tail.medium)
    }

    /// Notes for who opens the journal next that a sync failed. This one is not to be written to any more.
    pub fn not_synced(&self, source: io::Error) -> JournalError {
        if let Err(error) = segment::doubt(&self.folder) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the next start will not know that the disk failed");
        }
        JournalError::NotSynced { file: segment::path(&self.folder, self.number), source }
    }

    /// Whether a sync failed in the life of an earlier process: a part of what can be read may not be on the disk. To
    /// be mended by a compaction, before anything is appended.
    pub fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    /// Bytes of all segments on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.older.iter().map(|&(_, bytes)| bytes).sum::<u64>() + self.tail.length
    }

    /// Bytes of the data's images at the last checkpoint; 0 before the first.
    pub fn live_bytes(&self) -> u64 {
        self.live
    }

    /// Whether the journal is larger than a limit, usually [`COMPACT_OVER`], and than twice the data, and no
    /// compaction is under way.
    pub fn wants_compaction(&self, over: u64) -> bool {
        self.images.is_none() && self.disk_bytes() > over.max(self.live.saturating_mul(2))
    }

    /// Goes on in a new segment, for which images of all data are to be appended next. Writes what is pending and
    /// syncs it, which is quick if that was done a moment ago. A compaction that was not finished is given up.
    ///
    /// # Errors
    /// When a file cannot be written: the journal goes on in the segment it was in. When it cannot be synced: see
    /// [`Journal::not_synced`].
    pub fn begin_compaction(&mut self) -> Result<Compaction, JournalError> {
        self.write()?;
        // A segment that is not the last may not be torn, so it is on the disk before it is not the last any more. Of
        // one that is in doubt nobody can say that it is.
        if !self.is_doubted {
            self.sync()?;
        }
        let number = self.number + 1;
        let file = segment::create(&self.folder, number)?;
        self.older.push((self.number, self.tail.length));
        self.number = number;
        self.tail = Tail::new(Arc::new(file), segment::START as u64);
        self.images = Some(0);
        Ok(Compaction { segment: number })
    }

    /// Appends and writes images of a compaction.
    ///
    /// # Errors
    /// When they cannot be written. None of them waits then, and the compaction is given up: what is pending beside
    /// them stays so, and no image stands in its way.
    pub fn write_images(&mut self, images: &[Change]) -> Result<(), JournalError> {
        let before = self.tail.buffer.len();
        let written = self.append(images).and_then(|()| self.write());
        if written.is_err() {
            self.tail.buffer.truncate(before);
            self.images = None;
        }
        written
    }

    /// Ends a compaction after the last image was appended: writes a checkpoint, syncs, and deletes all older
    /// segments. The sync is quick if that was done a moment ago.
    ///
    /// # Errors
    /// When a file cannot be written or deleted. No data is lost then, and what is pending stays so; the compaction
    /// is given up, and [`Journal::wants_compaction`] may ask for another one. When it cannot be synced: see
    /// [`Journal::not_synced`].
    #[expect(clippy::needless_pass_by_value, reason = "a compaction ends once")]
    pub fn finish_compaction(&mut self, compaction: Compaction) -> Result<(), JournalError> {
        if compaction.segment != self.number {
            // A later one was begun.
            return Ok(());
        }
        let Some(live) = self.images.take() else { return Ok(()) };
        let before = self.tail.buffer.len();
        record::put(&mut self.tail.buffer, &Written::Checkpoint { live })?;
        let written = self.write();
        if written.is_err() {
            self.tail.buffer.truncate(before);
        }
        written?;
        self.sync()?;
        segment::sync_folder(&self.folder)?;
        self.live = live;
        // What cannot be deleted now is at the next opening, and counts no more.
        let older = std::mem::take(&mut self.older);
        self.delete(older.into_iter().map(|(number, _)| number))?;
        if self.is_doubted {
            segment::trust(&self.folder)?;
            self.is_doubted = false;
        }
        Ok(())
    }

    /// Gives up a compaction in which nothing but images was written, and frees what they took, unless it had come to
    /// the end already.
    pub fn give_up(self) {
        if !self.older.is_empty() {
            // If it stays, the next opening passes over its images.
            let _ = self.delete([self.number]);
        }
    }

    /// Deletes segments that are needed no more, in any order: no replay looks at them.
    fn delete(&self, numbers: impl IntoIterator<Item = u64>) -> Result<(), JournalError> {
        for number in numbers {
            let path = segment::path(&self.folder, number);
            std::fs::remove_file(&path).map_err(JournalError::io("deleted", &path))?;
        }
        segment::sync_folder(&self.folder)
    }

    fn sync(&self) -> Result<(), JournalError> {
        self.tail.medium.sync_data().map_err(|error| self.not_synced(error))
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> JournalError {
        move |source| JournalError::io(what, &segment::path(&self.folder, self.number))(source)
    }
}

#[cfg(test)]
impl Journal {
    /// Opens it in one go.
    pub(crate) fn open_now(
        folder: &Path,
        apply: impl FnMut(Change),
    ) -> Result<(Journal, Opened), JournalError> {
        let progress = Progress::default();
        let mut opening = std::pin::pin!(Journal::open(folder, apply, &progress));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(opened) = opening.as_mut().poll(&mut context) {
                return opened;
            }
        }
    }

    /// Goes on in a device, `/dev/full` say or `/dev/null`, which cannot be synced; gives back the segment.
    pub(crate) fn write_to(&mut self, device: &str) -> Arc<File> {
        let device = File::options().append(true).open(device).expect("a device");
        std::mem::replace(&mut self.tail.medium, Arc::new(device))
    }

    /// Goes on in its segment.
    pub(crate) fn write_back_to(&mut self, segment: Arc<File>) {
        self.tail.medium = segment;
    }
}

#[cfg(test)]
mod tests;
