//! Publications: all of them, to everyone, once, in order; and what happens to who reads too slowly.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use sc_tests::client::Packet;
use sc_tests::raw::{Frame, Raw};
use sc_tests::{Client, Host, HostBuilder, Role, join_all, long, run, usage, wait};
use serde_json::{Value, json};

use crate::host_of;

#[tokio::test]
async fn across_two_workers() -> anyhow::Result<()> {
    across(2, 1, long(10_000)).await
}

#[tokio::test]
async fn across_three_workers_and_two_stores() -> anyhow::Result<()> {
    across(3, 2, long(10_000)).await
}

/// One subscriber and one publisher on each worker; every publication reaches every subscriber.
async fn across(workers: usize, stores: usize, publications: usize) -> anyhow::Result<()> {
    let host = host_of("suite").workers(workers).stores(stores).start().await?;
    let mut subscribers = Vec::new();
    let mut publishers = Vec::new();
    for worker in 0..workers {
        let mut subscriber = Client::on_worker(&host, worker as u64).await?;
        subscriber.subscribe("numbers").await?;
        subscribers.push(subscriber);
        publishers.push(Client::on_worker(&host, worker as u64).await?);
    }
    let each = publications / publishers.len();
    let began = Instant::now();
    let publishing = publishers.into_iter().enumerate().map(|(publisher, mut client)| async move {
        // In bursts, the last of each awaited: no publisher runs away from the store.
        for burst in (0..each).collect::<Vec<_>>().chunks(100) {
            let text = |n: &usize| {
                let data = json!({ "channel": "numbers", "data": { "publisher": publisher, "n": n } });
                json!({ "event": "#publish", "data": data }).to_string()
            };
            client.send_all(burst.iter().map(text)).await?;
            client.is_up().await?;
        }
        anyhow::Ok(client)
    });
    let hearing = subscribers.into_iter().map(|mut client| async move {
        let mut next: HashMap<u64, u64> = HashMap::new();
        for _ in 0..each * workers {
            let data = client.publication("numbers").await?;
            let publisher = data["publisher"].as_u64().context("publisher")?;
            let expected = next.entry(publisher).or_default();
            ensure!(data["n"] == *expected, "publisher {publisher}: expected {expected}, got {data}");
            *expected += 1;
        }
        anyhow::Ok(client)
    });
    let (published, heard) = tokio::join!(join_all(publishing), join_all(hearing));
    for client in published {
        client?;
    }
    println!("{} publications to {workers} workers in {:?}", each * workers, began.elapsed());
    for client in heard {
        let left = client?.events_so_far("whoami").await?;
        assert!(left.is_empty(), "heard more than was published: {left:?}");
    }
    host.is_unhurt()
}

/// The controllers' own exchange: what a client publishes reaches watchers on all workers, and the other way.
#[tokio::test]
async fn controllers_hear_and_publish() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut one = Client::on_worker(&host, 0).await?;
    let mut two = Client::on_worker(&host, 1).await?;
    one.ask("watch", json!("news")).await?;
    two.ask("watch", json!("news")).await?;
    one.subscribe("news").await?;
    two.publish("news", json!({ "title": "from a client" })).await?;
    assert_eq!(one.publication("news").await?, json!({ "title": "from a client" }));
    one.ask("publishFromServer", json!({ "channel": "news", "data": "from a controller" })).await?;
    assert_eq!(one.publication("news").await?, json!("from a controller"));
    for client in [&mut one, &mut two] {
        let seen = async {
            loop {
                let seen = client.ask("seen", json!("news")).await?;
                if seen.to_string().contains("from a client")
                    && seen.to_string().contains("from a controller")
                {
                    return anyhow::Ok(());
                }
            }
        };
        wait::within(wait::SOON, "both publications at the controller", seen).await??;
    }
    Ok(())
}

