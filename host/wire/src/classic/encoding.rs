//! The classic protocol's double UTF-8. Its clients write a text as UTF-8, take each byte for a character, and have
//! the carrier encode these characters again: WebSocket texts, text payloads and forms are encoded twice, binary
//! payloads once. Clients from 1.0.1 on encode WebSocket texts once.
//!
//! What the host sends is ASCII, which is the same under both. What it gets is decoded once more where that can be
//! meant.

use std::borrow::Cow;
use std::fmt::Write as _;

/// How a client encodes the texts of its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// Twice, perhaps: nothing it sent tells.
    Unknown,
    /// Once: a text of it made no sense otherwise.
    Once,
}

impl Texts {
    /// Reads a WebSocket text, and learns from it. Text that is no byte sequence of UTF-8, such as any beyond Latin-1,
    /// was encoded once; so are all that follow. Until then, text that happens to be one is taken for that.
    pub fn read<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        if text.is_ascii() || *self == Texts::Once {
            return Cow::Borrowed(text);
        }
        match again(text) {
            Some(decoded) => Cow::Owned(decoded),
            None => {
                *self = Texts::Once;
                Cow::Borrowed(text)
            }
        }
    }
}

/// Reads a text of a payload or form.
pub fn read(text: &str) -> Cow<'_, str> {
    again(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Decodes once more: none when the text has nothing that needs it, or is not a byte sequence of UTF-8.
fn again(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(character).ok()).collect();
    decode(bytes?)
}

/// Bytes of a client as text, if they are UTF-8. Halves of surrogate pairs, which strings of JavaScript may hold,
/// clients encode like any character; here they become replacement characters, as in what browsers send.
pub(super) fn decode(bytes: Vec<u8>) -> Option<String> {
    let mut bytes = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error.into_bytes(),
    };
    let mut rest = bytes.as_mut_slice();
    while let Some(at) = rest.iter().position(|byte| *byte == 0xed) {
        let (_, from) = rest.split_at_mut(at);
        if let [first, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, ..] = from {
            (*first, *second, *third) = (0xef, 0xbf, 0xbd);
        }
        rest = from.get_mut(1..).unwrap_or_default();
    }
    String::from_utf8(bytes).ok()
}

/// A JSON text in ASCII: what is not, can only stand in its strings, where it may be escaped.
pub fn escape(json: &str) -> Cow<'_, str> {
    if json.is_ascii() {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() * 2);
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    Cow::Owned(text)
}
