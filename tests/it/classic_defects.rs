//! What killed, fooled or filled the original's workers by its classic protocol, tried on ours: the worker lives, the
//! client is told what is wrong or closed, and nobody else notices.

use anyhow::{Context as _, ensure};
use sc_tests::poller::{Poller, request};
use sc_tests::raw::{Frame, Raw, upgrade_request};
use sc_tests::{Client, Host, Role, http, session};
use serde_json::{Value, json};

use crate::host_of;

const SOCKET: &str = "/socketcluster/?EIO=2&transport=websocket";

/// A classic client by hand with a WebSocket alone, which is ready.
async fn ready(host: &Host) -> anyhow::Result<Raw> {
    let mut raw = Raw::open(host).await?;
    raw.send(upgrade_request(host, SOCKET).as_bytes()).await?;
    ensure!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    let open = text(&mut raw).await?;
    ensure!(open.starts_with(r#"0{"sid":"_w0_"#), "{open}");
    let connect = text(&mut raw).await?;
    ensure!(connect.starts_with(r#"4{"event":"connect","data":{"soid":"_w0_"#), "{connect}");
    ensure!(ask(&mut raw, r#"{"event":"ready","cid":1}"#).await? == json!({ "cid": 1 }));
    Ok(raw)
}

async fn text(raw: &mut Raw) -> anyhow::Result<String> {
    match raw.next().await? {
        Frame::Text(text) => Ok(text),
        other => anyhow::bail!("no text: {other:?}"),
    }
}

/// The next message, after a message.
async fn ask(raw: &mut Raw, message: &str) -> anyhow::Result<Value> {
    raw.text(&format!("4{message}")).await?;
    message_of(&text(raw).await?)
}

fn message_of(packet: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(packet.strip_prefix('4').with_context(|| format!("no message: {packet}"))?)?)
}

#[tokio::test]
async fn messages_that_killed_workers() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let worker = host.pid(Role::Worker, 0);
    let poller = Poller::ready(&host).await?;
    let mut raw = ready(&host).await?;
    for nothing in
        ["null", "[]", "5", "\"x\"", "{", "", "{}", r#"{"cid":1}"#, r#"{"cid":null,"error":{}}"#, "[null]"]
    {
        raw.text(&format!("4{nothing}")).await?;
        ensure!(poller.say(&host, &[&format!("4{nothing}")]).await?.body == "ok");
    }
    let wrong = json!({ "message": "Publish channel name was malformatted", "name": "Error" });
    for data in
        ["", r#","data":null"#, r#","data":7"#, r#","data":[]"#, r#","data":{}"#, r#","data":{"event":5}"#]
    {
        let answer = ask(&mut raw, &format!(r#"{{"event":"publish"{data},"cid":2}}"#)).await?;
        ensure!(answer == json!({ "cid": 2, "error": wrong }), "{data}: {answer}");
    }
    for (event, data) in
        [("subscribe", "5"), ("subscribe", "{}"), ("subscribe", "[1]"), ("unsubscribe", "{}")]
    {
        let answer = ask(&mut raw, &format!(r#"{{"event":"{event}","data":{data},"cid":2}}"#)).await?;
        ensure!(answer["error"]["name"] == "Error", "{event} {data}: {answer}");
    }
    // Encoded once, which the first clients never did: it is understood, and so is what looks as if it were twice.
    for text in ["é", "日本", "😀"] {
        let answer = ask(&mut raw, &format!(r#"{{"event":"echo","data":"{text}","cid":2}}"#)).await?;
        ensure!(answer["data"] == text, "{answer}");
    }
    ensure!(host.pid(Role::Worker, 0) == worker);
    let answers = poller.say(&host, &[r#"4{"event":"echo","data":1,"cid":9}"#]).await;
    ensure!(answers?.body == "ok" && poller.poll(&host).await? == [r#"4{"cid":9,"data":1}"#]);
    host.is_unhurt()
}

/// Events and channels called like what the original's sockets use within themselves.
#[tokio::test]
async fn names_that_were_local_to_servers() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut modern = Client::connect(&host).await?;
    let mut raw = ready(&host).await?;
    for name in ["error", "close", "message", "disconnect", "open", "raw", "connect"] {
        for event in ["subscribe", "publish"] {
            let data = if event == "subscribe" { json!(name) } else { json!({ "event": name, "data": 1 }) };
            let answer =
                ask(&mut raw, &json!({ "event": event, "data": data, "cid": 5 }).to_string()).await?;
            ensure!(answer["error"]["name"] == "Error", "{event} {name}: {answer}");
        }
        // As an event it is dropped without an answer, also the other way.
        raw.text(&format!(r#"4{{"event":"{name}","data":1,"cid":6}}"#)).await?;
        modern.subscribe(name).await?;
        modern.ask("#publish", json!({ "channel": name, "data": 1 })).await?;
    }
    // Names that the modern protocol keeps for itself do nothing here.
    for name in ["#handshake", "#publish", "#authenticate", "#disconnect", "#subscribe"] {
        let answer =
            ask(&mut raw, &format!(r#"{{"event":"{name}","data":{{"channel":"x"}},"cid":7}}"#)).await?;
        ensure!(answer["error"]["name"] == "InvalidActionError", "{name}: {answer}");
    }
    for name in ["__proto__", "constructor", "length", "push", "hasOwnProperty"] {
        ensure!(
            ask(&mut raw, &format!(r#"{{"event":"subscribe","data":"{name}","cid":8}}"#)).await?["cid"] == 8
        );
        raw.text(&format!(
            r#"4{{"event":"publish","data":{{"event":"{name}","data":{{"__proto__":1}}}},"cid":9}}"#
        ))
        .await?;
        // In both shapes, as nothing told what this client is, and the answer.
        let [one, two, three] = [text(&mut raw).await?, text(&mut raw).await?, text(&mut raw).await?];
        let (event, publication) = (message_of(&one)?, message_of(&two)?);
        ensure!(event["event"] == name && event["data"] == json!({ "__proto__": 1 }), "{one}");
        ensure!(publication["channel"] == name && message_of(&three)?["cid"] == 9, "{two} {three}");
    }
    host.is_unhurt()
}

#[tokio::test]
async fn counters_and_limits() -> anyhow::Result<()> {
    let host = host_of("suite").set("client.channel_limit", 3).start().await?;
    let mut raw = ready(&host).await?;
    for _ in 0..10 {
        let answer = ask(&mut raw, r#"{"event":"unsubscribe","data":"never","cid":2}"#).await?;
        ensure!(answer == json!({ "cid": 2 }), "{answer}");
    }
    ensure!(ask(&mut raw, r#"{"event":"subscribe","data":["a","b"],"cid":3}"#).await? == json!({ "cid": 3 }));
    let answer = ask(&mut raw, r#"{"event":"subscribe","data":["c","d","e"],"cid":4}"#).await?;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    ensure!(message.ends_with("tried to exceed the channel subscription limit of 3"), "{answer}");
    ensure!(message.starts_with("Socket _w0_"), "{answer}");
    ensure!(ask(&mut raw, r#"{"event":"unsubscribe","cid":5}"#).await? == json!({ "cid": 5 }));
    ensure!(
        ask(&mut raw, r#"{"event":"subscribe","data":["a","b","c"],"cid":6}"#).await? == json!({ "cid": 6 })
    );
    drop(host);

    let host = host_of("suite").set("protocol.allow_client_publish", false).start().await?;
    let answer = ask(&mut ready(&host).await?, r#"{"event":"publish","data":{"event":"a"},"cid":2}"#).await?;
    ensure!(answer["error"] == json!({ "message": "Client publish feature is disabled", "name": "Error" }));
    host.is_unhurt()
}

#[tokio::test]
async fn payloads_that_make_no_sense() -> anyhow::Result<()> {
    let host = host_of("suite").set("client.max_payload", "16KiB").start().await?;
    let bytes = "Content-Type: application/octet-stream\r\n";
    for (kind, body) in [
        ("", "x"),
        ("", "5:4"),
        ("", ":"),
        ("", "-1:4"),
        ("", "99999999999999999999:4"),
        ("", "1:9"),
        ("", "0:"),
        ("", "3:b4!"),
        (bytes, "\u{0}"),
        (bytes, "\u{0}\u{1}"),
        (bytes, "x"),
    ] {
        let poller = Poller::ready(&host).await?;
        let answer = request(&host, "POST", &poller.path(), kind, body).await?;
        ensure!((answer.status, answer.body.as_str()) == (200, "ok"), "{body:?}: {answer:?}");
        ensure!(poller.poll(&host).await? == ["1"], "{body:?}");
    }
    // More than a request may bring, and more than a message may be.
    let poller = Poller::ready(&host).await?;
    let large = format!(r#"4{{"event":"echo","data":"{}","cid":2}}"#, "x".repeat(200_000));
    ensure!(poller.say(&host, &[&large]).await?.status == 413);
    ensure!(poller.poll(&host).await? == ["1"]);
    let poller = Poller::ready(&host).await?;
    ensure!(poller.say(&host, &[&large[..20_000]]).await?.status == 200);
    ensure!(poller.poll(&host).await? == ["1"]);
    // Over a WebSocket, the connection goes too.
    let mut raw = ready(&host).await?;
    raw.text("9").await?;
    ensure!(raw.end().await? == Frame::Close(1002, "parse error".to_owned()));
    host.is_unhurt()
}

/// Sessions cannot be chosen by clients, nor can addresses; and no answer carries a stack trace.
#[tokio::test]
async fn what_clients_made_servers_believe() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let spoofed = "Cookie: n/suite/ssid=_w0_8000_0_xOC13VNpeGd48JdRAAAB\r\nX-Forwarded-For: 6.6.6.6\r\n";
    let poller = Poller::open_with(&host, spoofed).await?;
    let cookie = session::cookie(&poller.head).context("another session")?;
    ensure!(!cookie.contains("xOC13VNpeGd48JdRAAAB"), "{cookie}");
    ensure!(!cookie.contains(&poller.sid), "who knows a socket's id knows no session");
    poller.poll(&host).await?;
    poller.say(&host, &[r#"4{"event":"whoami","cid":1}"#, r#"4{"event":"failplain","cid":2}"#]).await?;
    let mut answers = poller.poll(&host).await?;
    if answers.len() == 1 {
        answers.extend(poller.poll(&host).await?);
    }
    let who = message_of(&answers[0])?;
    ensure!(who["data"]["address"] == "127.0.0.1" && who["data"]["protocol"] == "classic", "{who}");
    // What others see of a socket opens nothing.
    let name = who["data"]["name"].as_str().context("a name")?;
    ensure!(poller.sid.starts_with(name) && poller.sid.len() == name.len() + 20, "{name}");
    let stolen = request(&host, "GET", &poller.path().replace(&poller.sid, name), "", "").await?;
    ensure!(stolen.body == r#"{"code":1,"message":"Session ID unknown"}"#, "{stolen:?}");
    ensure!(message_of(&answers[1])? == json!({ "cid": 2, "error": { "message": "plain" } }), "{answers:?}");
    ensure!(http::get(&host, "/~status").await?.status == 404);
    host.is_unhurt()
}

/// A client that does not poll holds what a client may hold, and loses the oldest publications.
#[tokio::test]
async fn who_does_not_poll_holds_little() -> anyhow::Result<()> {
    let host =
        host_of("suite").set("client.outbox_max", "64KiB").set("classic.events", "1.0").start().await?;
    let poller = Poller::ready(&host).await?;
    poller.say(&host, &[r#"4{"event":"subscribe","data":"much","cid":2}"#]).await?;
    ensure!(poller.poll(&host).await? == [r#"4{"cid":2}"#]);
    let mut modern = Client::connect(&host).await?;
    for number in 0..200 {
        let data = json!([number, "x".repeat(8_000)]);
        modern.ask("#publish", json!({ "channel": "much", "data": data })).await?;
    }
    let packets = poller.poll(&host).await?;
    ensure!(packets.len() < 9, "{} publications were kept", packets.len());
    let last = message_of(packets.last().context("a publication")?)?;
    ensure!(last["channel"] == "much" && last["data"][0] == 199, "{last}");
    host.is_unhurt()
}
