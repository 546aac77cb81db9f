//! The promise: whatever is swapped while a thousand clients call and listen, none of them notices. Two workers, each
//! client with two calls a second and a channel of ten publications a second; controller and middleware are replaced
//! two hundred times, every tenth time by something broken, and balancers are killed in between.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::Packet;
use sc_tests::{Client, Role, guests as components, long, usage, wait};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use crate::reload::App;

const WORKERS: usize = 2;
const CALLS: Duration = Duration::from_millis(500);
const PUBLICATIONS: Duration = Duration::from_millis(100);
/// Growth of a worker's memory over all swaps but the first tenth, in bytes: what is flat.
const FLAT: u64 = 4 << 20;

/// What the clients saw.
#[derive(Default)]
struct Seen {
    sent: u64,
    /// Each worker's count in each answer.
    counts: BTreeMap<u64, Vec<u64>>,
    round_trips: Vec<Duration>,
    failed: Vec<String>,
    closed: Vec<(u16, String)>,
    greets: u64,
    /// Publications that came out of turn.
    gaps: u64,
    publications: u64,
}

/// What the test says to its clients.
#[derive(Default)]
struct Say {
    quiet: Cell<bool>,
    end: Cell<bool>,
}

#[tokio::test]
async fn nobody_notices() -> anyhow::Result<()> {
    LocalSet::new().run_until(run()).await
}

async fn run() -> anyhow::Result<()> {
    let (clients, reloads) = (long(1000), long(200));
    let app = App::new(true)?;
    let host = app.host().workers(WORKERS).alone().start().await?;
    let (seen, say) = (Rc::new(RefCell::new(Seen::default())), Rc::new(Say::default()));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let mut client = Client::connect(&host).await.with_context(|| format!("client {number}"))?;
        client.subscribe("feed").await?;
        let (seen, say) = (Rc::clone(&seen), Rc::clone(&say));
        tasks.spawn_local(async move { drive(client, &seen, &say).await });
    }
    let mut publisher = Client::connect(&host).await?;
    let telling = Rc::clone(&say);
    let published = tasks_of_publisher(&mut publisher, &telling);
    let swapping = async {
        // However it ends, the publisher must hear of it.
        let _quiet = OnDrop(|| say.quiet.set(true));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let quiet = std::mem::take(&mut seen.borrow_mut().round_trips);
        let mut memory = Vec::new();
        let began = Instant::now();
        for number in 1..=reloads {
            swap(&app, &host, number as u64).await.with_context(|| format!("reload {number}"))?;
            if number.is_multiple_of((reloads / 5).max(1)) {
                let old = host.kill(Role::Balancer, 0)?;
                host.respawned(Role::Balancer, 0, old).await?;
            }
            if number == reloads.div_ceil(10) || number == reloads {
                let pids = (0..WORKERS as u16).filter_map(|index| host.pid(Role::Worker, index));
                memory.push(pids.map(usage::resident).collect::<Vec<_>>());
            }
        }
        let took = began.elapsed();
        let during = std::mem::take(&mut seen.borrow_mut().round_trips);
        anyhow::Ok((quiet, during, took, memory))
    };
    let (published, swapped) = tokio::join!(published, swapping);
    let (quiet, during, took, memory) = swapped.with_context(|| host.log().tail(40))?;
    let published = published?;
    let all = published * clients as u64;
    let came = || {
        let seen = seen.borrow();
        let answered: usize = seen.counts.values().map(Vec::len).sum();
        (answered as u64 == seen.sent && seen.publications >= all).then_some(())
    };
    let complete = wait::until("all answers and publications", came).await;
    say.end.set(true);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let seen = seen.borrow();
    println!(
        "{clients} clients, {reloads} reloads in {took:.1?}: {} calls, {} publications heard; round trips \
         without reloads {}, with them {}; workers' memory {memory:?}",
        seen.sent,
        seen.publications,
        percentiles(quiet),
        percentiles(during),
    );
    let answered: usize = seen.counts.values().map(Vec::len).sum();
    complete.with_context(|| {
        let (failed, closed) = (seen.failed.len(), seen.closed.len());
        let (sent, heard) = (seen.sent, seen.publications);
        let log = host.log().tail(20);
        let first = seen.failed.first();
        format!("{answered} of {sent} answers, {heard} of {all} publications, {failed} failed ({first:?}), {closed} closed\n{log}")
    })?;
    ensure!(seen.closed.is_empty(), "sockets closed: {:?}", seen.closed);
    ensure!(seen.failed.is_empty(), "{} calls failed: {:?}", seen.failed.len(), seen.failed.first());
    ensure!(seen.gaps == 0 && seen.publications == all, "{} of {all}, {} gaps", seen.publications, seen.gaps);
    ensure!(seen.greets == clients as u64, "{} greetings", seen.greets);
    // Each call was counted by exactly one generation, and no count was lost between two.
    for (worker, counts) in &seen.counts {
        let distinct: BTreeSet<_> = counts.iter().collect();
        let (least, most) =
            (counts.iter().min().context("a count")?, counts.iter().max().context("a count")?);
        ensure!(
            distinct.len() == counts.len() && *least == 1 && *most == counts.len() as u64,
            "worker {worker} counted {} calls from {least} to {most}, {} of them once",
            counts.len(),
            distinct.len()
        );
    }
    if let [before, after] = &*memory {
        for (before, after) in before.iter().zip(after) {
            let bound = before + FLAT.max(before / 50);
            ensure!(*after <= bound || reloads < 200, "a worker grew from {before} to {after} bytes");
        }
    }
    Ok(())
}

