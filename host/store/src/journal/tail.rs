//! The segment that is written to, and what waits to be written. The file never keeps a part of a write: after one
//! that failed it is cut back, if not at once then before the next.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

/// Memory that the buffer keeps while it is empty.
const KEPT: usize = 1 << 20;

/// What a segment is kept in. Writes go to its end.
pub(super) trait Medium: Write {
    /// Cuts off what is past a length.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for Arc<File> {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A segment's end.
#[derive(Debug)]
pub(super) struct Tail<M> {
    pub(super) medium: M,
    /// Bytes of whole records, and the segment's header.
    pub(super) length: u64,
    /// Records to be written.
    pub(super) buffer: Vec<u8>,
    /// There may be more in the file than its length says.
    is_torn: bool,
}

impl<M: Medium> Tail<M> {
    /// A segment of a length.
    pub(super) fn new(medium: M, length: u64) -> Self {
        Tail { medium, length, buffer: Vec::new(), is_torn: false }
    }

    /// Writes the whole buffer and returns its length. On an error it is kept.
    pub(super) fn write(&mut self) -> io::Result<u64> {
        if self.buffer.is_empty() {
            return Ok(0);
        }
        if self.is_torn {
            self.medium.cut(self.length)?;
            self.is_torn = false;
        }
        if let Err(error) = self.medium.write_all(&self.buffer) {
            self.is_torn = self.medium.cut(self.length).is_err();
            return Err(error);
        }
        let written = self.buffer.len() as u64;
        self.length += written;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        Ok(written)
    }
}
