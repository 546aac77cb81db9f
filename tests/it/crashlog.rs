//! The log of what goes wrong: who, in what, for whom, why and where, in one record each; and no flood of them.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use sc_tests::raw::{Frame, Raw, upgrade_request};
use sc_tests::{Client, Host, Role, guests as components, http, run, wait};
use serde_json::{Value, json};

use crate::host_of;
use crate::reload::{App, reload};

/// What a client must never find in the log.
const SECRET: &str = "sesame";

/// The name and hash of a component, as `sc-host status` shows them.
async fn label(host: &Host, kind: &str) -> anyhow::Result<String> {
    let said = host.ask(&["status", "--json"]).await?;
    let status: Value = serde_json::from_str(&said.text)?;
    let all = status["components"].as_array().context("components")?;
    let it = all.iter().find(|component| component["kind"] == kind).context("a component of that kind")?;
    let hash = it["generation"].as_str().and_then(|hash| hash.get(..12)).context("a hash")?;
    Ok(format!("{}@{hash}", it["name"].as_str().unwrap_or_default()))
}

/// The record of a panic in user code has it all.
async fn panic_of(
    host: &Host,
    kind: &str,
    event: &str,
    words: &str,
    function: &str,
) -> anyhow::Result<Value> {
    let label = label(host, kind).await?;
    let of_it = |record: &Value| record["component"] == *label && record["event"] == event;
    let record = host.log().record(event, of_it).await?;
    let list = |name: &str| {
        let rows = record[name].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter_map(|row| row.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let (last_lines, backtrace) = (list("last_lines"), list("backtrace"));
    ensure!(record["level"] == "error" && record["fault"] == "Trap", "{record}");
    ensure!(record["cause"].as_str().is_some_and(|cause| cause.contains("unreachable")), "{record}");
    ensure!(last_lines.iter().any(|line| line.contains(words)), "its words are missing: {record}");
    ensure!(backtrace.iter().any(|frame| frame.contains(function)), "{function} is missing: {record}");
    ensure!(backtrace.len() <= 32 && record["place"] == *backtrace[0], "{record}");
    let words = |record: &Value| record["target"] != "guest" && record["stream"] == "stderr";
    ensure!(!host.log().records().iter().any(words), "a panic is one record:\n{}", host.log().tail(20));
    ensure!(!host.log().lines().iter().any(|line| line.contains(SECRET)), "{}", host.log().tail(20));
    Ok(record)
}

#[tokio::test]
async fn a_panic_in_a_controller_a_balancers_and_a_site() -> anyhow::Result<()> {
    let (door, site) = (components::guest("door")?, components::guest("site_wstd")?);
    let host = host_of("traps")
        .set("balancer.component", door.display())
        .set("http.component", site.display())
        .start()
        .await?;
    let mut client = Client::connect(&host).await?;
    client.call("trap", json!(SECRET)).await.expect_err("it traps");
    let record = panic_of(&host, "worker", "request trap", "told to", "traps::told_to").await?;
    ensure!(record["role"] == "worker" && record["socket"] == client.id(), "{record}");
    ensure!(record["failed"] == 1, "{record}");
    ensure!(http::get(&host, &format!("/door/trap?token={SECRET}")).await?.status == 503);
    let record = panic_of(&host, "balancer", "http GET /door/trap", "told to", "door::decide").await?;
    ensure!(record["role"] == "balancer" && record["address"] == "127.0.0.1", "{record}");
    ensure!(http::get(&host, &format!("/panics?token={SECRET}")).await?.status == 500);
    panic_of(&host, "http", "http GET /panics", "asked to", "site_wstd::").await?;
    Ok(())
}

/// A call that yields before it fails has said nothing apart from the rest.
#[tokio::test]
async fn a_panic_long_after_its_first_words() -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    client.call("trap_later", json!(SECRET)).await.expect_err("it traps");
    let record =
        panic_of(&host, "worker", "request trap_later", "a line long before", "traps::told_to").await?;
    ensure!(record["last_lines"].to_string().contains("told to"), "{record}");
    Ok(())
}

#[tokio::test]
async fn a_panic_in_a_middleware_and_a_stores_controller() -> anyhow::Result<()> {
    let procedures = components::guest("procedures")?;
    let host = host_of("browser")
        .set("store.component", procedures.display())
        .arg("--middleware")
        .arg(components::guest("chain")?.display().to_string())
        .start()
        .await?;
    let mut client = Client::connect(&host).await?;
    client.call("trap", json!(SECRET)).await.expect_err("the middleware traps");
    let record = panic_of(&host, "middleware", "action invoke trap", "asked to", "chain::asked_to").await?;
    ensure!(record["socket"] == client.id(), "{record}");
    // Its action was blocked because nobody could decide, which is a notice.
    let of_it = |record: &Value| record["level"] == "notice" && record["name"] == "trap";
    let notice = host.log().record("a notice", of_it).await?;
    ensure!(notice["error"] == "MiddlewareError" && notice["line"] == "invoke", "{notice}");
    let half = json!({ "op": "run", "of": "bank", "path": [], "from": "half" });
    client.call("do", half).await.expect_err("the procedure traps");
    let record =
        panic_of(&host, "store", "procedure half", "after some changes", "procedures::told_to").await?;
    ensure!(record["role"] == "store", "{record}");
    Ok(())
}

/// What has no panic's words has its cause and its place all the same.
#[tokio::test]
async fn time_and_memory_that_run_out() -> anyhow::Result<()> {
    // What is to fail for another reason than time has time enough.
    let host = host_of("traps").set("worker.cpu_per_call", "1s").start().await?;
    let mut client = Client::connect(&host).await?;
    for (event, fault, cause) in [
        ("loop", "Timeout", "1000 ms of CPU time"),
        ("hoard", "Memory", "64 MiB"),
        ("recurse", "Trap", "stack"),
        ("flood_tokens", "Limit", "tokens"),
    ] {
        client.call(event, Value::Null).await.expect_err("it fails");
        let of_it = |record: &Value| record["event"] == format!("request {event}");
        let record = host.log().record(event, of_it).await?;
        ensure!(record["fault"] == fault && record["level"] == "error", "{record}");
        ensure!(record["cause"].as_str().is_some_and(|text| text.contains(cause)), "{record}");
        ensure!(record["backtrace"].to_string().contains("traps::"), "{record}");
    }
    Ok(())
}

/// What user code says is under its name, with the event and the socket that it was called for.
#[tokio::test]
async fn what_user_code_says() -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    client.ask("say", Value::Null).await?;
    let label = label(&host, "worker").await?;
    for (level, text, stream) in [
        ("error", "an error of its own", "log"),
        ("warn", "a line on stderr", "stderr"),
        ("info", "a line on stdout", "stdout"),
    ] {
        let record = host.log().record(text, |record| record["message"] == text).await?;
        ensure!(record["level"] == level && record["component"] == *label, "{record}");
        ensure!(record["event"] == "request say" && record["socket"] == client.id(), "{record}");
        ensure!(record["stream"] == stream, "{record}");
    }
    let is_long =
        |record: &Value| record["message"].as_str().is_some_and(|text| text.starts_with("endless endless"));
    let long = host.log().record("a long line", is_long).await?;
    ensure!(long["message"].as_str().is_some_and(|text| text.ends_with(" [cut]")), "{long}");
    Ok(())
}

