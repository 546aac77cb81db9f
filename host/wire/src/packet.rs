//! What clients send: the JSON packets of the modern protocol, parsed once and lazily. Data stays the text it came as.
//!
//! Source: the packet grammar of protocol versions 1 and 2, with the type rules of generation 20. Text that is no
//! packet is [`Packet::Raw`], never an error.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Longest text that counts as a call's id, in bytes: it is kept while the call waits. Known clients send numbers.
const TEXT_ID_MAX: usize = 256;

/// One WebSocket message of a client.
#[derive(Debug)]
pub enum Message<'a> {
    /// The answer to a ping, and the protocol version that its text proves.
    Pong(Version),
    /// One packet.
    One(Packet<'a>),
    /// Packets to be handled strictly in order.
    Batch(Vec<Packet<'a>>),
}

/// The modern protocol's versions; they differ in the text of pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Clients 5 to 14: `#1` is answered by `#2`.
    One,
    /// Clients from 15: an empty text is answered by an empty text.
    Two,
}

/// One packet.
#[derive(Debug)]
pub enum Packet<'a> {
    /// A named event; with a call id its sender waits for a response.
    Event {
        /// Its name.
        event: Cow<'a, str>,
        /// Its data: absent, or any JSON value, `null` included.
        data: Option<&'a RawValue>,
        /// How a response names it.
        call: Call,
    },
    /// The response to a question of ours.
    Response {
        /// The question's id.
        to: i64,
        /// Any value but `null`, unless the question succeeded.
        error: Option<&'a RawValue>,
        /// The answer.
        data: Option<&'a RawValue>,
    },
    /// Anything else; ignored once the handshake is done.
    Raw,
}

/// Whether and how an event wants a response.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// It wants none.
    None,
    /// It wants one, under a number.
    Id(CallId),
    /// Its id is a text, which only generations up to 17 answer.
    Text(CallId),
}

/// A client's name for a call, as the JSON text that a response repeats.
#[derive(Clone, Debug, PartialEq)]
pub enum CallId {
    /// What every known client sends.
    Integer(i64),
    /// A fraction, a huge number, or an old client's text.
    Other(Box<str>),
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallId::Integer(number) => write!(f, "{number}"),
            CallId::Other(text) => f.write_str(text),
        }
    }
}

/// Reads a text message.
pub fn parse(text: &str) -> Message<'_> {
    match text {
        "" => return Message::Pong(Version::Two),
        "#2" => return Message::Pong(Version::One),
        _ => {}
    }
    match first_byte(text) {
        Some(b'{') => Message::One(parse_packet(text)),
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(elements) => {
                Message::Batch(elements.into_iter().map(|element| parse_packet(element.get())).collect())
            }
            Err(_) => Message::One(Packet::Raw),
        },
        _ => Message::One(Packet::Raw),
    }
}

/// Reads a binary message's text. An empty one is no pong.
pub fn parse_binary(text: &str) -> Message<'_> {
    if text.is_empty() { Message::One(Packet::Raw) } else { parse(text) }
}

fn first_byte(text: &str) -> Option<u8> {
    text.bytes().find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))
}

/// The members that packets of any generation have.
#[derive(Deserialize)]
pub(crate) struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) event: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) cid: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) rid: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) error: Option<&'a RawValue>,
}

/// Keeps a `null` apart from an absent member.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

fn parse_packet(text: &str) -> Packet<'_> {
    if first_byte(text) != Some(b'{') {
        return Packet::Raw;
    }
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else { return Packet::Raw };
    if let Some(event) = fields.event {
        let Some(event) = string(event) else { return Packet::Raw };
        return Packet::Event { event, data: fields.data, call: fields.cid.map_or(Call::None, call) };
    }
    match fields.rid.map(call) {
        Some(Call::Id(CallId::Integer(to))) => Packet::Response {
            to,
            error: fields.error.filter(|error| error.get() != "null"),
            data: fields.data,
        },
        _ => Packet::Raw,
    }
}

/// The text of a JSON string; none for another value, or for text that Unicode does not have.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

