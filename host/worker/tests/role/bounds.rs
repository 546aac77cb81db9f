//! What is bounded: names, what one message brings, who is judged while nobody reads it, what a component asks for.

use std::rc::Rc;
use std::time::Duration;

use sc_core::controller::{Command, Event, Failure, HttpFetch};
use sc_core::ids::Token;
use sc_core::limits::{CHANNEL_NAME_MAX, FETCH_BODY_BYTES, GUEST_QUEUE_PER_SOCKET, REPLIES_PER_SOCKET};
use tokio::sync::Notify;

use crate::local;
use crate::rig::{Rig, Source, config};

local!(names_of_channels_have_an_end, async {
    let rig = Rig::start(config(), crate::quiet).await;
    let mut client = rig.client().await;
    for (length, is_taken) in [(CHANNEL_NAME_MAX, true), (CHANNEL_NAME_MAX + 1, false)] {
        let name = "x".repeat(length);
        for (event, cid) in [("#publish", 2), ("#subscribe", 3)] {
            let call = format!(r#"{{"event":"{event}","data":{{"channel":"{name}"}},"cid":{cid}}}"#);
            let answer = client.ask(&call).await;
            if is_taken {
                assert_eq!(answer, format!(r#"{{"rid":{cid}}}"#));
            } else {
                assert!(answer.contains("longer than 4096 bytes"), "{answer}");
                assert!(answer.contains(r#""name":"InvalidActionError""#), "{answer}");
            }
        }
    }
});

// A batch goes on as there is room: none of its calls is forgotten, and what is behind it waits.
local!(a_large_batch_is_handled_bit_by_bit, async {
    let rig = Rig::start(config(), crate::lively).await;
    let mut client = rig.client().await;
    assert_eq!(client.next().await, r#"{"event":"greet","data":1}"#);
    let calls = 3 * REPLIES_PER_SOCKET;
    let packets: Vec<_> = (1..=calls).map(|cid| format!(r#"{{"event":"echo","cid":{cid}}}"#)).collect();
    let batch = format!("[{}]", packets.join(", "));
    let last = format!(r#"{{"event":"echo","cid":{}}}"#, calls + 1);
    client.send_together(&[&batch, &last]).await;
    for cid in 1..=calls + 1 {
        assert_eq!(client.next().await, format!(r#"{{"rid":{cid}}}"#));
    }
});

local!(who_is_not_read_is_not_silent, async {
    let mut config = config();
    config.protocol.ping_timeout = Duration::from_secs(1);
    let gate = Rc::new(Notify::new());
    let source = Source { gate: Some(Rc::clone(&gate)), ..Source::new(crate::lively) };
    let rig = Rig::start_from(config, source, vec![]).await;
    let mut speaks = rig.client().await;
    gate.notify_one();
    assert_eq!(speaks.next().await, r#"{"event":"greet","data":1}"#);
    // The controller is at another socket.
    let _other = rig.client().await;
    for _ in 0..2 * GUEST_QUEUE_PER_SOCKET {
        speaks.send(r#"{"event":"much"}"#).await;
    }
    speaks.send(r#"{"event":"echo","cid":2}"#).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    gate.notify_one();
    assert_eq!(speaks.next().await, r#"{"rid":2}"#);
});

local!(bodies_of_requests_that_go_out_have_a_bound_together, async {
    let rig = Rig::start(config(), |event: &Event| {
        let Event::Open(_) = event else { return Ok(vec![]) };
        let fetch = |token| {
            let body = vec![0; FETCH_BODY_BYTES / 2 + 1];
            let (url, method) = ("http://example.com/".into(), "POST".into());
            let request = HttpFetch { url, method, headers: vec![], body, timeout: None };
            Command::Fetch { token: Token(token), request }
        };
        Ok(vec![fetch(1 << 40), fetch(1 << 41)])
    })
    .await;
    let _client = rig.client().await;
    for (token, expected) in [(1 << 41, "ResourceLimitError"), (1 << 40, "NotAllowedError")] {
        let is_it = |event: &Event| {
            let Event::Fetched { to: Token(to), outcome: Err(Failure::Error { name: Some(name), .. }) } =
                event
            else {
                return false;
            };
            *to == token && &**name == expected
        };
        rig.heard(is_it).await;
    }
});
