//! What newcomers get wrong at the start, and what strangers send to a running host. Each has a message or a close
//! code of its own, and hurts nobody else.

use std::time::{Duration, Instant};

use sc_tests::raw::{Frame, Raw, frame, upgrade_request};
use sc_tests::run::Finished;
use sc_tests::{Client, Host, HostBuilder, http, usage, wait};
use serde_json::json;

use crate::{host, host_of};

const DEADLINE: Duration = wait::COMPILED;

// --- the start ------------------------------------------------------------------------------------------------------

#[test]
fn a_missing_component() -> anyhow::Result<()> {
    host()
        .component("/no/such/app.wasm".as_ref())
        .run(DEADLINE)?
        .refused(66, &["/no/such/app.wasm", "does not exist"])
}

#[test]
fn a_missing_app() -> anyhow::Result<()> {
    host().app("/no/such/app".as_ref()).run(DEADLINE)?.refused(66, &["/no/such/app", "sc.toml"])
}

#[test]
fn a_core_module() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("core.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0")?;
    host().component(&module).run(DEADLINE)?.refused(65, &["core.wasm", "component"])
}

#[test]
fn no_webassembly_at_all() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let text = folder.path().join("app.wasm");
    std::fs::write(&text, "fn main() {}\n")?;
    host().component(&text).run(DEADLINE)?.refused(65, &["app.wasm"])
}

/// A component of another system: what it lacks and what it wants in vain are named.
#[test]
fn another_world() -> anyhow::Result<()> {
    let wrong = sc_tests::guests::guest("wrong_world")?;
    host()
        .component(&wrong)
        .run(DEADLINE)?
        .refused(65, &["wrong_world.wasm", "elsewhere:lamps/switches@1.2.3"])
}

/// An empty component exports nothing that a worker could be asked for.
#[test]
fn an_empty_component() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty.wasm");
    std::fs::write(&empty, b"\0asm\x0d\0\x01\0")?;
    host().component(&empty).run(DEADLINE)?.refused(65, &["empty.wasm", "socketcluster:controller"])
}

#[test]
fn a_port_in_use() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let suite = sc_tests::guests::guest("suite")?;
    // The last flag wins over the harness's own.
    let finished = host_on(&port).component(&suite).run(DEADLINE)?;
    finished.refused(69, &[&port, "in use", "--port"])
}

fn host_on(port: &str) -> HostBuilder {
    host().without("--port").arg("--port").arg(port)
}

#[test]
fn keys_that_cannot_be_read() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty.key");
    std::fs::write(&empty, "\n")?;
    let suite = sc_tests::guests::guest("suite")?;
    for (file, said) in [(folder.path().join("no.key"), "cannot be read"), (empty, "is empty")] {
        let finished =
            host().own_key().component(&suite).arg("--auth-key-file").arg(file.display().to_string());
        finished.run(DEADLINE)?.refused(78, &[said, &file.display().to_string(), "openssl rand"])?;
    }
    Ok(())
}

#[test]
fn mistakes_in_the_file() -> anyhow::Result<()> {
    let rows: [(&str, &[&str]); 7] = [
        ("[app]\nname = \"x\"\nprot = 8000\n", &["app.prot", "line 3", "port"]),
        ("[app]\nname = \"x\"\n[wrker]\ncomponent = \"a.wasm\"\n", &["wrker", "line 3", "worker"]),
        ("[app]\nport = \"high\"\n", &["app.port", "line 2"]),
        ("[app]\nworkers = 0\n", &["app.workers", "line 2"]),
        ("[protocol]\n\nping_interval = \"8 parsecs\"\n", &["protocol.ping_interval", "line 3"]),
        ("[app\nport = 1\n", &["line 1"]),
        (
            "[protocol]\norigins = [\"https://example.com\"]\n",
            &["protocol.origins", "line 2", "example.com:443"],
        ),
    ];
    for (text, said) in rows {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("sc.toml"), text)?;
        host_of_file(folder.path())?.refused(78, said).map_err(|error| error.context(text))?;
    }
    Ok(())
}

fn host_of_file(folder: &std::path::Path) -> anyhow::Result<Finished> {
    host().bare().own_key().app(folder).run(DEADLINE)
}

