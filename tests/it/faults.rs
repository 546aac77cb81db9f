//! The fault matrix: each role is killed with SIGKILL while 200 clients call. Recovery times are printed.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use sc_tests::load::Load;
use sc_tests::{Client, Host, Role, run, usage, wait};
use serde_json::json;
use tokio::task::LocalSet;

use crate::host_of;

const CLIENTS: usize = 200;

/// Sockets that were handed over live on; new connections wait for the next balancer.
#[tokio::test]
async fn a_balancer_is_killed() -> anyhow::Result<()> {
    LocalSet::new()
        .run_until(async {
            let load = loaded(2, 1).await?;
            let host = load.host();
            let killed = host.kill(Role::Balancer, 0)?;
            let began = Instant::now();
            // At once: the listening socket is still there, so this waits and is not refused.
            let mut newcomer = Client::connect(host).await.context("a connection during the restart")?;
            println!("balancer: a new connection was served after {:?}", began.elapsed());
            newcomer.is_up().await?;
            host.respawned(Role::Balancer, 0, killed).await?;
            load.goes_on().await?;
            for _ in 0..50 {
                Client::connect(host).await?;
            }
            let seen = load.finish().await?;
            println!("balancer: {} calls answered, longest gap {:?}", seen.answered, seen.longest_gap);
            assert!(seen.closed.is_empty(), "sockets closed: {:?}", seen.closed);
            assert!(seen.refused.is_empty(), "{:?}", seen.refused);
            assert_eq!(seen.wrong, 0);
            Ok(())
        })
        .await
}

/// Its sockets close and come back on a healthy worker; those of the others notice nothing; shared data is intact.
#[tokio::test]
async fn a_worker_is_killed() -> anyhow::Result<()> {
    LocalSet::new()
        .run_until(async {
            let load = loaded(2, 1).await?;
            let host = load.host();
            let mut survivor = Client::on_worker(host, 1).await?;
            survivor.subscribe("after").await?;
            let mut victim = Client::on_worker(host, 0).await?;
            victim.ask("kvSet", json!({ "path": ["kept"], "value": "before" })).await?;
            let killed = host.kill(Role::Worker, 0)?;
            let began = Instant::now();
            assert_eq!(victim.closed().await?.0, 1006);
            let mut victim = Client::connect_soon(host).await?;
            println!("worker: its client was back after {:?}", began.elapsed());
            assert_eq!(victim.ask("kvGet", json!({ "path": ["kept"] })).await?, json!("before"));
            host.respawned(Role::Worker, 0, killed).await?;
            let again = Client::on_worker(host, 0).await;
            println!("worker: worker 0 served again after {:?}", began.elapsed());
            // The new process has a link to the stores: publications go both ways.
            let mut again = again?;
            again.publish("after", json!("from the new worker")).await?;
            assert_eq!(survivor.publication("after").await?, json!("from the new worker"));
            again.subscribe("back").await?;
            survivor.publish("back", json!("to the new worker")).await?;
            assert_eq!(again.publication("back").await?, json!("to the new worker"));
            load.goes_on().await?;
            let size = load.size();
            let seen = load.finish().await?;
            println!(
                "worker: {} of {size} clients reconnected, longest gap {:?}",
                seen.reconnected, seen.longest_gap
            );
            let closed = seen.closed.len();
            assert!(closed > 0 && closed < size, "{closed} of {size} sockets closed");
            assert!(seen.closed.iter().all(|code| *code == 1006), "{:?}", seen.closed);
            assert_eq!(seen.reconnected, closed as u64);
            assert_eq!(seen.wrong, 0);
            Ok(())
        })
        .await
}

