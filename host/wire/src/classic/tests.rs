//! Frames that were captured from the original's clients and servers, and what no client sends.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::encoding::{self, Texts};
use super::event::{self, Said};
use super::outbound::{self, Told};
use super::packet::{self, Malformed, Packet};
use super::payload::{self, Framing};
use super::{encoding::escape, jsonp};
use crate::encode;
use crate::packet::CallId;

const SCRIPTS: &str = "hé Ω ж ש ع 漢 क 😀";

fn message(text: &str) -> Packet<'_> {
    Packet::Message(Cow::Borrowed(text))
}

fn twice(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

fn all<'a>(
    packets: impl Iterator<Item = Result<Packet<'a>, Malformed>>,
) -> Result<Vec<Packet<'a>>, Malformed> {
    packets.collect()
}

#[test]
fn the_open_packet_is_the_originals() {
    let sid = "_w1_8000_0_6uo5Izxu7vebha3RAAAE";
    let open = packet::open(sid, true, 25_000, 60_000);
    let expected =
        format!(r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":60000}}"#);
    assert_eq!(open, expected);
    let binary = Framing::Binary.write(&[&open]);
    assert!(binary.starts_with(b"\x00\x01\x00\x08\xff0{"), "108 bytes as digits of numbers");
    assert!(Framing::Text.write(&[&open]).starts_with(b"108:0{"));
    assert!(packet::open(sid, false, 1, 1).contains(r#""upgrades":[],"#));
}

#[test]
fn captured_payloads_are_read() {
    let ready = r#"{"event":"ready","cid":1}"#;
    assert_eq!(all(payload::texts("26:4{\"event\":\"ready\",\"cid\":1}")), Ok(vec![message(ready)]));
    let body = b"\x00\x02\x06\xff4{\"event\":\"ready\",\"cid\":1}";
    assert_eq!(all(payload::binaries(body)), Ok(vec![message(ready)]));
    assert_eq!(all(payload::texts("1:1")), Ok(vec![Packet::Close]));
    assert_eq!(all(payload::binaries(b"\x00\x01\xff1")), Ok(vec![Packet::Close]));
    assert_eq!(all(payload::binaries(b"\x01\x03\xff\x04{}")), Ok(vec![message("{}")]));
    assert_eq!(all(payload::texts("6:b4e30=1:2")), Ok(vec![message("{}"), Packet::Ping("".into())]));
}

#[test]
fn captured_answers_are_written() {
    let packets = [r#"4{"cid":1}"#, r#"4{"event":"greet","data":"hello world","cid":2}"#];
    let text = r#"10:4{"cid":1}47:4{"event":"greet","data":"hello world","cid":2}"#;
    assert_eq!(payload::write_text(&packets), text);
    let mut binary = b"\x00\x01\x00\xff4{\"cid\":1}\x00\x04\x07\xff4".to_vec();
    binary.extend_from_slice(&packets[1].as_bytes()[1..]);
    assert_eq!(Framing::Binary.write(&packets), binary);
    assert_eq!(Framing::Binary.write(&[packet::NOOP]), b"\x00\x01\xff6");
    assert_eq!(jsonp::answer("3", &packets[..1]), r#"___eio[3]("10:4{\"cid\":1}");"#,);
}

#[test]
fn texts_are_decoded_as_often_as_they_were_encoded() {
    // What a WebSocket of 0.9.37 carries, after its own decoding.
    let captured = "h\u{c3}\u{a9} \u{f0}\u{9f}\u{98}\u{80}";
    let mut texts = Texts::Unknown;
    assert_eq!(texts.read(captured), "hé 😀");
    assert_eq!(texts.read(&twice(SCRIPTS)), SCRIPTS);
    assert_eq!((texts.read("plain"), texts), ("plain".into(), Texts::Unknown));
    // A text that was encoded once shows it, and what follows is read so.
    assert_eq!((texts.read("é"), texts), ("é".into(), Texts::Once));
    assert_eq!(texts.read(captured), captured);
    let mut texts = Texts::Unknown;
    assert_eq!((texts.read(SCRIPTS), texts), (SCRIPTS.into(), Texts::Once));
}

/// Strings of JavaScript may hold half of a surrogate pair, which clients encode like any character.
#[test]
fn halves_of_pairs_are_replaced() {
    // `\u{d800}` and `\u{dfff}`, with a character that begins with the same byte and one of four bytes beside them.
    let bytes = b"4\xed\xa0\x80 \xed\x9f\xbf\xf0\x9f\x98\x80\xed\xbf\xbf";
    let expected = "\u{fffd} \u{d7ff}😀\u{fffd}";
    let carried: String = bytes.iter().copied().map(char::from).collect();
    let mut texts = Texts::Unknown;
    assert_eq!(texts.read(&carried), format!("4{expected}"));
    assert_eq!(texts, Texts::Unknown, "it is encoded twice, as ever");
    let body = format!("{}:{carried}", carried.encode_utf16().count());
    assert_eq!(all(payload::texts(&body)), Ok(vec![message(expected)]));
    let mut body = vec![0, 1, 5, 0xff];
    body.extend_from_slice(bytes);
    assert_eq!(all(payload::binaries(&body)), Ok(vec![message(expected)]));
    for cut in [&b"4\xed\xa0"[..], b"4\xed", b"4\xed\xed\xa0\x80\xff"] {
        let mut body = vec![0, u8::try_from(cut.len()).expect("short"), 0xff];
        body.extend_from_slice(cut);
        assert_eq!(all(payload::binaries(&body)), Err(Malformed), "{cut:?}");
    }
}

#[test]
fn lengths_of_texts_are_utf16_units_and_those_of_bytes_bytes() {
    let twice = twice(&format!("4{SCRIPTS}"));
    let body = format!("{}:{twice}1:2", twice.encode_utf16().count());
    assert_eq!(all(payload::texts(&body)), Ok(vec![message(SCRIPTS), Packet::Ping("".into())]));
    // Later clients count the units of what they write once.
    assert_eq!(all(payload::texts("3:4😀1:2")), Ok(vec![message("😀"), Packet::Ping("".into())]));
    assert_eq!(all(payload::texts("2:4😀")), Err(Malformed), "half a pair");
    let mut body = vec![0, 5, 0xff];
    body.extend_from_slice("4😀".as_bytes());
    assert_eq!(all(payload::binaries(&body)), Ok(vec![message("😀")]));
}

#[test]
fn nonsense_is_the_last_of_a_payload() {
    for body in
        ["x", ":", "1:", "1", "0:", "-1:4", "01234567890:4", "99999999999:4", "1:7", "1:x", "2:b4", "2:4"]
    {
        let read: Vec<_> = payload::texts(body).take(9).collect();
        let expected = if body == "2:b4" { Ok(message("")) } else { Err(Malformed) };
        assert_eq!(read, [expected], "{body}");
    }
    assert_eq!(
        payload::texts("1:21:x1:2").collect::<Vec<_>>(),
        [Ok(Packet::Ping("".into())), Err(Malformed)]
    );
    for body in [
        &b"\x00"[..],
        b"\x00\xff",
        b"\x00\x01\xff",
        b"\x00\x0a\xff1",
        b"\x02\x01\xff1",
        b"\x00\x02\xff4\xff",
        b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4",
        b"\x01\x01\xff\x07",
        b"\x00\x00\xff",
    ] {
        assert_eq!(payload::binaries(body).collect::<Vec<_>>(), [Err(Malformed)], "{body:?}");
    }
}

#[test]
fn forms_are_unescaped() {
    let form = |body: &str| jsonp::form(body.as_bytes());
    assert_eq!(form("d=26%3A4%7B%22a%22%3A1%7D").as_deref(), Some(r#"26:4{"a":1}"#));
    assert_eq!(form("x=1&d=a+b%2").as_deref(), Some("a b%2"));
    assert_eq!(form(r"d=a\nb").as_deref(), Some("a\nb"));
    assert_eq!(form(r"d=a\\nb\\x\").as_deref(), Some(r"a\nb\\x\"));
    assert_eq!(form("x=1"), None);
    assert_eq!(form("d=%ff"), None);
    assert_eq!(form(&format!("d={}", "%c3%83%c2%a9")).as_deref(), Some("\u{c3}\u{a9}"));
    assert_eq!(jsonp::index("3);alert(1"), "31");
}

#[test]
fn messages_are_events_answers_or_nothing() {
    let Said::Event { event, data: None, call: Some(CallId::Integer(1)) } =
        event::parse(r#"{"event":"ready","cid":1}"#)
    else {
        panic!("an event")
    };
    assert_eq!(event, "ready");
    assert!(matches!(
        event::parse(r#"{"cid":3,"data":{}}"#),
        Said::Answer { to: 3, error: None, data: Some(_) }
    ));
    assert!(matches!(event::parse(r#"{"cid":3,"error":"x"}"#), Said::Answer { error: Some(_), .. }));
    for raw in
        ["null", "", "5", "[]", r#"["a"]"#, "{", "{}", r#"{"event":1,"cid":1}"#, r#"{"event":"","cid":1}"#]
    {
        assert!(matches!(event::parse(raw), Said::Raw), "{raw}");
    }
}

#[test]
fn channels_are_one_or_many() {
    let count = |json: &str| {
        let data: Box<serde_json::value::RawValue> = serde_json::from_str(json).expect("JSON");
        event::channels(Some(&data)).map(|channels| channels.len())
    };
    for (json, expected) in [
        (r#""a""#, Some(1)),
        (r#"["a","b"]"#, Some(2)),
        ("[]", Some(0)),
        (r#"["a",1]"#, None),
        ("null", None),
    ] {
        assert_eq!(count(json), expected, "{json}");
    }
}

#[test]
fn a_publication_names_its_channel_in_one_of_two_ways() {
    let read = |json: &str| {
        let data: Box<serde_json::value::RawValue> = serde_json::from_str(json).expect("JSON");
        event::publication(Some(&data)).map(|publication| {
            let text =
                |value: Option<&serde_json::value::RawValue>| value.map(|value| value.get().to_owned());
            (text(publication.channel), text(publication.event), text(publication.data))
        })
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(read(r#"{"event":"c","data":null}"#), Some((None, text("\"c\""), text("null"))));
    assert_eq!(read(r#"{"channel":"c"}"#), Some((text("\"c\""), None, None)));
    for nothing in ["null", "[]", r#""c""#, "1"] {
        assert_eq!(read(nothing), None, "{nothing}");
    }
    assert!(event::publication(None).is_none(), "the original died of this one");
}

#[test]
fn what_the_host_queues_is_told_in_the_classic_way() {
    let id = CallId::Integer(2);
    let told = |text: &str| match outbound::read(text) {
        Told::Answer { to, error, data } => {
            outbound::answer(to, error.map(RawValue::get), data.map(RawValue::get))
        }
        Told::Publication { channel, data } => outbound::publication(channel.get(), data.map(RawValue::get)),
        Told::KickOut(data) => outbound::event("\"kickOut\"", Some(data.get()), 9),
        Told::Event { name, data, cid } => {
            outbound::event(name.get(), data.map(RawValue::get), cid.unwrap_or(9))
        }
        Told::Nothing => String::new(),
    };
    let table = [
        (encode::event("greet", Some("\"hi\"")), r#"{"event":"greet","data":"hi","cid":9}"#),
        (encode::event("a\"b", None), r#"{"event":"a\"b","cid":9}"#),
        (encode::call("q", 3, Some("1")), r#"{"event":"q","data":1,"cid":3}"#),
        (encode::response(&id, None), r#"{"cid":2}"#),
        (encode::response(&id, Some("null")), r#"{"cid":2,"data":null}"#),
        (encode::refusal(&id, "\"no\"", Some("1")), r#"{"cid":2,"error":"no","data":1}"#),
        (encode::publication("c", Some("1")), r#"{"channel":"c","data":1}"#),
        (encode::publication("c", None), r#"{"channel":"c"}"#),
        (
            encode::kick_out("c", Some("m")),
            r#"{"event":"kickOut","data":{"channel":"c","message":"m"},"cid":9}"#,
        ),
        (encode::event("#removeAuthToken", None), ""),
        (encode::event("#setAuthToken", Some("{}")), ""),
        (encode::ping(crate::packet::Version::One).to_owned(), ""),
    ];
    for (queued, expected) in table {
        assert_eq!(told(&queued), expected, "{queued}");
    }
    assert_eq!(
        outbound::connect("_w0_8000_0_a", "my\"app", 1),
        r#"{"event":"connect","data":{"soid":"_w0_8000_0_a","appName":"my\"app"},"cid":1}"#
    );
}

#[test]
fn what_leaves_is_ascii_and_says_the_same() {
    let json = serde_json::to_string(SCRIPTS).expect("JSON");
    let escaped = escape(&json);
    assert!(escaped.is_ascii());
    assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), SCRIPTS);
    assert_eq!(packet::message("\"é\""), r#"4"\u00e9""#);
}

proptest! {
    #[test]
    fn no_bytes_break_the_readers(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = payload::binaries(&bytes).count();
        let text = String::from_utf8_lossy(&bytes);
        let _ = payload::texts(&text).count();
        let _ = jsonp::form(&bytes);
        let _ = event::parse(&text);
        let _ = outbound::read(&text);
        let _ = Texts::Unknown.read(&text);
        let _ = packet::parse_binary(&bytes);
    }

    #[test]
    fn near_payloads_do_not_either(text in "([0-9]{1,3}:[0-6b]?.{0,4}){0,5}") {
        for packet in payload::texts(&text).flatten() {
            if let Packet::Message(data) | Packet::Ping(data) = packet {
                // Bytes that are no text grow to replacement characters.
                prop_assert!(data.len() <= 3 * text.len());
            }
        }
    }

    #[test]
    fn text_payloads_survive(texts in proptest::collection::vec(".{0,20}", 1..6)) {
        let packets: Vec<_> = texts.iter().map(|text| format!("4{text}")).collect();
        let body = payload::write_text(&packets);
        let read = all(payload::texts(&body));
        prop_assert_eq!(read, Ok(texts.iter().map(|text| message(text)).collect()));
    }

    #[test]
    fn binary_payloads_survive(texts in proptest::collection::vec(".{0,20}", 1..6)) {
        let packets: Vec<_> = texts.iter().map(|text| format!("4{text}")).collect();
        let body = Framing::Binary.write(&packets);
        let read = all(payload::binaries(&body));
        prop_assert_eq!(read, Ok(texts.iter().map(|text| message(text)).collect()));
    }

    #[test]
    fn double_encoding_survives(text in ".*") {
        let doubled = twice(&text);
        prop_assert_eq!(encoding::read(&doubled), text.as_str());
    }

    #[test]
    fn escaped_json_says_the_same(text in ".*") {
        let json = serde_json::to_string(&text).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<String>(&escape(&json)).expect("JSON"), text);
    }

    #[test]
    fn forms_survive_a_client(json in "[a-z\\\\\"{}é]{0,30}") {
        // As a client escapes line ends.
        let escaped = json.replace("\\n", "\\\n").replace('\n', "\\n");
        let field: String = escaped.bytes().map(|byte| format!("%{byte:02x}")).collect();
        prop_assert_eq!(jsonp::form(format!("d={field}").as_bytes()), Some(json));
    }
}
