//! What clients are sent. Data is text that is known to be one JSON value, so it is never parsed again.
//!
//! Source: key order and members of generation 20; clients of all generations accept them.

use std::fmt::Write as _;

use crate::packet::{CallId, Version};

/// The text of a ping.
pub fn ping(version: Version) -> &'static str {
    match version {
        Version::One => "#1",
        Version::Two => "",
    }
}

/// An event that wants no response.
pub fn event(name: &str, data: Option<&str>) -> String {
    // Exact for a name without escapes: bytes that fill their buffer are shared without another allocation.
    let mut text = String::with_capacity(12 + name.len() + data.map_or(0, |data| 8 + data.len()));
    text.push_str(r#"{"event":"#);
    push_string(&mut text, name);
    push_member(&mut text, "data", data);
    text.push('}');
    text
}

/// An event that wants a response under `cid`.
pub fn call(name: &str, cid: i64, data: Option<&str>) -> String {
    let mut text = String::with_capacity(48 + name.len() + data.map_or(0, str::len));
    text.push_str(r#"{"event":"#);
    push_string(&mut text, name);
    // Writing to a String cannot fail.
    let _ = write!(text, r#","cid":{cid}"#);
    push_member(&mut text, "data", data);
    text.push('}');
    text
}

/// The response to a call.
pub fn response(to: &CallId, data: Option<&str>) -> String {
    let mut text = String::with_capacity(32 + data.map_or(0, str::len));
    let _ = write!(text, r#"{{"rid":{to}"#);
    push_member(&mut text, "data", data);
    text.push('}');
    text
}

/// The response to a call that failed. `error` is the text of an object, or of a text that is not empty.
pub fn refusal(to: &CallId, error: &str, data: Option<&str>) -> String {
    let mut text = String::with_capacity(32 + error.len());
    let _ = write!(text, r#"{{"rid":{to}"#);
    push_member(&mut text, "error", Some(error));
    push_member(&mut text, "data", data);
    text.push('}');
    text
}

/// A publication. It carries no call id: clients would take it for a question.
pub fn publication(channel: &str, data: Option<&str>) -> String {
    let mut text = String::with_capacity(48 + channel.len() + data.map_or(0, str::len));
    text.push_str(r##"{"event":"#publish","data":{"channel":"##);
    push_string(&mut text, channel);
    push_member(&mut text, "data", data);
    text.push_str("}}");
    text
}

/// The end of a subscription, ordered by the server.
pub fn kick_out(channel: &str, message: Option<&str>) -> String {
    let mut text = String::from(r##"{"event":"#kickOut","data":{"channel":"##);
    push_string(&mut text, channel);
    if let Some(message) = message {
        text.push_str(r#","message":"#);
        push_string(&mut text, message);
    }
    text.push_str("}}");
    text
}

/// Several packets as one message.
pub fn batch(packets: &[impl AsRef<str>]) -> String {
    let mut text =
        String::with_capacity(2 + packets.iter().map(|packet| packet.as_ref().len() + 1).sum::<usize>());
    for (index, packet) in packets.iter().enumerate() {
        text.push(if index == 0 { '[' } else { ',' });
        text.push_str(packet.as_ref());
    }
    text.push(']');
    text
}

/// The text of an error object: its message, its name, then `members`, which are the inside of a JSON object.
pub fn error(name: Option<&str>, message: &str, members: &str) -> String {
    let mut text = String::from(r#"{"message":"#);
    push_string(&mut text, message);
    if let Some(name) = name {
        text.push_str(r#","name":"#);
        push_string(&mut text, name);
    }
    if !members.is_empty() {
        text.push(',');
        text.push_str(members);
    }
    text.push('}');
    text
}

/// The text of a JSON string.
pub fn string(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    push_string(&mut text, value);
    text
}

fn push_member(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text.push_str(",\"");
        text.push_str(name);
        text.push_str("\":");
        text.push_str(value);
    }
}

fn push_string(text: &mut String, value: &str) {
    if value.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        // A str is always representable as JSON.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    } else {
        text.push('"');
        text.push_str(value);
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_members_and_order_of_generation_20() {
        let id = CallId::Integer(2);
        let table = [
            (event("e", None), r#"{"event":"e"}"#),
            (event("a\"b", Some("[1]")), r#"{"event":"a\"b","data":[1]}"#),
            (call("q", 1, Some("{}")), r#"{"event":"q","cid":1,"data":{}}"#),
            (response(&id, None), r#"{"rid":2}"#),
            (response(&id, Some("null")), r#"{"rid":2,"data":null}"#),
            (refusal(&id, r#""no""#, None), r#"{"rid":2,"error":"no"}"#),
            (publication("c", Some("1")), r##"{"event":"#publish","data":{"channel":"c","data":1}}"##),
            (publication("c", None), r##"{"event":"#publish","data":{"channel":"c"}}"##),
            (kick_out("c", Some("bye")), r##"{"event":"#kickOut","data":{"channel":"c","message":"bye"}}"##),
            (error(Some("N"), "m", r#""x":1"#), r#"{"message":"m","name":"N","x":1}"#),
            (batch(&["{}", "{}"]), "[{},{}]"),
        ];
        for (made, expected) in table {
            assert_eq!(made, expected);
        }
    }
}
