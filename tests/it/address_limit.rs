//! How many sockets one client address may have, on all workers together: exact under a rush, and true again after
//! `kill -9` of a worker or of the stores.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use rustix::process::Signal;
use sc_tests::client::Way;
use sc_tests::poller::{self, Poller};
use sc_tests::raw::{Raw, upgrade_request};
use sc_tests::{Client, Host, HostBuilder, Role, run, wait};

use crate::clients::play;
use crate::host_of;

const HERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

fn limited(limit: usize) -> HostBuilder {
    host_of("suite").workers(3).stores(2).set("client.address_limit", limit)
}

/// Asks for a socket: the head of the answer, and the connection.
async fn ask(host: &Host, from: Ipv4Addr, headers: &str) -> anyhow::Result<(String, Raw)> {
    let mut raw = Raw::open_from(host, from).await?;
    let request =
        upgrade_request(host, "/socketcluster/").replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1);
    raw.send(request.as_bytes()).await?;
    Ok((raw.head().await?, raw))
}

fn is_open(head: &str) -> bool {
    head.starts_with("HTTP/1.1 101 ")
}

fn is_refused(head: &str) -> bool {
    head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: 10\r\n")
}

/// Opens sockets until there are so many; no more than that are let in.
async fn fill(host: &Host, clients: &mut Vec<Client>, limit: usize) -> anyhow::Result<()> {
    let filling = async {
        while clients.len() < limit {
            // Refused until what was lost is given back.
            let way = Way { from: Some(HERE), ..Way::default() };
            if let Ok(client) = Client::open(host, way).await {
                clients.push(client);
            }
        }
    };
    wait::within(wait::SOON, "the places to be had", filling).await?;
    let (head, _) = ask(host, HERE, "").await?;
    ensure!(is_refused(&head), "one too many: {head}");
    Ok(())
}

#[tokio::test]
async fn a_rush_gets_as_many_as_may_be() -> anyhow::Result<()> {
    let host = limited(5).start().await?;
    let mut answers = try_join_all((0..60).map(|_| ask(&host, HERE, ""))).await?;
    let open = answers.iter().filter(|(head, _)| is_open(head)).count();
    let refused = answers.iter().filter(|(head, _)| is_refused(head)).count();
    ensure!((open, refused) == (5, 55), "{open} are open and {refused} refused");
    let (_, other) = answers.iter_mut().find(|(head, _)| is_refused(head)).context("a refused one")?;
    ensure!(other.rest().await? == "Reached connection limit for the address 127.0.0.2");
    ensure!(is_open(&ask(&host, THERE, "").await?.0), "another address has places of its own");
    // One goes, and there is room for one.
    let at = answers.iter().position(|(head, _)| is_open(head)).context("an open one")?;
    drop(answers.swap_remove(at));
    let again = async {
        loop {
            let (head, raw) = ask(&host, HERE, "").await?;
            if is_open(&head) {
                return anyhow::Ok(raw);
            }
        }
    };
    let _again = wait::within(wait::SOON, "the place to be given back", again).await??;
    ensure!(is_refused(&ask(&host, HERE, "").await?.0));
    // Each is noted once, and by its own address.
    let noted = |record: &serde_json::Value, address: &str| {
        record["level"] == "notice" && record["address"] == address && record["limit"] == 5
    };
    host.log().record("the notice", |record| noted(record, "127.0.0.2")).await?;
    let records = host.log().records();
    ensure!(!records.iter().any(|record| noted(record, "127.0.0.3")), "nobody was refused there");
    ensure!(!records.iter().any(|record| record["status"] == 429), "it was noted twice");
    host.is_unhurt()
}

/// Places end with their worker, and those on the others stay.
#[tokio::test]
async fn a_killed_worker_gives_its_places_back() -> anyhow::Result<()> {
    let host = limited(6).start().await?;
    let mut clients = Vec::new();
    fill(&host, &mut clients, 6).await?;
    let mut on = Vec::new();
    for client in &mut clients {
        on.push(client.worker().await?);
    }
    let killed = host.kill(Role::Worker, u16::try_from(on[0])?)?;
    let mut stay = Vec::new();
    for (mut client, worker) in clients.into_iter().zip(&on) {
        if *worker == on[0] {
            ensure!(client.closed().await?.0 == 1006);
        } else {
            stay.push(client);
        }
    }
    fill(&host, &mut stay, 6).await?;
    host.respawned(Role::Worker, u16::try_from(on[0])?, killed).await?;
    for client in &mut stay {
        client.is_up().await?;
    }
    Ok(())
}

/// Stores that come back are told of all sockets. Meanwhile nobody is kept out but by the workers' own counts.
#[tokio::test]
async fn killed_stores_learn_the_counts_again() -> anyhow::Result<()> {
    let host = limited(6).start().await?;
    let mut clients = Vec::new();
    fill(&host, &mut clients, 6).await?;
    let killed = [host.kill(Role::Store, 0)?, host.kill(Role::Store, 1)?];
    for (index, old) in (0..).zip(killed) {
        host.respawned(Role::Store, index, old).await?;
    }
    // As long as a worker has no link to the store, it lets in what its own count allows.
    let refused_by_all = async {
        let mut in_a_row = 0;
        while in_a_row < 12 {
            let (head, _) = ask(&host, HERE, "").await?;
            in_a_row = if is_refused(&head) { in_a_row + 1 } else { 0 };
        }
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "the counts to be known again", refused_by_all).await??;
    for client in &mut clients {
        client.is_up().await?;
    }
    drop(clients.pop());
    fill(&host, &mut clients, 6).await
}

