//! The upgrade, its refusals with their bodies, origins; and the host's own endpoints.

use anyhow::Context as _;
use sc_tests::raw::{Raw, upgrade_request};
use sc_tests::{Host, http, session};

use crate::host_of;

#[tokio::test]
async fn bad_upgrades_are_refused_with_their_reason() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.origins", "example.com:80,*:8443").start().await?;
    let good = upgrade_request(&host, "/socketcluster/")
        .replace("\r\n\r\n", "\r\nOrigin: http://example.com\r\n\r\n");
    let rows: [(&str, String, u16, &str); 12] = [
        ("another path", good.replace("/socketcluster/ ", "/socketclusters/ "), 400, "Bad Request"),
        ("no slash at its end", good.replace("/socketcluster/ ", "/socketcluster "), 400, "Bad Request"),
        ("another case", good.replace("/socketcluster/ ", "/SocketCluster/ "), 400, "Bad Request"),
        ("another method", good.replace("GET ", "POST "), 405, "Invalid HTTP method"),
        (
            "another version",
            good.replace("Version: 13", "Version: 5"),
            400,
            "Missing or invalid Sec-WebSocket-Version header",
        ),
        (
            "no version",
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            400,
            "Missing or invalid Sec-WebSocket-Version header",
        ),
        (
            "no key",
            good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            400,
            "Missing or invalid Sec-WebSocket-Key header",
        ),
        (
            "a short key",
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            400,
            "Missing or invalid Sec-WebSocket-Key header",
        ),
        (
            "another protocol",
            good.replace("Upgrade: websocket", "Upgrade: h2c"),
            400,
            "Invalid Upgrade header",
        ),
        (
            "a stranger's page",
            good.replace("http://example.com", "http://ample.com"),
            403,
            "Failed to authorize socket handshake - Invalid origin: http://ample.com",
        ),
        (
            "another port of the same host",
            good.replace("http://example.com", "http://example.com:81"),
            403,
            "Failed to authorize socket handshake - Invalid origin: http://example.com:81",
        ),
        (
            "no origin",
            good.replace("Origin: http://example.com\r\n", ""),
            403,
            "Failed to authorize socket handshake - Invalid origin: *",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, request, status, body) in rows {
        let response = http::send(&host, &request).await.context(what)?;
        let length = response.header("content-length").map(str::to_owned);
        let as_meant = response.status == status
            && response.body == body
            && response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
            && response.header("content-type").is_some_and(|value| value.starts_with("text/html"))
            && length == Some(body.len().to_string());
        if !as_meant {
            wrong.push(format!("{what}: expected {status} {body}, got {response:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let version = http::send(&host, &good.replace("Version: 13", "Version: 5")).await?;
    assert_eq!(version.header("sec-websocket-version"), Some("13, 8"));
    host.is_unhurt()
}

#[tokio::test]
async fn origins_that_are_allowed() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.origins", "example.com:80,*:8443").start().await?;
    for origin in
        ["http://example.com", "http://EXAMPLE.com", "http://example.com:80", "https://any.example:8443"]
    {
        let head = upgraded_head(&host, "/socketcluster/", &format!("Origin: {origin}\r\n")).await?;
        assert!(head.starts_with("HTTP/1.1 101 "), "{origin}: {head}");
    }
    Ok(())
}

/// Query strings are the user's; the version before 13 that some clients speak is taken too; nothing is negotiated.
#[tokio::test]
async fn the_upgrade_itself() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let offered = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let head = upgraded_head(&host, "/socketcluster/?a=1&b=x&b=y", offered).await?.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "RFC 6455's own example: {head}"
    );
    assert!(!head.contains("sec-websocket-extensions"), "{head}");
    assert!(!head.contains("sec-websocket-protocol"), "{head}");
    let request = upgrade_request(&host, "/socketcluster/").replace("Version: 13", "Version: 8");
    let mut raw = Raw::open(&host).await?;
    raw.send(request.as_bytes()).await?;
    assert!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    Ok(())
}

/// Frames that come in one packet with the request are not lost.
#[tokio::test]
async fn frames_right_behind_the_request() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut bytes = upgrade_request(&host, "/socketcluster/").into_bytes();
    let handshake = r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##;
    bytes.extend(sc_tests::raw::frame(0x81, handshake.as_bytes(), true));
    let count = 2_000;
    for cid in 2..count {
        let call = format!(r#"{{"event":"nodata","cid":{cid}}}"#);
        bytes.extend(sc_tests::raw::frame(0x81, call.as_bytes(), true));
    }
    let mut raw = Raw::open(&host).await?;
    raw.send(&bytes).await?;
    assert!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    raw.next_packet().await?;
    for cid in 2..count {
        assert_eq!(raw.next_packet().await?, sc_tests::raw::Frame::Text(format!(r#"{{"rid":{cid}}}"#)));
    }
    Ok(())
}

/// A kept connection may carry requests of other sessions: each is answered by the worker that its session names, and
/// an upgrade takes the connection there, with the frames right behind it.
#[tokio::test]
async fn requests_of_another_workers_session() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let get = |cookie: &str| format!("GET /sc/health HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    let worker_in =
        |body: &str| serde_json::from_str::<serde_json::Value>(body).map(|body| body["worker"].as_u64());
    let sessions = [session::of_worker(&host, 0).await?, session::of_worker(&host, 1).await?];
    let session = |worker: u64| sessions[worker as usize].as_str();
    for (first, other) in [(0, 1), (1, 0)] {
        let mut raw = Raw::open(&host).await?;
        for worker in [first, other, first, other] {
            raw.send(get(session(worker)).as_bytes()).await?;
            let (head, body) = raw.response().await?;
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(worker_in(&body)?, Some(worker), "asked first at worker {first}");
        }
        let cookie = format!("\r\nCookie: {}\r\n\r\n", session(other));
        let mut bytes = upgrade_request(&host, "/socketcluster/").replace("\r\n\r\n", &cookie).into_bytes();
        let handshake = r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##;
        for text in [handshake, r#"{"event":"whoami","cid":2}"#] {
            bytes.extend(sc_tests::raw::frame(0x81, text.as_bytes(), true));
        }
        raw.send(&bytes).await?;
        assert!(raw.head().await?.starts_with("HTTP/1.1 101 "));
        raw.next_packet().await?;
        let sc_tests::raw::Frame::Text(answer) = raw.next_packet().await? else { anyhow::bail!("no answer") };
        assert!(answer.contains(&format!(r#""worker":{other}"#)), "{answer}");
    }
    host.is_unhurt()
}

/// An upgrade right behind a request on one connection comes after that request's answer.
#[tokio::test]
async fn an_upgrade_on_a_kept_connection() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut raw = Raw::open(&host).await?;
    let request =
        format!("GET /sc/client.js HTTP/1.1\r\nHost: x\r\n\r\n{}", upgrade_request(&host, "/socketcluster/"));
    raw.send(request.as_bytes()).await?;
    let (head, body) = raw.response().await?;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.len() > 1000, "{head}");
    assert!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    raw.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    raw.next_packet().await?;
    // A refusal is the same there as on a fresh connection.
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /sc/health HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    raw.response().await?;
    raw.send(upgrade_request(&host, "/elsewhere/").as_bytes()).await?;
    let rest = raw.rest().await?;
    assert!(rest.starts_with("HTTP/1.1 400 ") && rest.ends_with("Bad Request"), "{rest}");
    host.is_unhurt()
}

#[tokio::test]
async fn endpoints_of_the_host() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let health = http::get(&host, "/sc/health").await?;
    assert_eq!(health.status, 200, "{health:?}");
    assert!(health.body.contains("ready"), "{health:?}");

    let client = http::get(&host, "/sc/client.js").await?;
    assert_eq!(client.status, 200);
    assert!(
        client.header("content-type").is_some_and(|value| value.contains("javascript")),
        "{}",
        client.head
    );
    let source = std::fs::read_to_string(sc_tests::paths::root().join("sdk/client/sc.js"))?;
    assert_eq!(client.body, source, "the host serves the module of sdk/client");

    let missing = http::get(&host, "/no/such/page").await?;
    assert_eq!(missing.status, 404, "{missing:?}");
    Ok(())
}

/// A folder of static files: types, no way out of it.
#[tokio::test]
async fn static_files() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let public = folder.path().join("public");
    std::fs::create_dir(&public)?;
    std::fs::write(public.join("index.html"), "<!doctype html><title>hi</title>")?;
    std::fs::write(public.join("app.css"), "body {}")?;
    std::fs::write(folder.path().join("secret.txt"), "secret")?;
    let host = host_of("suite").arg("--public").arg(public.display().to_string()).start().await?;
    let index = http::get(&host, "/").await?;
    assert_eq!((index.status, index.body.as_str()), (200, "<!doctype html><title>hi</title>"));
    let css = http::get(&host, "/app.css").await?;
    assert!(css.header("content-type").is_some_and(|value| value.starts_with("text/css")), "{}", css.head);
    for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"] {
        let response = http::get(&host, path).await?;
        assert!(!response.body.contains("secret\n") && response.status >= 400, "{path}: {response:?}");
    }
    Ok(())
}

async fn upgraded_head(host: &Host, path: &str, headers: &str) -> anyhow::Result<String> {
    let request = upgrade_request(host, path).replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
    let mut raw = Raw::open(host).await?;
    raw.send(request.as_bytes()).await?;
    raw.head().await
}