/// Sockets stay, subscriptions come back by themselves, calls in flight fail or wait but never hang.
#[tokio::test]
async fn a_store_is_killed() -> anyhow::Result<()> {
    LocalSet::new()
        .run_until(async {
            let load = loaded(2, 1).await?;
            let host = load.host();
            let mut one = Client::on_worker(host, 0).await?;
            let mut two = Client::on_worker(host, 1).await?;
            one.subscribe("lasting").await?;
            let killed = host.kill(Role::Store, 0)?;
            let began = Instant::now();
            // A question to the store while it is away: an answer or an error, in bounded time.
            let asked = wait::within(
                Duration::from_secs(8),
                "an answer about the store",
                two.call("kvGet", json!({"path": ["x"]})),
            );
            let answer = asked.await?;
            println!("store: a question meanwhile ended after {:?} with {answer:?}", began.elapsed());
            host.respawned(Role::Store, 0, killed).await?;
            let mut number = 0;
            let heard = async {
                loop {
                    number += 1;
                    let publication = json!({"channel": "lasting", "data": number});
                    // One that is taken before the subscriber's worker is back is lost: that is the gap below.
                    if two.call("#publish", publication).await.is_ok()
                        && let Ok(heard) =
                            tokio::time::timeout(Duration::from_millis(200), one.publication("lasting")).await
                    {
                        return heard;
                    }
                }
            };
            wait::within(wait::SOON, "a publication after the restart", heard).await??;
            println!("store: the subscription was served again after {:?}", began.elapsed());
            let heard = async {
                loop {
                    let gaps = one.ask("gaps", json!(null)).await?;
                    if gaps.as_u64().is_some_and(|count| count > 0) {
                        return anyhow::Ok(());
                    }
                }
            };
            wait::within(wait::SOON, "the gap event at the controller", heard).await??;
            load.goes_on().await?;
            let seen = load.finish().await?;
            println!("store: {} calls answered, longest gap {:?}", seen.answered, seen.longest_gap);
            assert!(seen.closed.is_empty(), "sockets closed: {:?}", seen.closed);
            assert!(seen.refused.is_empty(), "{:?}", seen.refused);
            assert_eq!(seen.wrong, 0);
            Ok(())
        })
        .await
}

/// All children exit by themselves, and every client learns it.
#[tokio::test]
async fn the_master_is_killed() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::connect(&host).await?);
    }
    let children = usage::children(host.master());
    let began = Instant::now();
    run::kill(host.master());
    for client in &mut clients {
        client.closed().await?;
    }
    wait::until("the children to be gone", || children.iter().all(|pid| !run::is_alive(*pid)).then_some(()))
        .await?;
    println!("master: all gone after {:?}", began.elapsed());
    Ok(())
}

/// A child that dies again and again is started with growing pauses: the machine is not spun, the others serve.
#[tokio::test]
async fn a_child_that_keeps_dying() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut survivor = Client::on_worker(&host, 1).await?;
    let (began, mut killed, mut last) = (Instant::now(), 0, 0);
    let killing = async {
        while killed < 4 {
            if let Some(pid) = host.pid(Role::Worker, 0).filter(|pid| *pid != last) {
                run::kill(pid);
                last = pid;
                killed += 1;
            }
            survivor.is_up().await?;
        }
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "worker 0 to be started three times again", killing).await??;
    let took = began.elapsed();
    println!("worker 0 was killed 4 times in {took:?}");
    // It comes again at once, then after half a second, then after a second.
    assert!(took >= Duration::from_millis(1_400), "started again without a pause: {took:?}");
    Client::connect_soon(&host).await?.is_up().await?;
    Ok(())
}

/// A child whose loop stands still is killed and replaced, whatever its role; sockets of the others stay.
#[tokio::test]
async fn frozen_children() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut survivor = Client::on_worker(&host, 1).await?;
    let frozen = [(Role::Balancer, 0), (Role::Worker, 0), (Role::Store, 0)];
    let mut stopped = Vec::new();
    for (role, index) in frozen {
        let pid = host.pid(role, index).context("a child")?;
        run::signal(pid, Signal::STOP);
        stopped.push((role, index, pid));
    }
    let again = async {
        for (role, index, pid) in stopped {
            while host.pid(role, index).is_none_or(|now| now == pid) {
                survivor.is_up().await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        anyhow::Ok(())
    };
    // Each has 10 s to say something, and as many again whenever the master itself stands still.
    wait::within(Duration::from_secs(60), "frozen children to be started again", again).await??;
    survivor.is_up().await?;
    survivor.ask("kvSet", json!({ "path": ["after"], "value": 1 })).await?;
    Client::connect(&host).await?.is_up().await
}

/// A dead child's record: who, how it ended, and its last words.
#[tokio::test]
async fn a_death_is_one_record() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let killed = host.kill(Role::Worker, 1)?;
    let of_it = |record: &serde_json::Value| {
        record["role"] == "master"
            && record.to_string().contains(&killed.to_string())
            && record["level"] != "info"
    };
    let record = host.log().record("the record of a death", of_it).await?;
    assert!(record.to_string().contains("SIGKILL") || record.to_string().contains("signal"), "{record}");
    Ok(())
}

async fn loaded(workers: usize, stores: usize) -> anyhow::Result<Load> {
    let host: Rc<Host> = Rc::new(host_of("suite").workers(workers).stores(stores).alone().start().await?);
    Load::start(&host, CLIENTS, "echo").await
}
