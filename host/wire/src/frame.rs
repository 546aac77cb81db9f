//! Frames of a stream link: a length of 4 bytes, little-endian, then so many bytes of MessagePack.

use bytes::{Buf, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A frame that cannot be read or written. The link is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over the link's limit.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong {
        /// The frame's length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes are not the expected message.
    #[error("a frame does not hold the expected message")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The message cannot be written.
    #[error("a message cannot be written as a frame")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Bytes of a frame before its message.
pub const HEADER: usize = 4;

/// Appends a message as one frame.
///
/// # Errors
/// [`FrameError::TooLong`] when it is over the limit, [`FrameError::Encode`] when it cannot be written. Nothing was
/// appended then.
pub fn put<T: Serialize>(buffer: &mut BytesMut, message: &T, limit: usize) -> Result<(), FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    let written = write(buffer, message, start, limit);
    if written.is_err() {
        buffer.truncate(start);
    }
    written
}

fn write<T: Serialize>(
    buffer: &mut BytesMut,
    message: &T,
    start: usize,
    limit: usize,
) -> Result<(), FrameError> {
    use bytes::BufMut as _;
    message.serialize(&mut rmp_serde::Serializer::new(buffer.writer()))?;
    let length = buffer.len() - start - HEADER;
    match u32::try_from(length) {
        Ok(prefix) if length <= limit => {
            if let Some(header) = buffer.get_mut(start..start + HEADER) {
                header.copy_from_slice(&prefix.to_le_bytes());
            }
            Ok(())
        }
        _ => Err(FrameError::TooLong { length, limit }),
    }
}

/// Takes the next whole frame off the buffer; none while it is incomplete.
///
/// # Errors
/// [`FrameError::TooLong`] when its header announces more than the limit.
pub fn take(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length > limit {
        return Err(FrameError::TooLong { length, limit });
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Whether the buffer begins with a whole frame, or with one that is too long.
pub fn is_whole(buffer: &[u8], limit: usize) -> bool {
    buffer.first_chunk::<HEADER>().is_some_and(|header| {
        let length = u32::from_le_bytes(*header) as usize;
        length > limit || buffer.len() >= HEADER + length
    })
}

/// A frame's message.
///
/// # Errors
/// [`FrameError::Decode`] when it is another one.
pub fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<T, FrameError> {
    Ok(rmp_serde::from_slice(frame)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyError, KeyErrorKind, KeyOp, Reply, Request, Tree};
    use proptest::prelude::*;

    const LIMIT: usize = 1024;

    fn path() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(".{0,8}", 0..4)
    }

    fn request() -> impl Strategy<Value = Request> {
        let data = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from));
        prop_oneof![
            (any::<u64>(), ".{0,16}").prop_map(|(op, channel)| Request::Subscribe { op, channel }),
            (any::<Option<u64>>(), ".{0,16}", data).prop_map(|(op, channel, data)| Request::Publish {
                op,
                channel,
                data
            }),
            (any::<u64>(), ".{0,8}", path()).prop_map(|(op, tree, path)| Request::Key {
                op,
                tree: Tree::Named(tree),
                path,
                action: KeyOp::Get
            }),
            (any::<u64>(), path(), any::<u64>()).prop_map(|(op, path, after_ms)| Request::Key {
                op,
                tree: Tree::Global,
                path,
                action: KeyOp::Expire { after_ms }
            }),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(requests in proptest::collection::vec(request(), 0..8), cut in 1usize..40) {
            let mut whole = BytesMut::new();
            for request in &requests {
                put(&mut whole, request, LIMIT).expect("under the limit");
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in whole.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer, LIMIT).expect("whole frames") {
                    read.push(decode::<Request>(&frame).expect("the message written"));
                }
            }
            prop_assert_eq!(read, requests);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn garbage_is_an_error_or_waits(garbage in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut buffer = BytesMut::from(garbage.as_slice());
            while let Ok(Some(frame)) = take(&mut buffer, LIMIT) {
                let _ = decode::<Reply>(&frame);
            }
        }
    }

    #[test]
    fn a_frame_over_the_limit_leaves_the_buffer_as_it_was() {
        let mut buffer = BytesMut::from(&b"before"[..]);
        let error = KeyError { kind: KeyErrorKind::Path, message: "x".repeat(LIMIT + 1) };
        let long = Reply::Failed { op: 1, error };
        assert!(matches!(put(&mut buffer, &long, LIMIT), Err(FrameError::TooLong { .. })));
        assert_eq!(&buffer[..], b"before");
    }
}
