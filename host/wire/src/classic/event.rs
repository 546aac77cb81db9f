//! What a client's messages say: JSON events, answers to events of ours, and anything else, which means nothing. Data
//! stay the text they came as.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::packet::{Call, CallId, Fields, call, present, string};

/// Names that clients and servers of this generation use among themselves: none of them is ever an event of the wire,
/// and a client that got one as such would take it for its own.
const LOCAL: &[&str] = &[
    "close",
    "connect",
    "data",
    "disconnect",
    "drain",
    "error",
    "fail",
    "flush",
    "handshake",
    "heartbeat",
    "kickOut",
    "message",
    "open",
    "packet",
    "packetCreate",
    "raw",
    "upgrade",
    "upgradeError",
    "upgrading",
];

/// Whether a name is one of those that cannot be an event's or a channel's.
pub fn is_local(name: &str) -> bool {
    LOCAL.contains(&name)
}

/// One message.
#[derive(Debug)]
pub enum Said<'a> {
    /// An event.
    Event {
        /// Its name.
        event: Cow<'a, str>,
        /// Absent, or any JSON value.
        data: Option<&'a RawValue>,
        /// How an answer names it.
        call: Option<CallId>,
    },
    /// The answer to an event of ours.
    Answer {
        /// The event's number.
        to: i64,
        /// Any value but `null`, unless it succeeded.
        error: Option<&'a RawValue>,
        /// The answer.
        data: Option<&'a RawValue>,
    },
    /// Anything else, JSON or not.
    Raw,
}

/// Reads a message.
pub fn parse(text: &str) -> Said<'_> {
    // A JSON array would be read as a list of members.
    if !text.trim_start().starts_with('{') {
        return Said::Raw;
    }
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else { return Said::Raw };
    let named = fields.event.and_then(string).filter(|event| !event.is_empty());
    match (named, fields.cid.map(call)) {
        (Some(event), id) => {
            let call = id.and_then(|id| match id {
                Call::Id(id) => Some(id),
                Call::Text(_) | Call::None => None,
            });
            Said::Event { event, data: fields.data, call }
        }
        (None, Some(Call::Id(CallId::Integer(to)))) if fields.event.is_none() => {
            let error = fields.error.filter(|error| error.get() != "null");
            Said::Answer { to, error, data: fields.data }
        }
        (None, _) => Said::Raw,
    }
}

/// The channels that a `subscribe` or `unsubscribe` names: one, or several. None when it names none as it should.
pub fn channels(data: Option<&RawValue>) -> Option<Vec<&RawValue>> {
    let data = data?;
    if string(data).is_some() {
        return Some(vec![data]);
    }
    let several: Vec<&RawValue> = serde_json::from_str(data.get()).ok()?;
    several.iter().all(|channel| string(channel).is_some()).then_some(several)
}

/// What a `publish` carries.
#[derive(Debug, Deserialize)]
pub struct Publication<'a> {
    /// The channel, as clients from 1.0.6 on name it.
    #[serde(borrow, default)]
    pub channel: Option<&'a RawValue>,
    /// The channel, as earlier ones do.
    #[serde(borrow, default)]
    pub event: Option<&'a RawValue>,
    /// Absent, or any JSON value.
    #[serde(borrow, default, deserialize_with = "present")]
    pub data: Option<&'a RawValue>,
}

/// Reads a `publish`; none when it is no object.
pub fn publication(data: Option<&RawValue>) -> Option<Publication<'_>> {
    let data = data.filter(|data| data.get().starts_with('{'))?;
    serde_json::from_str(data.get()).ok()
}