#[test]
fn flags_with_wrong_values() -> anyhow::Result<()> {
    for (flag, value, said) in
        [("--workers", "many", "app.workers"), ("--log-level", "inof", "did you mean `info`?")]
    {
        host().component("x.wasm".as_ref()).arg(flag).arg(value).run(DEADLINE)?.refused(64, &[flag, said])?;
    }
    Ok(())
}

#[test]
fn an_unknown_flag() -> anyhow::Result<()> {
    let finished = host().arg("--wrkers").arg("2").run(DEADLINE)?;
    assert_ne!(finished.code, Some(0));
    finished.refused(64, &["--wrkers", "--workers"])
}

// --- request heads --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_head_that_is_too_long() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(http::send(&host, &request).await?.status, 431);
    is_served(&host).await
}

#[tokio::test]
async fn a_head_that_never_ends() -> anyhow::Result<()> {
    let host = host_of("suite").set("balancer.head_timeout", "400ms").start().await?;
    let mut slow = Raw::open(&host).await?;
    let began = Instant::now();
    let dripping = async {
        // It never pauses for as long as the timeout; what ends it is the time of the whole head.
        for byte in upgrade_request(&host, "/socketcluster/").trim_end().bytes().chain([b'x'].repeat(1_000)) {
            if slow.send(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    };
    // The answer is read once the host has closed: its end of the connection takes no more bytes.
    let gave_up = wait::within(wait::SOON, "the host to give up", dripping).await?;
    println!("a head that never ends was given up after {gave_up:?}");
    let answer = slow.rest().await?;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    is_served(&host).await
}

/// They hold no one up, and they go when their time is over.
#[tokio::test]
async fn a_thousand_connections_that_send_nothing() -> anyhow::Result<()> {
    let host = host_of("suite").set("balancer.head_timeout", "7s").start().await?;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(Raw::open(&host).await?);
    }
    let began = Instant::now();
    is_served(&host).await?;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a client waited {:?} behind the silent ones",
        began.elapsed()
    );
    for raw in &mut silent {
        let end = raw.rest().await?;
        assert!(end.is_empty() || end.starts_with("HTTP/1.1 408 "), "{end}");
    }
    is_served(&host).await
}

