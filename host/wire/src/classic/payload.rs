//! Payloads: what one request or one answer of a polling transport carries, as text or as bytes. A client's are read
//! one packet after the other; the first that makes no sense is the last.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::encoding;
use super::packet::{self, Malformed, Packet};

/// Most digits of a length: more than any body may have bytes.
const DIGITS: usize = 10;

/// How answers are written; a session's first request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// For clients that take no bytes.
    Text,
    /// For all others, even when all is text: they take a text answer for another.
    Binary,
}

/// The packets of a text payload.
#[derive(Clone, Debug)]
pub struct Texts<'a> {
    rest: &'a str,
    failed: bool,
}

/// Reads a text payload, decoded once, as its carrier has it.
pub fn texts(body: &str) -> Texts<'_> {
    Texts { rest: body, failed: false }
}

impl<'a> Texts<'a> {
    fn take(&mut self) -> Result<Packet<'a>, Malformed> {
        let (digits, rest) = self.rest.split_once(':').ok_or(Malformed)?;
        if digits.is_empty() || digits.len() > DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Malformed);
        }
        let end = utf16_end(rest, digits.parse().map_err(|_| Malformed)?).ok_or(Malformed)?;
        let (text, rest) = rest.split_at_checked(end).ok_or(Malformed)?;
        self.rest = rest;
        packet::parse(encoding::read(text))
    }
}

/// Where so many UTF-16 units end: lengths are those of JavaScript.
fn utf16_end(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

impl<'a> Iterator for Texts<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        self.failed = taken.is_err();
        Some(taken)
    }
}

/// The packets of a binary payload.
#[derive(Clone, Debug)]
pub struct Binaries<'a> {
    rest: &'a [u8],
    failed: bool,
}

/// Reads a binary payload.
pub fn binaries(body: &[u8]) -> Binaries<'_> {
    Binaries { rest: body, failed: false }
}

impl<'a> Binaries<'a> {
    fn take(&mut self) -> Result<Packet<'a>, Malformed> {
        let (kind, rest) = self.rest.split_first().ok_or(Malformed)?;
        let ends = rest.iter().take(DIGITS + 1).position(|byte| *byte == 0xff).ok_or(Malformed)?;
        let (digits, rest) = rest.split_at_checked(ends).ok_or(Malformed)?;
        if digits.is_empty() || digits.iter().any(|digit| *digit > 9) {
            return Err(Malformed);
        }
        let length = digits
            .iter()
            .fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(*digit)));
        let (data, rest) = rest.get(1..).and_then(|rest| rest.split_at_checked(length)).ok_or(Malformed)?;
        self.rest = rest;
        match kind {
            0 => packet::parse(match std::str::from_utf8(data) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(encoding::decode(data.to_vec()).ok_or(Malformed)?),
            }),
            1 => packet::parse_binary(data),
            _ => Err(Malformed),
        }
    }
}

impl<'a> Iterator for Binaries<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let taken = self.take();
        self.failed = taken.is_err();
        Some(taken)
    }
}

impl Framing {
    /// The kind of body.
    pub fn content_type(self) -> &'static str {
        match self {
            Framing::Text => "text/plain; charset=UTF-8",
            Framing::Binary => "application/octet-stream",
        }
    }

    /// Writes packets as one payload.
    pub fn write(self, packets: &[impl AsRef<str>]) -> Vec<u8> {
        match self {
            Framing::Text => write_text(packets).into_bytes(),
            Framing::Binary => write_binary(packets),
        }
    }
}

/// Writes packets as a text payload, which its carrier encodes: each byte is a character.
pub fn write_text(packets: &[impl AsRef<str>]) -> String {
    let mut body = String::with_capacity(packets.iter().map(|packet| packet.as_ref().len() + 8).sum());
    for packet in packets {
        let packet = packet.as_ref();
        // Writing to a String cannot fail.
        let _ = write!(body, "{}:", packet.len());
        body.extend(packet.bytes().map(char::from));
    }
    body
}

fn write_binary(packets: &[impl AsRef<str>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packets.iter().map(|packet| packet.as_ref().len() + 9).sum());
    for packet in packets {
        let packet = packet.as_ref();
        body.push(0);
        body.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
        body.push(0xff);
        body.extend_from_slice(packet.as_bytes());
    }
    body
}
