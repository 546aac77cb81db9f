//! Middleware: components that decide about actions, and the controller's own. What real clients see of them is in
//! `clients`.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::client::{CallError, Way};
use sc_tests::{Client, guests as components, http, run, session};
use serde_json::{Value, json};

use crate::host_of;

const DEADLINE: Duration = Duration::from_secs(60);

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
