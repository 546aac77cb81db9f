//! The site: a `wasi:http` component for what the worker's own endpoints do not take.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::raw::Raw;
use sc_tests::{Client, Host, HostBuilder, Role, guests as components, http, join_all, session, usage, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::host_of;

/// A host whose controller has the routes of `browser`, with a site.
fn host_with(site: &Path) -> HostBuilder {
    host_of("browser").set("http.component", site.display())
}

fn wstd() -> anyhow::Result<HostBuilder> {
    Ok(host_with(&components::guest("site_wstd")?))
}

async fn send(host: &Host, method: &str, path: &str, body: &str) -> anyhow::Result<http::Response> {
    session::send(host, None, method, path, body).await
}

#[tokio::test]
async fn a_site_answers_what_no_route_takes() -> anyhow::Result<()> {
    let host = wstd()?.start().await?;
    let hello = http::get(&host, "/hello-not-a-route").await?;
    ensure!((hello.status, hello.body.as_str()) == (404, "no such page\n"), "{hello:?}");
    let root = http::get(&host, "/").await?;
    ensure!(root.status == 200 && root.body == "hello from the site, \n", "{root:?}");
    ensure!(session::cookie(&root.head).is_some(), "a visit begins a session: {root:?}");

    let cookie = session::cookie(&root.head).context("a cookie")?;
    let seen = http::send(
        &host,
        &format!(
            "GET /seen/a%20b?q=1&r HTTP/1.1\r\nHost: example.org:99\r\nCookie: {cookie}\r\nX-Odd: \u{e9}\r\n\
             X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        ),
    )
    .await?;
    ensure!(session::cookie(&seen.head).is_none() && seen.header("x-more") == Some("yes"), "{seen:?}");
    ensure!(seen.body.starts_with("GET http://example.org:99/seen/a%20b?q=1&r\n"), "{seen:?}");
    for line in [
        &format!("cookie: {cookie}"),
        "x-odd: \u{e9}",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
    ] {
        ensure!(seen.body.lines().any(|seen| seen == line), "{line} is missing: {seen:?}");
    }
    ensure!(!seen.body.contains("9.9.9.9") && !seen.body.contains("connection:"), "{seen:?}");

    let cookies = http::get(&host, "/cookie").await?;
    let set: Vec<_> =
        cookies.head.lines().filter(|line| line.to_lowercase().starts_with("set-cookie")).collect();
    ensure!(set.len() == 3 && set[0].contains("ssid=") && set[1].contains("a=1"), "{cookies:?}");
    for status in [200, 201, 302, 404, 503] {
        ensure!(http::get(&host, &format!("/status/{status}")).await?.status == status);
    }
    let odd = http::get(&host, "/status/101").await?;
    ensure!(odd.status == 500, "{odd:?}");
    let rights = http::get(&host, "/rights").await?;
    ensure!(rights.body.starts_with("variables 0, file false, socket Err("), "{rights:?}");
    ensure!(rights.body.ends_with("clock true"), "{rights:?}");
    // HTTP/1.0 names no host.
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /seen/old HTTP/1.0\r\n\r\n").await?;
    let old = raw.rest().await?;
    ensure!(old.contains("GET http://localhost/seen/old") && !old.contains("chunked"), "{old}");
    host.is_unhurt()
}

/// A site in JavaScript, on its engine's fetch events.
#[tokio::test]
async fn a_site_in_javascript_answers() -> anyhow::Result<()> {
    let port = echo_server().await?;
    let host = host_with(&components::guest("site-js")?)
        .set("http.allow_hosts", format!("127.0.0.1:{port}"))
        .start()
        .await?;
    let hello = http::get(&host, "/").await?;
    ensure!((hello.status, hello.body.as_str()) == (200, "hello from JavaScript\n"), "{hello:?}");
    let echo = send(&host, "POST", "/echo-js?a=1&b=%C3%A9", "text of the body").await?;
    let seen: serde_json::Value = serde_json::from_str(&echo.body).with_context(|| format!("{echo:?}"))?;
    let query = serde_json::json!({ "a": "1", "b": "\u{e9}" });
    ensure!(
        seen["method"] == "POST" && seen["query"] == query && seen["body"] == "text of the body",
        "{seen}"
    );
    let pieces = http::get(&host, "/stream-js").await?;
    ensure!(pieces.body == "piece 0\npiece 1\npiece 2\n", "{pieces:?}");
    let out = http::get(&host, &format!("/out-js?to=http://127.0.0.1:{port}/there")).await?;
    ensure!(out.status == 200 && out.body.starts_with("GET /there HTTP/1.1"), "{out:?}");
    let shut = http::get(&host, "/out-js?to=http://127.0.0.2/").await?;
    ensure!(shut.status == 502 && shut.body == "no way out\n", "{shut:?}");
    host.is_unhurt()?;
    ensure!(http::get(&host, "/throws-js").await?.status == 500);
    ensure!(http::get(&host, "/").await?.status == 200);
    Ok(())
}

/// A client that does not read holds the instance back, not the host's memory; one that leaves frees its instance.
#[tokio::test]
async fn clients_that_do_not_read() -> anyhow::Result<()> {
    let host = wstd()?.set("http.instances", 1).set("http.answer_timeout", "20s").start().await?;
    ensure!(http::get(&host, "/large/100").await?.status == 200);
    let worker = host.pid(Role::Worker, 0).context("a worker")?;
    let before = usage::resident(worker);
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /large/20000 HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    raw.head().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = usage::resident(worker).saturating_sub(before);
    ensure!(grown < 16 << 20, "the worker grew by {grown} bytes");
    drop(raw);
    let began = Instant::now();
    ensure!(http::get(&host, "/hello").await?.status == 200);
    ensure!(began.elapsed() < Duration::from_secs(15), "the instance was not freed: {:?}", began.elapsed());
    host.is_unhurt()
}

/// What the site says is in the log, under its name.
#[tokio::test]
async fn its_output_is_logged() -> anyhow::Result<()> {
    let host = wstd()?.start().await?;
    ensure!(http::get(&host, "/says/this").await?.status == 200);
    for (stream, text) in [("stdout", "said this"), ("stderr", "warned this")] {
        let of_site = |record: &serde_json::Value| {
            record["message"] == text
                && record["stream"] == stream
                && record["component"].as_str().is_some_and(|name| name.starts_with("browser-site@"))
                && record["event"] == "http GET /says/this"
        };
        host.log().record(text, of_site).await?;
    }
    host.is_unhurt()
}

#[tokio::test]
async fn bodies_stream_both_ways() -> anyhow::Result<()> {
    let host = wstd()?.start().await?;
    let posted = send(&host, "POST", "/echo", "is a route").await?;
    ensure!(posted.body.contains(r#""method":"POST""#), "routes come first: {posted:?}");
    let length = send(&host, "POST", "/length", &"x".repeat(300_000)).await?;
    ensure!((length.status, length.body.as_str()) == (200, "300000 bytes\n"), "{length:?}");

    // Pieces come while the next is still to be made.
    let began = Instant::now();
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /stalls HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let head = raw.head().await?;
    ensure!(head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("chunked"), "{head}");
    ensure!(began.elapsed() < Duration::from_secs(10), "the head waited for the body");
    let pieces = http::get(&host, "/stream/4").await?;
    ensure!(pieces.body == "piece 0\npiece 1\npiece 2\npiece 3\n", "{pieces:?}");

    // More than a client that does not read has room for: it waits in the guest, not in the host.
    let large = http::get(&host, "/large/200").await?;
    ensure!(large.body.len() == 200 << 16, "{}", large.body.len());
    let head = send(&host, "HEAD", "/stream/4", "").await?;
    ensure!((head.status, head.body.as_str()) == (200, ""), "{head:?}");
    host.is_unhurt()
}

/// The host tells a client what is wrong with its body, whatever the site says.
#[tokio::test]
async fn bodies_have_bounds() -> anyhow::Result<()> {
    let host = wstd()?.set("http.body_max", 1000).set("http.body_timeout", "1500ms").start().await?;
    let most = send(&host, "POST", "/length", &"x".repeat(1000)).await?;
    ensure!(most.body == "1000 bytes\n", "{most:?}");
    let large = send(&host, "POST", "/length", &"x".repeat(1001)).await?;
    ensure!(large.status == 413 && large.body.contains("1000"), "{large:?}");
    let chunks = format!("{:x}\r\n{}\r\n", 600, "x".repeat(600)).repeat(2);
    let chunked = format!(
        "POST /length HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}0\r\n\r\n"
    );
    let large = http::send(&host, &chunked).await?;
    ensure!(large.status == 413, "{large:?}");
    let mut raw = Raw::open(&host).await?;
    raw.send(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await?;
    let slow = raw.head().await?;
    ensure!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    host.is_unhurt()
}

/// Engine path, built-in endpoints, static files, routes and their 405 come before the site.
#[tokio::test]
async fn what_comes_before_it() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("index.html"), "<p>page</p>")?;
    std::fs::create_dir(folder.path().join("seen"))?;
    std::fs::write(folder.path().join("seen/file"), "a file")?;
    let host = wstd()?.arg("--public").arg(folder.path().display().to_string()).start().await?;
    for (method, path, status, body) in [
        ("GET", "/", 200, "<p>page</p>"),
        ("GET", "/seen/file", 200, "a file"),
        ("DELETE", "/seen/file", 405, "Answered here"),
        ("GET", "/seen/other", 200, "GET http://"),
        ("GET", "/hello/bob", 200, "hello bob, visit"),
        ("POST", "/hello/bob", 405, "Answered here"),
        ("GET", "/hello", 200, "hello from the site"),
        ("GET", "/sc/health", 200, "ready"),
        ("GET", "/sc/other", 404, "The host serves"),
        ("GET", "/socketcluster/", 426, "WebSocket"),
        ("DELETE", "/nothing", 404, "no such page"),
    ] {
        let answer = send(&host, method, path, "").await?;
        ensure!(answer.status == status && answer.body.contains(body), "{method} {path}: {answer:?}");
    }
    host.is_unhurt()
}

/// A request that fails costs itself, and neither other requests nor sockets.
#[tokio::test]
async fn failures_stay_small() -> anyhow::Result<()> {
    let host = wstd()?.set("http.memory", "8MiB").set("http.cpu_per_request", "200ms").start().await?;
    let mut client = Client::connect(&host).await?;
    for (path, fault, words) in [
        ("/panics?now=1", "Trap", "asked to"),
        ("/loops", "Timeout", "200 ms of CPU time"),
        ("/hoards", "Memory", "8 MiB"),
    ] {
        let other = http::get(&host, "/sleep/50");
        let (failed, other) = tokio::try_join!(send(&host, "GET", path, ""), other)?;
        ensure!(
            (failed.status, failed.body.as_str()) == (500, "The request failed.\n"),
            "{path}: {failed:?}"
        );
        ensure!((other.status, other.body.as_str()) == (200, "slept\n"), "{path}: {other:?}");
        let of_it =
            |record: &serde_json::Value| record["fault"] == fault && record.to_string().contains(words);
        let record = host.log().record(path, of_it).await?;
        let path = path.trim_end_matches("?now=1");
        ensure!(
            record["component"].as_str().is_some_and(|name| name.starts_with("browser-site@"))
                && record["event"] == format!("http GET {path}"),
            "{record}"
        );
    }
    ensure!(http::get(&host, "/errs").await?.status == 500);
    let said = |record: &serde_json::Value| {
        record["cause"].as_str().is_some_and(|cause| cause.contains("asked to fail"))
    };
    host.log().record("its own error", said).await?;
    // An answer that breaks off must not look whole.
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /breaks HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let broken = raw.rest().await?;
    ensure!(broken.contains("piece 1\n") && !broken.ends_with("0\r\n\r\n"), "{broken}");
    ensure!(http::get(&host, "/hello").await?.status == 200);
    client.is_up().await
}

/// An instance that returned is not yet an answer that is whole.
#[tokio::test]
async fn an_answer_that_is_left_half_done() -> anyhow::Result<()> {
    let host = host_with(&components::guest("site_leaks")?).start().await?;
    let whole = http::get(&host, "/whole").await?;
    ensure!((whole.status, whole.body.as_str()) == (200, "half of it"), "{whole:?}");
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    // What came before the break may have reached the client or not.
    let half = raw.rest().await?;
    ensure!(!half.ends_with("0\r\n\r\n"), "{half}");
    let unfinished = |record: &serde_json::Value| {
        record["cause"].as_str().is_some_and(|cause| cause.contains("outgoing-body.finish"))
    };
    host.log().record("why it broke off", unfinished).await?;
    ensure!(http::get(&host, "/whole").await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn it_has_to_answer_in_time() -> anyhow::Result<()> {
    let host = wstd()?.set("http.answer_timeout", "400ms").start().await?;
    let began = Instant::now();
    let late = http::get(&host, "/sleep/60000").await?;
    ensure!((late.status, late.body.as_str()) == (504, "The request took too long.\n"), "{late:?}");
    ensure!(began.elapsed() < Duration::from_secs(15), "the deadline was not kept");
    host.is_unhurt()?;
    drop(host);

    // What stops in the middle breaks off; what goes on in time may take longer in sum.
    let host = wstd()?.set("http.answer_timeout", "4s").start().await?;
    let mut raw = Raw::open(&host).await?;
    raw.send(b"GET /stalls HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let (broken, long) = tokio::try_join!(raw.rest(), http::get(&host, "/stream/600"))?;
    ensure!(broken.contains("piece 0\n") && !broken.ends_with("0\r\n\r\n"), "{broken}");
    ensure!(long.body.ends_with("piece 599\n"), "{long:?}");
    host.is_unhurt()
}

/// More requests than instances wait their turn; those that wait too long are told to come again.
#[tokio::test]
async fn more_requests_than_instances() -> anyhow::Result<()> {
    let host = wstd()?.set("http.instances", 2).start().await?;
    let began = Instant::now();
    let all = join_all((0..8).map(|_| http::get(&host, "/sleep/100"))).await;
    ensure!(all.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)), "{all:?}");
    ensure!(began.elapsed() >= Duration::from_millis(400), "more than two at once: {:?}", began.elapsed());
    // A client that leaves takes its instance with it.
    for _ in 0..4 {
        let mut raw = Raw::open(&host).await?;
        raw.send(b"GET /sleep/60000 HTTP/1.1\r\nHost: x\r\n\r\n").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    ensure!(http::get(&host, "/hello").await?.status == 200);
    ensure!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    host.is_unhurt()?;
    drop(host);

    // Who comes late still waits when those before have had their time.
    let host = wstd()?.set("http.instances", 2).set("http.answer_timeout", "5s").start().await?;
    let (one, two, three) =
        tokio::try_join!(http::get(&host, "/sleep/60000"), http::get(&host, "/sleep/60000"), async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            http::get(&host, "/hello").await
        })?;
    ensure!((one.status, two.status) == (504, 504), "{one:?} {two:?}");
    ensure!(three.status == 200, "its turn came: {three:?}");
    host.is_unhurt()
}

/// A server that answers each request with its head, and counts.
async fn echo_server() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut read = vec![0; 4096];
            let length = stream.read(&mut read).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&read[..length]).into_owned();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{head}",
                head.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(port)
}

async fn fetch(host: &Host, target: &str) -> anyhow::Result<http::Response> {
    http::send(
        host,
        &format!("GET /out HTTP/1.1\r\nHost: x\r\nX-Target: {target}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

#[tokio::test]
async fn its_way_out_is_closed() -> anyhow::Result<()> {
    let port = echo_server().await?;
    let host = wstd()?.start().await?;
    for target in ["http://127.0.0.1", "http://localhost", "https://example.com"] {
        let denied = fetch(&host, &format!("{target}:{port}/")).await?;
        ensure!(denied.status == 502 && denied.body.contains("HttpRequestDenied"), "{denied:?}");
    }
    let names = |record: &serde_json::Value| {
        record["host"] == "example.com"
            && record["message"].as_str().is_some_and(|message| message.contains("http.allow_hosts"))
    };
    let first = host.log().record("the option that would allow it", names).await?;
    // A site that asks for every request is heard now and then, and the others are counted.
    for _ in 0..12 {
        fetch(&host, "http://example.com/").await?;
    }
    let counts = || {
        let records = host.log().records();
        let whole = records.iter().filter(|record| record["message"] == first["message"]).count() as u64;
        let left_out = records.iter().filter(|record| record["kind"] == first["message"]);
        let left_out: u64 = left_out.filter_map(|record| record["left_out"].as_u64()).sum();
        (whole + left_out == 3 + 12).then_some(left_out)
    };
    let left_out = wait::until("the counts to sum", counts).await.with_context(|| host.log().tail(20))?;
    ensure!(left_out > 0, "{}", host.log().tail(20));
    host.is_unhurt()
}

#[tokio::test]
async fn its_way_out_leads_to_named_hosts() -> anyhow::Result<()> {
    let port = echo_server().await?;
    let allowed = format!("127.0.0.1:{port}, localhost, *.example.com");
    let host = wstd()?.set("http.allow_hosts", allowed).start().await?;
    for name in ["127.0.0.1", "localhost"] {
        let answer = fetch(&host, &format!("http://{name}:{port}/a?b=c")).await?;
        ensure!(
            answer.status == 200 && answer.body.starts_with("200 OK: GET /a?b=c HTTP/1.1\r\n"),
            "{answer:?}"
        );
        ensure!(answer.body.to_lowercase().contains(&format!("host: {name}:{port}\r\n")), "{answer:?}");
    }
    for target in [
        format!("http://127.0.0.1:{}/", port.wrapping_add(1)),
        format!("http://127.0.0.2:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://example.com/".to_owned(),
    ] {
        let denied = fetch(&host, &target).await?;
        ensure!(denied.status == 502 && denied.body.contains("HttpRequestDenied"), "{target}: {denied:?}");
    }
    host.is_unhurt()
}

/// What cannot be a site is refused before anything is served, by name.
#[test]
fn what_is_no_site() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, bytes: &[u8]| -> anyhow::Result<_> {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path)
    };
    let controller = components::guest("browser")?;
    let none = folder.path().join("none.wasm");
    let (text, module) = (file("a.wasm", b"hello")?, file("b.wasm", b"\0asm\x01\0\0\0")?);
    for (site, exit, words) in [
        (&none, 66, "does not exist"),
        (&text, 65, "not a WebAssembly file"),
        (&module, 65, "not a component"),
        (&controller, 65, "does not export wasi:http/incoming-handler"),
    ] {
        host_with(site).run(wait::COMPILED)?.refused(exit, &[words])?;
    }
    Ok(())
}
