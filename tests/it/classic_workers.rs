//! Classic clients among workers and in sessions: requests that arrive at another worker than their socket's, and one
//! session of tabs of all generations.

use anyhow::{Context as _, ensure};
use sc_tests::poller::{Poller, packets, request};
use sc_tests::raw::Raw;
use sc_tests::{Client, Role, session};
use serde_json::{Value, json};

use crate::host_of;

/// A proxy's one connection carries the requests of 50 clients, whose sockets are on three workers.
#[tokio::test]
async fn one_connection_for_clients_of_three_workers() -> anyhow::Result<()> {
    for smart in [true, false] {
        let host = host_of("suite").workers(3).set("balancer.smart_balancing", smart).start().await?;
        let mut pollers = Vec::new();
        for number in 0..50_u8 {
            // Without balancing by session, an address decides.
            pollers.push(match smart {
                true => Poller::open(&host).await?,
                false => Poller::open_from(&host, number + 1).await?,
            });
        }
        let on = |worker: u16| {
            pollers.iter().filter(|poller| poller.sid.starts_with(&format!("_w{worker}_"))).count()
        };
        ensure!((0..3).all(|worker| on(worker) > 0), "{:?}", [on(0), on(1), on(2)]);
        let mut raw = Raw::open(&host).await?;
        let mut ask = async |request: String| -> anyhow::Result<String> {
            raw.send(request.as_bytes()).await?;
            let (head, body) = raw.response().await?;
            ensure!(head.starts_with("HTTP/1.1 200 "), "{head}{body}");
            Ok(body)
        };
        for poller in &pollers {
            let connect = ask(poller.poll_request()).await?;
            ensure!(connect.contains(&format!(r#""soid":"{}""#, poller.sid)), "{connect}");
        }
        for round in 0..3 {
            for (number, poller) in pollers.iter().enumerate() {
                let event = format!(r#"4{{"event":"echo","data":"{round} {number}","cid":{}}}"#, round + 2);
                ensure!(ask(poller.say_request(&[&event])).await? == "ok");
            }
            for (number, poller) in pollers.iter().enumerate() {
                let answer = format!(r#"4{{"cid":{},"data":"{round} {number}"}}"#, round + 2);
                ensure!(packets(&ask(poller.poll_request()).await?)? == [answer]);
            }
        }
        host.is_unhurt()?;
    }
    Ok(())
}

/// The socket of a worker that died is unknown to the next one of its number, and to all others.
#[tokio::test]
async fn a_worker_that_dies_takes_its_pollers_along() -> anyhow::Result<()> {
    let host = host_of("suite").workers(2).start().await?;
    let mut poller = Poller::ready(&host).await?;
    while !poller.sid.starts_with("_w1_") {
        poller = Poller::ready(&host).await?;
    }
    let old = host.kill(Role::Worker, 1)?;
    let unknown = r#"{"code":1,"message":"Session ID unknown"}"#;
    host.respawned(Role::Worker, 1, old).await?;
    let after = request(&host, "GET", &poller.path(), "", "").await?;
    ensure!(after.body == unknown, "{after:?}");
    Ok(())
}

/// A session's cookie leads to its worker, also by polls; its event reaches all its tabs, and it ends once.
#[tokio::test]
async fn one_session_of_all_generations() -> anyhow::Result<()> {
    let host = host_of("browser").workers(3).set("session.grace", "200ms").start().await?;
    let mut watcher = Client::connect(&host).await?;
    watcher.subscribe("sessions").await?;
    let cookie = session::of_worker(&host, 2).await?;
    let id = cookie.split('=').nth(1).context("a value")?.to_owned();
    let header = format!("Cookie: {cookie}\r\n");
    let mut tabs = Vec::new();
    for number in 0..3 {
        let tab = Poller::open_with(&host, &header).await?;
        ensure!(tab.sid.starts_with("_w2_") && tab.sid != id, "{}", tab.sid);
        ensure!(session::cookie(&tab.head).is_none(), "a known session is not set again");
        tab.poll(&host).await?;
        tab.say(&host, &[r#"4{"event":"ready","cid":1}"#, r#"4{"event":"who","cid":2}"#]).await?;
        let mut told = tab.poll(&host).await?;
        if told.len() == 1 {
            told.extend(tab.poll(&host).await?);
        }
        let who: Value = serde_json::from_str(told[1].strip_prefix('4').context("a message")?)?;
        ensure!(who["data"]["session"] == *id && who["data"]["worker"] == 2, "tab {number}: {who}");
        tabs.push(tab);
    }
    let mut modern = Client::in_session(&host, &cookie).await?;
    ensure!(modern.ask("emit", json!("all")).await? == json!(4));
    ensure!(modern.event("told").await? == json!("all"));
    for tab in &tabs {
        let told = tab.poll(&host).await?;
        ensure!(
            told.len() == 1 && told[0].starts_with(r#"4{"event":"told","data":"all","cid":"#),
            "{told:?}"
        );
    }
    // Two by their word, one by silence of its poll, and the modern one.
    tabs[0].say(&host, &["1"]).await?;
    tabs[1].say(&host, &["1"]).await?;
    let waiting = tabs[2].waiting(&host).await?;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop((waiting, modern));
    let mut ends = 0;
    while ends == 0 {
        let told = watcher.publication("sessions").await?;
        ends += usize::from(told["what"] == "end" && told["session"] == *id);
    }
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let later = watcher.events_so_far("whoami").await?;
    let is_of_it = |told: &Value| told.to_string().contains(&id) && told.to_string().contains("end");
    ensure!(!later.iter().any(|told| is_of_it(&json!(format!("{told:?}")))), "{later:?}");
    host.is_unhurt()
}
