//! Reads a segment record by record, and tells the end that a crash leaves from damage.
//!
//! A crash leaves a part of the last write: records that stop somewhere, and maybe zeros where the file had grown but
//! no data had arrived. So a bad record is torn only when nothing but zeros follows it: whatever is cut off, no good
//! record is behind it. Holds one record in memory at a time.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::record::{CHECKPOINT_MAX, HEADER, Header, Record};
use super::segment::{self, START};
use super::{JournalError, Progress};

const BUFFER: usize = 128 << 10;

/// What is in a segment, piece by piece.
#[derive(Debug)]
pub(super) enum Piece<T> {
    /// It is whole.
    Whole(T),
    /// Nothing, at the end of the file.
    End,
    /// It is not whole.
    Bad(Bad),
}

/// Why a piece is not whole.
#[derive(Debug)]
pub(super) struct Bad {
    /// For people.
    pub(super) what: String,
    /// Nothing follows it, so a crash may have left it so.
    pub(super) is_torn: bool,
}

impl Bad {
    fn torn(what: &str) -> Bad {
        Bad { what: what.to_owned(), is_torn: true }
    }
}

/// Reads one segment.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    path: &'p Path,
    file: BufReader<File>,
    /// Bytes read.
    at: u64,
    length: u64,
    payload: Vec<u8>,
}

impl<'p> Reader<'p> {
    /// A reader at a segment's start.
    pub(super) fn open(path: &'p Path) -> Result<Self, JournalError> {
        let open = || -> io::Result<Self> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let file = BufReader::with_capacity(BUFFER, file);
            Ok(Reader { path, file, at: 0, length, payload: Vec::new() })
        };
        open().map_err(JournalError::io("opened", path))
    }

    /// Bytes of the segment.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes read of it.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Reads the segment's header, before all records. Says what is bad about it.
    pub(super) fn start(&mut self) -> Result<Option<Bad>, JournalError> {
        let mut header = [0; START];
        let had = header.len().min(usize::try_from(self.length).unwrap_or(usize::MAX));
        let bytes = header.get_mut(..had).unwrap_or_default();
        self.file.read_exact(bytes).map_err(JournalError::io("read", self.path))?;
        self.at = had as u64;
        if segment::is_torn_header(bytes) && self.is_zero_from_here()? {
            return Ok(Some(Bad::torn("the segment's header is incomplete")));
        }
        if had < START {
            return Err(JournalError::Foreign { file: self.path.to_owned() });
        }
        segment::check(&header, self.path).map(|()| None)
    }

    /// The next record, and where it begins.
    pub(super) fn record(&mut self) -> Result<(u64, Piece<Record>), JournalError> {
        let offset = self.at;
        let piece = match self.header()? {
            Piece::Whole(header) => self.payload(header)?,
            Piece::End => Piece::End,
            Piece::Bad(bad) => Piece::Bad(bad),
        };
        Ok((offset, piece))
    }

    /// Whether the segment has a checkpoint before anything that is bad. Most payloads are skipped.
    pub(super) async fn has_checkpoint(mut self, progress: &Progress) -> Result<bool, JournalError> {
        if !matches!(self.start(), Ok(None)) {
            return Ok(false);
        }
        while let Piece::Whole(header) = self.header()? {
            progress.made(HEADER as u64).await;
            if header.length > CHECKPOINT_MAX {
                self.file.seek_relative(header.length.into()).map_err(JournalError::io("read", self.path))?;
                self.at += u64::from(header.length);
                continue;
            }
            match self.payload(header)? {
                Piece::Whole(Record::Checkpoint { .. }) => return Ok(true),
                Piece::Whole(Record::Changes(_)) => {}
                Piece::End | Piece::Bad(_) => return Ok(false),
            }
        }
        Ok(false)
    }

    /// A record's header. If it is whole, so many bytes as it says follow.
    fn header(&mut self) -> Result<Piece<Header>, JournalError> {
        let left = self.length - self.at;
        if left == 0 {
            return Ok(Piece::End);
        }
        if left < HEADER as u64 {
            return Ok(Piece::Bad(Bad::torn("a record's header is incomplete")));
        }
        let mut header = [0; HEADER];
        self.read(&mut header)?;
        match Header::decode(&header) {
            None => self.bad("the checksum of a record's header is wrong"),
            Some(header) if u64::from(header.length) > self.length - self.at => {
                Ok(Piece::Bad(Bad::torn("a record is incomplete")))
            }
            Some(header) => Ok(Piece::Whole(header)),
        }
    }

    fn payload(&mut self, header: Header) -> Result<Piece<Record>, JournalError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.length as usize, 0);
        self.read(&mut payload)?;
        let piece = if !header.fits(&payload) {
            self.bad("a record's checksum is wrong")
        } else {
            Ok(match rmp_serde::from_slice(&payload) {
                Ok(record) => Piece::Whole(record),
                // It was written so.
                Err(error) => {
                    Piece::Bad(Bad { what: format!("a record cannot be read: {error}"), is_torn: false })
                }
            })
        };
        self.payload = payload;
        piece
    }

    fn bad<T>(&mut self, what: &str) -> Result<Piece<T>, JournalError> {
        Ok(Piece::Bad(Bad { what: what.to_owned(), is_torn: self.is_zero_from_here()? }))
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), JournalError> {
        self.file.read_exact(bytes).map_err(JournalError::io("read", self.path))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Whether nothing but zeros is left; the reader is of no use then.
    fn is_zero_from_here(&mut self) -> Result<bool, JournalError> {
        let mut is_zero = || -> io::Result<bool> {
            loop {
                let bytes = self.file.fill_buf()?;
                if bytes.is_empty() {
                    return Ok(true);
                }
                if bytes.iter().any(|&byte| byte != 0) {
                    return Ok(false);
                }
                let read = bytes.len();
                self.file.consume(read);
            }
        };
        is_zero().map_err(JournalError::io("read", self.path))
    }
}
