//! Middleware: components that decide about actions, and the controller's own. What real clients see of them is in
//! `clients`.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::client::{CallError, Way};
use sc_tests::raw::{self, Raw};
use sc_tests::{Client, guests as components, http, run, session, wait};
use serde_json::{Value, json};

use crate::host_of;

const DEADLINE: Duration = wait::COMPILED;

fn chain() -> anyhow::Result<String> {
    Ok(components::guest("chain")?.display().to_string())
}

/// The session check of the first SocketCluster: a handshake that asks the store.
#[tokio::test]
async fn a_handshake_that_asks_the_session() -> anyhow::Result<()> {
    let host = host_of("browser").arg("--middleware").arg(chain()?).start().await?;
    let page = http::get(&host, "/hello/bob").await?;
    let cookie = session::cookie(&page.head).context("a cookie")?;
    let member = || Way { headers: vec![("cookie", cookie.clone())], query: "members=1", ..Way::default() };
    let refused = Client::open(&host, member()).await.err().context("a stranger is let in")?;
    ensure!(format!("{refused:#}").contains("NotAuthorizedError"), "{refused:#}");
    let set = json!({ "op": "set", "of": "session", "path": ["isUserAuthorized"], "value": true });
    ensure!(session::send(&host, Some(&cookie), "POST", "/do", &set.to_string()).await?.status == 200);
    let mut client = Client::open(&host, member()).await?;
    client.is_up().await?;
    host.is_unhurt()
}

/// The controller's own middleware, behind that of a component.
#[tokio::test]
async fn the_controllers_own() -> anyhow::Result<()> {
    let host = host_of("browser").arg("--middleware").arg(chain()?).start().await?;
    let mut client = Client::connect(&host).await?;
    let stranger = client.call("#subscribe", json!({ "channel": "vip.1" })).await;
    ensure!(
        matches!(&stranger, Err(CallError::Refused(error)) if error["name"] == "NotAuthorizedError"),
        "{stranger:?}"
    );
    let set = json!({ "op": "set", "of": "session", "path": ["isUserAuthorized"], "value": true });
    client.ask("do", set).await?;
    client.subscribe("vip.1").await?;
    client.ask("#publish", json!({ "channel": "vip.1", "data": "hello" })).await?;
    let name = client.ask("who", Value::Null).await?["socket"].clone();
    let heard = client.publication("vip.1").await?;
    ensure!(heard == json!({ "from": name, "text": "hello" }), "{heard}");
    let number = client.call("#publish", json!({ "channel": "vip.1", "data": 1 })).await;
    ensure!(
        matches!(&number, Err(CallError::Refused(error)) if error["name"] == "NoTextError" && error["channel"] == "vip.1"),
        "{number:?}"
    );
    client.is_up().await?;
    host.is_unhurt()
}

fn lines() -> anyhow::Result<String> {
    Ok(components::guest("lines")?.display().to_string())
}