#[tokio::test]
async fn heads_that_are_no_http() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let garbage: Vec<u8> = (0..2_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in
        [&garbage[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n"]
    {
        let mut raw = Raw::open(&host).await?;
        raw.send(bytes).await?;
        raw.send(b"\r\n\r\n").await.ok();
        let end = raw.rest().await?;
        assert!(end.is_empty() || end.starts_with("HTTP/1.1 4"), "{end}");
    }
    is_served(&host).await
}

// --- frames ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn frames_that_break_the_rules() -> anyhow::Result<()> {
    let host = host_of("suite").set("client.max_payload", "16KiB").start().await?;
    let call = br#"{"event":"nodata","cid":2}"#;
    let mut huge = frame(0x81, b"", true)[..1].to_vec();
    huge.extend([0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let mut parts = frame(0x01, &[b'x'; 9_000], true);
    parts.extend(frame(0x80, &[b'x'; 9_000], true));
    let rows: [(&str, Vec<u8>, u16); 11] = [
        ("no mask", frame(0x81, call, false), 1002),
        ("a reserved bit", frame(0xc1, call, true), 1002),
        ("an unknown opcode", frame(0x83, call, true), 1002),
        ("a continuation of nothing", frame(0x80, call, true), 1002),
        ("a long ping", frame(0x89, &[0; 126], true), 1002),
        ("a ping in parts", frame(0x09, b"x", true), 1002),
        ("bytes that are not UTF-8", frame(0x81, b"{\"event\":\"\xff\xfe\"}", true), 1007),
        ("a large frame", frame(0x81, &vec![b' '; 16 * 1024 + 1], true), 1009),
        ("a large binary frame", frame(0x82, &vec![b' '; 16 * 1024 + 1], true), 1009),
        ("a large message in parts", parts, 1009),
        ("a frame of 2^63 bytes", huge, 1009),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, code) in rows {
        let mut raw = opened(&host).await?;
        raw.send(&bytes).await?;
        match raw.end().await? {
            Frame::Close(given, reason) if given == code && reason.is_empty() => {}
            other => wrong.push(format!("{what}: {other:?} in place of {code}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    is_served(&host).await?;
    host.is_unhurt()
}

/// What fits exactly is taken.
#[tokio::test]
async fn the_largest_message() -> anyhow::Result<()> {
    let host = host_of("suite").set("client.max_payload", "16KiB").start().await?;
    let mut raw = opened(&host).await?;
    let mut text = r#"{"event":"nodata","cid":2}"#.to_owned();
    text.push_str(&" ".repeat(16 * 1024 - text.len()));
    raw.text(&text).await?;
    assert_eq!(raw.next_packet().await?, Frame::Text(r#"{"rid":2}"#.to_owned()));
    Ok(())
}

/// As a packet, as data, as a channel's name and as a token.
#[tokio::test]
async fn json_nested_100_000_deep_is_survived() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let mut client = Client::connect(&host).await?;
    for text in [
        deep.clone(),
        objects.clone(),
        "[".repeat(100_000),
        format!(r#"{{"event":"nodata","data":{deep}}}"#),
        format!(r#"{{"event":"noSuchEvent","data":{objects},"cid":900}}"#),
        format!(r##"{{"event":"#subscribe","data":{deep},"cid":901}}"##),
        format!(r##"{{"event":"#subscribe","data":{{"channel":{deep}}},"cid":902}}"##),
        format!(r##"{{"event":"#publish","data":{{"channel":"deep","data":{deep}}},"cid":903}}"##),
        format!(r##"{{"event":"#unsubscribe","data":{objects},"cid":904}}"##),
        format!(r##"{{"event":"#authenticate","data":{deep},"cid":905}}"##),
        format!(r#"{{"rid":1,"error":{objects}}}"#),
    ] {
        client.send(text).await?;
    }
    client.is_up().await?;
    is_served(&host).await?;
    host.is_unhurt()
}

/// Garbage in every frame after a good handshake: raw messages, which nobody answers.
#[tokio::test]
async fn garbage_in_frames() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut raw = opened(&host).await?;
    let mut state = 1_u32;
    for length in 0..400_usize {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        raw.frame(2, &bytes).await?;
    }
    raw.text(r#"{"event":"nodata","cid":2}"#).await?;
    assert_eq!(raw.next_packet().await?, Frame::Text(r#"{"rid":2}"#.to_owned()));
    host.is_unhurt()
}

/// One client floods; it is held back or closed, the worker's memory stays bounded, and the others hardly notice.
#[tokio::test]
async fn a_flood_of_calls() -> anyhow::Result<()> {
    let host = host_of("suite").alone().start().await?;
    let worker = host.pid(sc_tests::Role::Worker, 0).expect("a worker");
    let before = usage::resident(worker);
    let mut other = Client::connect(&host).await?;
    let mut raw = opened(&host).await?;
    let one = frame(0x81, br#"{"event":"proc","data":1,"cid":2}"#, true);
    let flood: Vec<u8> = one.iter().copied().cycle().take(one.len() * 1_000).collect();
    let began = Instant::now();
    let flooding = async {
        while began.elapsed() < Duration::from_secs(2) {
            if tokio::time::timeout(Duration::from_millis(200), raw.send(&flood)).await.is_err() {
                break; // held back
            }
        }
    };
    let watching = async {
        let mut times = Vec::new();
        while began.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            other.ask("proc", json!(2)).await?;
            times.push(asked.elapsed());
        }
        times.sort_unstable();
        anyhow::Ok(times)
    };
    let ((), times) = tokio::join!(flooding, watching);
    let times = times?;
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    let grown = usage::resident(worker).saturating_sub(before);
    println!(
        "answers beside a flood took {median:?}, and {slowest:?} at most; the worker grew by {} KiB",
        grown / 1024
    );
    assert!(
        median < Duration::from_millis(250) && slowest < Duration::from_secs(5),
        "{median:?} {slowest:?}"
    );
    assert!(grown < 96 << 20, "the worker grew by {grown} bytes");
    host.is_unhurt()
}

async fn opened(host: &Host) -> anyhow::Result<Raw> {
    let mut raw = Raw::upgraded(host).await?;
    raw.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    raw.next_packet().await?;
    Ok(raw)
}

async fn is_served(host: &Host) -> anyhow::Result<()> {
    Client::connect(host).await?.is_up().await
}