/// Of whom a trusted proxy speaks is the address; IPv6 counts by networks.
#[tokio::test]
async fn addresses_behind_a_proxy() -> anyhow::Result<()> {
    let host = limited(1).set("http.trusted_proxies", "127.0.0.2").start().await?;
    let of = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let (head, _one) = ask(&host, HERE, &of("2001:db8:1:2::5")).await?;
    ensure!(is_open(&head), "{head}");
    ensure!(is_refused(&ask(&host, HERE, &of("2001:db8:1:2:3::6")).await?.0), "the same network");
    ensure!(is_open(&ask(&host, HERE, &of("2001:db8:1:3::5")).await?.0), "another network");
    ensure!(is_open(&ask(&host, HERE, &of("192.0.2.1")).await?.0));
    let (head, _own) = ask(&host, THERE, &of("192.0.2.9")).await?;
    ensure!(is_open(&head), "nobody's proxy: {head}");
    ensure!(is_refused(&ask(&host, THERE, &of("192.0.2.10")).await?.0), "whatever it says");
    Ok(())
}

/// A classic client is told in the words of the original, and its socket closes; a poll that becomes a WebSocket is
/// still one.
#[tokio::test]
async fn classic_clients_are_told() -> anyhow::Result<()> {
    let host = limited(1).start().await?;
    let first = Poller::open(&host).await?;
    ensure!(first.poll(&host).await?.iter().any(|packet| packet.starts_with(r#"4{"event":"connect""#)));
    let second = Poller::open(&host).await?;
    let fail = r#"4{"event":"fail","data":"Failed to bind socket to io cluster - Reached connection limit for the address 127.0.0.1","cid":1}"#;
    let told = second.poll(&host).await?;
    ensure!(told == [fail, "1"], "{told:?}");
    drop(host);
    play(limited(2), &["classic-limit.mjs", "937"]).await
}

/// Sockets that only tell clients why they are refused are bounded as well: one that does not listen gets no more of
/// them, and has no share of the worker.
#[tokio::test]
async fn who_does_not_listen_is_refused_without_a_socket() -> anyhow::Result<()> {
    let host = host_of("suite").set("client.address_limit", 2).start().await?;
    let _held = [Poller::open(&host).await?, Poller::open(&host).await?];
    let told = [Poller::open(&host).await?, Poller::open(&host).await?];
    let ask = || poller::request(&host, "GET", "/socketcluster/?EIO=3&transport=polling&b64=1", "", "");
    let refused = ask().await?;
    ensure!(refused.status == 429 && refused.header("retry-after") == Some("10"), "{refused:?}");
    ensure!(refused.body == "Reached connection limit for the address 127.0.0.1", "{refused:?}");
    let mut raw = Raw::open(&host).await?;
    let upgrade = upgrade_request(&host, "/socketcluster/?EIO=3&transport=websocket");
    raw.send(upgrade.as_bytes()).await?;
    ensure!(is_refused(&raw.head().await?), "the same for those with a WebSocket");
    // Another address has its own, and one that has been told makes room.
    Poller::open_from(&host, 3).await?;
    ensure!(told[0].poll(&host).await?.len() == 2);
    let again = async { while Poller::open(&host).await.is_err() {} };
    wait::within(wait::SOON, "a socket to be told by", again).await
}

/// Sockets that wait for a store at the same time all find the same room, and only as many are made as there is.
#[tokio::test]
async fn a_rush_of_polls_keeps_to_the_sockets_of_a_worker() -> anyhow::Result<()> {
    let most = 12;
    let host = host_of("suite").set("client.address_limit", 1000).set("client.max_sockets", most);
    let host = host.start().await?;
    let mut connections = try_join_all((0..most).map(|_| Raw::open(&host))).await?;
    let store = host.pid(Role::Store, 0).context("a store")?;
    // No longer than workers wait for a store.
    run::signal(store, Signal::STOP);
    let head = format!(
        "GET /socketcluster/?EIO=3&transport=polling&b64=1 HTTP/1.1\r\nHost: {}\r\n\r\n",
        host.address()
    );
    for raw in &mut connections {
        raw.send(head.as_bytes()).await?;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    run::signal(store, Signal::CONT);
    let heads = try_join_all(connections.iter_mut().map(Raw::head)).await?;
    let open = heads.iter().filter(|head| head.starts_with("HTTP/1.1 200 ")).count();
    let refused = heads.iter().filter(|head| head.starts_with("HTTP/1.1 503 ")).count();
    // The connections count as well, all but the last one that asks.
    ensure!((open, refused) == (1, most - 1), "{open} are open: {heads:?}");
    Ok(())
}
