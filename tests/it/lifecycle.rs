//! Start and end: readiness, drain, signals, and that nothing of a host outlives its master.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use sc_tests::{Client, Host, Role, http, run, wait};
use serde_json::{Value, json};

use crate::{host, host_of};

/// With a warm cache. The figure is the release binary's promise (300 ms); this one is unoptimised and gets more.
#[tokio::test]
async fn start_to_ready() -> anyhow::Result<()> {
    host_of("suite").workers(2).start().await?.stop().await?;
    let host = host_of("suite").workers(2).alone().start().await?;
    println!("start to ready: {:?}", host.started_in());
    assert!(host.started_in() < Duration::from_secs(10), "{:?}", host.started_in());
    for (role, index) in [(Role::Balancer, 0), (Role::Worker, 0), (Role::Worker, 1), (Role::Store, 0)] {
        assert!(host.pid(role, index).is_some(), "{role} {index} runs");
    }
    host.is_unhurt()?;
    host.stop().await?;
    Ok(())
}

#[tokio::test]
async fn the_ready_record_names_the_real_port() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    assert_ne!(host.port(), 0);
    let lines = host.log().lines();
    let records: Result<Vec<Value>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
    let records = records.context("every line of the log is a record")?;
    let ready = records.iter().find(|record| record.get("url").is_some()).expect("a record with the URL");
    for member in ["timestamp", "level", "role", "id", "pid", "message"] {
        assert!(ready.get(member).is_some(), "{member} in {ready}");
    }
    assert_eq!(ready["pid"], host.master());
    // A worker hears of it in a message of its own.
    let health = async {
        loop {
            let health = http::get(&host, "/sc/health").await?;
            if health.status == 200 && health.body.contains(r#""status":"ready""#) {
                return anyhow::Ok(());
            }
        }
    };
    wait::within(wait::SOON, "a healthy host", health).await?
}

/// The drain: clients hear 1001, the exit code is 0, no process is left.
#[tokio::test]
async fn sigterm_drains() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut host = host_of("suite").workers(2).start().await?;
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(Client::connect(&host).await?);
        }
        let pids = host.pids();
        host.signal(signal);
        for client in &mut clients {
            assert_eq!(client.closed().await?.0, 1001);
        }
        drop(clients);
        assert_eq!(host.exited().await?, Some(0));
        assert!(pids.iter().all(|pid| !run::is_alive(*pid)), "a process outlived the drain");
    }
    Ok(())
}

/// A client that never answers the close frame holds the drain no longer than its deadline.
#[tokio::test]
async fn a_client_cannot_hold_the_drain() -> anyhow::Result<()> {
    let mut host = host_of("suite").set("drain.timeout", "2s").start().await?;
    let mute = Client::connect(&host).await?;
    host.signal(Signal::TERM);
    let began = std::time::Instant::now();
    assert_eq!(host.exited().await?, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(mute);
    Ok(())
}

/// What the controller began when its sockets closed is finished: two calls of the store, one after the other.
#[tokio::test]
async fn a_drain_finishes_what_the_controller_began() -> anyhow::Result<()> {
    let mut host = host_of("suite").workers(2).start().await?;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = Client::connect(&host).await?;
        client.ask("lastWish", json!(format!("client {number}."))).await?;
        clients.push(client);
    }
    host.signal(Signal::TERM);
    for client in &mut clients {
        client.closed().await?;
    }
    drop(clients);
    assert_eq!(host.exited().await?, Some(0));
    for number in 0..20 {
        let wish = format!("the last wish of client {number}. is kept");
        assert!(
            host.log().lines().iter().any(|line| line.contains(&wish)),
            "{wish}\n{}",
            host.log().tail(60)
        );
    }
    Ok(())
}

