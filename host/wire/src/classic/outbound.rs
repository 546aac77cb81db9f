//! What a client is told. The host queues one text for clients of all generations, that of the modern protocol; for a
//! classic client it is taken apart when it is written.
//!
//! Publications have two shapes: up to 0.9.37 they are events of the channel's name, from 1.0.0 on they are of their
//! own. Either kind of client makes nothing of the other's.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::packet::{Fields, present};

/// What a queued text is.
#[derive(Debug)]
pub enum Told<'a> {
    /// The answer to a call.
    Answer {
        /// The call's id, a JSON value.
        to: &'a str,
        /// Why it failed.
        error: Option<&'a RawValue>,
        /// What it brought.
        data: Option<&'a RawValue>,
    },
    /// A publication.
    Publication {
        /// The channel's name, a JSON text.
        channel: &'a RawValue,
        /// Absent, or any JSON value.
        data: Option<&'a RawValue>,
    },
    /// The end of a subscription: channel and message.
    KickOut(&'a RawValue),
    /// An event.
    Event {
        /// Its name, a JSON text.
        name: &'a RawValue,
        /// Absent, or any JSON value.
        data: Option<&'a RawValue>,
        /// The number under which it wants an answer.
        cid: Option<i64>,
    },
    /// What this generation has no word for: tokens, pings.
    Nothing,
}

#[derive(Deserialize)]
struct Published<'a> {
    #[serde(borrow)]
    channel: &'a RawValue,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// Takes a text of [`crate::encode`] apart.
pub fn read(text: &str) -> Told<'_> {
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(text) else { return Told::Nothing };
    let Some(name) = fields.event else {
        let Some(to) = fields.rid else { return Told::Nothing };
        return Told::Answer { to: to.get(), error: fields.error, data: fields.data };
    };
    match (name.get(), fields.data) {
        (r##""#publish""##, Some(data)) => match serde_json::from_str::<Published<'_>>(data.get()) {
            Ok(Published { channel, data }) => Told::Publication { channel, data },
            Err(_) => Told::Nothing,
        },
        (r##""#kickOut""##, Some(data)) => Told::KickOut(data),
        (reserved, _) if reserved.starts_with("\"#") => Told::Nothing,
        (_, data) => Told::Event { name, data, cid: fields.cid.and_then(|cid| cid.get().parse().ok()) },
    }
}

/// An event. All of this generation carry a number, whether or not an answer is awaited.
pub fn event(name: &str, data: Option<&str>, cid: i64) -> String {
    let mut text = format!(r#"{{"event":{name}"#);
    push(&mut text, "data", data);
    // Writing to a String cannot fail.
    let _ = write!(text, r#","cid":{cid}}}"#);
    text
}

/// A publication for clients from 1.0.0 on.
pub fn publication(channel: &str, data: Option<&str>) -> String {
    let mut text = format!(r#"{{"channel":{channel}"#);
    push(&mut text, "data", data);
    text.push('}');
    text
}

/// The answer to a call.
pub fn answer(to: &str, error: Option<&str>, data: Option<&str>) -> String {
    let mut text = format!(r#"{{"cid":{to}"#);
    push(&mut text, "error", error);
    push(&mut text, "data", data);
    text.push('}');
    text
}

/// The first event: the client is let in.
pub fn connect(id: &str, app: &str, cid: i64) -> String {
    let (id, app) = (crate::encode::string(id), crate::encode::string(app));
    event("\"connect\"", Some(&format!(r#"{{"soid":{id},"appName":{app}}}"#)), cid)
}

fn push(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        let _ = write!(text, r#","{name}":{value}"#);
    }
}
