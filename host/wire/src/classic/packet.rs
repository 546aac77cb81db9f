//! Engine.IO packets: a digit for the kind, then data.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// The answer to a ping.
pub const PONG: &str = "3";
/// The answer to the ping that probes a transport.
pub const PROBE_PONG: &str = "3probe";
/// The data of that ping.
pub const PROBE: &str = "probe";
/// The end of a polling session.
pub const CLOSE: &str = "1";
/// Nothing: it ends a poll.
pub const NOOP: &str = "6";

/// A packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Only servers send it; from a client it means nothing.
    Open,
    /// The client is done.
    Close,
    /// To be answered by a pong.
    Ping(Cow<'a, str>),
    /// Only servers send it.
    Pong,
    /// What the event layer says.
    Message(Cow<'a, str>),
    /// From now on the client uses the transport that this came over.
    Upgrade,
    /// Nothing.
    Noop,
}

impl Packet<'_> {
    /// How many bytes of data it carries.
    pub fn bytes(&self) -> usize {
        match self {
            Packet::Ping(data) | Packet::Message(data) => data.len(),
            _ => 0,
        }
    }
}

/// Bytes that are no packet or no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a packet of Engine.IO")]
pub struct Malformed;

/// Reads a packet whose text is decoded.
pub fn parse(text: Cow<'_, str>) -> Result<Packet<'_>, Malformed> {
    let kind = *text.as_bytes().first().ok_or(Malformed)?;
    if kind == b'b' {
        return parse_base64(text.get(1..).ok_or(Malformed)?);
    }
    let data = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(1..).ok_or(Malformed)?),
        Cow::Owned(text) => Cow::Owned(text.get(1..).ok_or(Malformed)?.to_owned()),
    };
    packet(kind.wrapping_sub(b'0'), data)
}

/// Reads a binary packet: its kind is a number. Bytes that are not UTF-8 become replacement characters.
pub fn parse_binary(bytes: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (kind, data) = bytes.split_first().ok_or(Malformed)?;
    packet(*kind, String::from_utf8_lossy(data))
}

/// Binary data in a text: a digit, then base64, padded or not.
fn parse_base64(text: &str) -> Result<Packet<'static>, Malformed> {
    let kind = *text.as_bytes().first().ok_or(Malformed)?;
    let digits = text.get(1..).ok_or(Malformed)?;
    let bytes = STANDARD.decode(digits).or_else(|_| STANDARD_NO_PAD.decode(digits)).map_err(|_| Malformed)?;
    let data = String::from_utf8_lossy(&bytes).into_owned();
    packet(kind.wrapping_sub(b'0'), Cow::Owned(data))
}

fn packet(kind: u8, data: Cow<'_, str>) -> Result<Packet<'_>, Malformed> {
    Ok(match kind {
        0 => Packet::Open,
        1 => Packet::Close,
        2 => Packet::Ping(data),
        3 => Packet::Pong,
        4 => Packet::Message(data),
        5 => Packet::Upgrade,
        6 => Packet::Noop,
        _ => return Err(Malformed),
    })
}

/// The first packet of a session. Times are in milliseconds.
pub fn open(sid: &str, upgrades: bool, ping_interval: u128, ping_timeout: u128) -> String {
    let upgrades = if upgrades { r#"["websocket"]"# } else { "[]" };
    format!(
        r#"0{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{ping_interval},"pingTimeout":{ping_timeout}}}"#
    )
}

/// A packet that carries a JSON text.
pub fn message(json: &str) -> String {
    let json = super::encoding::escape(json);
    let mut packet = String::with_capacity(1 + json.len());
    packet.push('4');
    packet.push_str(&json);
    packet
}