/// A host that has little patience with who does not read. Such a one answers no pings either, which must not matter.
fn small_outboxes(slow_client: &str) -> HostBuilder {
    host_of("suite")
        .set("client.outbox_max", "256KiB")
        .set("client.slow_client", slow_client)
        .set("protocol.ping_timeout_disabled", true)
        .alone()
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_the_oldest() -> anyhow::Result<()> {
    let host = small_outboxes("drop-oldest").start().await?;
    let mut stalled = flood_past(&host).await?;
    // It comes back: what it finds has gaps, ends with the newest, and the connection is good.
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(PUBLICATIONS - 1)) {
        let Frame::Text(text) = stalled.next_packet().await? else { anyhow::bail!("it was closed") };
        let packet: Value = serde_json::from_str(&text)?;
        if let Some(n) = packet["data"]["data"]["n"].as_u64() {
            numbers.push(n);
        }
    }
    assert!(numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] < pair[1]), "in order, none twice");
    assert!(numbers.len() < PUBLICATIONS as usize, "nothing was dropped, so nothing was tested");
    println!("{} of {PUBLICATIONS} publications were dropped", PUBLICATIONS as usize - numbers.len());
    stalled.text(r#"{"event":"nodata","cid":9}"#).await?;
    assert_eq!(stalled.next_packet().await?, Frame::Text(r#"{"rid":9}"#.to_owned()));
    let notice = |record: &Value| {
        record["level"] == "notice" && record["message"].to_string().contains("its oldest publications")
    };
    host.log().record("a notice", notice).await?;
    host.is_unhurt()
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_closed() -> anyhow::Result<()> {
    let host = small_outboxes("close").start().await?;
    let mut stalled = flood_past(&host).await?;
    let end = stalled.end().await?;
    // The host gives a closed client some seconds to read up to the close frame.
    assert!(matches!(end, Frame::Close(1013, _) | Frame::End), "{end:?}");
    host.log().record("a notice", |record| record["level"] == "notice" && record["code"] == 1013).await?;
    host.is_unhurt()
}

const PUBLICATIONS: u64 = 1_500;

/// Publishes 24 MiB past a subscriber that does not read, while another one keeps pace and the memory stays bounded.
async fn flood_past(host: &Host) -> anyhow::Result<Raw> {
    let mut stalled = Raw::upgraded(host).await?;
    stalled.text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await?;
    stalled.next_packet().await?;
    stalled.text(r##"{"event":"#subscribe","data":{"channel":"busy"},"cid":2}"##).await?;
    assert_eq!(stalled.next_packet().await?, Frame::Text(r#"{"rid":2}"#.to_owned()));

    let mut steady = Client::connect(host).await?;
    steady.subscribe("busy").await?;
    let mut publisher = Client::connect(host).await?;
    let worker = host.pid(Role::Worker, 0).context("a worker")?;
    let (before, filler) = (usage::resident(worker), "x".repeat(16 * 1024));
    let (mut most, mut times) = (0, Vec::new());
    for n in 0..PUBLICATIONS {
        let asked = Instant::now();
        publisher.publish("busy", json!({ "n": n, "filler": filler })).await?;
        assert_eq!(steady.publication("busy").await?["n"], n, "the steady one misses nothing");
        times.push(asked.elapsed());
        most = most.max(usage::resident(worker));
    }
    let grown = most.saturating_sub(before);
    times.sort_unstable();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "the worker grew by {} KiB; round trips beside took {median:?}, and {slowest:?} at most",
        grown / 1024
    );
    assert!(grown < 16 << 20, "the worker grew by {grown} bytes");
    assert!(
        median < Duration::from_millis(100) && slowest < Duration::from_secs(10),
        "{median:?} {slowest:?}"
    );
    Ok(stalled)
}

/// A store that stands still for a while: who publishes to it is held back, the others go on, and nothing is lost.
#[tokio::test]
async fn publishers_wait_for_a_slow_store() -> anyhow::Result<()> {
    // All of them come at once when the store goes on: a subscriber must not count as slow for that.
    let host = host_of("suite").set("client.outbox_max", "256MiB").alone().start().await?;
    let mut subscriber = Client::connect(&host).await?;
    subscriber.subscribe("busy").await?;
    let mut publisher = Client::connect(&host).await?;
    let mut other = Client::connect(&host).await?;
    let (worker, store) = (host.pid(Role::Worker, 0), host.pid(Role::Store, 0));
    let (worker, store) = worker.zip(store).context("a worker and a store")?;
    let (before, filler) = (usage::resident(worker), "x".repeat(16 * 1024));
    run::signal(store, Signal::STOP);
    let publishing = async {
        let data = |n| json!({ "channel": "busy", "data": { "n": n, "filler": filler } });
        let text = |n| json!({ "event": "#publish", "data": data(n) }).to_string();
        publisher.send_all((0..PUBLICATIONS).map(text)).await?;
        publisher.is_up().await
    };
    let meanwhile = async {
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < Duration::from_secs(2) {
            other.ask("proc", json!(1)).await?;
            most = most.max(usage::resident(worker));
        }
        run::signal(store, Signal::CONT);
        let grown = most.saturating_sub(before);
        println!("beside a store that stands still the worker grew by {} KiB", grown / 1024);
        ensure!(grown < 16 << 20, "the worker grew by {grown} bytes");
        for n in 0..PUBLICATIONS {
            ensure!(subscriber.publication("busy").await?["n"] == n, "publication {n} is missing");
        }
        Ok(())
    };
    let (published, heard) = tokio::join!(publishing, meanwhile);
    published.and(heard)?;
    host.is_unhurt()
}

/// A client that leaves and comes back hears nothing of the time between, and everything after.
#[tokio::test]
async fn subscriptions_end_with_their_socket() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut publisher = Client::connect(&host).await?;
    for round in 0..5 {
        let mut subscriber = Client::connect(&host).await?;
        subscriber.subscribe("rounds").await?;
        publisher.publish("rounds", json!(round)).await?;
        assert_eq!(
            subscriber.next().await?,
            Packet::Event("#publish".into(), json!({"channel": "rounds", "data": round}))
        );
        drop(subscriber);
        publisher.publish("rounds", json!("nobody hears this")).await?;
    }
    Ok(())
}
