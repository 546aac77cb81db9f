//! Reads all segments of a folder in order. Changes nothing in it: what is to be mended is in what it returns.
//!
//! Segment 1 needs nothing before it, and neither does one with a checkpoint. So the newest with a checkpoint is
//! where the data begins, whatever a compaction that was stopped while it deleted has left before it; without one,
//! the data begins with segment 1.
//!
//! Only there do images count. Those in a later segment belong to a compaction that was not finished: what they show
//! is in the segments before them, and a large tree's are too few to be the tree.

use std::path::{Path, PathBuf};

use super::read::{Bad, Piece, Reader};
use super::record::Record;
use super::{Cut, JournalError, Progress, segment};
use crate::change::Change;

/// What the segments held.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Those that hold the data, ascending, and their bytes; the last one's without what is to be cut off.
    pub(super) segments: Vec<(u64, u64)>,
    /// Those before them, which are to be deleted.
    pub(super) obsolete: Vec<u64>,
    /// How many changes there were.
    pub(super) changes: u64,
    /// Bytes of the images of the last checkpoint.
    pub(super) live: u64,
    /// The end of the last segment, which a crash tore.
    pub(super) cut: Option<Cut>,
}

/// Gives every change to `apply`.
pub(super) async fn replay(
    folder: &Path,
    apply: &mut impl FnMut(Change),
    progress: &Progress,
) -> Result<Replayed, JournalError> {
    let mut numbers = segment::list(folder)?;
    let base = base(folder, &numbers, progress).await?;
    let kept = numbers.split_off(base);
    let mut replayed = Replayed { obsolete: numbers, ..Replayed::default() };
    let Some((&first, &last)) = kept.first().zip(kept.last()) else { return Ok(replayed) };
    let mut is_founded = first == 1;
    for (number, expected) in kept.into_iter().zip(first..) {
        if number != expected {
            return Err(JournalError::Missing { file: segment::path(folder, expected) });
        }
        let file = segment::path(folder, number);
        let place = (number == first, number == last);
        let has_checkpoint = replayed.read(file, number, place, apply, progress).await?;
        is_founded |= number == first && has_checkpoint;
    }
    if !is_founded {
        return Err(JournalError::Missing { file: segment::path(folder, first.saturating_sub(1)) });
    }
    Ok(replayed)
}

/// The index of the newest segment with a checkpoint, or 0.
async fn base(folder: &Path, numbers: &[u64], progress: &Progress) -> Result<usize, JournalError> {
    for (index, number) in numbers.iter().enumerate().skip(1).rev() {
        if Reader::open(&segment::path(folder, *number))?.has_checkpoint(progress).await? {
            return Ok(index);
        }
    }
    Ok(0)
}

impl Replayed {
    /// Reads one segment. Says whether it has a checkpoint.
    async fn read(
        &mut self,
        file: PathBuf,
        number: u64,
        (is_first, is_last): (bool, bool),
        apply: &mut impl FnMut(Change),
        progress: &Progress,
    ) -> Result<bool, JournalError> {
        let mut reader = Reader::open(&file)?;
        let length = reader.length();
        let mut has_checkpoint = false;
        let mut end = reader.start()?.map(|bad| (0, bad));
        let mut read = 0;
        while end.is_none() {
            match reader.record()? {
                (_, Piece::End) => break,
                (_, Piece::Whole(Record::Changes(changes))) => {
                    let counts = |change: &Change| is_first || !matches!(change, Change::Image { .. });
                    for change in changes.into_iter().filter(counts) {
                        self.changes += 1;
                        apply(change);
                    }
                }
                (_, Piece::Whole(Record::Checkpoint { live })) => {
                    self.live = live;
                    has_checkpoint = true;
                }
                (offset, Piece::Bad(bad)) => end = Some((offset, bad)),
            }
            progress.made(reader.at() - read).await;
            read = reader.at();
        }
        let whole = match end {
            None => length,
            Some((offset, Bad { is_torn: true, .. })) if is_last => {
                self.cut = Some(Cut { file, offset, bytes: length - offset });
                offset
            }
            Some((offset, Bad { what, .. })) => return Err(JournalError::Corrupt { file, offset, what }),
        };
        self.segments.push((number, whole));
        Ok(has_checkpoint)
    }
}
