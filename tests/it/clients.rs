//! The real clients from npm, unmodified, against one port; and our own client. The scenarios are in `tests/clients`.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use sc_tests::node::Script;
use sc_tests::require::require;
use sc_tests::{Host, HostBuilder, Role, guests as components};

use crate::host_of;

/// For a script's next word: longer than it gives a scenario.
const STEP: Duration = Duration::from_secs(200);

/// Pings each 100 ms: a scenario sees many heartbeats. Their deadline of 4 s, which clients keep as well, leaves a
/// busy machine time, and one scenario outlasts it.
pub(crate) fn beating() -> HostBuilder {
    host_of("suite")
        .workers(2)
        .set("auth.rotation", true)
        .set("protocol.ping_interval", "100ms")
        .set("protocol.ping_timeout", "4s")
}

#[tokio::test]
async fn clients_of_generation_20_get_what_they_expect() -> anyhow::Result<()> {
    play(beating(), &["both.mjs", "20"]).await
}

#[tokio::test]
async fn clients_of_generation_14_get_what_they_expect() -> anyhow::Result<()> {
    play(beating(), &["both.mjs", "14"]).await
}

/// Everything that the host sends goes out in arrays, for as long as a scenario lasts: both generations take it so.
#[tokio::test]
async fn both_generations_in_batches() -> anyhow::Result<()> {
    for generation in ["20", "14"] {
        let host = beating()
            .set("protocol.batch_on_handshake", true)
            .set("protocol.batch_on_handshake_duration", "60s")
            .set("protocol.batch_interval", "20ms");
        play(host, &["both.mjs", generation]).await?;
    }
    Ok(())
}

/// The rows of the tables of SocketCluster's own suites; `tests/clients/COVERAGE.md` lists them.
#[tokio::test]
async fn rows_of_the_tables() -> anyhow::Result<()> {
    play(host_of("suite").set("auth.rotation", true), &["tables.mjs", "20"]).await
}

#[tokio::test]
async fn our_client_gets_what_it_expects() -> anyhow::Result<()> {
    play(beating(), &["ours.mjs", "20"]).await
}

/// Sessions and presence, with clients of both generations on different workers.
#[tokio::test]
async fn sessions_of_both_generations() -> anyhow::Result<()> {
    let host = host_of("browser")
        .workers(2)
        .set("balancer.smart_balancing", false)
        .set("session.grace", "200ms")
        .set("presence.channels", "room.*")
        .set("presence.clients", "room.*");
    play(host, &["sessions.mjs", "20"]).await
}

/// What both generations see of a middleware.
#[tokio::test]
async fn both_generations_see_what_a_middleware_decides() -> anyhow::Result<()> {
    for generation in ["20", "14"] {
        let chain = components::guest("chain")?.display().to_string();
        let host = host_of("suite").workers(2).arg("--middleware").arg(chain);
        play(host, &["middleware.mjs", generation]).await?;
    }
    Ok(())
}

pub(crate) async fn play(host: HostBuilder, args: &[&str]) -> anyhow::Result<()> {
    if !require(&["node", "npm"]) {
        return Ok(());
    }
    let host = host.start().await?;
    let script = Script::start(&host, "run.mjs", args)?;
    follow(&host, script).await
}

/// Does what a scenario asks for until it is over.
pub(crate) async fn follow(host: &Host, mut script: Script) -> anyhow::Result<()> {
    while let Some(request) = script.request(STEP).await? {
        let answer = match fulfil(host, &request).await {
            Ok(said) => format!("ok {said}"),
            Err(error) => format!("{error:#}"),
        };
        script.answer(&answer).await?;
    }
    println!("{}", script.said());
    Ok(())
}

/// What a scenario may ask of the test; its answer is one line.
async fn fulfil(host: &Host, request: &str) -> anyhow::Result<String> {
    match request.split(' ').collect::<Vec<_>>()[..] {
        ["kill", "worker", index] => {
            host.kill(Role::Worker, index.parse().context("a number")?)?;
            Ok(String::new())
        }
        ["sc-host", ref arguments @ ..] => {
            let done = host.ask(arguments).await?;
            ensure!(done.code == Some(0), "{arguments:?}: {}", done.text);
            Ok(done.text.trim().to_owned())
        }
        _ => bail!("this test cannot {request}"),
    }
}