/// Upgrades and other requests, before anything answers them.
#[tokio::test]
async fn upgrades_and_requests_are_decided_before_they_are_answered() -> anyhow::Result<()> {
    let host = host_of("browser").arg("--middleware").arg(lines()?).start().await?;
    for (query, status, body) in [("turn=away", 401, "not today"), ("turn=later", 429, "come back later")] {
        let request = raw::upgrade_request(&host, &format!("/socketcluster/?{query}"));
        let answer = http::send(&host, &request).await?;
        ensure!(answer.status == status && answer.body == body, "{query}: {answer:?}");
    }
    let began = std::time::Instant::now();
    let mut slow = Raw::open(&host).await?;
    slow.send(raw::upgrade_request(&host, "/socketcluster/?turn=slow").as_bytes()).await?;
    tokio::select! {
        biased;
        served = async { Client::connect(&host).await?.is_up().await } => served?,
        head = slow.head() => anyhow::bail!("others wait: {head:?}"),
    }
    let head = slow.head().await?;
    ensure!(head.starts_with("HTTP/1.1 101 ") && began.elapsed() >= Duration::from_millis(1_500), "{head}");

    let page = http::get(&host, "/hello/stranger").await?;
    ensure!(page.status == 303 && page.header("location") == Some("/login"), "{page:?}");
    let cookie = session::cookie(&page.head).context("a blocked request begins a session as well")?;
    let set = json!({ "op": "set", "of": "session", "path": ["isUserAuthorized"], "value": true });
    ensure!(session::send(&host, Some(&cookie), "POST", "/do", &set.to_string()).await?.status == 200);
    let member = session::send(&host, Some(&cookie), "GET", "/hello/stranger", "").await?;
    ensure!(member.status == 200, "{member:?}");
    for (path, status) in [("/%68ello//stranger", 303), ("/x/../hello/stranger", 400)] {
        let page = http::get(&host, path).await?;
        ensure!(page.status == status, "no way around a guard: {path}: {page:?}");
    }
    let gone = http::get(&host, "/hello/nobody").await?;
    ensure!(gone.status == 410 && gone.body == "nobody is here", "{gone:?}");
    let down = http::get(&host, "/hello/trap").await?;
    ensure!(down.status == 503 && down.header("retry-after") == Some("1"), "{down:?}");
    ensure!(http::get(&host, "/hello/bob").await?.status == 200);
    ensure!(http::get(&host, "/sc/health").await?.status == 200);
    Ok(())
}

/// Messages before they are read, publications for each subscriber, and the end of sockets.
#[tokio::test]
async fn messages_publications_and_ends() -> anyhow::Result<()> {
    let host = host_of("browser").arg("--middleware").arg(lines()?).start().await?;
    let (mut one, mut two) = (Client::connect(&host).await?, Client::connect(&host).await?);
    one.emit("vanish", json!(1)).await?;
    let refused = one.call("who", json!("refuse")).await;
    ensure!(matches!(&refused, Err(CallError::Refused(error)) if error["name"] == "RawError"), "{refused:?}");
    let (first, second) = (one.ask("who", Value::Null).await?, two.ask("who", Value::Null).await?);
    let name = |who: &Value| who["socket"].as_str().unwrap_or_default().to_owned();
    let (first, second) = (name(&first), name(&second));

    for client in [&mut one, &mut two] {
        client.subscribe("out.1").await?;
        client.subscribe("ends").await?;
    }
    one.publish("out.1", json!({ "to": second, "text": "colour for two" })).await?;
    one.publish("out.1", json!({ "text": "for all" })).await?;
    let all = |name: &str| json!({ "for": name, "text": "for all" });
    let heard = one.publication("out.1").await?;
    ensure!(heard == all(&first), "{heard}");
    let heard = two.publication("out.1").await?;
    ensure!(heard == json!({ "for": second, "text": "color for two" }), "{heard}");
    ensure!(two.publication("out.1").await? == all(&second));

    drop(one);
    ensure!(two.publication("ends").await?.is_u64());
    two.is_up().await?;
    host.is_unhurt()
}

#[test]
fn what_is_no_middleware() -> anyhow::Result<()> {
    let suite = components::guest("suite")?.display().to_string();
    let started = |middleware: &str| host_of("browser").arg("--middleware").arg(middleware).run(DEADLINE);
    started(&suite)?.refused(65, &["the middleware suite", "it imports `setup`", "it exports `messages`"])?;
    started("nowhere.wasm")?.refused(66, &["nowhere.wasm", "[[middleware]]"])?;
    started(&components::guest("procedures")?.display().to_string())?.refused(65, &["procedures"])?;
    let checked =
        run::finish(run::command(env!("CARGO_BIN_EXE_sc-host")).arg("check").arg(chain()?), DEADLINE)?;
    ensure!(checked.code == Some(0) && checked.text.contains("a middleware controller"), "{}", checked.text);
    Ok(())
}