/// Does something when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// One reload: of the controller and of the middleware in turn; every tenth is of something broken.
async fn swap(app: &App, host: &sc_tests::Host, number: u64) -> anyhow::Result<()> {
    let gate = if number.is_multiple_of(2) { "" } else { "let through" };
    if !number.is_multiple_of(10) {
        app.configure(number, "", gate)?;
        crate::reload::reload(host, &[if number.is_multiple_of(2) { "swaps" } else { "gate" }]).await?;
        return Ok(());
    }
    let text = app.file("text.wasm");
    std::fs::write(&text, "hello")?;
    let wrong = components::guest("wrong_world")?;
    let (how, gate, arguments) = match number / 10 % 6 {
        0 => ("", "", vec!["--component".to_owned(), text.display().to_string()]),
        1 => ("panic in start", "", vec!["swaps".to_owned()]),
        2 => ("panic in a call", "", vec!["swaps".to_owned()]),
        3 => ("", "panic in a call", vec!["gate".to_owned()]),
        4 => ("panic in resume", "", vec!["swaps".to_owned()]),
        _ => {
            let wrong = wrong.display().to_string();
            ("", "", vec!["--allow-new-imports".to_owned(), "--component".to_owned(), wrong])
        }
    };
    app.configure(number, how, gate)?;
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    crate::reload::refused(host, &arguments, &["nothing was changed"]).await
}

async fn tasks_of_publisher(publisher: &mut Client, say: &Say) -> anyhow::Result<u64> {
    let mut ticks = tokio::time::interval(PUBLICATIONS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !say.quiet.get() {
        ticks.tick().await;
        number += 1;
        publisher.publish("feed", json!(number)).await?;
    }
    Ok(number)
}

/// One client: it calls, and looks at all that comes.
async fn drive(mut client: Client, seen: &RefCell<Seen>, say: &Say) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(CALLS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut open, mut last) = (BTreeMap::new(), None);
    while !say.end.get() {
        tokio::select! {
            _ = ticks.tick() => if !say.quiet.get() {
                let cid = client.begin("count", Value::Null).await?;
                open.insert(cid, Instant::now());
                seen.borrow_mut().sent += 1;
            },
            packet = client.next(), if !say.end.get() => {
                let Ok(packet) = packet else { continue };
                look(packet, &mut open, &mut last, &mut seen.borrow_mut());
            }
        }
    }
    Ok(())
}

fn look(packet: Packet, open: &mut BTreeMap<u64, Instant>, last: &mut Option<u64>, seen: &mut Seen) {
    match packet {
        Packet::Event(name, data) if name == "#publish" => {
            let number = data["data"].as_u64().unwrap_or(0);
            seen.gaps += u64::from(last.is_some_and(|last| number != last + 1));
            *last = Some(number);
            seen.publications += 1;
        }
        Packet::Event(name, _) if name == "greet" => seen.greets += 1,
        Packet::Event(name, data) => seen.failed.push(format!("event {name} {data}")),
        Packet::Other(answer) => {
            let Some(began) = answer["rid"].as_u64().and_then(|rid| open.remove(&rid)) else {
                return seen.failed.push(format!("an answer to nothing: {answer}"));
            };
            seen.round_trips.push(began.elapsed());
            match (answer["data"]["worker"].as_u64(), answer["data"]["count"].as_u64()) {
                (Some(worker), Some(count)) => seen.counts.entry(worker).or_default().push(count),
                _ => seen.failed.push(answer.to_string()),
            }
        }
        Packet::Closed(code, reason) => seen.closed.push((code, reason)),
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let ms = |share: f64| at(share).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", ms(0.5), ms(0.99), ms(1.0))
}
