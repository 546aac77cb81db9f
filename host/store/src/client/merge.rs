//! Puts the pieces of the global tree together.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

/// One object of all members of several objects; none of none. The pieces have no key in common.
pub(super) fn objects(pieces: &[Bytes]) -> Option<Bytes> {
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
pub(super) fn any(pieces: &[Bytes]) -> Option<Bytes> {
    let any = pieces.iter().any(|piece| piece.as_ref() == b"true");
    Some(Bytes::from_static(if any { b"true" } else { b"false" }))
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
    }
}