pub(crate) fn call(id: &RawValue) -> Call {
    let text = id.get();
    match text.bytes().next() {
        Some(b'-' | b'0'..=b'9') => match text.parse::<i64>() {
            Ok(number) => Call::Id(CallId::Integer(number)),
            Err(_) => float(text),
        },
        Some(b'"') if (3..=TEXT_ID_MAX).contains(&text.len()) => Call::Text(CallId::Other(text.into())),
        _ => Call::None,
    }
}

/// Numbers are repeated as JavaScript would write them: `1.0` and `1e0` come back as `1`.
fn float(text: &str) -> Call {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
        Ok(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Call::Id(CallId::Integer(number as i64))
        }
        Ok(number) if number.is_finite() => Call::Id(CallId::Other(number.to_string().into())),
        _ => Call::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only(text: &str) -> Packet<'_> {
        match parse(text) {
            Message::One(packet) => packet,
            other => panic!("not one packet: {other:?}"),
        }
    }

    #[test]
    fn an_event_with_a_number_wants_a_response_under_it() {
        for (cid, repeated) in
            [("1", "1"), ("0", "0"), ("-3", "-3"), ("1.5", "1.5"), ("2.0", "2"), ("1e2", "100")]
        {
            let text = format!(r#"{{"event":"p","cid":{cid}}}"#);
            let Packet::Event { call: Call::Id(id), .. } = only(&text) else { panic!("{text}") };
            assert_eq!(id.to_string(), repeated);
        }
    }

    #[test]
    fn an_endless_text_names_no_call() {
        for (length, is_call) in [(0, false), (1, true), (TEXT_ID_MAX - 2, true), (TEXT_ID_MAX - 1, false)] {
            let text = format!(r#"{{"event":"p","cid":"{}"}}"#, "x".repeat(length));
            let Packet::Event { call, .. } = only(&text) else { panic!("{text}") };
            assert_eq!(matches!(call, Call::Text(_)), is_call, "{length}");
        }
    }

    #[test]
    fn null_data_is_not_absent_data() {
        assert!(matches!(only(r#"{"event":"p"}"#), Packet::Event { data: None, .. }));
        let Packet::Event { data: Some(data), .. } = only(r#"{"event":"p","data":null}"#) else { panic!() };
        assert_eq!(data.get(), "null");
    }

    #[test]
    fn what_is_no_packet_is_raw() {
        for text in ["hi", "#1", r#"{"event":1}"#, r#"{"rid":"1"}"#, "{", "{}", "5", r#""{}""#, "[1", "null"]
        {
            assert!(matches!(only(text), Packet::Raw), "{text}");
        }
    }

    #[test]
    fn nested_arrays_in_a_batch_are_raw() {
        let Message::Batch(packets) = parse(r#" [{"event":"a"}, [{"event":"b"}], 1]"#) else { panic!() };
        assert!(matches!(packets[..], [Packet::Event { .. }, Packet::Raw, Packet::Raw]));
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = format!(r#"{{"event":"p","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(only(&deep), Packet::Event { data: Some(_), .. }));
        assert!(matches!(parse(&"[".repeat(100_000)), Message::One(Packet::Raw)));
    }

    #[test]
    fn a_null_error_is_success() {
        assert!(matches!(
            only(r#"{"rid":1,"error":null,"data":2}"#),
            Packet::Response { to: 1, error: None, data: Some(_) }
        ));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("{{\"event\":{text}}}"));
            let _ = parse(&format!("[{text}]"));
        }

        #[test]
        fn events_survive(event in ".*", data in ".*", cid in any::<i32>()) {
            let data = serde_json::to_string(&data).expect("a string is JSON");
            let name = serde_json::to_string(&event).expect("a string is JSON");
            let text = format!(r#"{{"event":{name},"data":{data},"cid":{cid}}}"#);
            let Packet::Event { event: read, data: Some(raw), call } = only(&text) else { panic!() };
            prop_assert_eq!(read, event);
            prop_assert_eq!(raw.get(), data);
            prop_assert_eq!(call, Call::Id(CallId::Integer(cid.into())));
        }
    }
}
