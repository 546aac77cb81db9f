//! Store CPU per operation over one link with 16 outstanding, values of 1 KB, beside Redis under
//! `redis-benchmark -P 16 -c 1` with and without its append-only file; then what 100,000 sessions with such a value
//! cost in memory and at start.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::raw::Raw;
use sc_tests::{Client, Host, HostBuilder, Role, guests, join_all, session, usage};
use serde_json::json;

use crate::median;
use crate::peer::Peer;

const SIZE: usize = 1024;
const KEYS: u64 = 100_000;
/// Connections that begin sessions at once.
const VISITORS: u64 = 16;

pub(crate) async fn compare(binary: &str, rounds: u64, operations: u64) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let start = |dir: &str| {
        let component = guests::guest("browser");
        let host = HostBuilder::new(binary).set("log.level", "warn,sc_host=info");
        let host = host.set(
            "app.data_dir",
            if dir == "none" { dir.into() } else { folder.path().join(dir).display().to_string() },
        );
        anyhow::Ok(host.component(&component?))
    };
    let durable = start("data")?.start().await?;
    let memory = start("none")?.start().await?;
    let redis = |aof: &str, dir: &str| {
        let dir = folder.path().join(dir);
        std::fs::create_dir_all(&dir)?;
        let words =
            ["--appendonly", aof, "--appendfsync", "everysec", "--save", "", "--bind", "127.0.0.1", "--dir"];
        let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        words.push(dir.display().to_string());
        Peer::start("redis-server", move |port| {
            words.extend(["--port".to_owned(), port.to_string()]);
            words
        })
    };
    let (with_aof, without) = (redis("yes", "aof")?, redis("no", "plain")?);
    let mut costs: Vec<(String, Vec<f64>)> = Vec::new();
    let mut note = |name: String, cost: f64| match costs.iter_mut().find(|(known, _)| *known == name) {
        Some((_, all)) => all.push(cost),
        None => costs.push((name, vec![cost])),
    };
    for round in 0..=rounds {
        for op in ["set", "get"] {
            for (name, host) in [("store, journal", &durable), ("store, memory", &memory)] {
                let (store, worker) = pump(host, op, operations).await?;
                if round > 0 {
                    note(format!("{op} {name}"), store);
                    note(format!("{op} {name}: worker"), worker);
                }
            }
            for (name, redis) in [("redis, everysec", &with_aof), ("redis, no file", &without)] {
                let cost = benchmark(redis, op, operations)?;
                if round > 0 {
                    note(format!("{op} {name}"), cost);
                }
            }
        }
    }
    println!(
        "CPU per operation, values of {SIZE} bytes, 16 outstanding, median of {rounds} rounds of {operations}:"
    );
    for (name, all) in &mut costs {
        println!("  {name}: {:.2} us", median(all));
    }
    println!("redis with {KEYS} keys: {} MiB resident", with_aof.resident() >> 20);
    drop((durable, memory));
    sessions(|| start("sessions")).await
}

/// Has a worker do so many operations; CPU per operation of the store and of the worker, in microseconds.
async fn pump(host: &Host, op: &str, operations: u64) -> anyhow::Result<(f64, f64)> {
    let mut client = Client::connect(host).await?;
    let pid = |role| host.pid(role, 0).context("a process");
    let (store, worker) = (pid(Role::Store)?, pid(Role::Worker)?);
    let before = (usage::cpu(store), usage::cpu(worker));
    let mut left = operations;
    while left > 0 {
        // One request of a client is answered within the clients' patience.
        let count = left.min(100_000);
        let pump = json!({
            "op": op, "keys": KEYS, "trees": 1, "size": SIZE, "count": count, "outstanding": 16
        });
        ensure!(client.ask("pump", pump).await? == json!(count));
        left -= count;
    }
    let per = |spent: Duration| spent.as_secs_f64() * 1e6 / operations as f64;
    Ok((per(usage::cpu(store) - before.0), per(usage::cpu(worker) - before.1)))
}

fn benchmark(redis: &Peer, op: &str, operations: u64) -> anyhow::Result<f64> {
    let before = redis.cpu();
    let (port, count, size, keys) =
        (redis.port.to_string(), operations.to_string(), SIZE.to_string(), KEYS.to_string());
    let words = ["-p", &port, "-P", "16", "-c", "1", "-n", &count, "-d", &size, "-r", &keys, "-t", op, "-q"];
    let said = Command::new("redis-benchmark").args(words).output().context("redis-benchmark")?;
    ensure!(said.status.success(), "redis-benchmark failed");
    Ok((redis.cpu() - before).as_secs_f64() * 1e6 / operations as f64)
}

/// 100,000 sessions that hold one value each, begun by as many requests without a cookie; what they take, and how long
/// the next start does.
async fn sessions(again: impl Fn() -> anyhow::Result<HostBuilder>) -> anyhow::Result<()> {
    let host = again()?.start().await?;
    let store = host.pid(Role::Store, 0).context("a store")?;
    let empty = usage::resident(store);
    let value = "x".repeat(SIZE);
    let set = json!({ "op": "set", "of": "session", "path": ["kept"], "value": value }).to_string();
    let begun = join_all((0..VISITORS).map(|_| visit(&host, &set))).await;
    let cookies = begun.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let full = usage::resident(store);
    host.stop().await?;
    let began = Instant::now();
    let host = again()?.start().await?;
    let ready = began.elapsed();
    let store = host.pid(Role::Store, 0).context("a store")?;
    println!(
        "{KEYS} sessions of {SIZE} bytes: {} bytes each in memory, {} after a restart; ready after {ready:.1?}",
        (full - empty) / KEYS,
        (usage::resident(store) - empty) / KEYS,
    );
    for cookie in cookies {
        let get = json!({ "op": "get", "of": "session", "path": ["kept"] }).to_string();
        let kept = session::send(&host, Some(&cookie), "POST", "/do", &get).await?;
        ensure!(serde_json::from_str::<String>(&kept.body)? == value, "a session lost its value: {kept:?}");
    }
    host.stop().await.map(drop)
}

/// Begins sessions over one kept connection, one after the other; the cookie of the last.
async fn visit(host: &Host, set: &str) -> anyhow::Result<String> {
    let request = format!(
        "POST /do HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{set}",
        host.address(),
        set.len()
    );
    let mut raw = Raw::open(host).await?;
    let mut last = String::new();
    for _ in 0..KEYS / VISITORS {
        raw.send(request.as_bytes()).await?;
        let (head, _) = raw.response().await?;
        last = session::cookie(&head).with_context(|| format!("no session was begun: {head}"))?;
    }
    Ok(last)
}
