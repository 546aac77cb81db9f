//! HTTP of the worker: routes of the controller, static files, and the edges of the protocol, by raw bytes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::raw::Raw;
use sc_tests::{Client, Host, http, session};
use serde_json::{Value, json};

use crate::host_of;

async fn send(host: &Host, method: &str, path: &str, body: &str) -> anyhow::Result<http::Response> {
    session::send(host, None, method, path, body).await
}

#[tokio::test]
async fn routes_are_answered_by_the_controller() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let cookie = {
        let first = http::get(&host, "/hello/b%C3%B6b").await?;
        ensure!((first.status, first.body.as_str()) == (200, "hello böb, visit 1"), "{first:?}");
        session::cookie(&first.head).context("a cookie")?
    };
    let second = session::send(&host, Some(&cookie), "GET", "/hello/b%C3%B6b", "").await?;
    ensure!(second.body == "hello böb, visit 2" && session::cookie(&second.head).is_none(), "{second:?}");
    let rest = http::get(&host, "/files/a/b%2Fc?x=1").await?;
    ensure!(rest.body == "a/b/c", "{rest:?}");

    let echo = http::send(
        &host,
        &format!(
            "PUT /echo?q=1&r HTTP/1.1\r\nHost: x\r\nCookie: a=%201; {cookie}\r\nX-Odd: \u{e9}\r\nConnection: close\r\n\
             X-Forwarded-For: 9.9.9.9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        ),
    )
    .await?;
    let seen: Value = serde_json::from_str(&echo.body)?;
    ensure!(seen["method"] == "PUT" && seen["path"] == "/echo" && seen["query"] == "q=1&r", "{seen}");
    ensure!(seen["body"] == 5 && seen["cookie"] == " 1" && seen["address"] == "127.0.0.1", "{seen}");
    ensure!(cookie.ends_with(seen["session"].as_str().unwrap_or("-")), "{seen}");
    ensure!(echo.header("x-more") == Some("yes") && echo.head.contains("b=1%202; Path=/"), "{}", echo.head);

    for (path, status, body) in [
        ("/status/204", 204, ""),
        ("/status/404", 404, "as asked"),
        ("/status/99", 500, "as asked"),
        ("/fails", 418, r#"{"message":"short and stout","name":"TeapotError"}"#),
        ("/nothing", 404, "There is nothing here.\n"),
    ] {
        let answer = http::get(&host, path).await?;
        ensure!((answer.status, answer.body.as_str()) == (status, body), "{path}: {answer:?}");
    }
    host.is_unhurt()
}

/// HEAD, OPTIONS, 405, 413, 400 and 504.
#[tokio::test]
async fn methods_and_limits() -> anyhow::Result<()> {
    let host = host_of("browser")
        .set("http.body_max", 1000)
        .set("http.answer_timeout", "1500ms")
        .set("http.body_timeout", "1500ms")
        .start()
        .await?;
    let head = send(&host, "HEAD", "/status/200", "").await?;
    ensure!(
        (head.status, head.body.as_str()) == (200, "") && head.header("content-length") == Some("8"),
        "{head:?}"
    );
    let options = send(&host, "OPTIONS", "/status/200", "").await?;
    ensure!((options.status, options.header("allow")) == (204, Some("GET, HEAD, OPTIONS")), "{options:?}");
    let wrong = send(&host, "DELETE", "/do", "").await?;
    ensure!((wrong.status, wrong.header("allow")) == (405, Some("OPTIONS, POST")), "{wrong:?}");
    let most = send(&host, "POST", "/echo", &"x".repeat(1000)).await?;
    ensure!(most.status == 200 && most.body.contains(r#""body":1000"#), "{most:?}");
    let large = send(&host, "POST", "/echo", &"x".repeat(1001)).await?;
    ensure!(large.status == 413 && large.body.contains("1000"), "{large:?}");
    let chunks = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600)).repeat(2);
    let large = http::send(
        &host,
        &format!("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}0\r\n\r\n"),
    )
    .await?;
    ensure!(large.status == 413, "{large:?}");
    let broken = send(&host, "POST", "/do", "{").await?;
    ensure!(broken.status == 400 && broken.body.contains("InvalidDataError"), "{broken:?}");
    let began = Instant::now();
    ensure!(http::get(&host, "/never").await?.status == 504);
    ensure!(began.elapsed() < Duration::from_secs(10), "the deadline was not kept");
    let mut raw = Raw::open(&host).await?;
    raw.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await?;
    let slow = raw.head().await?;
    ensure!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    host.is_unhurt()
}

/// Several requests on one connection, also sent in one go; their answers come in their order.
#[tokio::test]
async fn kept_connections_and_pipelines() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let mut raw = Raw::open(&host).await?;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    raw.send([get("/slow"), get("/hello/a"), get("/sc/health"), get("/nothing")].concat().as_bytes()).await?;
    for (status, word) in [(200, "late"), (200, "hello a"), (200, "ready"), (404, "nothing")] {
        let (head, body) = raw.response().await?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")) && body.contains(word), "{head} {body}");
    }
    // HTTP/1.0 closes, and knows no chunks.
    raw.send(b"GET /hello/b HTTP/1.0\r\n\r\n").await?;
    let rest = raw.rest().await?;
    ensure!(rest.contains("hello b") && !rest.to_lowercase().contains("chunked"), "{rest}");
    // A client that waits for leave to send its body gets it.
    let mut raw = Raw::open(&host).await?;
    raw.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await?;
    ensure!(raw.head().await?.starts_with("HTTP/1.1 100 "));
    raw.send(b"ab").await?;
    ensure!(raw.response().await?.1.contains(r#""body":2"#));
    host.is_unhurt()
}

/// Bytes that are no HTTP, or too much of it.
#[tokio::test]
async fn what_is_no_request() -> anyhow::Result<()> {
    let host = host_of("browser").set("balancer.head_timeout", "300ms").start().await?;
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (what, bytes, status) in [
        ("garbage", "\u{1}\u{2}\u{3}\r\n\r\n", 400),
        ("a long head", &long, 431),
        ("many headers", &many, 431),
        (
            "two lengths",
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        ("a length that is none", "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("half a head", "GET / HTTP/1.1\r\nHo", 408),
    ] {
        let mut raw = Raw::open(&host).await?;
        raw.send(bytes.as_bytes()).await?;
        let head = raw.head().await.with_context(|| what.to_owned())?;
        ensure!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
    }
    host.is_unhurt()
}

/// A request that traps gets 500, one that waits in the same instance too; the next one is served.
#[tokio::test]
async fn a_route_that_traps() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let mut client = Client::connect(&host).await?;
    let waiting = http::get(&host, "/never");
    let trapping = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        http::get(&host, "/traps").await
    };
    let (waiting, trapped) = tokio::try_join!(waiting, trapping)?;
    ensure!(waiting.status == 500 && trapped.status == 500, "{waiting:?} {trapped:?}");
    ensure!(http::get(&host, "/hello/again").await?.status == 200);
    client.is_up().await
}

#[tokio::test]
async fn static_files_before_routes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("hello"))?;
    std::fs::write(folder.path().join("index.html"), "<p>page</p>")?;
    std::fs::write(folder.path().join("hello/file"), "0123456789")?;
    std::fs::write(folder.path().join(".secret"), "secret")?;
    let host = host_of("browser").arg("--public").arg(folder.path().display().to_string()).start().await?;
    let page = http::get(&host, "/").await?;
    ensure!(page.body == "<p>page</p>" && session::cookie(&page.head).is_some(), "{page:?}");
    let file = http::get(&host, "/hello/file").await?;
    ensure!(file.body == "0123456789" && session::cookie(&file.head).is_none(), "{file:?}");
    let etag = file.header("etag").context("an ETag")?;
    let with = |header: &str| {
        format!("GET /hello/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n")
    };
    ensure!(http::send(&host, &with(&format!("If-None-Match: {etag}"))).await?.status == 304);
    let part = http::send(&host, &with("Range: bytes=2-4")).await?;
    ensure!((part.status, part.body.as_str()) == (206, "234"), "{part:?}");
    ensure!(part.header("content-range") == Some("bytes 2-4/10"), "{part:?}");
    ensure!(http::get(&host, "/hello/other").await?.body.starts_with("hello other"));
    for path in [
        "/.secret",
        "/%2esecret",
        "/hello/%2e%2e/.secret",
        "/..%2f..%2fetc/passwd",
        "/%2f.secret",
        "/hello%2f..%2f.secret",
    ] {
        let answer = http::get(&host, path).await?;
        ensure!(answer.status == 404 && !answer.body.contains("secret"), "{path}: {answer:?}");
    }
    let wrong = send(&host, "DELETE", "/index.html", "").await?;
    ensure!((wrong.status, wrong.header("allow")) == (405, Some("GET, HEAD, OPTIONS")), "{wrong:?}");
    // A path that no file can have is one for the routes.
    let long = format!("/hello/{}", "x".repeat(300));
    for path in [long.as_str(), "/hello/%00"] {
        ensure!(http::get(&host, path).await?.body.starts_with("hello "), "{path}");
    }
    ensure!(http::get(&host, "/hello/file/below").await?.status == 404);
    host.is_unhurt()
}

