//! Options that SocketCluster 0.9 had, each as an operator meets it.

use anyhow::{Context as _, ensure};
use sc_tests::poller::{self, Poller};
use sc_tests::raw::{Raw, upgrade_request};
use sc_tests::{Client, Role, http, run, session, wait};

use crate::clients::play;
use crate::guests::app_of;
use crate::{host, host_of};

const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;

/// `classic.transports`
#[tokio::test]
async fn one_transport_alone() -> anyhow::Result<()> {
    let polling = || host_of("suite").set("classic.transports", "polling");
    let host = polling().start().await?;
    let first =
        poller::request(&host, "GET", "/socketcluster/?EIO=3&transport=polling&b64=1", "", "").await?;
    ensure!(first.body.contains(r#""upgrades":[],"#), "{first:?}");
    let socket = Poller::open(&host).await?;
    for query in [String::new(), format!("&sid={}", socket.sid)] {
        let path = format!("/socketcluster/?EIO=3&transport=websocket{query}");
        let mut raw = Raw::open(&host).await?;
        raw.send(upgrade_request(&host, &path).as_bytes()).await?;
        let (head, body) = raw.response().await?;
        ensure!(head.starts_with("HTTP/1.1 400 ") && body == UNKNOWN_TRANSPORT, "{head}{body}");
    }
    drop(host);
    for word in ["pollingOnly", "modernClients"] {
        play(polling(), &["classic-transports.mjs", "937", word]).await?;
    }

    let websocket = || host_of("suite").set("classic.transports", "websocket");
    let host = websocket().start().await?;
    let refused = poller::request(&host, "GET", "/socketcluster/?EIO=3&transport=polling", "", "").await?;
    ensure!((refused.status, refused.body.as_str()) == (400, UNKNOWN_TRANSPORT), "{refused:?}");
    drop(host);
    for word in ["websocketOnly", "modernClients"] {
        play(websocket(), &["classic-transports.mjs", "937", word]).await?;
    }
    Ok(())
}

/// `app.reboot_on_crash`: a death ends the host, in order, and its exit code says so.
#[tokio::test]
async fn a_crash_ends_the_host_if_so_wished() -> anyhow::Result<()> {
    for (role, index) in [(Role::Worker, 0), (Role::Store, 0), (Role::Balancer, 0)] {
        let mut host = host_of("suite").workers(2).set("app.reboot_on_crash", false).start().await?;
        let mut other = Client::on_worker(&host, 1).await?;
        let pids = host.pids();
        host.kill(role, index)?;
        ensure!(other.closed().await?.0 == 1001, "the drain tells clients");
        ensure!(host.exited().await? == Some(70), "{}", host.log().tail(20));
        let said = format!("{role} {index} died");
        let ends = |record: &serde_json::Value| {
            record["exit_code"] == 70 && record["error"].as_str().is_some_and(|error| error.contains(&said))
        };
        host.log().record("why it ends", ends).await?;
        ensure!(pids.iter().all(|pid| !run::is_alive(*pid)), "a process outlived it");
    }
    Ok(())
}

/// `session.host`: the first field of ids, by which something in front may know the host.
#[tokio::test]
async fn ids_name_their_host() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).set("session.host", "h1.example").start().await?;
    let prefix = |worker: u64| format!("h1.example_w{worker}_{}_0_", host.port());
    let poller = Poller::ready(&host).await;
    ensure!(poller.is_ok(), "{poller:?}");
    let poller = Poller::open(&host).await?;
    ensure!([prefix(0), prefix(1)].iter().any(|prefix| poller.sid.starts_with(prefix)), "{}", poller.sid);
    for _ in 0..4 {
        let mut client = Client::connect(&host).await?;
        let cookie = client
            .cookie
            .as_deref()
            .and_then(|cookie| cookie.split(';').next())
            .context("a cookie")?
            .to_owned();
        let worker = client.worker().await?;
        let (_, id) = cookie.split_once('=').context("a value")?;
        ensure!(id.starts_with(&prefix(worker)), "{id}");
        // It leads back to the same worker.
        ensure!(Client::in_session(&host, &cookie).await?.worker().await? == worker);
    }
    Ok(())
}

/// `session.http`: requests begin no session, and use the one that a socket began.
#[tokio::test]
async fn requests_without_sessions() -> anyhow::Result<()> {
    let host = host_of("browser").set("session.http", false).start().await?;
    for _ in 0..2 {
        let answer = http::get(&host, "/hello/bob").await?;
        ensure!(answer.body == "hello bob, visit 1", "{answer:?}");
        ensure!(
            answer.header("set-cookie").is_none() && answer.header("cache-control").is_none(),
            "{answer:?}"
        );
    }
    let cookie = session::of_worker(&host, 0).await?;
    for visit in 1..=2 {
        let answer = session::send(&host, Some(&cookie), "GET", "/hello/bob", "").await?;
        ensure!(answer.body == format!("hello bob, visit {visit}"), "{answer:?}");
    }
    host.is_unhurt()
}

/// A number that was one of seconds: `check` says what it means here, and so does the start.
#[tokio::test]
async fn times_that_were_seconds() -> anyhow::Result<()> {
    let app = app_of("suite", "")?;
    let file = app.path().join("sc.toml");
    let plain = std::fs::read_to_string(&file)?;
    std::fs::write(&file, format!("{plain}[session]\ntimeout = 1200\n"))?;
    let mut check = run::command(env!("CARGO_BIN_EXE_sc-host"));
    let checked = run::finish(check.arg("check").arg(app.path()), wait::COMPILED)?;
    ensure!(checked.code == Some(0), "{checked:?}");
    for said in ["warning: `session.timeout` is 1200 milliseconds, 1.2s", "write \"20m\""] {
        ensure!(checked.text.contains(said), "{}", checked.text);
    }
    let started = host().app(app.path()).start().await?;
    let warned = |record: &serde_json::Value| {
        record["level"] == "warn" && record["message"].as_str().is_some_and(|it| it.contains("write \"20m\""))
    };
    started.log().record("the warning", warned).await?;
    std::fs::write(&file, format!("{plain}[protocol]\nping_interval = 25\n"))?;
    let refused = host().app(app.path()).run(wait::COMPILED)?;
    refused
        .refused(78, &["`protocol.ping_interval` is 25 without a unit", "write \"25s\" if seconds are meant"])
}
