//! What the tests of the keyspace share; they are in rooms of their own: cases worth a name, the table of all
//! operations, and a model that does everything the slow and obvious way, with what holds for any operations.

mod cases;
mod model;
mod properties;
mod table;

use serde_json::{Value, json};

use super::*;

/// The operations that the tests below are about, under their own names.
impl Keyspace {
    fn look_at(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, KeyError> {
        self.act(now, place, KeyOp::Get)
    }

    fn put_at(&mut self, now: Millis, place: &Place, value: Bytes) -> Result<(), KeyError> {
        self.act(now, place, KeyOp::Set { value }).map(drop)
    }

    fn take_at(&mut self, now: Millis, place: &Place) -> Result<Option<Bytes>, KeyError> {
        self.act(now, place, KeyOp::Remove { get_value: true })
    }

    fn expire_at(&mut self, now: Millis, place: &Place, after_ms: Millis) -> Result<bool, KeyError> {
        Ok(self.act(now, place, KeyOp::Expire { after_ms })?.as_deref() == Some(b"true"))
    }
}

fn is_path(refused: Result<impl std::fmt::Debug, KeyError>) -> bool {
    matches!(refused, Err(KeyError { kind: KeyErrorKind::Path, .. }))
}

fn at(path: &[&str]) -> Place {
    Place { tree: Tree::Global, path: path.iter().map(|part| (*part).to_owned()).collect() }
}

fn text(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn parsed(value: Option<Bytes>) -> Option<Value> {
    value.map(|value| serde_json::from_slice(&value).expect("one JSON value"))
}

fn filled(value: &Value) -> Keyspace {
    let mut keys = Keyspace::new(true);
    for (key, value) in value.as_object().expect("an object") {
        keys.put_at(0, &at(&[key]), text(value)).expect("set");
    }
    keys
}

fn whole(keys: &mut Keyspace, now: Millis) -> Option<Value> {
    parsed(keys.look_at(now, &at(&[])).expect("got"))
}

/// The data that changes give.
fn replayed(log: &[Change]) -> Keyspace {
    let mut keys = Keyspace::new(true);
    log.iter().cloned().for_each(|change| keys.apply(change));
    assert!(keys.take_changes().is_empty(), "what is done again is not noted again");
    keys
}