/// What browsers and caches ask for: conditions, parts, heads, folders.
#[tokio::test]
async fn static_files_by_the_book() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("a b"))?;
    std::fs::write(folder.path().join("index.html"), "<p>page</p>")?;
    std::fs::write(folder.path().join("script.js"), "0123456789")?;
    let host = host_of("browser").arg("--public").arg(folder.path().display().to_string()).start().await?;
    let ask = async |method: &str, path: &str, header: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
        http::send(&host, &request).await
    };
    let whole = ask("GET", "/script.js", "X: y").await?;
    let kind = Some("text/javascript; charset=utf-8");
    let (tag, date) =
        (whole.header("etag").context("a tag")?, whole.header("last-modified").context("a date")?);
    ensure!(whole.header("content-type") == kind && whole.header("cache-control").is_none(), "{whole:?}");
    for (header, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: \"other\", {tag}"), 304),
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT".to_owned(), 200),
        // A date says nothing beside a tag.
        (format!("If-None-Match: \"other\"\r\nIf-Modified-Since: {date}"), 200),
    ] {
        let answer = ask("GET", "/script.js", &header).await?;
        ensure!(answer.status == status && answer.header("etag") == Some(tag), "{header}: {answer:?}");
    }
    let head = ask("HEAD", "/script.js", "X: y").await?;
    ensure!(head.header("content-type") == kind && head.header("content-length") == Some("10"), "{head:?}");
    let part = ask("GET", "/script.js", "Range: bytes=-3").await?;
    ensure!(
        (part.status, part.body.as_str()) == (206, "789") && part.header("content-type") == kind,
        "{part:?}"
    );
    let parts = ask("GET", "/script.js", "Range: bytes=0-1,5-6").await?;
    ensure!(parts.status == 206 && parts.body.contains("bytes 5-6/10\r\n"), "{parts:?}");
    ensure!(parts.body.contains("\r\n\r\n01\r\n") && parts.body.contains("\r\n\r\n56\r\n"), "{parts:?}");
    let many = ask("GET", "/script.js", &format!("Range: bytes=0-{}", ",0-".repeat(50))).await?;
    ensure!((many.status, many.body.as_str()) == (200, "0123456789"), "{many:?}");
    let beyond = ask("GET", "/script.js", "Range: bytes=20-").await?;
    ensure!(beyond.status == 416 && beyond.header("content-range") == Some("bytes */10"), "{beyond:?}");
    let folder = ask("GET", "/a%20b?c=d", "X: y").await?;
    ensure!(folder.status == 301 && folder.header("location") == Some("/a%20b/?c=d"), "{folder:?}");
    // A page gives a session also to a browser that has the page already, and no cache may share it.
    let page = ask("GET", "/", "X: y").await?;
    let known = format!("If-None-Match: {}", page.header("etag").context("a tag")?);
    for (answer, status) in [(page, 200), (ask("GET", "/", &known).await?, 304)] {
        ensure!(answer.status == status && session::cookie(&answer.head).is_some(), "{answer:?}");
        ensure!(answer.header("cache-control") == Some("private, no-cache"), "{answer:?}");
    }
    host.is_unhurt()
}

