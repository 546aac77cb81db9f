//! The classic protocol byte by byte: answers and headers, polls that overlap, get lost or never come, silence, and
//! the way to a WebSocket.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::poller::{Poller, packets, request};
use sc_tests::raw::{Frame, Raw, upgrade_request};
use sc_tests::{Client, Host, HostBuilder, http, session, wait};

use crate::host_of;

const PATH: &str = "/socketcluster/?EIO=2&transport=polling";
const SOON: Duration = Duration::from_millis(300);

/// 85 s of allowed silence, shortened to three.
fn impatient() -> HostBuilder {
    host_of("suite").set("classic.ping_interval", "1s").set("classic.ping_timeout", "2s")
}

#[tokio::test]
async fn answers_and_their_headers() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let poller = Poller::open_with(&host, "Origin: http://elsewhere.org\r\n").await?;
    let app = session_free_app(&poller.head)?;
    for line in [
        "content-type: text/plain; charset=UTF-8",
        "access-control-allow-origin: http://elsewhere.org",
        "access-control-allow-credentials: true",
        "cache-control: no-store",
        &format!("set-cookie: n/{app}/io={}", poller.sid),
    ] {
        ensure!(poller.head.contains(line), "no {line} in {}", poller.head);
    }
    ensure!(session::cookie(&poller.head).is_none(), "a page elsewhere got a session of this site");
    ensure!(poller.sid.starts_with(&format!("_w0_{}_0_", host.port())), "{}", poller.sid);

    // Without an origin; the session's cookie is set once.
    let own = Poller::ready(&host).await?;
    ensure!(own.head.contains("access-control-allow-origin: *"), "{}", own.head);
    let cookie = session::cookie(&own.head).context("a new session")?;
    let again = Poller::open_with(&host, &format!("Cookie: {cookie}\r\n")).await?;
    ensure!(session::cookie(&again.head).is_none() && again.sid != own.sid);

    let said = own.say(&host, &[r#"4{"event":"echo","data":"x","cid":2}"#]).await?;
    ensure!((said.status, said.body.as_str()) == (200, "ok"), "{said:?}");
    ensure!(said.header("content-type") == Some("text/html") && said.header("content-length") == Some("2"));
    ensure!(own.poll(&host).await? == [r#"4{"cid":2,"data":"x"}"#]);
    let preflight = request(&host, "OPTIONS", &own.path(), "Origin: http://a.b\r\n", "").await?;
    ensure!(
        preflight.status == 200 && preflight.header("access-control-allow-headers") == Some("Content-Type")
    );
    let other = request(&host, "PUT", &own.path(), "", "").await?;
    ensure!((other.status, other.body.as_str()) == (500, ""), "{other:?}");
    let old = Poller::open_with(&host, "User-Agent: Mozilla/5.0 (Windows; Trident/7.0)\r\n").await?;
    ensure!(old.head.contains("x-xss-protection: 0"), "{}", old.head);
    host.is_unhurt()
}

/// The application's name, from the cookie of a socket.
fn session_free_app(head: &str) -> anyhow::Result<String> {
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: n/")).context("a cookie")?;
    Ok(cookie.split('/').next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn unknown_transports_ids_and_origins_are_refused() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.origins", "example.com:80,localhost:*").start().await?;
    let good = "Origin: http://example.com\r\n";
    let poller = Poller::open_with(&host, good).await?;
    let forged = poller.sid.replacen("_w0_", "_w1_", 1);
    let rows = [
        (
            "GET",
            "/socketcluster/?EIO=2&transport=flashsocket".to_owned(),
            r#"{"code":0,"message":"Transport unknown"}"#,
        ),
        ("GET", "/socketcluster/?EIO=2".to_owned(), r#"{"code":0,"message":"Transport unknown"}"#),
        ("GET", format!("{PATH}&sid=nobody"), r#"{"code":1,"message":"Session ID unknown"}"#),
        ("GET", format!("{PATH}&sid={forged}"), r#"{"code":1,"message":"Session ID unknown"}"#),
        ("POST", PATH.to_owned(), r#"{"code":2,"message":"Bad handshake method"}"#),
        (
            "GET",
            format!("/socketcluster/?EIO=2&transport=websocket&sid={}", poller.sid),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (
            "GET",
            "/socketcluster/?EIO=2&transport=websocket".to_owned(),
            r#"{"code":3,"message":"Bad request"}"#,
        ),
    ];
    for (method, path, body) in rows {
        let answer = request(&host, method, &path, good, "").await?;
        ensure!((answer.status, answer.body.as_str()) == (400, body), "{method} {path}: {answer:?}");
        ensure!(answer.header("content-type") == Some("application/json"), "{answer:?}");
        ensure!(answer.header("access-control-allow-origin") == Some("http://example.com"), "{answer:?}");
    }
    for (header, is_good) in [
        ("Origin: http://localhost:1234\r\n", true),
        ("Referer: http://example.com/page?a=b\r\n", true),
        ("Origin: http://example.com:8080\r\n", false),
        ("Origin: null\r\n", false),
        ("Origin: http://ample.com\r\n", false),
        ("Referer: http://evil.com/example.com:80\r\n", false),
        ("", false),
    ] {
        let answer = request(&host, "GET", PATH, header, "").await?;
        ensure!((answer.status == 200) == is_good, "{header}: {answer:?}");
        ensure!(is_good || answer.body == r#"{"code":null}"#, "{header}: {answer:?}");
        let upgrade = upgrade_request(&host, "/socketcluster/?EIO=2&transport=websocket");
        let mut raw = Raw::open(&host).await?;
        raw.send(upgrade.replace("\r\n\r\n", &format!("\r\n{header}\r\n")).as_bytes()).await?;
        let head = raw.head().await?;
        let expected =
            if is_good && header.starts_with("Origin") { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        ensure!(head.starts_with(expected), "{header}: {head}");
    }
    // Any path behind that of sockets will do; without the slash it is another one. Modern clients are told nothing
    // new.
    for (path, status) in [
        ("/socketcluster/anything?EIO=2&transport=polling", 200),
        ("/socketcluster?EIO=2&transport=polling", 404),
        ("/socketcluster/?a=b", 426),
    ] {
        ensure!(request(&host, "GET", path, good, "").await?.status == status, "{path}");
    }
    // Through the balancer too, a refused upgrade is HTTP.
    let mut raw = Raw::open(&host).await?;
    let upgrade = upgrade_request(&host, "/socketcluster/?EIO=2&transport=websocket&sid=nobody");
    raw.send(upgrade.as_bytes()).await?;
    let (head, body) = raw.response().await?;
    ensure!(
        head.starts_with("HTTP/1.1 400 ") && body == r#"{"code":1,"message":"Session ID unknown"}"#,
        "{head}{body}"
    );
    host.is_unhurt()
}

#[tokio::test]
async fn who_turns_them_off_serves_none() -> anyhow::Result<()> {
    let host = host_of("suite").set("classic.enabled", false).start().await?;
    ensure!(http::get(&host, PATH).await?.status == 426);
    host.is_unhurt()
}

#[tokio::test]
async fn scripts_in_place_of_payloads() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let path = "/socketcluster/?EIO=2&transport=polling&b64=1&j=x12y";
    let answer = request(&host, "GET", path, "Origin: http://a.b\r\n", "").await?;
    ensure!(answer.header("content-type") == Some("text/javascript; charset=UTF-8"), "{answer:?}");
    ensure!(answer.header("access-control-allow-origin").is_none(), "{answer:?}");
    let script = |body: &str| -> anyhow::Result<Vec<String>> {
        let literal = body.strip_prefix("___eio[12](").and_then(|body| body.strip_suffix(");"));
        packets(&serde_json::from_str::<String>(literal.context("no call")?)?)
    };
    let open: serde_json::Value = serde_json::from_str(&script(&answer.body)?[0][1..])?;
    let path = format!("{path}&sid={}", open["sid"].as_str().context("a sid")?);
    let connect = request(&host, "GET", &path, "", "").await?;
    ensure!(script(&connect.body)?[0].contains(r#""event":"connect""#));
    // As browsers send it: each byte of the text's UTF-8 is a character, these are encoded again, and line ends are
    // kept from being changed.
    let said = r#"4{"event":"echo","data":"é \n","cid":1}"#;
    let twice: String = said.bytes().map(char::from).collect();
    let payload = format!("{}:{}", twice.chars().count(), twice.replace("\\n", "\\\\n"));
    let form: String = payload.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = request(&host, "POST", &path, kind, &format!("d={form}")).await?;
    ensure!(answer.body == "ok", "{answer:?}");
    let told = request(&host, "GET", &path, "", "").await?;
    ensure!(script(&told.body)? == [r#"4{"cid":1,"data":"\u00e9 \n"}"#], "{told:?}");
    host.is_unhurt()
}

#[tokio::test]
async fn requests_of_one_kind_at_a_time() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let poller = Poller::ready(&host).await?;
    let mut first = poller.waiting(&host).await?;
    tokio::time::sleep(SOON).await;
    let second = request(&host, "GET", &poller.path(), "", "").await?;
    ensure!(second.status == 400, "{second:?}");
    // The first is told the end, and the socket is gone.
    let (_, body) = first.response().await?;
    ensure!(packets(&body)? == ["1"], "{body}");
    let gone = request(&host, "GET", &poller.path(), "", "").await?;
    ensure!(gone.body == r#"{"code":1,"message":"Session ID unknown"}"#, "{gone:?}");

    // A request whose body does not come holds its place.
    let poller = Poller::ready(&host).await?;
    let mut slow = Raw::open(&host).await?;
    let request = poller.say_request(&["2"]);
    slow.send(&request.as_bytes()[..request.len() - 1]).await?;
    tokio::time::sleep(SOON).await;
    ensure!(poller.say(&host, &["2"]).await?.status == 400);
    ensure!(poller.poll(&host).await? == ["1"]);
    host.is_unhurt()
}

#[tokio::test]
async fn a_lost_poll_and_a_dead_tab() -> anyhow::Result<()> {
    let host = impatient().start().await?;
    let mut watcher = Client::connect(&host).await?;
    // A poll that goes away takes the socket along, at once: else it would be closed for its silence, with 4001.
    let poller = Poller::ready(&host).await?;
    let lost = poller.waiting(&host).await?;
    tokio::time::sleep(SOON).await;
    drop(lost);
    until_closed(&mut watcher, &poller, 1006).await?;

    // A tab that neither polls nor says anything goes when its time is over, and not before.
    let began = Instant::now();
    let poller = Poller::ready(&host).await?;
    until_closed(&mut watcher, &poller, 4001).await?;
    ensure!(began.elapsed() > Duration::from_millis(2_900), "{:?}", began.elapsed());

    // Any packet counts as a sign of life, and a ping is answered.
    let poller = Poller::ready(&host).await?;
    for packet in ["2", "6", r#"4{"event":"nobody hears it","cid":2}"#, "2"] {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        ensure!(poller.say(&host, &[packet]).await?.body == "ok");
    }
    ensure!(poller.poll(&host).await? == ["3", "3"]);
    // A client that leaves says so.
    poller.say(&host, &["1"]).await?;
    until_closed(&mut watcher, &poller, 1005).await?;

    // Over a WebSocket, the connection goes with the socket.
    let mut raw = upgraded(&host, "/socketcluster/?EIO=2&transport=websocket").await?;
    let Frame::Text(open) = raw.next().await? else { anyhow::bail!("no open packet") };
    ensure!(open.ends_with(r#""upgrades":[],"pingInterval":1000,"pingTimeout":2000}"#), "{open}");
    raw.next().await?;
    raw.text(r#"4{"event":"ready","cid":1}"#).await?;
    raw.text("2").await?;
    ensure!(raw.next().await? == Frame::Text(r#"4{"cid":1}"#.to_owned()));
    ensure!(raw.next().await? == Frame::Text("3".to_owned()));
    ensure!(raw.end().await? == Frame::Close(4001, String::new()));
    host.is_unhurt()
}

/// Waits until the worker heard that the socket closed, with that code.
async fn until_closed(watcher: &mut Client, poller: &Poller, code: u16) -> anyhow::Result<()> {
    let name = &poller.sid[..poller.sid.len() - 20];
    let began = Instant::now();
    while began.elapsed() < wait::SOON {
        let closes = watcher.ask("seen", "closes".into()).await?;
        let closes = closes.as_array().context("a list")?;
        if let Some(close) = closes.iter().find(|close| close["name"] == name) {
            ensure!(close["code"] == code, "{close}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("{name} did not close")
}

async fn upgraded(host: &Host, path: &str) -> anyhow::Result<Raw> {
    let mut raw = Raw::open(host).await?;
    raw.send(upgrade_request(host, path).as_bytes()).await?;
    let head = raw.head().await?;
    ensure!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(raw)
}

#[tokio::test]
async fn the_way_to_a_web_socket() -> anyhow::Result<()> {
    let host = host_of("suite").set("classic.upgrade_timeout", "3s").start().await?;
    let poller = Poller::ready(&host).await?;
    let path = format!("/socketcluster/?EIO=3&transport=websocket&sid={}", poller.sid);

    // What is no probe ends the new connection, and so does time; the socket goes on.
    let mut wrong = upgraded(&host, &path).await?;
    wrong.text("4{}").await?;
    ensure!(matches!(wrong.end().await?, Frame::Close(..) | Frame::End));
    let mut late = upgraded(&host, &path).await?;
    late.text("2probe").await?;
    ensure!(late.next().await? == Frame::Text("3probe".to_owned()));
    ensure!(matches!(late.end().await?, Frame::Close(..) | Frame::End));
    poller.say(&host, &["2"]).await?;
    ensure!(poller.poll(&host).await? == ["3"]);

    // A waiting poll is ended, what is said meanwhile is heard, and all that comes later comes by the new connection.
    let mut waiting = poller.waiting(&host).await?;
    let mut raw = upgraded(&host, &path).await?;
    raw.text("2probe").await?;
    ensure!(raw.next().await? == Frame::Text("3probe".to_owned()));
    ensure!(packets(&waiting.response().await?.1)? == ["6"]);
    poller.say(&host, &[r#"4{"event":"echo","data":1,"cid":2}"#]).await?;
    raw.text("5").await?;
    raw.text(r#"4{"event":"echo","data":2,"cid":3}"#).await?;
    ensure!(raw.next().await? == Frame::Text(r#"4{"cid":2,"data":1}"#.to_owned()));
    ensure!(raw.next().await? == Frame::Text(r#"4{"cid":3,"data":2}"#.to_owned()));
    // It is a WebSocket for good.
    for (method, body) in [("GET", ""), ("POST", "1:2")] {
        let answer = request(&host, method, &poller.path(), "", body).await?;
        ensure!(answer.body == r#"{"code":3,"message":"Bad request"}"#, "{answer:?}");
    }
    let mut again = Raw::open(&host).await?;
    again.send(upgrade_request(&host, &path).as_bytes()).await?;
    ensure!(again.head().await?.starts_with("HTTP/1.1 400 "));
    // There it ends by a close frame; a packet that says so means nothing.
    raw.text("1").await?;
    raw.text("2").await?;
    ensure!(raw.next().await? == Frame::Text("3".to_owned()));
    raw.frame(8, &1000_u16.to_be_bytes()).await?;
    ensure!(matches!(raw.next().await?, Frame::Close(..)));
    host.is_unhurt()
}
