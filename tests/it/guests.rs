//! Controllers that misbehave. Whatever one does: no socket closes, the guilty call and handlers parked in the
//! instance fail at once, every other call succeeds exactly once, and nobody is greeted twice.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use sc_tests::client::CallError;
use sc_tests::raw::{Frame, Raw};
use sc_tests::require::require;
use sc_tests::{Client, Role, guests as components, paths, usage, wait};
use serde_json::{Value, json};

use crate::{host, host_of};

#[tokio::test]
async fn a_trap_costs_no_socket() -> anyhow::Result<()> {
    misbehaves("trap").await
}

#[tokio::test]
async fn an_endless_loop_costs_no_socket() -> anyhow::Result<()> {
    misbehaves("loop").await
}

#[tokio::test]
async fn memory_without_end_costs_no_socket() -> anyhow::Result<()> {
    misbehaves("hoard").await
}

#[tokio::test]
async fn a_stack_without_end_costs_no_socket() -> anyhow::Result<()> {
    misbehaves("recurse").await
}

#[tokio::test]
async fn commands_without_end_cost_no_socket() -> anyhow::Result<()> {
    misbehaves("flood").await
}

#[tokio::test]
async fn bytes_without_end_cost_no_socket() -> anyhow::Result<()> {
    misbehaves("flood_bytes").await
}

#[tokio::test]
async fn questions_without_end_cost_no_socket() -> anyhow::Result<()> {
    misbehaves("flood_tokens").await
}

/// Three clients: one's call is parked in the instance, one misbehaves, one goes on calling.
async fn misbehaves(event: &str) -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut parked = Client::connect(&host).await?;
    let mut guilty = Client::connect(&host).await?;
    let mut other = Client::connect(&host).await?;
    for client in [&mut parked, &mut guilty, &mut other] {
        client.event("greet").await?;
    }
    for round in 0..3 {
        let waiting = parked.begin("park", Value::Null).await?;
        // One instance hears its calls in order, so this answer says that `park` has been called.
        parked.ask("echo", json!("parked")).await?;

        let began = Instant::now();
        let calls = 100;
        let calling = async {
            let mut answered = Vec::new();
            for n in 0..calls {
                answered.push(other.ask("echo", json!(n)).await?);
            }
            anyhow::Ok(answered)
        };
        let (failed, abandoned, answered) =
            tokio::join!(guilty.call(event, json!(round)), parked.finish(waiting), calling);
        for outcome in [failed, abandoned] {
            assert!(matches!(outcome, Err(CallError::Refused(_))), "{outcome:?}");
        }
        assert_eq!(
            answered?,
            (0..calls).map(|n| json!(n)).collect::<Vec<_>>(),
            "each call once, with its own answer"
        );
        println!("{event}, round {round}: over after {:?}", began.elapsed());
    }
    for mut client in [parked, guilty, other] {
        // Neither a second `greet` nor anything that the failed calls had issued before they failed.
        let events = client.events_so_far("echo").await?;
        assert!(events.is_empty(), "events after the first greeting: {events:?}");
    }
    let mut newcomer = Client::connect(&host).await?;
    newcomer.event("greet").await?;
    host.stop().await?;
    Ok(())
}

/// The failed call's commands never happened: what it counted is not counted.
#[tokio::test]
async fn a_failed_call_has_no_effects() -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    assert_eq!(client.ask("count", Value::Null).await?, json!(1));
    assert_eq!(client.ask("count", Value::Null).await?, json!(2));
    client.call("trap", Value::Null).await.expect_err("it traps");
    assert_eq!(client.ask("count", Value::Null).await?, json!(1), "a fresh instance counts from the start");
    Ok(())
}

/// Ids of nobody: commands to them are dropped, as those to a socket that just left are.
#[tokio::test]
async fn ids_that_name_nothing() -> anyhow::Result<()> {
    let host = host_of("traps").start().await?;
    let mut client = Client::connect(&host).await?;
    let mut other = Client::connect(&host).await?;
    let outcome = client.call("garbage_ids", Value::Null).await;
    assert!(!matches!(outcome, Err(CallError::Closed(_))), "{outcome:?}");
    for client in [&mut client, &mut other] {
        assert_eq!(client.ask("echo", json!(1)).await?, json!(1));
    }
    host.is_unhurt()
}

