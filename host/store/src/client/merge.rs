//! Puts the pieces of the global tree together.

use std::collections::BTreeMap;

use bytes::Bytes;
use sc_wire::store::KeyOp;
use serde_json::value::RawValue;

/// Makes one answer of several.
pub(super) type Merge = fn(&[Bytes]) -> Option<Bytes>;

/// How the answers of all stores become one; none for what cannot be done in pieces.
pub(super) fn of(action: &KeyOp) -> Option<Merge> {
    Some(match action {
        KeyOp::Get | KeyOp::GetRange { .. } | KeyOp::Remove { .. } | KeyOp::RemoveRange { .. } => objects,
        KeyOp::Has | KeyOp::Expire { .. } | KeyOp::Unexpire => any,
        KeyOp::Count => sum,
        KeyOp::GetExpiry => latest,
        KeyOp::Set { .. }
        | KeyOp::Add { .. }
        | KeyOp::Concat { .. }
        | KeyOp::Pop { .. }
        | KeyOp::CompareAndSet { .. }
        | KeyOp::Increment { .. } => return None,
    })
}

/// One object of all members of several objects; none of none. The pieces have no key in common.
fn objects(pieces: &[Bytes]) -> Option<Bytes> {
    if pieces.len() < 2 {
        return pieces.first().cloned();
    }
    let mut whole: BTreeMap<String, &RawValue> = BTreeMap::new();
    for piece in pieces {
        match serde_json::from_slice::<BTreeMap<String, &RawValue>>(piece) {
            Ok(members) => whole.extend(members),
            Err(error) => tracing::error!(%error, "a store's piece of the global tree is not an object"),
        }
    }
    serde_json::to_vec(&whole).ok().map(Bytes::from)
}

/// `true` when any piece says so.
fn any(pieces: &[Bytes]) -> Option<Bytes> {
    let any = pieces.iter().any(|piece| piece.as_ref() == b"true");
    Some(Bytes::from_static(if any { b"true" } else { b"false" }))
}

fn numbers(pieces: &[Bytes]) -> impl Iterator<Item = u64> {
    pieces.iter().filter_map(|piece| serde_json::from_slice(piece).ok())
}

fn sum(pieces: &[Bytes]) -> Option<Bytes> {
    Some(numbers(pieces).sum::<u64>().to_string().into())
}

fn latest(pieces: &[Bytes]) -> Option<Bytes> {
    numbers(pieces).max().map(|latest| latest.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_one_object() {
        let piece = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(objects(&[]), None);
        assert_eq!(objects(&[piece("{\"a\": 1}")]), Some(piece("{\"a\": 1}")));
        let whole = objects(&[piece(r#"{"b":[1, 2]}"#), piece("{}"), piece(r#"{"a":{"x":1.0}}"#)]);
        assert_eq!(whole, Some(piece(r#"{"a":{"x":1.0},"b":[1, 2]}"#)));
        assert_eq!(any(&[piece("false"), piece("true")]), Some(piece("true")));
        assert_eq!(any(&[piece("false")]), Some(piece("false")));
        assert_eq!(sum(&[piece("1"), piece("2")]), Some(piece("3")));
        assert_eq!((latest(&[piece("1"), piece("2")]), latest(&[])), (Some(piece("2")), None));
    }
}