/// User code may say a lot, and no more: the others of a kind are counted, and hide neither other kinds nor clients.
#[tokio::test]
async fn a_flood_of_words() -> anyhow::Result<()> {
    const CALLS: u64 = 30;
    const LINES: u64 = 200;
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    for _ in 0..CALLS {
        client.ask("chatter", json!(LINES)).await?;
    }
    let label = label(&host, "worker").await?;
    let said = |of_it: &dyn Fn(&str) -> bool| {
        let records = host.log().records();
        records.iter().filter(|record| record["message"].as_str().is_some_and(of_it)).count() as u64
    };
    let told = || {
        let whole = said(&|message| message.starts_with("line "));
        let records = host.log().records();
        let counts = records.iter().filter(|record| {
            record["kind"] == "what user code says (stdout)"
                && record["component"] == *label
                && record["level"] == "info"
        });
        let left_out: u64 = counts.filter_map(|record| record["left_out"].as_u64()).sum();
        (whole + left_out == CALLS * LINES).then_some(whole)
    };
    let whole = wait::until("the counts to sum", told).await.with_context(|| host.log().tail(5))?;
    ensure!((1_000..CALLS * LINES).contains(&whole), "{whole} lines");
    ensure!(said(&|message| message == "all is said") == CALLS, "{}", host.log().tail(5));
    host.is_unhurt()
}

/// A replaced instance that fails tells how many calls fail with it.
#[tokio::test]
async fn a_panic_in_a_replaced_instance() -> anyhow::Result<()> {
    let app = App::new(false)?;
    let host = app.host().start().await?;
    let mut client = Client::connect(&host).await?;
    let parked = client.begin("park", json!(60_000)).await?;
    let panics = client.begin("park and panic", json!(1_500)).await?;
    client.ask("count", Value::Null).await?;
    app.configure(2, "", "")?;
    reload(&host, &[]).await?;
    ensure!(client.ask("count", Value::Null).await?["release"] == 2);
    for waiting in [parked, panics] {
        client.finish(waiting).await.expect_err("its instance failed");
    }
    let of_it = |record: &Value| {
        record["message"].as_str().is_some_and(|message| message.starts_with("a replaced instance failed"))
    };
    let record = host.log().record("a fault", of_it).await?;
    ensure!(record["failed"] == 2 && record["fault"] == "Trap", "{record}");
    ensure!(record["last_lines"].to_string().contains("long after it was called"), "{record}");
    Ok(())
}

