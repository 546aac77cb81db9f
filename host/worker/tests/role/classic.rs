//! Clients of the classic generation: what is particular to them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_core::controller::{Command, Event, Line, Verdict};
use sc_core::ids::Token;
use sc_core::link::control::{FromChild, ToChild};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::middleware::{decide, middleware};
use crate::rig::{Later, Rig, Source, config};
use crate::{Calls, local, quiet};

const POLLING: &str = "/socketcluster/?EIO=3&transport=polling&b64=1";

/// A request over a connection that is kept.
fn request(method: &str, target: &str, packets: &[&str]) -> String {
    let body: String =
        packets.iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect();
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The next answer: its status and its body.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        (head[9..12].to_owned(), String::from_utf8(body).unwrap())
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.expect("an answer in time")
}

async fn ask(stream: &mut TcpStream, method: &str, target: &str, packets: &[&str]) -> (String, String) {
    stream.write_all(request(method, target, packets).as_bytes()).await.unwrap();
    answer(stream).await
}

/// Where the requests of a polling socket go that this answer opened.
fn own(opened: &(String, String)) -> String {
    let sid = opened.1.split('"').nth(3).unwrap_or_else(|| panic!("{opened:?}"));
    format!("{POLLING}&sid={sid}")
}

/// Opens a polling socket, which is open then; gives its connection and its target.
async fn poller(rig: &Rig) -> (TcpStream, String) {
    let mut stream = rig.connect(request("GET", POLLING, &[]).as_bytes()).await;
    let target = own(&answer(&mut stream).await);
    assert!(ask(&mut stream, "GET", &target, &[]).await.1.contains("connect"));
    let ok = ("200".to_owned(), "ok".to_owned());
    assert_eq!(ask(&mut stream, "POST", &target, &[r#"4{"event":"ready","cid":1}"#]).await, ok);
    assert!(ask(&mut stream, "GET", &target, &[]).await.1.contains(r#"{"cid":1}"#));
    (stream, target)
}

/// Forgets events, as the SDK does with what only events' handlers hear; answers `which` with the generation, and
/// parks `park`.
fn release(hash: &'static str) -> impl Fn(&Event) -> Calls + 'static {
    move |event| {
        Ok(match event {
            Event::Message { event, reply: Some(reply), .. } => match &**event {
                "which" => vec![Command::Answer { reply: *reply, data: Some(hash.into()) }],
                "park" => vec![],
                _ => vec![Command::Forget { reply: *reply }],
            },
            _ => vec![],
        })
    }
}

local!(only_calls_are_refused_when_their_instance_is_replaced, async {
    let later = Later::new("2", vec![Command::Listen("*".into())], release("2"));
    let source = Source { later: vec![later], ..Source::new(release("1")) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let mut client = rig.classic().await;
    assert_eq!(client.ask(r#"4{"event":"ready","cid":1}"#).await, r#"4{"cid":1}"#);
    for cid in 2..12 {
        client.send(&format!(r#"4{{"event":"say","data":"hello","cid":{cid}}}"#)).await;
    }
    client.send(r#"4{"event":"park","cid":12}"#).await;
    assert_eq!(client.ask(r#"4{"event":"which","cid":13}"#).await, r#"4{"cid":13,"data":1}"#);
    rig.reload("fake", "2").await;
    let refused = client.next().await;
    assert!(refused.starts_with(r#"4{"cid":12,"error":{"#) && refused.contains("replaced"), "{refused}");
    assert_eq!(client.ask(r#"4{"event":"which","cid":14}"#).await, r#"4{"cid":14,"data":2}"#);
});

local!(what_was_asked_too_long_ago_to_be_waited_for_is_not_refused, async {
    let mut config = config();
    config.protocol.ack_timeout = Duration::from_millis(100);
    // A component that never forgets.
    let source = |hash: &'static str| {
        let release = release(hash);
        move |event: &Event| match release(event) {
            Ok(commands) if matches!(*commands, [Command::Forget { .. }]) => Ok(vec![]),
            other => other,
        }
    };
    let later = Later::new("2", vec![Command::Listen("*".into())], source("2"));
    let rig =
        Rig::start_from(config, Source { later: vec![later], ..Source::new(source("1")) }, vec![]).await;
    let mut client = rig.classic().await;
    client.ask(r#"4{"event":"ready","cid":1}"#).await;
    client.send(r#"4{"event":"say","cid":2}"#).await;
    assert_eq!(client.ask(r#"4{"event":"which","cid":3}"#).await, r#"4{"cid":3,"data":1}"#);
    tokio::time::sleep(Duration::from_millis(120)).await;
    rig.reload("fake", "2").await;
    let mut answer = String::new();
    while answer != r#"4{"cid":4,"data":2}"# {
        answer = client.ask(r#"4{"event":"which","cid":4}"#).await;
        assert!(answer.starts_with(r#"4{"cid":4,"#), "{answer}");
    }
});

local!(a_late_verdict_leaves_a_deadline_for_what_is_to_come, async {
    let mut config = config();
    config.protocol.handshake_timeout = Duration::from_millis(300);
    let held = Cell::new(None);
    let late = middleware(&[Line::Handshake], move |event| {
        Ok(match event {
            Event::Action { action, .. } => {
                held.set(Some(*action));
                let (token, period) = (Token(1 << 40), Duration::from_millis(500));
                vec![Command::Timer { token, period, repeat: false }]
            }
            Event::Timer { .. } => held
                .take()
                .map(|action| Command::Decide { action, verdict: Verdict::Allow })
                .into_iter()
                .collect(),
            _ => vec![],
        })
    });
    let rig = Rig::start_with(config, quiet, vec![late]).await;
    let mut client = rig.classic().await;
    let let_in = Instant::now();
    let end = client.next().await;
    assert!(end.starts_with("close"), "{end}");
    assert!(let_in.elapsed() > Duration::from_millis(200), "{:?}", let_in.elapsed());
});

local!(polling_sockets_that_do_not_open_have_a_bound, async {
    let rig = Rig::start(config(), quiet).await;
    let mut stream = rig.connect(request("GET", POLLING, &[]).as_bytes()).await;
    let first = own(&answer(&mut stream).await);
    let second = own(&ask(&mut stream, "GET", POLLING, &[]).await);
    for _ in 2..256 {
        assert_eq!(ask(&mut stream, "GET", POLLING, &[]).await.0, "200");
    }
    assert_eq!(ask(&mut stream, "GET", POLLING, &[]).await.0, "429");
    ask(&mut stream, "POST", &first, &[r#"4{"event":"ready","cid":1}"#]).await;
    assert_eq!(ask(&mut stream, "GET", POLLING, &[]).await.0, "200", "one has opened");
    assert_eq!(ask(&mut stream, "GET", POLLING, &[]).await.0, "429");
    // So does one that is gone.
    assert_eq!(ask(&mut stream, "POST", &second, &["1"]).await.0, "200");
    assert!(ask(&mut stream, "GET", &second, &[]).await.1.ends_with("1:1"));
    assert_eq!(ask(&mut stream, "GET", POLLING, &[]).await.0, "200");
});

local!(the_parts_of_a_message_stay_ahead_of_what_came_after_it, async {
    let gate = Rc::new(Notify::new());
    let mut it =
        middleware(&[Line::Invoke, Line::Subscribe], |event| decide(event, |_, _, _| Some(Verdict::Allow)));
    it.gate = Some(Rc::clone(&gate));
    let rig = Rig::start_with(config(), release("1"), vec![it]).await;
    let mut client = rig.classic().await;
    client.ask(r#"4{"event":"ready","cid":1}"#).await;
    client.send(r#"4{"event":"wait","cid":2}"#).await;
    client.send(r#"4{"event":"subscribe","data":["a","b","c"],"cid":3}"#).await;
    client.send(r#"4{"event":"which","cid":4}"#).await;
    // What they say was read when its answer comes.
    rig.heard(|event| matches!(event, Event::Action { name, .. } if &**name == "wait")).await;
    assert_eq!(client.ask("2").await, "3");
    gate.notify_one();
    let mut answers = [client.next().await, client.next().await];
    answers.sort();
    assert_eq!(answers, [r#"4{"cid":3}"#, r#"4{"cid":4,"data":1}"#]);
    let log = rig.log.borrow();
    let names: Vec<_> = log
        .iter()
        .filter_map(|event| match event {
            Event::Action { name, .. } => Some(&**name),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["wait", "a", "b", "c", "which"]);
});

local!(a_message_has_its_limit_once_it_is_decoded, async {
    let mut config = config();
    config.client.max_payload = 1000;
    let rig = Rig::start(config, release("1")).await;
    let mut client = rig.classic().await;
    client.ask(r#"4{"event":"ready","cid":1}"#).await;
    let message = |length: usize| {
        let text = format!(r#"{{"event":"which","cid":2,"data":"{}"}}"#, "x".repeat(length));
        let fill = text.len() - length;
        let text = text.replace(&"x".repeat(length), &"\u{e9}".repeat((length - fill) / 2));
        let twice: String = text.bytes().map(char::from).collect();
        (text.len(), format!("4{twice}"))
    };
    let (length, text) = message(1000);
    assert!(length <= 1000 && length > 990 && text.len() > 1800, "{length} {}", text.len());
    assert_eq!(client.ask(&text).await, r#"4{"cid":2,"data":1}"#);
    let (length, text) = message(1004);
    assert!(length > 1000 && text.len() <= 2001);
    assert_eq!(client.ask(&text).await, "close 1009");
});

local!(a_request_whose_socket_upgrades_meanwhile_ends, async {
    let gate = Rc::new(Notify::new());
    let mut it = middleware(&[Line::Invoke], |event| decide(event, |_, _, _| Some(Verdict::Allow)));
    it.gate = Some(gate);
    let rig = Rig::start_with(config(), release("1"), vec![it]).await;
    let (mut stream, target) = poller(&rig).await;
    // More than may wait behind an action that is not decided.
    let mut packets = vec![r#"4{"event":"wait","cid":2}"#];
    packets.resize(300, r#"4{"event":"say","cid":3}"#);
    stream.write_all(request("POST", &target, &packets).as_bytes()).await.unwrap();
    rig.heard(|event| matches!(event, Event::Action { name, .. } if &**name == "wait")).await;
    let sid = target.rsplit('=').next().unwrap();
    let mut client = rig.websocket_of(&format!("EIO=3&transport=websocket&sid={sid}")).await;
    assert_eq!(client.ask("2probe").await, "3probe");
    client.send("5").await;
    assert_eq!(answer(&mut stream).await.0, "400");
});

local!(a_drain_tells_a_client_between_two_polls, async {
    let rig = Rig::start(config(), quiet).await;
    let (mut stream, target) = poller(&rig).await;
    let mut other = rig.client().await;
    rig.master.send(&ToChild::Drain(5000), &[]).await.unwrap();
    assert_eq!(other.next().await, "close 1001");
    other.next().await;
    let last = ask(&mut stream, "GET", &target, &[]).await;
    assert_eq!(last, ("200".to_owned(), "1:1".to_owned()));
    // Its connection ends too, and the drain with it.
    let ended = async {
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        while !matches!(rig.master.recv().await.unwrap(), Some((FromChild::Drained, _))) {}
    };
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("the end in time");
});
