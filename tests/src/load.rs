//! Load: clients that call all the time and count what goes wrong, so that a fault's effect on each can be told.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{CallError, Client};
use crate::host::Host;
use crate::wait;

/// What all clients of a load saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Calls that were answered well.
    pub answered: u64,
    /// Calls that the host refused, by the error's name.
    pub refused: Vec<String>,
    /// Connections that ended, with their close codes.
    pub closed: Vec<u16>,
    /// Calls whose answer was another's.
    pub wrong: u64,
    /// The longest time between two answers to one client, a reconnection included.
    pub longest_gap: Duration,
    /// Connections made after others ended.
    pub reconnected: u64,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    host: Rc<Host>,
    seen: Rc<RefCell<Seen>>,
    stop: Rc<std::cell::Cell<bool>>,
    clients: JoinSet<anyhow::Result<()>>,
    size: usize,
}

impl Load {
    /// Connects so many clients, each asking `event` again and again; needs a `LocalSet`.
    pub async fn start(host: &Rc<Host>, size: usize, event: &'static str) -> anyhow::Result<Self> {
        let mut load = Load {
            host: Rc::clone(host),
            seen: Rc::default(),
            stop: Rc::default(),
            clients: JoinSet::new(),
            size,
        };
        for number in 0..size {
            let client = Client::connect(host).await.with_context(|| format!("client {number}"))?;
            let (host, seen, stop) = (Rc::clone(host), Rc::clone(&load.seen), Rc::clone(&load.stop));
            load.clients.spawn_local(async move { drive(client, &host, &seen, &stop, event).await });
        }
        load.goes_on().await?;
        Ok(load)
    }

    /// How many clients there are.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The host under load.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until every client could have been answered twice since now.
    pub async fn goes_on(&self) -> anyhow::Result<()> {
        let enough = self.seen().answered + 2 * self.size as u64;
        wait::until("answers to the load", || (self.seen.borrow().answered >= enough).then_some(())).await
    }

    /// Ends it and returns what was seen in all.
    pub async fn finish(mut self) -> anyhow::Result<Seen> {
        self.stop.set(true);
        let mut clients = std::mem::take(&mut self.clients);
        wait::within(wait::SOON, "the load's last answers", async {
            while let Some(client) = clients.join_next().await {
                client??;
            }
            anyhow::Ok(())
        })
        .await??;
        Ok(self.seen())
    }
}

async fn drive(
    mut client: Client,
    host: &Host,
    seen: &RefCell<Seen>,
    stop: &std::cell::Cell<bool>,
    event: &str,
) -> anyhow::Result<()> {
    let mut last = Instant::now();
    let mut number = 0_u64;
    while !stop.get() {
        number += 1;
        match client.call(event, json!(number)).await {
            Ok(answer) => {
                let mut seen = seen.borrow_mut();
                seen.answered += 1;
                seen.wrong += u64::from(!is_for(&answer, number));
                seen.longest_gap = seen.longest_gap.max(last.elapsed());
                drop(seen);
                last = Instant::now();
            }
            Err(error @ CallError::Refused(_)) => seen.borrow_mut().refused.push(error.name().to_owned()),
            Err(CallError::Closed(code)) => {
                seen.borrow_mut().closed.push(code);
                client = Client::connect_soon(host).await?;
                seen.borrow_mut().reconnected += 1;
            }
        }
        // Two hundred busy loops would starve the host of a two-core machine; this is a brisk walk.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// `echo` gives the number back, `proc` in a sentence.
fn is_for(answer: &Value, number: u64) -> bool {
    *answer == json!(number) || *answer == json!(format!("success {number}"))
}
