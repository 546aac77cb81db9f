//! Records of a segment: a header of 12 bytes, then a payload of MessagePack.
//!
//! The header is three numbers, little-endian: the payload's length, a checksum of the other two, and a checksum of
//! the payload. With a checksum of its own, a damaged length is never followed past the records behind it.
//!
//! A payload is positional: to add, remove or move a field or a variant of [`Record`] or [`Change`] is another format,
//! and needs a higher version of segments.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::JournalError;
use crate::change::Change;

/// Bytes of a record before its payload.
pub(super) const HEADER: usize = 12;
/// No checkpoint's payload is longer.
pub(super) const CHECKPOINT_MAX: u32 = 32;

/// A record as it is read.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) enum Record {
    /// What was done at once.
    Changes(Vec<Change>),
    /// This segment's images are complete: nothing before the segment is needed any more.
    Checkpoint {
        /// Bytes of all images.
        live: u64,
    },
}

/// A record as it is written, without a copy of the changes.
#[derive(Debug, Serialize)]
#[serde(rename = "Record")]
pub(super) enum Written<'c> {
    Changes(&'c [Change]),
    Checkpoint { live: u64 },
}

fn checksum(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

/// A record's header whose checksum was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    /// The payload's length.
    pub(super) length: u32,
    payload: u32,
}

impl Header {
    fn of(payload: &[u8]) -> Result<Header, JournalError> {
        let length =
            u32::try_from(payload.len()).map_err(|_| JournalError::TooLong { bytes: payload.len() })?;
        Ok(Header { length, payload: checksum(payload) })
    }

    fn checksum(self) -> u32 {
        checksum([self.length, self.payload].map(u32::to_le_bytes).as_flattened())
    }

    fn encode(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [self.length, self.checksum(), self.payload].map(u32::to_le_bytes);
        bytes.copy_from_slice(words.as_flattened());
        bytes
    }

    /// None when its checksum is wrong.
    pub(super) fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
        let (&[length, own, payload], []) = bytes.as_chunks::<4>() else { return None };
        let header = Header { length: u32::from_le_bytes(length), payload: u32::from_le_bytes(payload) };
        (header.checksum() == u32::from_le_bytes(own)).then_some(header)
    }

    /// Whether this is the header's payload.
    pub(super) fn fits(self, payload: &[u8]) -> bool {
        checksum(payload) == self.payload
    }
}

/// Appends a record. On an error nothing was appended.
pub(super) fn put(buffer: &mut Vec<u8>, record: &Written<'_>) -> Result<(), JournalError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    let written = write(buffer, record, start);
    if written.is_err() {
        buffer.truncate(start);
    }
    written
}

fn write(buffer: &mut Vec<u8>, record: &Written<'_>, start: usize) -> Result<(), JournalError> {
    record.serialize(&mut rmp_serde::Serializer::new(&mut *buffer))?;
    if let Some((place, payload)) = buffer.get_mut(start..).and_then(<[u8]>::split_first_chunk_mut::<HEADER>)
    {
        place.copy_from_slice(&Header::of(payload)?.encode());
    }
    Ok(())
}

/// A record with any payload.
#[cfg(test)]
pub(super) fn with_header(payload: &[u8]) -> Vec<u8> {
    [&Header::of(payload).expect("a small payload").encode()[..], payload].concat()
}