/// From the first moment of the drain, newcomers are refused and not left to hang.
#[tokio::test]
async fn a_drain_refuses_connections() -> anyhow::Result<()> {
    let host = host_of("suite").set("drain.timeout", "60s").start().await?;
    // A worker that stands still holds the drain.
    run::signal(host.pid(Role::Worker, 0).context("a worker")?, Signal::STOP);
    host.signal(Signal::TERM);
    let refused = async {
        while tokio::net::TcpStream::connect(host.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    wait::within(wait::SOON, "a refusal", refused).await?;
    assert!(run::is_alive(host.master()), "it was still draining");
    Ok(())
}

/// An announced end: health says so while everything still works, so that a proxy can turn away.
#[tokio::test]
async fn an_end_can_be_announced() -> anyhow::Result<()> {
    let mut host = host_of("suite").set("drain.announce", "5s").start().await?;
    let mut client = Client::connect(&host).await?;
    host.signal(Signal::TERM);
    let draining = async {
        loop {
            let health = http::get(&host, "/sc/health").await?;
            if health.status == 503 && health.body.contains("draining") {
                return anyhow::Ok(());
            }
        }
    };
    wait::within(wait::SOON, "health to say that it drains", draining).await??;
    client.is_up().await?;
    Client::connect(&host).await?.is_up().await?;
    assert_eq!(client.closed().await?.0, 1001);
    drop(client);
    assert_eq!(host.exited().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_at_once() -> anyhow::Result<()> {
    let mut host = host_of("suite").set("drain.timeout", "60s").start().await?;
    let mute = Client::connect(&host).await?;
    let children = sc_tests::usage::children(host.master());
    // A worker that stands still would hold the drain until its deadline.
    run::signal(host.pid(Role::Worker, 0).expect("a worker"), Signal::STOP);
    host.signal(Signal::TERM);
    host.log()
        .record("the drain's record", |record| {
            record["message"].as_str().is_some_and(|m| m.contains("drain"))
        })
        .await?;
    host.signal(Signal::TERM);
    assert_eq!(host.exited().await?, Some(130));
    wait::until("the children to be gone", || children.iter().all(|pid| !run::is_alive(*pid)).then_some(()))
        .await?;
    drop(mute);
    Ok(())
}

#[tokio::test]
async fn children_die_with_a_killed_master() -> anyhow::Result<()> {
    let mut host = host_of("suite").workers(2).stores(2).start().await?;
    let mut client = Client::connect(&host).await?;
    let children = sc_tests::usage::children(host.master());
    assert_eq!(children.len(), 5);
    let began = std::time::Instant::now();
    host.signal(Signal::KILL);
    host.exited().await?;
    wait::until("the children to be gone", || children.iter().all(|pid| !run::is_alive(*pid)).then_some(()))
        .await?;
    println!("children gone after {:?}", began.elapsed());
    client.closed().await?;
    Ok(())
}

/// systemd's protocol: READY=1 once it serves, STOPPING=1 when it drains.
#[tokio::test]
async fn it_notifies_the_service_manager() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path)?;
    let host = host_of("suite").env("NOTIFY_SOCKET", &path).start().await?;
    let mut said = String::new();
    let hear = async |said: &mut String, word: &str| -> anyhow::Result<()> {
        while !said.contains(word) {
            let mut bytes = [0; 4096];
            let length = wait::within(wait::SOON, word, socket.recv(&mut bytes)).await??;
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
            said.push('\n');
        }
        Ok(())
    };
    hear(&mut said, "READY=1").await?;
    host.signal(Signal::TERM);
    hear(&mut said, "STOPPING=1").await?;
    Ok(())
}

/// A variable beats the file, a flag beats the variable.
#[tokio::test]
async fn layers_of_configuration() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let component = sc_tests::guests::guest("suite")?;
    std::fs::copy(&component, folder.path().join("app.wasm"))?;
    std::fs::write(folder.path().join("auth.key"), "testkey\n")?;
    let file = "[app]\nname = \"layered\"\nport = 1\nworkers = 4\n[worker]\ncomponent = \"app.wasm\"\n\
                [auth]\nkey_file = \"auth.key\"\n[protocol]\nping_timeout = \"33s\"\n";
    std::fs::write(folder.path().join("sc.toml"), file)?;
    // The harness sets 1 worker by a variable, and port 0 by a flag.
    let host: Host = host().own_key().app(folder.path()).start().await?;
    assert!(host.pid(Role::Worker, 0).is_some() && host.pid(Role::Worker, 1).is_none());
    let mut client = Client::connect_with(&host, json!(sc_tests::jwt::of("bob"))).await?;
    assert_eq!(client.status["pingTimeout"], 33_000);
    assert_eq!(client.status["isAuthenticated"], true, "the key file lies beside the configuration");
    client.is_up().await
}
