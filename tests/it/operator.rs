//! What operators and backends ask of a running host, by the command line and by HTTP with a key.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use sc_tests::{Client, Host, HostBuilder, Role, join_all, run, session, wait};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::{host, host_of};

const KEY: &str = "a key that is long enough";

async fn asked(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let done = host.ask(arguments).await?;
    ensure!(done.code == Some(0), "{arguments:?}: {}", done.text);
    Ok(done.text.trim().to_owned())
}

#[tokio::test]
async fn by_the_command_line() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let cookie = session::of_worker(&host, 0).await?;
    let mut one = Client::in_session(&host, &cookie).await?;
    let mut two = Client::in_session(&host, &cookie).await?;
    let mut other = Client::on_worker(&host, 1).await?;
    for client in [&mut one, &mut other] {
        client.subscribe("news").await?;
    }
    asked(&host, &["publish", "news", r#"{"text":"hello"}"#]).await?;
    for client in [&mut one, &mut other] {
        ensure!(client.publication("news").await? == json!({ "text": "hello" }));
    }
    asked(&host, &["publish", "news"]).await?;
    ensure!(other.publication("news").await? == Value::Null);
    let id = cookie.split_once('=').context("a cookie")?.1;
    ensure!(asked(&host, &["emit-session", id, "hey", "[1]"]).await? == "2 sockets");
    for client in [&mut one, &mut two] {
        ensure!(client.event("hey").await? == json!([1]));
    }
    let name = other.id().to_owned();
    ensure!(asked(&host, &["kick", "news", "--socket", &name, "--message", "go"]).await? == "1 socket");
    ensure!(other.event("#kickOut").await? == json!({ "channel": "news", "message": "go" }));
    ensure!(asked(&host, &["kick", "news", "--socket", &name]).await? == "0 sockets", "it is out already");
    ensure!(
        asked(&host, &["disconnect", "--session", id, "--code", "4321", "--reason", "bye"]).await?
            == "2 sockets"
    );
    for client in [&mut one, &mut two] {
        ensure!(client.closed().await? == (4321, "bye".to_owned()));
    }
    other.is_up().await?;
    let table = asked(&host, &["status"]).await?;
    for word in
        ["suite", "worker 0", "worker 1", "balancer 0", "store 0", "PACKETS/S", "SESSIONS", "ready, up"]
    {
        ensure!(table.contains(word), "{word} is missing in\n{table}");
    }
    for (arguments, code, said) in [
        (vec!["publish", "news", "hello"], 64, "hello is no JSON"),
        (vec!["publish", ""], 1, "`channel` is empty"),
        (vec!["disconnect", "--socket", &name, "--code", "1001"], 1, "must be 1000, or from 3000 to 4999"),
        (vec!["emit-session", "x", "#publish"], 1, "must not begin with '#'"),
        (vec!["kick", "news"], 64, "--session"),
    ] {
        host.ask(&arguments).await?.refused(code, &[said])?;
    }
    host.is_unhurt()
}

/// Status counts what happens: restarts, failures of guests, and rates.
#[tokio::test]
async fn status_tells_what_happened() -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    ensure!(client.call("trap", Value::Null).await.is_err());
    let old = host.kill(sc_tests::Role::Balancer, 0)?;
    host.respawned(sc_tests::Role::Balancer, 0, old).await?;
    let told = async {
        loop {
            client.ask("echo", json!(1)).await?;
            let status: Value = serde_json::from_str(&asked(&host, &["status", "--json"]).await?)?;
            let of = |role: &str| {
                let all = status["processes"].as_array().cloned().unwrap_or_default();
                all.into_iter().find(|process| process["role"] == role).unwrap_or_default()
            };
            let worker = &of("worker")["worker"];
            let is_so = worker["guest_failures"] == 1
                && worker["sockets"] == 1
                && worker["packets_per_second"].as_f64().is_some_and(|rate| rate > 0.0)
                && of("balancer")["restarts"] == 1
                && of("balancer")["phase"] == "ready";
            if is_so {
                return anyhow::Ok(());
            }
        }
    };
    wait::within(wait::SOON, "a status that tells all", told).await?
}

#[tokio::test]
async fn a_second_host_of_the_same_app() -> anyhow::Result<()> {
    let first = host_of("suite").start().await?;
    let second = host_of("suite").set("app.runtime_dir", first.runtime_dir().display());
    let pid = first.master().to_string();
    let finished = tokio::task::spawn_blocking(move || second.run(wait::SOON)).await??;
    finished.refused(69, &["suite is served already by process", &pid, "--runtime-dir"])?;
    ensure!(asked(&first, &["status"]).await?.contains("suite"), "the first one is unhurt");
    // One that was killed leaves its folder to the next.
    let folder = first.runtime_dir().to_owned();
    drop(first);
    let third = host_of("suite").set("app.runtime_dir", folder.display()).start().await?;
    third.stop().await?;
    Ok(())
}

