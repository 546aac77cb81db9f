//! One level of a JSON text at a time, without recursion: however deep a value is nested, only the levels that a
//! path names are looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::node::{Key, Node};

/// The index that a part of a path is, if it is one in the canonical spelling.
pub(super) fn index(part: &str) -> Option<usize> {
    let canonical = part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { part.parse().ok() } else { None }
}

/// What kind of value a text is.
pub(super) enum Kind {
    Object,
    Array,
    Scalar,
}

/// By its first character.
pub(super) fn kind(text: &[u8]) -> Kind {
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        _ => Kind::Scalar,
    }
}

/// Whether an object in a text has a key that is no text: with half of a surrogate pair in it, as `\ud800` without its
/// other half. JSON allows that, but no path can name it.
pub(super) fn has_unnameable_key(text: &[u8]) -> bool {
    // Only an escape makes one.
    text.contains(&b'\\') && {
        let mut rest = text;
        std::iter::from_fn(|| {
            let string = rest.get(rest.iter().position(|byte| *byte == b'"')?..)?;
            let (string, after) = string.split_at_checked(string_length(string))?;
            rest = after;
            Some((string, after))
        })
        .filter(|(_, after)| after.trim_ascii_start().first() == Some(&b':'))
        .any(|(key, _)| key.contains(&b'\\') && serde_json::from_slice::<Cow<'_, str>>(key).is_err())
    }
}

/// Bytes of the string that a text begins with, its quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The text under a path in a text.
pub(super) fn find<'t>(text: &'t [u8], path: &[String]) -> Option<&'t [u8]> {
    path.iter().try_fold(text, |text, part| {
        let mut parser = serde_json::Deserializer::from_slice(text);
        let found = match kind(text) {
            Kind::Object => Member(part).deserialize(&mut parser),
            Kind::Array => Element(index(part)?).deserialize(&mut parser),
            Kind::Scalar => return None,
        };
        found.ok().flatten().map(|value| value.get().as_bytes())
    })
}

/// A text's first level as a node with texts in it; none for a scalar. The parts are copied, so that a small one
/// never keeps a large text alive.
pub(super) fn open(text: &[u8]) -> Option<Node> {
    let leaf = |value: &RawValue| Node::Leaf(Bytes::copy_from_slice(value.get().as_bytes()));
    match kind(text) {
        Kind::Object => {
            let members = serde_json::from_slice::<BTreeMap<Key, &RawValue>>(text).ok()?;
            Some(Node::Map(members.into_iter().map(|(key, value)| (key, leaf(value))).collect()))
        }
        Kind::Array => {
            let elements = serde_json::from_slice::<Vec<&RawValue>>(text).ok()?;
            Some(Node::List(elements.into_iter().map(leaf).collect()))
        }
        Kind::Scalar => None,
    }
}

/// Finds an object's member; of several with one name the last, as parsers do.
struct Member<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Finds an array's element.
struct Element(usize);

impl<'de> DeserializeSeed<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut at = 0;
        let mut found = None;
        loop {
            if at == self.0 {
                let Some(element) = elements.next_element()? else { return Ok(None) };
                found = Some(element);
            } else if elements.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }
}
