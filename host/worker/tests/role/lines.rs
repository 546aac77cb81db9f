//! The lines around events: requests before they are answered, messages before they are read, publications before they
//! reach a subscriber, and the end of it all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sc_core::controller::{Command, Event, Failure, HttpResponse, Line, RequestHead, Verdict};
use sc_core::ids::Token;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::middleware::{block, decide, echo, middleware, trap};
use crate::rig::{Client, Middleware, Rig, config};
use crate::{Calls, local, quiet};

const UPGRADE: &str = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: LmW0iHY7ICJD+kV31K/jow==\r\nX-Who: Bob\r\n\r\n";

fn admit(event: &Event, verdict: impl Fn(Line, &RequestHead) -> Verdict) -> Calls {
    let Event::RequestAction { action, line, request, .. } = event else { return Ok(vec![]) };
    Ok(vec![Command::Decide { action: *action, verdict: verdict(*line, request) }])
}

fn allow(action: Token) -> Command {
    Command::Decide { action, verdict: Verdict::Allow }
}

/// All that comes until the other side is done.
async fn whole(mut stream: TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// The head of an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

local!(an_upgrade_is_decided_about_before_it_is_answered, async {
    let guard = middleware(&[Line::Upgrade], |event| {
        admit(event, |line, request| {
            assert_eq!(
                (line, request.method.as_str(), request.path.as_str()),
                (Line::Upgrade, "GET", "/socketcluster/")
            );
            let is_named = request.headers.contains(&("x-who".into(), b"Bob".to_vec()));
            assert!(is_named || request.query == "a=1", "{request:?}");
            assert!(!request.session.is_empty() && request.address == "127.0.0.1");
            match request.query.as_str() {
                "no" => block("NoError"),
                "text" => Verdict::Block { error: Failure::Text("plain".into()), code: Some(4501) },
                "silent" => Verdict::BlockSilently,
                "answer" => Verdict::Answer(HttpResponse {
                    status: 429,
                    headers: vec![("retry-after".into(), b"7".to_vec())],
                    body: b"slow down".to_vec(),
                }),
                "redirect" => Verdict::Answer(HttpResponse { status: 303, headers: vec![], body: vec![] }),
                _ => Verdict::AllowWith(Some("1".into())),
            }
        })
    });
    let rig = Rig::start_with(config(), quiet, vec![guard]).await;
    for (query, start, end) in [
        ("no", "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n", "\r\n\r\nno"),
        ("text", "HTTP/1.1 401 ", "\r\n\r\nplain"),
        ("silent", "HTTP/1.1 401 ", "\r\n\r\nThe handshakeWS AGAction was blocked by handshake middleware"),
        (
            "answer",
            "HTTP/1.1 429 Too Many Requests\r\n",
            "retry-after: 7\r\nContent-Length: 9\r\n\r\nslow down",
        ),
        ("redirect", "HTTP/1.1 403 Forbidden\r\n", "\r\n\r\n"),
    ] {
        let request = format!("GET /socketcluster/?{query} HTTP/1.1\r\n{UPGRADE}");
        let answer = whole(rig.connect(request.as_bytes()).await).await;
        assert!(answer.starts_with(start) && answer.ends_with(end), "{query}: {answer}");
    }
    let mut client = rig.client().await;
    assert_eq!(
        client.ask(r##"{"event":"#subscribe","data":{"channel":"c"},"cid":2}"##).await,
        r#"{"rid":2}"#
    );
});

local!(who_cannot_decide_about_a_request_refuses_it_unless_it_fails_open, async {
    for fails_open in [false, true] {
        let mut guard = middleware(&[Line::Upgrade, Line::Request], |event| match event {
            Event::RequestAction { .. } => trap(),
            _ => Ok(vec![]),
        });
        guard.fails_open = fails_open;
        let rig = Rig::start_with(config(), quiet, vec![guard]).await;
        let mut stream = rig.connect(format!("GET /socketcluster/ HTTP/1.1\r\n{UPGRADE}").as_bytes()).await;
        let answer = head(&mut stream).await;
        let expected = if fails_open { "HTTP/1.1 101" } else { "HTTP/1.1 503" };
        assert!(answer.starts_with(expected) && answer.contains("retry-after: 1") != fails_open, "{answer}");
        let mut stream = rig.connect(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let answer = head(&mut stream).await;
        assert!(answer.starts_with(if fails_open { "HTTP/1.1 404" } else { "HTTP/1.1 503" }), "{answer}");
    }
});

local!(requests_are_decided_about_and_the_hosts_own_are_not, async {
    let guard = middleware(&[Line::Request], |event| {
        if let Event::RequestAction { action, name, .. } = event
            && &**name == "/secret/x"
        {
            return Ok(vec![Command::Decide { action: *action, verdict: block("NoError") }]);
        }
        admit(event, |_, request| match request.path.as_str() {
            "/no" => block("NoError"),
            "/silent" => Verdict::BlockSilently,
            "/moved" => Verdict::Answer(HttpResponse {
                status: 303,
                headers: vec![("location".into(), b"/login".to_vec())],
                body: vec![],
            }),
            path if path.starts_with("/sc/") || path.starts_with("/socketcluster/") => block("HostError"),
            _ => Verdict::Allow,
        })
    });
    // What the controller is given is what the middleware saw.
    let behave = |event: &Event| {
        let Event::Request(request) = event else { return Ok(vec![]) };
        let body = request.session.clone().into_bytes();
        let response = HttpResponse { status: 200, headers: vec![], body };
        Ok(vec![Command::Respond { request: request.token, response }])
    };
    let rig = Rig::start_with(config(), behave, vec![guard]).await;
    let mut stream = rig.connect(b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut answers = vec![head(&mut stream).await];
    for path in
        ["/sc/health", "/socketcluster/", "/silent", "/moved", "/other", "/%73ecret//x", "/a/../secret/x"]
    {
        // Each answer's body is read with the next head.
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        answers.push(head(&mut stream).await);
    }
    for (answer, part) in answers.iter().zip([
        "HTTP/1.1 403 ",
        "HTTP/1.1 200 ",
        "HTTP/1.1 426 ",
        "HTTP/1.1 403 ",
        "HTTP/1.1 303 ",
        "HTTP/1.1 404 ",
        "HTTP/1.1 403 ",
        "HTTP/1.1 400 ",
    ]) {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let [blocked, health, _, _, moved, ..] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(blocked.contains("set-cookie: n/test/ssid="), "{blocked}");
    assert!(!health.contains("set-cookie"), "{health}");
    assert!(moved.contains("location: /login"), "{moved}");
});

local!(a_message_is_decided_about_before_it_is_read, async {
    let raw = middleware(&[Line::InboundRaw], |event| {
        decide(event, |line, name, data| {
            assert_eq!((line, name), (Line::InboundRaw, ""));
            let text: String = serde_json::from_str(data.unwrap()).unwrap();
            Some(match text {
                text if text.contains("vanish") => Verdict::BlockSilently,
                text if text.contains("refuse") => block("RawError"),
                text if text.contains("broken") => Verdict::AllowWith(Some("{}".into())),
                text => Verdict::AllowWith(Some(serde_json::to_string(&text.replace("old", "new")).unwrap())),
            })
        })
    });
    let rig = Rig::start_with(config(), echo, vec![raw]).await;
    let mut client = rig.client().await;
    let changed = client.ask(r#"{"event":"old","data":"old \"text\"","cid":2}"#).await;
    assert_eq!(changed, r#"{"rid":2,"data":"new \"text\""}"#);
    client
        .send_together(&[
            r#"{"event":"x","data":"vanish","cid":3}"#,
            r#"[{"event":"refuse"},{"event":"x","cid":4},{"event":"x","data":1,"cid":5}]"#,
            r#"{"event":"broken","cid":6}"#,
            "refuse",
            r#"{"event":"x","cid":7}"#,
        ])
        .await;
    let error = r#""error":{"message":"no","name":"RawError"}"#;
    assert_eq!(client.next().await, format!(r#"{{"rid":4,{error}}}"#));
    assert_eq!(client.next().await, format!(r#"{{"rid":5,{error}}}"#));
    let broken = client.next().await;
    assert!(broken.contains(r#""rid":6"#) && broken.contains("only be replaced by a text"), "{broken}");
    assert_eq!(client.next().await, r#"{"rid":7}"#);

    let mut refused = rig.websocket().await;
    let answer = refused.ask(r##"{"event":"#handshake","data":{"refuse":1},"cid":1}"##).await;
    assert!(answer.contains(r#""name":"RawError""#) && answer.contains(r#""code":4008"#), "{answer}");
    assert_eq!(refused.next().await, "close 4008");
});

local!(messages_keep_their_order_and_a_handshake_that_vanished_is_missed, async {
    let parked = Rc::new(Cell::new(None));
    let held = Rc::clone(&parked);
    let raw = middleware(&[Line::InboundRaw], move |event| {
        let Event::Action { action, data, .. } = event else { return Ok(vec![]) };
        let data = data.as_deref().unwrap_or_default();
        Ok(match data {
            data if data.contains("vanish") => {
                vec![Command::Decide { action: *action, verdict: Verdict::BlockSilently }]
            }
            data if data.contains("hold") => {
                held.set(Some(*action));
                vec![]
            }
            data if data.contains("let go") => {
                held.take().map(allow).into_iter().chain([allow(*action)]).collect()
            }
            _ => vec![allow(*action)],
        })
    });
    let mut config = config();
    config.protocol.handshake_timeout = Duration::from_secs(2);
    let rig = Rig::start_with(config, echo, vec![raw]).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.send_together(&[
        r#"{"event":"hold","cid":2}"#,
        r#"{"event":"a","cid":3}"#,
        r##"{"event":"#subscribe","data":{"channel":"c"},"cid":4}"##,
        r#"{"event":"b","cid":5}"#,
    ])
    .await;
    assert_eq!(two.ask(r#"{"event":"x","cid":2}"#).await, r#"{"rid":2}"#);
    two.send(r#"{"event":"let go"}"#).await;
    let mut ids = Vec::new();
    while ids.len() < 4 {
        ids.push(one.next().await);
    }
    let place = |id: &str| ids.iter().position(|other| other == id).unwrap();
    assert!(
        place(r#"{"rid":2}"#) < place(r#"{"rid":3}"#) && place(r#"{"rid":3}"#) < place(r#"{"rid":5}"#),
        "{ids:?}"
    );

    let mut lost = rig.websocket().await;
    assert_eq!(lost.ask(r##"{"event":"#handshake","data":"vanish","cid":1}"##).await, "close 4005");
    // The handshake's deadline passes while its message is held, and counts on once that is gone.
    let mut late = rig.websocket().await;
    late.send(r##"{"event":"#handshake","data":"hold","cid":1}"##).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    two.send(r#"{"event":"let go"}"#).await;
    assert!(late.next().await.contains(r#""isAuthenticated":false"#));
});

async fn subscribed(rig: &Rig, channel: &str) -> Client {
    let mut client = rig.client().await;
    let call = format!(r##"{{"event":"#subscribe","data":{{"channel":"{channel}"}},"cid":2}}"##);
    assert_eq!(client.ask(&call).await, r#"{"rid":2}"#);
    client
}

fn publication(channel: &str, data: &str) -> String {
    format!(r##"{{"event":"#publish","data":{{"channel":"{channel}","data":{data}}}}}"##)
}

local!(a_publication_is_decided_about_for_each_subscriber, async {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sockets = Rc::clone(&seen);
    let guard = middleware(&[Line::PublishOut], move |event| {
        let Event::Action { socket, name, .. } = event else { return Ok(vec![]) };
        if !sockets.borrow().contains(socket) {
            sockets.borrow_mut().push(*socket);
        }
        let first = sockets.borrow().first() == Some(socket);
        decide(event, |line, _, data| {
            assert_eq!((line, &**name), (Line::PublishOut, "c"));
            Some(match data.unwrap() {
                "1" if first => block("NotForYouError"),
                "2" if first => Verdict::AllowWith(Some("\"two\"".into())),
                "3" => Verdict::BlockSilently,
                "4" => Verdict::AllowWith(None),
                _ => Verdict::Allow,
            })
        })
    });
    let rig = Rig::start_with(config(), quiet, vec![guard]).await;
    let (mut one, mut two) = (subscribed(&rig, "c").await, subscribed(&rig, "c").await);
    let mut publisher = rig.client().await;
    for number in 1..=5 {
        publisher.send(&publication("c", &number.to_string())).await;
    }
    let nothing = r##"{"event":"#publish","data":{"channel":"c"}}"##.to_owned();
    let shared = [nothing.clone(), publication("c", "5")];
    let heard_by = async |client: &mut Client, most: usize| {
        let mut heard: Vec<String> = Vec::new();
        while heard.len() < most && heard.last() != Some(&publication("c", "5")) {
            heard.push(client.next().await);
        }
        heard
    };
    let mut heard = [heard_by(&mut one, 5).await, heard_by(&mut two, 5).await];
    heard.sort_by_key(Vec::len);
    assert_eq!(heard[0], [vec![publication("c", "\"two\"")], shared.to_vec()].concat());
    assert_eq!(heard[1], [vec![publication("c", "1"), publication("c", "2")], shared.to_vec()].concat());
});

/// Holds what it is asked until somebody says how many go on.
fn holding(held: &Rc<RefCell<Vec<Token>>>) -> Middleware {
    let held = Rc::clone(held);
    middleware(&[Line::PublishOut, Line::Transmit], move |event| match event {
        Event::Action { action, line: Line::PublishOut, .. } => {
            held.borrow_mut().push(*action);
            Ok(vec![])
        }
        Event::Action { action, .. } => {
            Ok(held.take().into_iter().map(allow).chain([allow(*action)]).collect())
        }
        _ => Ok(vec![]),
    })
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), met).await.expect("it comes to be");
}

local!(many_subscribers_are_asked_about_a_thousand_at_a_time, async {
    let held = Rc::default();
    let mut config = config();
    // On a busy machine it takes longer than a ping may wait.
    config.protocol.ping_interval = Duration::from_secs(60);
    let rig = Rig::start_with(config, quiet, vec![holding(&held)]).await;
    let mut clients = Vec::new();
    for _ in 0..1_300 {
        clients.push(subscribed(&rig, "c").await);
    }
    let mut publisher = rig.client().await;
    publisher.send(&publication("c", "1")).await;
    publisher.send(&publication("c", "2")).await;
    until(|| held.borrow().len() == 1_000).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(held.borrow().len(), 1_000, "the others wait");
    // Each verdict lets the next one be asked about; who leaves meanwhile leaves its room to others.
    drop(clients.split_off(1_200));
    let letting_go = async {
        loop {
            until(|| !held.borrow().is_empty()).await;
            publisher.send(r#"{"event":"let go"}"#).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hearing = async {
        for client in &mut clients {
            for number in ["1", "2"] {
                assert_eq!(client.next_within(Duration::from_secs(20)).await, publication("c", number));
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        () = letting_go => {}
    }
    until(|| held.borrow().is_empty()).await;
});

local!(who_has_too_many_publications_waiting_loses_the_newest, async {
    let held = Rc::default();
    let rig = Rig::start_with(config(), echo, vec![holding(&held)]).await;
    let mut client = subscribed(&rig, "c").await;
    let mut publisher = rig.client().await;
    for number in 0..300 {
        let call =
            format!(r##"{{"event":"#publish","data":{{"channel":"c","data":{number}}},"cid":{number}}}"##);
        assert_eq!(publisher.ask(&call).await, format!(r#"{{"rid":{number}}}"#));
    }
    for number in 0..=256 {
        until(|| held.borrow().len() == 1).await;
        publisher.send(r#"{"event":"let go"}"#).await;
        assert_eq!(client.next().await, publication("c", &number.to_string()));
        assert_eq!(publisher.next().await, r#"{"event":"let go"}"#);
    }
    // What it does not subscribe to any more it does not get.
    publisher.send(&publication("c", "\"late\"")).await;
    until(|| held.borrow().len() == 1).await;
    assert_eq!(client.ask(r##"{"event":"#unsubscribe","data":"c","cid":3}"##).await, r#"{"rid":3}"#);
    publisher.send(r#"{"event":"let go"}"#).await;
    assert_eq!(publisher.next().await, r#"{"event":"let go"}"#);
    client.send(r#"{"event":"end"}"#).await;
    assert_eq!(client.next().await, r#"{"event":"end"}"#);
});

local!(who_decided_about_a_socket_hears_of_its_end, async {
    let ends = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&ends);
    let guard = middleware(&[Line::Transmit, Line::Authenticate], move |event| {
        if let Event::SocketEnd { socket } = event {
            heard.borrow_mut().push(*socket);
        }
        decide(event, |_, _, _| Some(Verdict::Allow))
    });
    let other = middleware(&[Line::Subscribe], |event| match event {
        Event::SocketEnd { .. } => panic!("it was never asked"),
        _ => Ok(vec![]),
    });
    let rig = Rig::start_with(config(), echo, vec![guard, other]).await;
    let (mut asked, mut never) = (rig.client().await, rig.client().await);
    assert_eq!(asked.ask(r#"{"event":"x"}"#).await, r#"{"event":"x"}"#);
    assert_eq!(never.ask(r#"{"event":"x","cid":2}"#).await, r#"{"rid":2}"#);
    let socket = rig.log.borrow().iter().find_map(|event| match event {
        Event::Action { socket, .. } => Some(*socket),
        _ => None,
    });
    drop((asked, never));
    until(|| !ends.borrow().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(*ends.borrow(), [socket.unwrap()]);
});
