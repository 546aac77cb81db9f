//! The promise: whatever is swapped while a thousand clients call and listen, none of them notices. Two workers, each
//! client with two calls a second and a channel of ten publications a second; controller and middleware are replaced
//! two hundred times, every tenth time by something broken, and balancers are killed in between.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::Packet;
use sc_tests::{Client, Host, Role, guests as components, long, usage, wait};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::MissedTickBehavior;

use crate::reload::App;

const WORKERS: usize = 2;
const CALLS: Duration = Duration::from_millis(500);
const PUBLICATIONS: Duration = Duration::from_millis(100);
/// Growth of a worker's memory over all swaps but the first tenth, in bytes: what is flat.
const FLAT: u64 = 4 << 20;

/// One in so many clients lives on a thread of its own: a publication to all is a thousand messages for this process,
/// and what waits behind them there is no pause of the server's.
const APART: usize = 50;

/// What the clients of a thread saw.
#[derive(Default)]
struct Seen {
    /// Each worker's count in each answer.
    counts: BTreeMap<u64, Vec<u64>>,
    /// When each answer came, and how long after its call.
    round_trips: Vec<(Instant, Duration)>,
    failed: Vec<String>,
    closed: Vec<(u16, String)>,
    greets: u64,
    /// Publications that came out of turn.
    gaps: u64,
}

/// What the test says to its clients, and they to it.
#[derive(Default)]
struct Say {
    quiet: AtomicBool,
    end: AtomicBool,
    connected: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    publications: AtomicU64,
}

#[tokio::test]
async fn no_client_notices_a_replacement() -> anyhow::Result<()> {
    LocalSet::new().run_until(run()).await
}

async fn run() -> anyhow::Result<()> {
    let (clients, reloads) = (long(1000), long(200));
    let app = App::new(true)?;
    let host = Arc::new(app.host().workers(WORKERS).alone().start().await?);
    let say = Arc::new(Say::default());
    // However it ends, all clients must hear of it.
    let _end = OnDrop(|| {
        say.quiet.store(true, Relaxed);
        say.end.store(true, Relaxed);
    });
    let few = (clients / APART).max(1);
    let apart = {
        let (host, say) = (Arc::clone(&host), Arc::clone(&say));
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(LocalSet::new().run_until(crowd(&host, few, &say)))
        })
    };
    let crowd = tokio::task::spawn_local({
        let (host, say) = (Arc::clone(&host), Arc::clone(&say));
        async move { crowd(&host, clients - few, &say).await }
    });
    let all_connected = || (say.connected.load(Relaxed) == clients as u64).then_some(());
    wait::until("all clients", all_connected).await.with_context(|| host.log().tail(40))?;
    let mut publisher = Client::connect(&host).await?;
    let published = keep_publishing(&mut publisher, &say);
    let swapping = async {
        let _quiet = OnDrop(|| say.quiet.store(true, Relaxed));
        tokio::time::sleep(Duration::from_secs(2)).await;
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
        anyhow::Ok((began..Instant::now(), memory))
    };
    let (published, swapped) = tokio::join!(published, swapping);
    let (swaps, memory) = swapped.with_context(|| host.log().tail(40))?;
    let all = published? * clients as u64;
    let [sent, answered, heard] = [&say.sent, &say.answered, &say.publications];
    let came = || (answered.load(Relaxed) == sent.load(Relaxed) && heard.load(Relaxed) >= all).then_some(());
    let complete = wait::until("all answers and publications", came).await;
    say.end.store(true, Relaxed);
    let seen = [crowd.await??, apart.await??];
    let [sent, answered, heard] = [sent, answered, heard].map(|count| count.load(Relaxed));
    println!(
        "{clients} clients, {reloads} reloads in {:.1?}: {sent} calls, {heard} publications heard; workers' memory \
         {memory:?}",
        swaps.end - swaps.start
    );
    for (clients, seen) in ["most clients", "clients on a thread of their own"].iter().zip(&seen) {
        let of = |is: &dyn Fn(&Instant) -> bool| {
            let times = seen.round_trips.iter().filter(|(at, _)| is(at)).map(|(_, time)| *time);
            percentiles(times.collect())
        };
        let (quiet, during) = (of(&|at| *at < swaps.start), of(&|at| swaps.contains(at)));
        println!("round trips of {clients}: without reloads {quiet}, with them {during}");
    }
    let seen = all_of(seen);
    complete.with_context(|| {
        let (failed, closed) = (seen.failed.len(), seen.closed.len());
        let log = host.log().tail(20);
        let first = seen.failed.first();
        format!("{answered} of {sent} answers, {heard} of {all} publications, {failed} failed ({first:?}), {closed} closed\n{log}")
    })?;
    ensure!(seen.closed.is_empty(), "sockets closed: {:?}", seen.closed);
    ensure!(seen.failed.is_empty(), "{} calls failed: {:?}", seen.failed.len(), seen.failed.first());
    ensure!(seen.gaps == 0 && heard == all, "{heard} of {all}, {} gaps", seen.gaps);
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

/// So many clients of one thread, to their end.
async fn crowd(host: &Host, clients: usize, say: &Arc<Say>) -> anyhow::Result<Seen> {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let mut client = Client::connect(host).await.with_context(|| format!("client {number}"))?;
        client.subscribe("feed").await?;
        say.connected.fetch_add(1, Relaxed);
        let (seen, say) = (Rc::clone(&seen), Arc::clone(say));
        tasks.spawn_local(async move { drive(client, &seen, &say).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(seen.take())
}

fn all_of([mut all, apart]: [Seen; 2]) -> Seen {
    for (worker, counts) in apart.counts {
        all.counts.entry(worker).or_default().extend(counts);
    }
    all.failed.extend(apart.failed);
    all.closed.extend(apart.closed);
    all.greets += apart.greets;
    all.gaps += apart.gaps;
    all
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

async fn keep_publishing(publisher: &mut Client, say: &Say) -> anyhow::Result<u64> {
    let mut ticks = tokio::time::interval(PUBLICATIONS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    while !say.quiet.load(Relaxed) {
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
    while !say.end.load(Relaxed) {
        tokio::select! {
            _ = ticks.tick() => if !say.quiet.load(Relaxed) {
                say.sent.fetch_add(1, Relaxed);
                let cid = client.begin("count", Value::Null).await?;
                open.insert(cid, Instant::now());
            },
            packet = client.next(), if !say.end.load(Relaxed) => {
                let Ok(packet) = packet else { continue };
                look(packet, &mut open, &mut last, &mut seen.borrow_mut(), say);
            }
        }
    }
    Ok(())
}

fn look(
    packet: Packet,
    open: &mut BTreeMap<u64, Instant>,
    last: &mut Option<u64>,
    seen: &mut Seen,
    say: &Say,
) {
    match packet {
        Packet::Event(name, data) if name == "#publish" => {
            let number = data["data"].as_u64().unwrap_or(0);
            seen.gaps += u64::from(last.is_some_and(|last| number != last + 1));
            *last = Some(number);
            say.publications.fetch_add(1, Relaxed);
        }
        Packet::Event(name, _) if name == "greet" => seen.greets += 1,
        Packet::Event(name, data) => seen.failed.push(format!("event {name} {data}")),
        Packet::Other(answer) => {
            let Some(began) = answer["rid"].as_u64().and_then(|rid| open.remove(&rid)) else {
                return seen.failed.push(format!("an answer to nothing: {answer}"));
            };
            seen.round_trips.push((Instant::now(), began.elapsed()));
            say.answered.fetch_add(1, Relaxed);
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
