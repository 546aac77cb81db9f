//! Balancers with a controller: what it decides, what is proxied to workers, and what its failures cost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::Way;
use sc_tests::raw::{Raw, upgrade_request};
use sc_tests::{Client, Host, HostBuilder, Role, guests, http, run, session, wait};
use serde_json::{Value, json};

use crate::host_of;

const DEADLINE: Duration = wait::COMPILED;

fn door() -> anyhow::Result<HostBuilder> {
    Ok(host_of("browser").set("balancer.component", guests::guest("door")?.display()))
}

async fn echo(host: &Host, target: &str, lines: &str) -> anyhow::Result<Value> {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{lines}\r\n", host.address());
    Ok(serde_json::from_str(&http::send(host, &request).await?.body)?)
}

#[tokio::test]
async fn what_is_allowed_answered_changed_and_closed() -> anyhow::Result<()> {
    let host = door()?.workers(2).start().await?;
    let denied = http::get(&host, "/door/deny").await?;
    ensure!(denied.status == 403 && denied.body == "denied\n" && denied.header("x-door") == Some("shut"));
    ensure!(http::get(&host, "/files/a/b").await?.body == "a/b");
    ensure!(http::get(&host, "/door/hello").await?.body == "hello door, visit 1");
    ensure!(http::get(&host, "/sc/health").await?.status == 200);
    ensure!(http::get(&host, "/nothing").await?.status == 404);
    let head = format!("HEAD /files/abc HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host.address());
    let head = http::send(&host, &head).await?;
    ensure!(
        head.status == 200 && head.header("content-length") == Some("3") && head.body.is_empty(),
        "{head:?}"
    );
    let mut closed = Raw::open(&host).await?;
    closed.send(b"GET /door/close HTTP/1.1\r\n\r\n").await?;
    ensure!(closed.rest().await?.is_empty());

    // Whose a request is, the worker hears from the balancer, and from nobody else.
    let seen =
        echo(&host, "/echo?a=b", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nKeep-Alive: 9\r\n")
            .await?;
    ensure!(seen["address"] == "127.0.0.1" && seen["secure"] == false && seen["query"] == "a=b", "{seen}");
    let headers = seen["headers"].to_string();
    ensure!(
        headers.contains("x-forwarded-for: 127.0.0.1") && headers.contains("x-forwarded-host: 127.0.0.1:"),
        "{seen}"
    );
    ensure!(!headers.contains("keep-alive") && !headers.contains("6.6.6.6"), "{seen}");

    // Sockets and their sessions: by the cookie of a proxied page, on that page's worker.
    for _ in 0..6 {
        let page = http::get(&host, "/hello/bob").await?;
        let cookie = session::cookie(&page.head).context("a cookie")?;
        let mut client = Client::in_session(&host, &cookie).await?;
        let worker = client.ask("who", Value::Null).await?["worker"].as_u64().context("a worker")?;
        ensure!(cookie.contains(&format!("=_w{worker}_")), "{cookie} is on worker {worker}");
        let again = session::send(&host, Some(&cookie), "GET", "/hello/bob", "").await?;
        ensure!(again.body == "hello bob, visit 2" && session::cookie(&again.head).is_none(), "{again:?}");
        let killed = host.kill(Role::Balancer, 0)?;
        host.respawned(Role::Balancer, 0, killed).await?;
        client.is_up().await?;
    }
    for query in ["door=deny", "door=close"] {
        ensure!(Client::open(&host, Way { query, ..Way::default() }).await.is_err(), "{query}");
    }
    let mut upgraded = Raw::open(&host).await?;
    upgraded.send(upgrade_request(&host, "/socketcluster/?door=deny").as_bytes()).await?;
    let refused = upgraded.rest().await?;
    ensure!(refused.starts_with("HTTP/1.1 403 ") && refused.ends_with("denied\n"), "{refused}");
    Ok(())
}

/// A key beats a session, for requests and sockets, and every balancer agrees on its worker.
#[tokio::test]
async fn one_key_one_worker() -> anyhow::Result<()> {
    let host = door()?.workers(3).set("app.balancers", 2).start().await?;
    let cookie = session::of_worker(&host, 1).await?;
    let mut workers = std::collections::BTreeSet::new();
    for query in ["key=a", "key=b", "key=c", "key=d", "key=e", "key=f"] {
        let mut of_key = std::collections::BTreeSet::new();
        for _ in 0..4 {
            let headers = vec![("cookie", cookie.clone())];
            let mut client = Client::open(&host, Way { query, headers, ..Way::default() }).await?;
            of_key.insert(client.ask("who", Value::Null).await?["worker"].to_string());
        }
        ensure!(of_key.len() == 1, "{query}: {of_key:?}");
        workers.extend(of_key);
    }
    ensure!(workers.len() > 1, "{workers:?}");
    host.is_unhurt()
}

/// Bodies, trailers of requests, expectations, keep-alive and an upgrade behind it, on sockets with every byte ours.
#[tokio::test]
async fn bytes_on_the_wire() -> anyhow::Result<()> {
    let host = door()?.set("http.body_timeout", "1s").start().await?;
    let mut raw = Raw::open(&host).await?;
    raw.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345").await?;
    ensure!(serde_json::from_str::<Value>(&raw.response().await?.1)?["body"] == 5);
    raw.send(b"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await?;
    let more = raw.head().await?;
    ensure!(more == "HTTP/1.1 100 Continue\r\n\r\n", "{more}");
    raw.send(b"abc").await?;
    ensure!(serde_json::from_str::<Value>(&raw.response().await?.1)?["body"] == 3);
    // Pipelined, then a socket, with bytes of its first frame behind it.
    let two = "GET /files/one HTTP/1.1\r\n\r\nGET /door/deny HTTP/1.1\r\n\r\n";
    let frame = sc_tests::raw::frame(0x81, br##"{"event":"#handshake","data":{},"cid":1}"##, true);
    let upgrade = upgrade_request(&host, "/socketcluster/");
    raw.send(&[two.as_bytes(), upgrade.as_bytes(), &frame].concat()).await?;
    ensure!(raw.response().await?.1 == "one");
    ensure!(raw.response().await?.1 == "denied\n");
    ensure!(raw.head().await?.starts_with("HTTP/1.1 101 "));
    let sc_tests::raw::Frame::Text(answer) = raw.next_packet().await? else { anyhow::bail!("no answer") };
    ensure!(answer.contains(r#""rid":1"#), "{answer}");

    let mut chunked = Raw::open(&host).await?;
    chunked.send(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n2\r\nab\r\n0\r\na: b\r\n\r\n").await?;
    let (head, body) = chunked.response().await?;
    ensure!(
        serde_json::from_str::<Value>(&body)?["body"] == 2 && head.contains("connection: close"),
        "{head}{body}"
    );

    // A body that does not come is its worker's to refuse, and the refusal comes through while it is still awaited.
    let mut slow = Raw::open(&host).await?;
    slow.send(b"POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n1").await?;
    let late = slow.rest().await?;
    ensure!(late.starts_with("HTTP/1.1 408 "), "{late}");
    let mut large = Raw::open(&host).await?;
    large.send(b"POST /echo HTTP/1.1\r\nContent-Length: 50000000\r\n\r\n1").await?;
    let refused = large.head().await?;
    ensure!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
    host.is_unhurt()
}

#[tokio::test]
async fn nothing_is_smuggled() -> anyhow::Result<()> {
    let host = door()?.start().await?;
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Content-Length: 5\r\n folded",
        "X-A: b\r\n\tfolded: c",
        "Content-Length : 5",
        "Host: a\r\nHost: b",
    ] {
        for before in ["", "GET /files/fine HTTP/1.1\r\n\r\n"] {
            let mut raw = Raw::open(&host).await?;
            let body = "0\r\n\r\nGET /files/smuggled HTTP/1.1\r\n\r\n";
            raw.send(format!("{before}POST /echo HTTP/1.1\r\n{lines}\r\n\r\n{body}").as_bytes()).await?;
            if !before.is_empty() {
                ensure!(raw.response().await?.1 == "fine");
            }
            let said = raw.rest().await?;
            ensure!(said.starts_with("HTTP/1.1 400 ") && !said.contains("smuggled"), "{lines:?}: {said}");
            ensure!(said.matches("HTTP/1.1 4").count() == 1, "{lines:?}: {said}");
        }
    }
    ensure!(http::get(&host, "/door/calls").await?.body == "10", "nobody heard of those");
    host.is_unhurt()
}

/// Whatever the controller does, accepting goes on, and so do connections.
#[tokio::test]
async fn failures_of_the_controller() -> anyhow::Result<()> {
    for (policy, status) in [("closed", 503), ("open", 404)] {
        let host = door()?.set("balancer.on_failure", policy).start().await?;
        let mut client = Client::connect(&host).await?;
        let mut open = Raw::open(&host).await?;
        open.send(b"GET /slow HTTP/1.1\r\n\r\n").await?;
        for what in ["trap", "loop", "hoard", "forge", "split", "nowhere"] {
            let began = Instant::now();
            let got = http::get(&host, &format!("/door/{what}")).await?;
            ensure!(got.status == status, "{policy} {what}: {got:?}");
            ensure!(began.elapsed() < Duration::from_secs(15), "{what} took {:?}", began.elapsed());
            ensure!(http::get(&host, "/door/calls").await?.body == "1", "{what}: a fresh instance");
        }
        ensure!(open.response().await?.1 == "late");
        let way = Way { query: "door=trap", ..Way::default() };
        ensure!(Client::open(&host, way).await.is_ok() == (policy == "open"));
        client.is_up().await?;
        // Many at once, some of which run in circles: each is decided within about a second.
        let began = Instant::now();
        let asking = (0..40).map(|number| {
            let path = if number % 8 == 0 { "/door/loop" } else { "/files/x" };
            http::get(&host, path)
        });
        for got in sc_tests::join_all(asking).await {
            let got = got?;
            ensure!([200, status].contains(&got.status), "{got:?}");
        }
        ensure!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
        let is_error = |line: &String| line.contains("a call of the balancer's controller failed");
        let all_told =
            || (host.log().lines().iter().filter(|line| is_error(line)).count() >= 7).then_some(());
        wait::until("an error record of each failure", all_told).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_dies_and_comes_back() -> anyhow::Result<()> {
    let host = door()?.workers(2).start().await?;
    let killed = host.kill(Role::Worker, 0)?;
    for number in 0..30 {
        let got = http::get(&host, &format!("/files/{number}")).await?;
        ensure!(got.status == 200 && got.body == number.to_string(), "{got:?}");
    }
    host.respawned(Role::Worker, 0, killed).await?;
    for number in 0..30 {
        ensure!(http::get(&host, &format!("/files/{number}")).await?.status == 200);
    }
    Ok(())
}

#[tokio::test]
async fn a_drain_finishes_what_is_proxied() -> anyhow::Result<()> {
    let host = door()?.start().await?;
    let mut raw = Raw::open(&host).await?;
    // The connection is the balancer's once it was answered on it.
    raw.send(b"GET /files/a HTTP/1.1\r\n\r\n").await?;
    ensure!(raw.response().await?.1 == "a");
    raw.send(b"GET /slow HTTP/1.1\r\n\r\n").await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (said, took) = tokio::join!(raw.rest(), host.stop());
    ensure!(said?.ends_with("late"));
    took?;
    Ok(())
}

#[test]
fn what_is_no_controller_of_balancers() -> anyhow::Result<()> {
    let with = |component: &str| host_of("browser").set("balancer.component", component).run(DEADLINE);
    let guest = |name: &str| anyhow::Ok(guests::guest(name)?.display().to_string());
    with(&guest("suite")?)?.refused(65, &["suite.wasm", "world `balancer`"])?;
    with("nowhere.wasm")?.refused(66, &["nowhere.wasm", "[balancer]"])?;
    host_of("door").run(DEADLINE)?.refused(65, &["door.wasm"])?;
    let checked =
        run::finish(run::command(env!("CARGO_BIN_EXE_sc-host")).arg("check").arg(guest("door")?), DEADLINE)?;
    ensure!(checked.code == Some(0) && checked.text.contains("a balancer controller"), "{}", checked.text);

    let folder = tempfile::tempdir()?;
    let app = |balancer: &str| -> anyhow::Result<HostBuilder> {
        let worker = guest("browser")?;
        let text = format!("[worker]\ncomponent = {worker:?}\n[balancer]\n{balancer}\n");
        std::fs::write(folder.path().join("sc.toml"), text)?;
        Ok(crate::host().app(folder.path()))
    };
    let door = json!(guest("door")?);
    app(&format!("component = {door}\nconfig = {{ refuse = true }}"))?
        .run(DEADLINE)?
        .refused(65, &["door.wasm", "told to refuse"])?;
    app("config = { a = 1 }")?.run(DEADLINE)?.refused(78, &["balancer.config", "balancer.component"])?;
    app(&format!("component = {door}\nmemory = \"1KiB\""))?
        .run(DEADLINE)?
        .refused(78, &["balancer.memory"])?;
    app(&format!("component = {door}\non_failure = \"opne\""))?
        .run(DEADLINE)?
        .refused(78, &["did you mean \"open\""])?;
    let checked = |balancer: &str| {
        app(balancer)?;
        run::finish(run::command(env!("CARGO_BIN_EXE_sc-host")).arg("check").arg(folder.path()), DEADLINE)
    };
    let fine = checked(&format!("component = {door}"))?;
    ensure!(fine.code == Some(0) && fine.text.contains("a balancer controller"), "{}", fine.text);
    checked(&format!("component = {}", json!(guest("suite")?)))?.refused(65, &["suite.wasm", "`arrivals`"])
}
