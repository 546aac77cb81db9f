//! The worker role with a native controller: what a client sees, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod bounds;
mod classic;
mod fatal;
mod lines;
mod middleware;
mod operator;
mod pauses;
mod rig;
mod swaps;

use std::rc::Rc;
use std::time::Duration;

use sc_core::controller::{CallError, Command, Event, Failure, Fault, HttpResponse};
use sc_core::link::control::{FromChild, ToChild};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use rig::{Rig, Source, config, generation};

type Calls = Result<Vec<Command>, CallError>;

fn quiet(_: &Event) -> Calls {
    Ok(vec![])
}

/// Answers calls, greets, traps on demand.
fn lively(event: &Event) -> Calls {
    Ok(match event {
        Event::Open(info) => {
            vec![Command::Emit { to: info.id, event: "greet".into(), data: Some("1".into()) }]
        }
        Event::Message { event, .. } if &**event == "trap" => {
            return Err(CallError::new(Fault::Trap, "boom"));
        }
        Event::Message { event, reply: Some(reply), .. } if &**event == "fail" => {
            vec![Command::Refuse { reply: *reply, error: Failure::named("BadError", "bad") }]
        }
        Event::Message { event, .. } if &**event == "park" => vec![],
        Event::Message { event, socket, reply, .. } if &**event == "login" => vec![
            Command::SetAuth { who: *socket, claims: r#"{"username":"bob"}"#.into(), expires_in: None },
            Command::Answer { reply: reply.unwrap(), data: None },
        ],
        Event::Message { data, reply: Some(reply), .. } => {
            vec![Command::Answer { reply: *reply, data: data.clone() }]
        }
        _ => vec![],
    })
}

macro_rules! local {
    ($name:ident, $body:expr) => {
        #[tokio::test]
        async fn $name() {
            tokio::task::LocalSet::new().run_until($body).await;
        }
    };
}
pub(crate) use local;

local!(calls_are_answered_and_failures_have_the_shapes_of_the_protocol, async {
    let rig = Rig::start(config(), lively).await;
    let mut client = rig.client().await;
    assert_eq!(client.next().await, r#"{"event":"greet","data":1}"#);
    assert_eq!(
        client.ask(r#"{"event":"echo","data":{"a":[1]},"cid":7}"#).await,
        r#"{"rid":7,"data":{"a":[1]}}"#
    );
    let failure = r#"{"rid":8,"error":{"message":"bad","name":"BadError"}}"#;
    assert_eq!(client.ask(r#"{"event":"fail","cid":8}"#).await, failure);
    client.send(r#"[{"event":"echo","cid":9},[],{"event":"echo","data":null,"cid":-1.5}]"#).await;
    assert_eq!(client.next().await, r#"{"rid":9}"#);
    assert_eq!(client.next().await, r#"{"rid":-1.5,"data":null}"#);
});

local!(a_login_puts_the_token_ahead_of_its_answer, async {
    let rig = Rig::start(config(), lively).await;
    let mut client = rig.client().await;
    client.next().await;
    let token = client.ask(r#"{"event":"login","cid":2}"#).await;
    assert!(token.starts_with(r##"{"event":"#setAuthToken","data":{"token":"ey"##), "{token}");
    assert_eq!(client.next().await, r#"{"rid":2}"#);
    let jwt = token.split('"').nth(9).unwrap();
    let answer = client.ask(&format!(r##"{{"event":"#authenticate","data":"{jwt}","cid":3}}"##)).await;
    assert_eq!(answer, r#"{"rid":3,"data":{"isAuthenticated":true,"authError":null}}"#);
    let bad = client.ask(r##"{"event":"#authenticate","data":"abc","cid":4}"##).await;
    assert_eq!(
        bad,
        r#"{"rid":4,"error":{"message":"jwt malformed","name":"AuthTokenInvalidError","isBadToken":true}}"#
    );
    assert_eq!(client.next().await, r##"{"event":"#removeAuthToken"}"##);
});

local!(publications_reach_their_subscribers_in_order, async {
    let rig = Rig::start(config(), quiet).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    assert_eq!(two.ask(r##"{"event":"#subscribe","data":{"channel":"c"},"cid":2}"##).await, r#"{"rid":2}"#);
    one.send(r##"{"event":"#publish","data":{"channel":"c","data":1}}"##).await;
    assert_eq!(one.ask(r##"{"event":"#publish","data":{"channel":"c"},"cid":5}"##).await, r#"{"rid":5}"#);
    assert_eq!(two.next().await, r##"{"event":"#publish","data":{"channel":"c","data":1}}"##);
    assert_eq!(two.next().await, r##"{"event":"#publish","data":{"channel":"c"}}"##);
    let again = two.ask(r##"{"event":"#unsubscribe","data":"c","cid":6}"##).await;
    assert_eq!(again, r#"{"rid":6}"#);
    let gone = two.ask(r##"{"event":"#unsubscribe","data":"c","cid":7}"##).await;
    assert!(gone.contains(r#""name":"BrokerError""#), "{gone}");
});

local!(malformed_actions_are_errors_and_the_connection_survives, async {
    let rig = Rig::start(config(), quiet).await;
    let mut client = rig.client().await;
    for (cid, action, data) in [
        (2, "#subscribe", "[null]"),
        (3, "#subscribe", r#"{"channel":{"hello":123}}"#),
        (4, "#subscribe", "null"),
        (5, "#unsubscribe", "[null]"),
        (6, "#publish", "null"),
        (7, "#publish", r#"{"channel":{"hello":123}}"#),
        (8, "#publish", r#"{"channel":null}"#),
    ] {
        let answer = client.ask(&format!(r#"{{"event":"{action}","data":{data},"cid":{cid}}}"#)).await;
        assert!(answer.starts_with(&format!(r#"{{"rid":{cid},"error":"#)), "{answer}");
        assert!(answer.contains(r#""name":"InvalidActionError""#), "{answer}");
    }
    for channel in ["a", "b", "c"] {
        client.ask(&format!(r##"{{"event":"#subscribe","data":{{"channel":"{channel}"}},"cid":9}}"##)).await;
    }
    let full = client.ask(r##"{"event":"#subscribe","data":{"channel":"a"},"cid":10}"##).await;
    assert!(full.contains("tried to exceed the channel subscription limit of 3"), "{full}");
});

local!(frames_that_arrive_in_one_read_are_all_handled, async {
    let rig = Rig::start(config(), lively).await;
    let mut client = rig.client().await;
    client.next().await;
    client
        .send_together(&[
            r##"{"event":"#nobody"}"##,
            "raw",
            r#"{"event":"echo","cid":1}"#,
            r#"{"event":"echo","cid":2}"#,
        ])
        .await;
    assert_eq!(client.next().await, r#"{"rid":1}"#);
    assert_eq!(client.next().await, r#"{"rid":2}"#);
});

local!(what_comes_before_the_handshake_closes_the_socket, async {
    let rig = Rig::start(config(), quiet).await;
    for (text, end) in [
        ("", "close 4009"),
        ("#2", "close 4009"),
        ("hello", "close 4009"),
        (r#"{"event":"x"}"#, "close 4009"),
        (r#"{"rid":1}"#, "close 4009"),
        (r#"[{"event":"x"}]"#, "close 4009"),
        (r##"{"event":"#handshake"}"##, "close 4008"),
        (r##"{"event":"#handshake","cid":"1"}"##, "close 4008"),
    ] {
        let mut client = rig.websocket().await;
        assert_eq!(client.ask(text).await, end, "{text}");
    }
    let mut client = rig.websocket().await;
    client.send(r##"[{"event":"#handshake","cid":1},{"event":"#publish","data":null,"cid":2}]"##).await;
    assert!(client.next().await.contains("isAuthenticated"));
    assert!(client.next().await.contains("InvalidActionError"));
});

local!(a_trap_fails_its_call_and_the_parked_ones_and_nothing_else, async {
    let rig = Rig::start(config(), lively).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    assert_eq!(one.next().await, r#"{"event":"greet","data":1}"#);
    assert_eq!(two.next().await, r#"{"event":"greet","data":1}"#);
    two.send(r#"{"event":"park","cid":2}"#).await;
    assert_eq!(two.ask(r#"{"event":"echo","cid":3}"#).await, r#"{"rid":3}"#);
    let guilty = one.ask(r#"{"event":"trap","cid":4}"#).await;
    assert!(guilty.starts_with(r#"{"rid":4,"error":{"#) && guilty.contains("ControllerError"), "{guilty}");
    let parked = two.next().await;
    assert!(parked.starts_with(r#"{"rid":2,"error":{"#), "{parked}");
    assert_eq!(two.ask(r#"{"event":"echo","cid":5}"#).await, r#"{"rid":5}"#);
    assert_eq!(one.ask(r#"{"event":"echo","cid":6}"#).await, r#"{"rid":6}"#);
    let resumed = rig.log.borrow().iter().filter(|event| matches!(event, Event::Resume(_))).count();
    assert_eq!(resumed, 2);
});

/// Listens when it is told of a socket, and not before.
fn late(event: &Event) -> Calls {
    match event {
        Event::Open(_) | Event::Resume(_) => Ok(vec![Command::Listen("*".into())]),
        other => lively(other),
    }
}

local!(a_call_that_comes_while_the_controller_is_told_of_its_socket_is_answered, async {
    let gate = Rc::new(Notify::new());
    let source = Source { first: vec![], gate: Some(Rc::clone(&gate)), ..Source::new(late) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let told = |count: usize| {
        let log = Rc::clone(&rig.log);
        async move {
            let of_sockets = |event: &&Event| matches!(event, Event::Open(_) | Event::Resume(_));
            while log.borrow().iter().filter(of_sockets).count() < count {
                tokio::task::yield_now().await;
            }
        }
    };
    let mut client = rig.client().await;
    for (count, cid) in [(1, 2), (2, 5)] {
        told(count).await;
        client.send(&format!(r#"{{"event":"echo","cid":{cid}}}"#)).await;
        // Its answer shows that the call before it was taken.
        let subscribe = format!(r##"{{"event":"#subscribe","data":{{"channel":"c"}},"cid":{}}}"##, cid + 1);
        assert_eq!(client.ask(&subscribe).await, format!(r#"{{"rid":{}}}"#, cid + 1));
        gate.notify_one();
        assert_eq!(client.next().await, format!(r#"{{"rid":{cid}}}"#));
        client.send(r##"{"event":"#unsubscribe","data":"c"}"##).await;
        let trapped = client.ask(r#"{"event":"trap","cid":4}"#).await;
        assert!(trapped.starts_with(r#"{"rid":4,"error":{"#), "{trapped}");
    }
});

/// The status line's number of what is answered in so long.
async fn status(stream: &mut TcpStream, deadline: Duration) -> Option<String> {
    let mut head = [0; 12];
    let read = tokio::time::timeout(deadline, stream.read_exact(&mut head)).await;
    read.is_ok_and(|read| read.is_ok()).then(|| String::from_utf8_lossy(&head[9..]).into_owned())
}

local!(bodies_of_requests_have_256_mib_together, async {
    const PIECE: &[u8] = &[b'x'; 1 << 20];
    const SOON: Duration = Duration::from_secs(20);
    let mut config = config();
    (config.http.body_max, config.http.body_timeout) = (300 << 20, Duration::from_secs(60));
    let controller = |event: &Event| {
        Ok(match event {
            Event::Request(request) => {
                let body = request.body.len().to_string().into_bytes();
                let response = HttpResponse { status: 200, headers: vec![], body };
                vec![Command::Respond { request: request.token, response }]
            }
            _ => vec![],
        })
    };
    let mut source = Source::new(controller);
    source.first = vec![Command::Route { method: "POST".into(), pattern: "/up".into() }];
    let rig = Rig::start_from(config, source, vec![]).await;
    let begin = async |mib: usize| {
        let head = format!("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", mib << 20);
        rig.connect(head.as_bytes()).await
    };
    let mut large = begin(250).await;
    for _ in 0..249 {
        large.write_all(PIECE).await.unwrap();
    }
    let mut small = begin(5).await;
    for _ in 0..5 {
        small.write_all(PIECE).await.unwrap();
    }
    assert_eq!(status(&mut small, SOON).await.as_deref(), Some("200"), "there is room");
    let mut refused = begin(20).await;
    for _ in 0..20 {
        // Who is refused need not have sent all.
        let _ = refused.write_all(PIECE).await;
    }
    assert_eq!(status(&mut refused, SOON).await.as_deref(), Some("503"));
    assert_eq!(
        status(&mut large, Duration::from_millis(300)).await,
        None,
        "the one that was there first goes on"
    );
    drop(large);
    let mut again = begin(20).await;
    for _ in 0..20 {
        again.write_all(PIECE).await.unwrap();
    }
    assert_eq!(status(&mut again, SOON).await.as_deref(), Some("200"), "its room is free again");
});

local!(http_has_its_endpoints_and_its_refusals, async {
    let rig = Rig::start(config(), quiet).await;
    for (request, status) in [
        ("GET /sc/health HTTP/1.1", "HTTP/1.1 200"),
        ("GET /sc/client.js HTTP/1.1", "HTTP/1.1 200"),
        ("POST /sc/health HTTP/1.1", "HTTP/1.1 405"),
        ("GET /nothing HTTP/1.1", "HTTP/1.1 404"),
        ("GET /socketcluster/ HTTP/1.1", "HTTP/1.1 426"),
        ("GET /other/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade", "HTTP/1.1 400"),
    ] {
        let request = format!("{request}\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let mut stream = rig.connect(request.as_bytes()).await;
        stream.flush().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(status), "{request}{answer}");
    }
});

local!(a_drain_says_goodbye_to_every_socket, async {
    let rig = Rig::start(config(), quiet).await;
    let mut client = rig.client().await;
    rig.master.send(&ToChild::Drain(5000), &[]).await.unwrap();
    assert_eq!(client.next().await, "close 1001");
    // The client's library answers the close frame when it is polled again.
    client.next().await;
    loop {
        match rig.master.recv().await.unwrap() {
            Some((FromChild::Drained, _)) => break,
            Some(_) => {}
            None => panic!("the worker ended without a word"),
        }
    }
    assert!(rig.log.borrow().iter().any(|event| matches!(event, Event::Close { code: 1001, .. })));
});

local!(a_clients_last_words_are_heard, async {
    let rig = Rig::start(config(), |event: &Event| match event {
        Event::Message { event, socket, .. } if &**event == "kick" => {
            Ok(vec![Command::Close { who: *socket, code: 4444, reason: "out".into() }])
        }
        other => lively(other),
    })
    .await;
    let said = |name: &str| {
        let log = rig.log.borrow();
        log.iter().position(|of| matches!(of, Event::Message { event, .. } if &**event == name))
    };
    let (mut leaves, mut is_kicked) = (rig.client().await, rig.client().await);
    leaves.leave_with(&[r#"{"event":"leave"}"#, r#"{"event":"bye","data":1,"cid":2}"#], 4000).await;
    rig.heard(|event| matches!(event, Event::Close { code: 4000, .. })).await;
    let end = rig.log.borrow().iter().position(|event| matches!(event, Event::Close { .. }));
    assert!(said("leave").is_some() && said("leave") < said("bye") && said("bye") < end);
    // Whoever was put out said nothing more.
    is_kicked.send_together(&[r#"{"event":"kick"}"#, r#"{"event":"more","cid":2}"#]).await;
    rig.heard(|event| matches!(event, Event::Close { code: 4444, .. })).await;
    assert!(said("kick").is_some() && said("more").is_none());
});

/// The next answer to a reload or a roll-back: the order's number, and how it ended.
async fn reloaded(rig: &Rig) -> (u64, Result<(), String>) {
    loop {
        let said = tokio::time::timeout(Duration::from_secs(5), rig.master.recv()).await;
        if let FromChild::Reloaded(number, outcome) = said.expect("in time").unwrap().unwrap().0 {
            return (number, outcome);
        }
    }
}

local!(orders_are_answered_by_their_numbers, async {
    let rig = Rig::start(config(), quiet).await;
    let reload = |number, name, hash| ToChild::Reload(number, Box::new(generation(name, hash, false)));
    let back = |number| ToChild::RollBack(number, "fake".into());
    // An order takes the place of the one before, which is not answered any more.
    for order in [reload(5, "fake", "2"), reload(6, "fake", "3")] {
        rig.master.send(&order, &[]).await.unwrap();
    }
    assert_eq!(reloaded(&rig).await, (6, Ok(())));
    for (order, answer) in [
        (back(7), (7, Ok(()))),
        (back(8), (8, Err("there is no generation to go back to".to_owned()))),
        (reload(9, "nobody", "1"), (9, Err("this worker has no component nobody".to_owned()))),
        (reload(10, "fake", "4"), (10, Ok(()))),
    ] {
        rig.master.send(&order, &[]).await.unwrap();
        assert_eq!(reloaded(&rig).await, answer);
    }
});

/// Keys that come in a row: the first is told at once, the last a second later, none between, and a drain waits for
/// none.
#[tokio::test]
async fn keys_of_tokens_are_told_one_a_second() {
    let run = async {
        let behave = |event: &Event| match event {
            Event::Message { data: Some(data), .. } => {
                let keys = ["unseen", data.trim_matches('"')];
                Ok(keys.map(|key| Command::RotateAuthKey(key.into())).into())
            }
            _ => Ok(vec![]),
        };
        let rig = Rig::start(config(), behave).await;
        let mut client = rig.client().await;
        for key in ["a", "b", "c"] {
            client.send(&format!(r#"{{"event":"key","data":"{key}"}}"#)).await;
        }
        let told = async || loop {
            match rig.master.recv().await.unwrap().unwrap().0 {
                FromChild::RotateAuthKey(key) => return key,
                FromChild::Drained => return "drained".to_owned(),
                _ => {}
            }
        };
        assert_eq!(told().await, "a");
        let began = std::time::Instant::now();
        assert_eq!(told().await, "c");
        assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
        client.send(r#"{"event":"key","data":"d"}"#).await;
        rig.heard(|event| matches!(event, Event::Message { data: Some(data), .. } if &**data == "\"d\""))
            .await;
        rig.master.send(&ToChild::Drain(1_000), &[]).await.unwrap();
        assert_eq!(told().await, "d");
        assert_eq!(told().await, "drained");
    };
    tokio::task::LocalSet::new().run_until(run).await;
}
