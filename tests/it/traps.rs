//! A tenth of all calls traps, under load. With handlers that answer at once exactly these fail; of handlers that wait
//! for the store, those that were parked in the instance fail with it, and the log counts them. Nobody hangs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::CallError;
use sc_tests::{Client, Host, long};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::host_of;

const CLIENTS: usize = 50;

#[derive(Default)]
struct Seen {
    guilty: usize,
    others: usize,
    /// Failures of calls that did nothing wrong.
    parked: usize,
    times: Vec<Duration>,
}

async fn load(host: &Rc<Host>, event: &'static str) -> anyhow::Result<(Seen, Duration)> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut clients = JoinSet::new();
    let rounds = long(2_000);
    let began = Instant::now();
    for number in 0..CLIENTS {
        let mut client = Client::connect(host).await?;
        let seen = Rc::clone(&seen);
        clients.spawn_local(async move {
            for round in 0..rounds {
                let is_guilty = (number + round) % 10 == 0;
                let asked = Instant::now();
                let answer = client.call(if is_guilty { "trap" } else { event }, json!(round)).await;
                let mut seen = seen.borrow_mut();
                match answer {
                    Err(CallError::Refused(error)) => {
                        ensure!(error["name"] == "ControllerError", "{error}");
                        ensure!(is_guilty || event == "stored", "an innocent call failed: {error}");
                        seen.guilty += usize::from(is_guilty);
                        seen.parked += usize::from(!is_guilty);
                    }
                    Ok(answer) => {
                        let right = if event == "echo" { json!(round) } else { json!("stored") };
                        ensure!(!is_guilty && answer == right, "{answer}");
                        seen.others += 1;
                        seen.times.push(asked.elapsed());
                    }
                    Err(CallError::Closed(code)) => anyhow::bail!("a socket closed with {code}"),
                }
            }
            let greetings = client.unread_events().len();
            ensure!(greetings == 1, "{greetings} greetings");
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended?.with_context(|| host.log().tail(10))?;
    }
    Ok((Rc::into_inner(seen).context("clients have ended")?.into_inner(), began.elapsed()))
}

/// Calls that failed with an instance, as the log counts them.
fn counted(host: &Host) -> u64 {
    let records = host.log().records();
    records.iter().filter_map(|record| record["failed"].as_u64()).sum()
}

async fn tenth_traps(event: &'static str) -> anyhow::Result<()> {
    let host = Rc::new(host_of("traps").alone().start().await?);
    let (mut seen, took) = load(&host, event).await?;
    seen.times.sort();
    let at = |share: usize| {
        seen.times.get(seen.times.len() * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{event}: {} guilty calls, {} parked with them, {} others at {:.0}/s, p50 {:.2} ms, p99 {:.2} ms",
        seen.guilty,
        seen.parked,
        seen.others,
        seen.others as f64 / took.as_secs_f64(),
        at(50),
        at(99)
    );
    let all = CLIENTS * long(2_000);
    ensure!(seen.guilty == all / 10 && seen.others + seen.parked == all - all / 10);
    // The last record may still be on its way.
    let failed = (seen.guilty + seen.parked) as u64;
    let told = || (counted(&host) == failed).then_some(());
    sc_tests::wait::until("the log to count each failure", told)
        .await
        .with_context(|| format!("{} of {failed}", counted(&host)))?;
    let mut client = Client::connect(&host).await?;
    ensure!(client.ask("echo", Value::from(1)).await? == 1);
    Ok(())
}

#[tokio::test]
async fn handlers_that_answer_at_once() -> anyhow::Result<()> {
    LocalSet::new().run_until(tenth_traps("echo")).await
}

#[tokio::test]
async fn handlers_that_wait_for_the_store() -> anyhow::Result<()> {
    LocalSet::new().run_until(tenth_traps("stored")).await
}