#[test]
fn a_runtime_folder_that_others_may_write_to() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    let host = host_of("suite").set("app.runtime_dir", folder.path().display());
    host.run(wait::SOON)?.refused(71, &["other users may write to it", "--runtime-dir"])
}

#[tokio::test]
async fn no_host_answers() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let none = host().bare().command("status").arg("--runtime-dir").arg(folder.path().display().to_string());
    none.run(wait::SOON)?.refused(69, &["no host answers at", "sc-host run"])?;
    Ok(())
}

async fn request(address: SocketAddr, head: &str, body: &str) -> anyhow::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let text = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    wait::within(wait::SOON, "the API's answer", stream.read_to_string(&mut answer)).await??;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a status")?;
    let body = answer.split_once("\r\n\r\n").context("a body")?.1;
    Ok((status, serde_json::from_str(body)?))
}

/// A host with an API, and where that listens.
async fn with_api(host: HostBuilder) -> anyhow::Result<(Host, SocketAddr)> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    std::fs::write(&key, format!("{KEY}\n"))?;
    let host = host.set("api.listen", "127.0.0.1:0").set("api.key_file", key.display()).start().await?;
    let listens = |record: &Value| record["message"] == "the API listens";
    let address = host.log().record("the API's address", listens).await?;
    let address = address["address"].as_str().context("an address")?.parse()?;
    Ok((host, address))
}

/// A call whose asker goes away when dropped.
async fn publish(address: SocketAddr, channel: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let body = json!({ "channel": channel }).to_string();
    let length = body.len();
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nX-API-Key: {KEY}\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).await?;
    Ok(stream)
}

/// Whether a call is answered within a second. Its asker waits no longer.
async fn answered(address: SocketAddr) -> anyhow::Result<bool> {
    let mut asking = publish(address, "news").await?;
    let mut answer = [0; 12];
    match tokio::time::timeout(Duration::from_secs(1), asking.read_exact(&mut answer)).await {
        Ok(read) => read?,
        Err(_) => return Ok(false),
    };
    ensure!(&answer == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&answer));
    Ok(true)
}