/// A new session's cookie is for one client: no shared cache may keep it.
#[tokio::test]
async fn cookies_and_caches() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    for (rule, cookie, expected) in [
        ("", true, "private, no-cache"),
        ("max-age=60", true, "max-age=60"),
        ("no-store", true, "no-store"),
        ("max-age=60,%20Public", false, "max-age=60, Public"),
        ("s-maxage=9", false, "s-maxage=9"),
    ] {
        let answer = http::get(&host, &format!("/cached?{rule}")).await?;
        ensure!(session::cookie(&answer.head).is_some() == cookie, "{rule}: {answer:?}");
        ensure!(answer.header("cache-control") == Some(expected), "{rule}: {answer:?}");
        let private = answer.head.to_lowercase().contains("cache-control: private");
        ensure!(private == (cookie && rule != "no-store"), "{rule}: {answer:?}");
    }
    host.is_unhurt()
}

/// A form on another site's page is sent without this site's cookie; the browser keeps the session it has.
#[tokio::test]
async fn forms_of_other_sites() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let post = async |headers: &str| {
        http::send(
            &host,
            &format!("POST /echo HTTP/1.1\r\nHost: shop.com\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"),
        )
        .await
    };
    let own = post("Origin: http://shop.com\r\n").await?;
    let cookie = session::cookie(&own.head).context("a cookie")?;
    let foreign = post("Origin: http://evil.com\r\n").await?;
    ensure!(foreign.status == 200 && session::cookie(&foreign.head).is_none(), "{foreign:?}");
    let of = |answer: &http::Response| {
        serde_json::from_str::<Value>(&answer.body).map(|seen| seen["session"].clone())
    };
    ensure!(of(&foreign)? != of(&own)?);
    // Where the browser thinks that the site is the same, its word counts.
    let sibling = post(&format!("Origin: http://a.shop.com\r\nCookie: {cookie}\r\n")).await?;
    ensure!(of(&sibling)? == of(&own)?, "{sibling:?}");
    host.is_unhurt()
}

