//! Whatever a client sends: parsing it never panics, and what it names can be answered with valid JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sc_wire::encode;
use sc_wire::packet::{Call, Message, Packet, parse, parse_binary};

fn check(packet: &Packet<'_>) {
    if let Packet::Event { event, data, call } = packet {
        let data = data.map(|data| data.get());
        assert!(is_json(&encode::event(event, data)));
        if let Call::Id(id) | Call::Text(id) = call {
            assert!(is_json(&encode::response(id, data)));
        }
    }
}

/// Whether the text is one JSON value, however deep.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    for message in [parse(&text), parse_binary(&text)] {
        match message {
            Message::Pong(_) => {}
            Message::One(packet) => check(&packet),
            Message::Batch(packets) => packets.iter().for_each(check),
        }
    }
});
