//! Who is on a channel: right on every worker, also when a worker or the store is killed; and told to nobody who may
//! not know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::Packet;
use sc_tests::{Client, Host, Role, join_all, wait};
use serde_json::{Value, json};

use crate::host_of;

/// For a list to be exact again. Members stay for a lease of 10 s when only a link broke: who is gone has to go
/// sooner.
const EXACT: Duration = Duration::from_secs(8);

async fn members(client: &mut Client, channel: &str) -> anyhow::Result<BTreeSet<String>> {
    let list = client.ask("members", json!(channel)).await?;
    let list = list.as_array().context("a list")?;
    Ok(list.iter().filter_map(|member| Some(member["id"].as_str()?.to_owned())).collect())
}

/// Asks until the list is as expected; how long that took.
async fn exact(client: &mut Client, expected: &BTreeSet<String>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let asking = async {
        // A store that is killed fails the calls it worked on.
        while members(client, "room.1").await.ok().as_ref() != Some(expected) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    wait::within(wait::SOON, "the exact list", asking).await?;
    Ok(began.elapsed())
}

/// What a client that watches hears, by member: of so many, and a little longer, for what nobody should hear.
async fn heard(client: &mut Client, of: usize) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while changes.len() < of {
        let heard = client.event("#presence").await;
        let heard = heard.with_context(|| format!("of {of} only {} were heard", changes.len()))?;
        note(&mut changes, &heard);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for packet in client.events_so_far("whoami").await? {
        if matches!(packet, Packet::Event(name, _) if name == "#presence") {
            note(&mut changes, &client.event("#presence").await?);
        }
    }
    Ok(changes)
}

fn note(changes: &mut BTreeMap<String, Vec<String>>, change: &Value) {
    let id = change["member"]["id"].as_str().unwrap_or("all").to_owned();
    changes.entry(id).or_default().push(change["event"].as_str().unwrap_or("-").to_owned());
}

async fn host() -> anyhow::Result<Host> {
    host_of("browser")
        .workers(3)
        .set("presence.channels", "room.*,hidden.*")
        .set("presence.clients", "room.*")
        // Most clients here only listen, and answer no pings.
        .set("protocol.ping_timeout_disabled", true)
        .start()
        .await
}

#[tokio::test]
async fn three_hundred_sockets_and_two_deaths() -> anyhow::Result<()> {
    let host = host().await?;
    let mut watcher = Client::on_worker(&host, 0).await?;
    watcher.subscribe("room.1").await?;
    let list = watcher.ask("#presence", json!({ "channel": "room.1", "watch": true })).await?;
    ensure!(list["count"] == 1 && list["members"][0]["id"] == watcher.id(), "{list}");

    let joining = (0..300).map(|_| async {
        let mut client = Client::connect(&host).await?;
        client.subscribe("room.1").await?;
        let worker = client.worker().await?;
        anyhow::Ok((worker, client))
    });
    let joined: Vec<_> = join_all(joining).await.into_iter().collect::<Result<_, _>>()?;
    let ids = |of: &dyn Fn(u64) -> bool| -> BTreeSet<String> {
        let mine = std::iter::once((0, watcher.id().to_owned()));
        let others = joined.iter().map(|(worker, client)| (*worker, client.id().to_owned()));
        mine.chain(others).filter(|(worker, _)| of(*worker)).map(|(_, id)| id).collect()
    };
    let (all, without) = (ids(&|_| true), ids(&|worker| worker != 1));
    ensure!(all.len() == 301 && (150..270).contains(&without.len()), "{} of {}", without.len(), all.len());
    let mut asker = Client::on_worker(&host, 2).await?;
    exact(&mut asker, &all).await?;
    ensure!(asker.ask("countMembers", json!("room.1")).await? == json!(301));
    let changes = heard(&mut watcher, 300).await?;
    let joins = changes.values().filter(|changes| **changes == ["join"]).count();
    ensure!(joins == 300, "{joins} joined, each once");

    host.kill(Role::Worker, 1)?;
    let took = exact(&mut asker, &without).await?;
    ensure!(took < EXACT, "exact after {took:?}");
    let changes = heard(&mut watcher, all.len() - without.len()).await?;
    let left: BTreeSet<_> = changes.keys().cloned().collect();
    ensure!(left == &all - &without, "who was on that worker left, and nobody else");
    ensure!(changes.values().all(|changes| *changes == ["leave"]), "each once: {changes:?}");
    println!("a worker killed: the list of {} was exact after {took:?}", without.len());

    host.kill(Role::Store, 0)?;
    let took = exact(&mut asker, &without).await?;
    ensure!(took < EXACT, "exact after {took:?}");
    let changes = heard(&mut watcher, 1).await?;
    ensure!(changes == BTreeMap::from([("all".to_owned(), vec!["gap".to_owned()])]), "{changes:?}");
    println!("the store killed: the list of {} was exact after {took:?}", without.len());

    drop(joined);
    let alone = BTreeSet::from([watcher.id().to_owned()]);
    exact(&mut asker, &alone).await?;
    let changes = heard(&mut watcher, without.len() - 1).await?;
    ensure!(changes.len() == without.len() - 1 && changes.values().all(|changes| *changes == ["leave"]));
    Ok(())
}

#[tokio::test]
async fn who_may_know() -> anyhow::Result<()> {
    let host = host().await?;
    let mut ann = Client::connect(&host).await?;
    let mut bob = Client::connect(&host).await?;
    for channel in ["room.1", "hidden.1", "news"] {
        ann.subscribe(channel).await?;
    }
    bob.subscribe("room.1").await?;
    bob.subscribe("hidden.1").await?;
    ann.ask("describe", json!({ "name": "Ann" })).await?;

    // A subscriber may ask where clients may, and sees no session.
    let list = bob.ask("#presence", json!({ "channel": "room.1", "watch": true })).await?;
    ensure!(list["count"] == 2, "{list}");
    let shown = list["members"].as_array().context("a list")?;
    let of_ann = shown.iter().find(|member| member["id"] == ann.id()).context("Ann")?;
    ensure!(*of_ann == json!({ "id": ann.id(), "data": { "name": "Ann" } }), "{of_ann}");
    let session = ann.ask("who", Value::Null).await?["session"].as_str().context("a session")?.to_owned();
    ensure!(!list.to_string().contains(&session));
    // The controller sees it.
    let all = bob.ask("members", json!("room.1")).await?;
    ensure!(all.to_string().contains(&session), "{all}");

    let mut stranger = Client::connect(&host).await?;
    for (client, channel) in [(&mut stranger, "room.1"), (&mut bob, "hidden.1"), (&mut ann, "news")] {
        let question = json!({ "channel": channel, "watch": true });
        let refused = client.call("#presence", question).await.err().context("refused")?;
        ensure!(refused.name() == "NotAllowedError", "{channel}: {refused:?}");
    }
    let refused = ann.call("#presence", json!({ "channel": 7 })).await.err().context("refused")?;
    ensure!(refused.name() == "InvalidActionError", "{refused:?}");
    let refused = ann.call("members", json!("news")).await.err().context("refused")?;
    ensure!(refused.name() == "PresenceError", "{refused:?}");
    ensure!(ann.ask("countMembers", json!("hidden.1")).await? == json!(2));

    // Changes go to those who asked for them, until they leave the channel.
    bob.ask("watchMembers", json!("hidden.1")).await?;
    ann.ask("describe", json!("Ann")).await?;
    ann.ask("#unsubscribe", json!("room.1")).await?;
    ann.ask("#unsubscribe", json!("hidden.1")).await?;
    let told = bob.event("#presence").await?;
    ensure!(told["event"] == "update" && told["member"]["data"] == "Ann", "{told}");
    ensure!(bob.event("#presence").await?["event"] == "leave");
    bob.ask("#unsubscribe", json!("room.1")).await?;
    ann.subscribe("room.1").await?;
    ann.subscribe("hidden.1").await?;
    loop {
        let told = bob.event("changed").await?;
        ensure!(told["id"] == ann.id() && told["data"] == "Ann", "{told}");
        if told["what"] == "join" {
            break;
        }
    }
    for client in [&mut stranger, &mut ann, &mut bob] {
        let events = client.events_so_far("whoami").await?;
        ensure!(!format!("{events:?}").contains("#presence"), "{events:?}");
    }
    host.is_unhurt()
}
