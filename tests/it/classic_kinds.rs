//! Which kind of classic client it is: by what each does that no client of the other kind does.

use anyhow::ensure;
use sc_tests::raw::{Frame, Raw, upgrade_request};
use sc_tests::{Client, Host};
use serde_json::json;

use crate::host_of;

const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n";

/// How a client gets a publication after it said these things: as an event, as a publication, or both.
async fn shapes(
    host: &Host,
    version: &str,
    headers: &str,
    says: &[&str],
) -> anyhow::Result<Vec<&'static str>> {
    let request = upgrade_request(host, &format!("/socketcluster/?EIO={version}&transport=websocket"));
    let mut raw = Raw::open(host).await?;
    raw.send(request.replace("\r\n\r\n", &format!("\r\n{headers}\r\n")).as_bytes()).await?;
    ensure!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    for say in says {
        raw.text(&format!("4{say}")).await?;
    }
    raw.text(r#"4{"event":"subscribe","data":"news","cid":90}"#).await?;
    while raw.next().await? != Frame::Text(r#"4{"cid":90}"#.to_owned()) {}
    Client::connect(host).await?.ask("#publish", json!({ "channel": "news", "data": 1 })).await?;
    raw.text("2").await?;
    let mut shapes = Vec::new();
    loop {
        match raw.next().await? {
            Frame::Text(text) if text == "3" => return Ok(shapes),
            Frame::Text(text) if text.starts_with(r#"4{"event":"news","data":1,"cid":"#) => {
                shapes.push("event")
            }
            Frame::Text(text) if text == r#"4{"channel":"news","data":1}"# => shapes.push("publication"),
            Frame::Text(_) => {}
            other => anyhow::bail!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_client_does_tells_its_kind() -> anyhow::Result<()> {
    const READY: &str = r#"{"event":"ready","cid":1}"#;
    let host = host_of("suite").start().await?;
    let both = &["event", "publication"][..];
    let later = &["publication"][..];
    for (why, version, headers, says, expected) in [
        ("an early browser, 0.9.37 or 1.0.0", "2", BROWSER, &[READY][..], both),
        ("a browser from 1.0.1 on", "3", BROWSER, &[READY], later),
        ("Node, whatever it is", "3", "", &[READY], both),
        ("ready is not the first", "3", "", &[r#"{"event":"subscribe","data":"x","cid":1}"#], later),
        ("nor is it after a reconnect", "3", "", &[r#"{"event":"subscribe","data":"x","cid":7}"#], both),
        (
            "a channel that is called so",
            "3",
            "",
            &[READY, r#"{"event":"publish","data":{"channel":"x"},"cid":2}"#],
            later,
        ),
        (
            "a channel that is called event",
            "3",
            "",
            &[READY, r#"{"event":"publish","data":{"event":"x"},"cid":2}"#],
            both,
        ),
        ("encoded once", "2", "", &[READY, r#"{"event":"echo","data":"日本","cid":2}"#], later),
        (
            "encoded twice",
            "2",
            "",
            &[READY, "{\"event\":\"echo\",\"data\":\"\u{c3}\u{a9}\",\"cid\":2}"],
            both,
        ),
    ] {
        let shapes = shapes(&host, version, headers, says).await?;
        ensure!(shapes == expected, "{why}: {shapes:?}");
    }
    host.is_unhurt()
}

#[tokio::test]
async fn who_knows_its_clients_says_so() -> anyhow::Result<()> {
    for (events, expected) in [("0.9", "event"), ("1.0", "publication")] {
        let host = host_of("suite").set("classic.events", events).start().await?;
        let shapes =
            shapes(&host, "3", "", &[r#"{"event":"publish","data":{"channel":"x"},"cid":1}"#]).await?;
        ensure!(shapes == [expected], "{events}: {shapes:?}");
        host.is_unhurt()?;
    }
    Ok(())
}