/// Text that is not exactly one JSON value fails the call that issues it; it never reaches a client's frames.
#[tokio::test]
async fn json_that_is_none() -> anyhow::Result<()> {
    let host = host_of("raw_json").set("auth.rotation", true).start().await?;
    let injections = [
        "",
        " ",
        "{",
        "}",
        "[1",
        "nul",
        "1 2",
        "1,\"event\":\"#removeAuthToken\"",
        "1}{\"rid\":2",
        "\"open",
        "01",
        "{\"a\":1,}",
        "NaN",
        "'x'",
        "1}\n",
        "\u{0}",
        "\u{feff}1",
    ];
    let mut bystander = Raw::upgraded(&host).await?;
    bystander.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    bystander.next_packet().await?;
    let mut client = Client::connect(&host).await?;
    for way in ["emit", "emitMany", "ask", "answer", "publish", "publishAndWait", "extra", "claims", "set"] {
        for injection in injections {
            let outcome = client.call(way, json!(injection)).await;
            assert!(matches!(outcome, Err(CallError::Refused(_))), "{way} {injection:?}: {outcome:?}");
        }
        let good =
            if matches!(way, "extra" | "claims") { r#"{"fine":true}"# } else { " {\"fine\": [1, 2]} " };
        let outcome = client.call(way, json!(good)).await;
        assert!(!matches!(outcome, Err(CallError::Closed(_))), "{way} {good}: {outcome:?}");
    }
    for value in ["[1]", "1", "\"x\"", "null"] {
        let outcome = client.call("extra", json!(value)).await;
        assert!(matches!(outcome, Err(CallError::Refused(_))), "extra must be an object: {value}");
    }
    // Each frame that a bystander got is one good packet.
    bystander.text(r#"{"event":"echo","data":1,"cid":9}"#).await?;
    loop {
        let Frame::Text(text) = bystander.next_packet().await? else { anyhow::bail!("it was closed") };
        let packet: Value = serde_json::from_str(&text)?;
        if packet["rid"] == 9 {
            return Ok(());
        }
        assert!(packet["event"].is_string(), "{text}");
    }
}

/// A call that is slow but within its CPU time is not cut because the machine is busy.
#[tokio::test]
async fn a_slow_call_on_a_busy_machine() -> anyhow::Result<()> {
    let host = host_of("traps").alone().start().await?;
    let mut client = Client::connect(&host).await?;
    let cores = std::thread::available_parallelism()?.get();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let burners: Vec<_> = (0..cores * 4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    // `work` computes for some 15 ms of CPU; with the core shared by four others that lasts over 50 ms of the clock.
    let mut outcomes = Vec::new();
    for n in 0..20 {
        outcomes.push(client.call("work", json!(n)).await);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    burners.into_iter().for_each(|burner| burner.join().expect("no panic"));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    Ok(())
}

/// A controller built against the first release of the WIT package runs on every later host.
#[tokio::test]
async fn the_first_release() -> anyhow::Result<()> {
    let host = host_of("first_release").set("auth.rotation", true).start().await?;
    let mut client = Client::connect(&host).await?;
    assert_eq!(client.event("greet").await?, json!("hello world"));
    assert_eq!(client.ask("echo", json!({ "from": 2026 })).await?, json!({ "from": 2026 }));
    let error = client.call("fail", Value::Null).await.expect_err("it refuses");
    assert_eq!(error.name(), "CustomError");
    assert_eq!(client.ask("everything", Value::Null).await?, Value::Null);
    host.is_unhurt()
}

/// The ping controller in JavaScript, on plain bindings: the WIT is not Rust-shaped.
#[tokio::test]
async fn a_controller_in_javascript_is_served() -> anyhow::Result<()> {
    if !require(&["node", "npm"]) {
        return Ok(());
    }
    let host = host_of("ping-js").start().await?;
    let mut client = Client::connect(&host).await?;
    for count in 1..=3 {
        client.emit("ping", Value::Null).await?;
        assert_eq!(client.event("pong").await?, json!({ "count": count }));
    }
    host.is_unhurt()
}

/// The tiny component of `plugins/` runs as it is.
#[tokio::test]
async fn the_first_plugin() -> anyhow::Result<()> {
    let folder = paths::root().join("plugins/greeter");
    let host = host().component(&components::build(&folder)?).start().await?;
    Client::connect(&host).await?;
    host.is_unhurt()
}

/// An error of on-start at boot is the user's: the host says it and does not start.
#[test]
fn an_error_at_the_start() -> anyhow::Result<()> {
    let finished = host_of("dies_in_start").run(wait::COMPILED)?;
    finished.refused(65, &["this controller never starts"])
}

#[test]
fn a_panic_at_the_start() -> anyhow::Result<()> {
    let app = app_of("dies_in_start", "how = \"panic\"")?;
    let finished = host().app(app.path()).run(wait::COMPILED)?;
    finished.refused(65, &["on-start"])
}

/// A controller that does not start again after a crash is tried with growing pauses. Meanwhile sockets stay open.
#[tokio::test]
async fn an_instance_that_cannot_come_back() -> anyhow::Result<()> {
    for how in ["error", "panic"] {
        let app = app_of("dies_later", &format!("how = \"{how}\""))?;
        let host = host().app(app.path()).start().await?;
        let worker = host.pid(Role::Worker, 0).context("a worker")?;
        let mut client = Client::connect(&host).await?;
        client.event("greet").await?;
        client.call("trap", Value::Null).await.expect_err("it traps");
        let (began, cpu) = (Instant::now(), usage::cpu(worker));
        // What needs no controller goes on without one.
        while began.elapsed() < Duration::from_secs(2) {
            client.subscribe("native").await?;
            client.publish("native", json!(1)).await?;
            assert_eq!(client.publication("native").await?, json!(1));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let spent = usage::cpu(worker) - cpu;
        println!("{how}: {spent:?} of CPU in {:?}", began.elapsed());
        assert!(spent < Duration::from_secs(1), "it spins: {spent:?}");
        assert!(host.log().lines().len() < 100, "it fills the log:\n{}", host.log().tail(100));
        assert_eq!(host.pid(Role::Worker, 0), Some(worker), "the worker lives");
        assert!(client.unread_events().is_empty(), "{:?}", client.unread_events());
        drop(client);
        // What can never be done holds up no end either.
        let drained = host.stop().await?;
        assert!(drained < Duration::from_secs(10), "{drained:?}");
    }
    Ok(())
}

/// A folder with an app of that guest, and that configuration for it.
pub(crate) fn app_of(guest: &str, config: &str) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let component = components::guest(guest)?;
    let file = format!("[worker]\ncomponent = {component:?}\n[worker.config]\n{config}\n");
    std::fs::write(folder.path().join("sc.toml"), file)?;
    Ok(folder)
}