/// How a child ended by name, how long it lived, what it said last, how often this was, and when the next one starts.
#[tokio::test]
async fn a_child_that_is_killed_and_one_that_aborts() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let killed = host.kill(Role::Worker, 0)?;
    let death = |pid: u32| move |record: &Value| record["child_pid"] == pid && record["status"].is_string();
    let record = host.log().record("the record of a death", death(killed)).await?;
    ensure!(record["level"] == "error" && record["role"] == "master", "{record}");
    ensure!(record["signal"] == "SIGKILL" && record["reason"] == "SIGKILL ended it", "{record}");
    ensure!(record["exit_code"].is_null() && record["restarts"] == 1, "{record}");
    ensure!(record["lived_ms"].is_u64() && record["restart_in_ms"].is_u64(), "{record}");
    // Words that are no record, as the allocator or a stack that ran over leave them, written to its own stderr.
    let aborted = host.respawned(Role::Worker, 0, killed).await?;
    Client::connect_soon(&host).await?;
    let mut stderr = std::fs::OpenOptions::new().write(true).open(format!("/proc/{aborted}/fd/2"))?;
    stderr.write_all(b"memory allocation of 7 bytes failed\n")?;
    run::signal(aborted, Signal::ABORT);
    let record = host.log().record("the record of the next death", death(aborted)).await?;
    ensure!(record["signal"] == "SIGABRT" && record["restarts"] == 2, "{record}");
    let last_lines = record["last_lines"].as_array().context("its last lines")?;
    ensure!(
        last_lines.last().is_some_and(|line| line == "warn memory allocation of 7 bytes failed"),
        "{record}"
    );
    Ok(())
}

/// Blocked actions are notices: the first ones whole, and the others as a count.
#[tokio::test]
async fn a_flood_of_blocked_actions() -> anyhow::Result<()> {
    const BLOCKED: u64 = 2_000;
    let chain = components::guest("chain")?.display().to_string();
    let host = host_of("suite").arg("--middleware").arg(chain).start().await?;
    let mut client = Client::connect(&host).await?;
    for _ in 0..BLOCKED / 100 {
        let packet =
            |cid: u64| json!({ "event": "blocked", "data": SECRET, "cid": 10_000 + cid }).to_string();
        client.send_all((0..100).map(packet)).await?;
        client.is_up().await?;
    }
    let of_it = |record: &Value| record["level"] == "notice" && record["line"] == "invoke";
    let first = host.log().record("a notice", of_it).await?;
    ensure!(first["component"] == label(&host, "middleware").await?, "{first}");
    ensure!(first["name"] == "blocked" && first["error"] == "BlockedInvokeError", "{first}");
    ensure!(first["socket"] == client.id() && first["address"] == "127.0.0.1", "{first}");
    let told = || {
        let records = host.log().records();
        let whole = records.iter().filter(|record| of_it(record)).count() as u64;
        let left_out = records.iter().filter(|record| record["kind"] == "an action was blocked");
        let left_out: u64 = left_out.filter_map(|record| record["left_out"].as_u64()).sum();
        (whole + left_out == BLOCKED).then_some(whole)
    };
    let whole = wait::until("the counts to sum", told).await?;
    ensure!(whole < 100, "{whole} notices");
    ensure!(!host.log().lines().iter().any(|line| line.contains(SECRET)), "{}", host.log().tail(5));
    host.is_unhurt()
}

/// Clients that break a rule, and pages that may not connect.
#[tokio::test]
async fn who_is_turned_away() -> anyhow::Result<()> {
    let host = host_of("suite").set("protocol.origins", "example.com:*").start().await?;
    let strange =
        upgrade_request(&host, "/socketcluster/").replace("\r\n\r\n", "\r\nOrigin: http://evil.org\r\n\r\n");
    ensure!(http::send(&host, &strange).await?.status == 403);
    let of_it = |record: &Value| record["level"] == "notice" && record["status"] == 403;
    let notice = host.log().record("a refused origin", of_it).await?;
    ensure!(notice["reason"].as_str().is_some_and(|why| why.contains("http://evil.org")), "{notice}");
    ensure!(notice["address"] == "127.0.0.1", "{notice}");

    let mut early = Raw::open(&host).await?;
    let named = upgrade_request(&host, "/socketcluster/")
        .replace("\r\n\r\n", "\r\nOrigin: http://example.com\r\n\r\n");
    early.send(named.as_bytes()).await?;
    early.head().await?;
    early.text(r##"{"event":"#publish","data":{"channel":"a"}}"##).await?;
    let end = early.end().await?;
    ensure!(matches!(end, Frame::Close(4009, _)), "{end:?}");
    let of_it = |record: &Value| record["level"] == "notice" && record["code"] == 4009;
    let notice = host.log().record("a broken rule", of_it).await?;
    ensure!(notice["rule"].as_str().is_some_and(|rule| rule.contains("before its handshake")), "{notice}");
    ensure!(notice["socket"].is_string(), "{notice}");
    host.is_unhurt()
}