/// A wish for another protocol than a socket's is no reason to refuse the request.
#[tokio::test]
async fn upgrades_that_are_none() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let ask = async |path: &str, upgrade: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
        );
        http::send(&host, &request).await
    };
    let http2 = ask("/hello/a", "h2c").await?;
    ensure!(http2.status == 200 && http2.body.starts_with("hello a"), "{http2:?}");
    ensure!(ask("/hello/a", "h2c, WebSocket").await?.status == 400);
    ensure!(ask("/socketcluster/", "h2c").await?.status == 400);
    host.is_unhurt()
}

/// Bodies that come in as many pieces as they have bytes.
#[tokio::test]
async fn bodies_in_crumbs() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let crumbs = "1\r\nx\r\n".repeat(100_000);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{crumbs}0\r\n\r\n"
    );
    let echo = http::send(&host, &request).await?;
    ensure!(echo.status == 200 && echo.body.contains(r#""body":100000"#), "{echo:?}");
    host.is_unhurt()
}

/// Who logs in by HTTP has a token that sockets accept.
#[tokio::test]
async fn tokens_by_http() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let token = send(&host, "POST", "/token", r#"{"username":"bob"}"#).await?;
    ensure!(token.status == 200, "{token:?}");
    let client = Client::connect_with(&host, json!(token.body)).await?;
    ensure!(client.status["isAuthenticated"] == true, "{}", client.status);
    let claims = send(&host, "POST", "/verify", &token.body).await?;
    ensure!(claims.status == 200 && claims.body.contains(r#""username":"bob""#), "{claims:?}");
    let bad = send(&host, "POST", "/verify", &format!("{}x", token.body)).await?;
    ensure!(bad.status == 401 && bad.body.contains("AuthTokenInvalidError"), "{bad:?}");
    let none = send(&host, "POST", "/token", "[1]").await?;
    ensure!(none.status == 500 && none.body.contains("InvalidArgumentsError"), "{none:?}");
    host.is_unhurt()
}