/// A worker that does not answer keeps neither its calls nor the host's: what asks too much of it hears so at once.
#[tokio::test]
async fn a_worker_that_answers_no_calls() -> anyhow::Result<()> {
    let (host, address) = with_api(host_of("suite").workers(2)).await?;
    let mut client = Client::on_worker(&host, 1).await?;
    let stopped = host.pid(Role::Worker, 0).context("worker 0")?;
    run::signal(stopped, Signal::STOP);
    // Those who ask give up, so that it is not they who keep the number low. Once it has all that it may, none has to:
    // all go to the other one.
    for round in 1.. {
        let asked = join_all((0..60).map(|_| answered(address))).await.into_iter();
        if asked.collect::<anyhow::Result<Vec<_>>>()?.iter().all(|answered| *answered) {
            break;
        }
        ensure!(round < 6, "it is given calls without end");
    }
    let keyed = format!("POST /api/publish HTTP/1.1\r\nX-API-Key: {KEY}\r\n");
    for _ in 0..5 {
        let published = request(address, &keyed, r#"{"channel":"news"}"#).await?;
        ensure!(published.0 == 200, "{published:?}");
    }
    let head = format!("POST /api/emit HTTP/1.1\r\nX-API-Key: {KEY}\r\n");
    let mut crowded = TcpStream::connect(address).await?;
    let body = json!({ "socket": client.id(), "event": "hey" }).to_string();
    let text = format!("{head}Host: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    crowded.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    wait::within(wait::SOON, "the API's answer", crowded.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
    ensure!(answer.contains("worker 0 has not answered 64 calls yet"), "{answer}");
    run::signal(stopped, Signal::CONT);
    let again = async {
        while request(address, &head, &body).await? != (200, json!({ "sockets": 1 })) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "the worker to be asked again", again).await??;
    ensure!(host.pid(Role::Worker, 0) == Some(stopped), "it was not killed");
    client.is_up().await?;
    host.is_unhurt()
}

#[tokio::test]
async fn by_http_with_the_key() -> anyhow::Result<()> {
    let (host, address) = with_api(host_of("suite")).await?;
    let mut client = Client::connect(&host).await?;
    client.subscribe("news").await?;
    let keyed = format!("POST /api/publish HTTP/1.1\r\nX-API-Key: {KEY}\r\n");
    let published = request(address, &keyed, r#"{"channel":"news","data":"hi"}"#).await?;
    ensure!(published == (200, json!({})), "{published:?}");
    ensure!(client.publication("news").await? == "hi");
    let id = client.id().to_owned();
    let bearer = format!("POST /api/emit HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n");
    let emitted = request(address, &bearer, &json!({ "socket": id, "event": "hey" }).to_string()).await?;
    ensure!(emitted == (200, json!({ "sockets": 1 })), "{emitted:?}");
    client.event("hey").await?;
    let status = request(address, &format!("GET /api/status HTTP/1.1\r\nX-API-Key: {KEY}\r\n"), "").await?;
    ensure!(status.0 == 200 && status.1["app"] == "suite", "{status:?}");
    let large = format!(r#"{{"channel":"news","data":"{}"}}"#, "x".repeat(200_000));
    let with = |path: &str| format!("POST /api/{path} HTTP/1.1\r\nX-API-Key: {KEY}\r\n");
    for (head, body, status, said) in [
        ("POST /api/publish HTTP/1.1\r\n".to_owned(), "{}", 401, "api.key_file"),
        ("POST /api/publish HTTP/1.1\r\nX-API-Key: a key\r\n".to_owned(), "{}", 401, "api.key_file"),
        (with("publish"), "{}", 400, "missing field `channel`"),
        (with("publish"), "hello", 400, "expected value"),
        (with("publish"), r#"{"channel":"news","date":1}"#, 400, "unknown field `date`"),
        (with("publish"), &large, 413, "bytes"),
        (with("kick"), r#"{"channel":"news"}"#, 400, "either `session` or `socket`"),
        (
            with("kick"),
            r#"{"channel":"news","socket":"a","session":"b"}"#,
            400,
            "either `session` or `socket`",
        ),
        (with("reload"), "{}", 403, "sc-host reload"),
        (with("nothing"), "{}", 404, "/api/nothing"),
        (with("status"), "{}", 405, "/api/status"),
    ] {
        let (code, answer) = request(address, &head, body).await?;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        ensure!(code == status && message.contains(said), "{head}{body:.60}: {code} {answer}");
    }
    let mut stranger = TcpStream::connect(address).await?;
    stranger.write_all(b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut answer = String::new();
    wait::within(wait::SOON, "the end of its connection", stranger.read_to_string(&mut answer)).await??;
    ensure!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("connection: close\r\n"), "{answer}");
    client.is_up().await?;
    host.is_unhurt()
}

/// Connections that do nothing, as many as there may be, keep nobody out for long.
#[tokio::test]
async fn idle_connections_make_room() -> anyhow::Result<()> {
    let (host, address) = with_api(host_of("suite")).await?;
    let mut idle = Vec::new();
    for number in 0..64 {
        let mut stream = TcpStream::connect(address).await?;
        match number % 3 {
            0 => {}
            1 => stream.write_all(b"GET /api/status HTTP/1.1\r\nX-API").await?,
            _ => {
                stream.write_all(b"GET /api/status HTTP/1.1\r\nX-API-Key: wrong\r\n\r\n").await?;
                let _ = stream.read(&mut [0; 1024]).await?;
            }
        }
        idle.push(stream);
    }
    let keyed = format!("GET /api/status HTTP/1.1\r\nX-API-Key: {KEY}\r\n");
    let began = Instant::now();
    ensure!(request(address, &keyed, "").await?.0 == 200);
    ensure!(began.elapsed() < Duration::from_secs(18), "it took {:?}", began.elapsed());
    for mut stream in idle {
        let closed = wait::within(wait::SOON, "the end", stream.read(&mut [0; 1024])).await?;
        ensure!(closed.is_err() || closed.is_ok_and(|read| read == 0));
    }

    // Callers that ask and ask, and read nothing.
    let socket = host.runtime_dir().join("admin.sock");
    let mut deaf = Vec::new();
    for _ in 0..64 {
        let mut stream = UnixStream::connect(&socket).await?;
        deaf.push(async move {
            let many = b"GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20_000);
            let written = tokio::time::timeout(Duration::from_secs(3), stream.write_all(&many)).await;
            ensure!(written.is_err(), "it reads on although its answers are not taken");
            Ok(stream)
        });
    }
    let deaf: anyhow::Result<Vec<_>> = join_all(deaf).await.into_iter().collect();
    let began = Instant::now();
    ensure!(asked(&host, &["status"]).await?.contains("suite"));
    ensure!(began.elapsed() < Duration::from_secs(18), "it took {:?}", began.elapsed());
    drop(deaf?);
    host.is_unhurt()
}

#[tokio::test]
async fn half_an_api_is_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    std::fs::write(&key, "short\n")?;
    for (pairs, said) in [
        (vec![("api.listen", "127.0.0.1:0".to_owned())], "`api.key_file` is missing"),
        (vec![("api.key_file", key.display().to_string())], "`api.listen` is missing"),
        (
            vec![("api.listen", "here".to_owned()), ("api.key_file", key.display().to_string())],
            "`api.listen` cannot be \"here\"",
        ),
        (
            vec![("api.listen", "127.0.0.1:0".to_owned()), ("api.key_file", key.display().to_string())],
            "too short",
        ),
    ] {
        let mut builder = host_of("suite");
        for (key, value) in pairs {
            builder = builder.set(key, value);
        }
        builder.run(wait::SOON)?.refused(78, &[said])?;
    }
    Ok(())
}
