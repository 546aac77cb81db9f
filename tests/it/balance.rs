//! How evenly sockets are spread: slow ramps, bursts, several balancers, and balancers that are killed in between.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::{Client, Host, Role, wait};
use tokio::task::LocalSet;

use crate::host_of;

/// Clients that connect one after the other, at a fixed rate, whatever becomes of those before.
struct Ramp {
    count: usize,
    per_second: u32,
    /// After how many connections a balancer is killed.
    kills: &'static [usize],
}

impl Ramp {
    /// All clients, and how many of them each worker has.
    async fn run(&self, host: &Rc<Host>) -> anyhow::Result<(Vec<Client>, Vec<usize>)> {
        let began = tokio::time::Instant::now();
        let mut connecting = tokio::task::JoinSet::new();
        for number in 0..self.count {
            tokio::time::sleep_until(began + number as u32 * Duration::from_secs(1) / self.per_second).await;
            if self.kills.contains(&number) {
                host.kill(Role::Balancer, 0)?;
            }
            let host = Rc::clone(host);
            connecting.spawn_local(async move { Client::connect_soon(&host).await });
        }
        let mut clients = Vec::new();
        let connected = async {
            while let Some(client) = connecting.join_next().await {
                clients.push(client??);
            }
            anyhow::Ok(())
        };
        wait::within(wait::SOON, "all clients to be connected", connected).await??;
        let mut counts = vec![0; 3];
        for client in &mut clients {
            let worker = usize::try_from(client.worker().await?)?;
            *counts.get_mut(worker).context("a fourth worker")? += 1;
        }
        Ok((clients, counts))
    }
}

fn spread(counts: &[usize]) -> usize {
    counts.iter().max().zip(counts.iter().min()).map_or(0, |(most, least)| most - least)
}

async fn host(balancers: usize) -> anyhow::Result<Rc<Host>> {
    let host = host_of("suite").workers(3).set("app.balancers", balancers).alone().start().await?;
    Ok(Rc::new(host))
}

/// The original had 31/30/29 and 27/23/10.
#[tokio::test]
async fn a_slow_ramp_and_a_burst() -> anyhow::Result<()> {
    let measured = async {
        for (count, per_second) in [(90, 15), (60, 300)] {
            let host = host(1).await?;
            let (mut clients, counts) = Ramp { count, per_second, kills: &[] }.run(&host).await?;
            println!("balance: {count} connections at {per_second}/s: {counts:?}");
            ensure!(spread(&counts) <= 1, "{count} at {per_second}/s: {counts:?}");

            // What leaves on one worker is made up for by those who come next.
            let mut left = 0;
            let mut stay = Vec::new();
            for mut client in clients.drain(..) {
                if left < 10 && client.worker().await? == 1 {
                    left += 1;
                } else {
                    stay.push(client);
                }
            }
            tokio::time::sleep(Duration::from_millis(4_500)).await;
            let (more, counts) = Ramp { count: 20, per_second, kills: &[] }.run(&host).await?;
            let mut all = [0; 3];
            for client in stay.iter_mut() {
                all[usize::try_from(client.worker().await?)?] += 1;
            }
            let after: Vec<_> = all.iter().zip(&counts).map(|(old, new)| old + new).collect();
            println!("balance: 10 of worker 1 left, 20 more at {per_second}/s: {after:?}");
            ensure!(spread(&after) <= 1, "after 10 left: {after:?}");
            drop(more);
            host.is_unhurt()?;
        }
        Ok(())
    };
    LocalSet::new().run_until(measured).await
}

/// Clients live on, none is lost, and the next balancer goes on where the one before was.
#[tokio::test]
async fn balancers_are_killed_in_between() -> anyhow::Result<()> {
    let measured = async {
        for (count, per_second, kills) in [(90, 15, &[30, 60][..]), (60, 300, &[30])] {
            let host = host(1).await?;
            let (mut clients, counts) = Ramp { count, per_second, kills }.run(&host).await?;
            println!("balance: {count} connections at {per_second}/s, balancers killed: {counts:?}");
            ensure!(clients.len() == count && counts.iter().sum::<usize>() == count, "{counts:?}");
            for client in &mut clients {
                client.is_up().await?;
            }
            ensure!(spread(&counts) <= 2, "{count} at {per_second}/s: {counts:?}");
        }
        Ok(())
    };
    LocalSet::new().run_until(measured).await
}

/// Balancers know nothing of each other but what the workers' counts say.
#[tokio::test]
async fn two_balancers_share_the_work() -> anyhow::Result<()> {
    let measured = async {
        let host = host(2).await?;
        let (_clients, counts) = Ramp { count: 90, per_second: 30, kills: &[] }.run(&host).await?;
        println!("balance: 90 connections at 30/s over two balancers: {counts:?}");
        ensure!(spread(&counts) <= 4, "{counts:?}");
        host.is_unhurt()
    };
    LocalSet::new().run_until(measured).await
}
