//! A store's controller: procedures next to the data, all or nothing, whatever they do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::client::CallError;
use sc_tests::{Client, HostBuilder, Role, guests, join_all, wait};
use serde_json::{Value, json};

use crate::host_of;

fn host() -> anyhow::Result<HostBuilder> {
    let component = guests::guest("procedures")?;
    Ok(host_of("browser").set("store.component", component.display()))
}

async fn run(client: &mut Client, procedure: &str, argument: Value) -> Result<Value, CallError> {
    let run =
        json!({ "op": "run", "of": "bank", "path": ["accounts"], "from": procedure, "value": argument });
    client.call("do", run).await
}

async fn accounts(client: &mut Client) -> anyhow::Result<Value> {
    client.ask("do", json!({ "op": "get", "of": "bank", "path": ["accounts"] })).await
}

async fn set(client: &mut Client, accounts: Value) -> anyhow::Result<()> {
    let set = json!({ "op": "set", "of": "bank", "path": ["accounts"], "value": accounts });
    client.ask("do", set).await.map(drop)
}

#[tokio::test]
async fn all_or_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host = host()?.stores(2).data_dir(folder.path()).start().await?;
    let mut client = Client::connect(&host).await?;
    client.subscribe("transfers").await?;
    set(&mut client, json!({ "ann": 10, "bob": 0, "text": "x", "gone": 1, "list": [0] })).await?;
    let transfer = |amount: i64| json!({ "from": "ann", "to": "bob", "amount": amount });
    ensure!(run(&mut client, "transfer", transfer(4)).await.ok() == Some(json!(6)));
    ensure!(client.publication("transfers").await? == json!({ "from": "ann", "to": "bob" }));
    let as_it_is = accounts(&mut client).await?;
    ensure!(as_it_is["ann"] == 6 && as_it_is["bob"] == 4, "{as_it_is}");

    // An error of its own, a panic, an endless loop, a hoard, a wrong type, an unknown name: nothing stays.
    let Err(CallError::Refused(error)) = run(&mut client, "transfer", transfer(7)).await else {
        anyhow::bail!("the account covered it")
    };
    ensure!(error["name"] == "NoMoneyError" && error["missing"] == 1, "{error}");
    for (procedure, name) in [
        ("half", "ProcedureError"),
        ("loops", "ProcedureError"),
        ("hoards", "ProcedureError"),
        ("wrong", "InvalidTypeError"),
        ("unknown", "UnknownProcedureError"),
        ("transfer", "InvalidArgumentsError"),
    ] {
        let began = Instant::now();
        let refused = run(&mut client, procedure, Value::Null).await.err().context("refused")?;
        ensure!(refused.name() == name, "{procedure}: {refused:?}");
        ensure!(began.elapsed() < Duration::from_secs(15), "{procedure} took {:?}", began.elapsed());
        ensure!(accounts(&mut client).await? == as_it_is, "{procedure} left something behind");
    }
    ensure!(client.unread_events().is_empty(), "what failed published nothing");
    host.kill(Role::Store, 0)?;
    host.kill(Role::Store, 1)?;
    let again = async { while accounts(&mut client).await.ok().as_ref() != Some(&as_it_is) {} };
    wait::within(wait::SOON, "the same accounts after kill -9", again).await?;
    Ok(())
}

/// Many callers at once: money neither appears nor vanishes.
#[tokio::test]
async fn one_at_a_time() -> anyhow::Result<()> {
    let host = host()?.workers(2).start().await?;
    let mut client = Client::connect(&host).await?;
    set(&mut client, json!({ "a0": 100, "a1": 100, "a2": 100, "a3": 100 })).await?;
    let transferring = (0..8u64).map(|number| {
        let host = &host;
        async move {
            let mut client = Client::connect(host).await?;
            for turn in 0..50u64 {
                let (from, to) =
                    (format!("a{}", (number + turn) % 4), format!("a{}", (number * turn + 1) % 4));
                let argument = json!({ "from": from, "to": to, "amount": (turn * 7) % 60 });
                match run(&mut client, "transfer", argument).await {
                    Ok(_) => {}
                    Err(error) => ensure!(error.name() == "NoMoneyError", "{error:?}"),
                }
                let sum = run(&mut client, "sum", json!(["a0", "a1", "a2", "a3"])).await;
                ensure!(sum.is_ok_and(|sum| sum == 400), "seen halfway");
            }
            Ok(())
        }
    });
    for outcome in join_all(transferring).await {
        outcome?;
    }
    host.is_unhurt()
}

#[tokio::test]
async fn channels_and_ends() -> anyhow::Result<()> {
    let host = host()?.workers(2).stores(2).start().await?;
    let mut watcher = Client::on_worker(&host, 0).await?;
    watcher.subscribe("turns").await?;
    let mut one = Client::on_worker(&host, 0).await?;
    let mut two = Client::on_worker(&host, 1).await?;
    for topic in ["a", "b", "c"] {
        let channel = format!("topic.{topic}");
        one.subscribe(&channel).await?;
        ensure!(watcher.publication("turns").await? == json!([topic, "first"]));
        two.subscribe(&channel).await?;
        one.ask("#unsubscribe", json!(channel)).await?;
        two.ask("#unsubscribe", json!(channel)).await?;
        ensure!(watcher.publication("turns").await? == json!([topic, "last"]));
    }

    // What a worker leaves for its end is run when it is killed, once.
    let left =
        json!({ "op": "runAtEnd", "of": "log", "path": [], "from": "note", "value": "worker 1 is gone" });
    two.ask("do", left).await?;
    let notes = json!({ "op": "get", "of": "log", "path": ["notes"] });
    ensure!(one.ask("do", notes.clone()).await? == "nothing");
    host.kill(Role::Worker, 1)?;
    let noted = async {
        while one.ask("do", notes.clone()).await? == "nothing" {}
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "the procedure of a worker's end", noted).await??;
    tokio::time::sleep(Duration::from_millis(300)).await;
    ensure!(one.ask("do", notes).await? == json!(["worker 1 is gone"]));
    Ok(())
}

/// What a worker leaves for its end outlives the stores, and is run when the whole host ends.
#[tokio::test]
async fn ends_outlive_stores_and_come_with_the_hosts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let start = || async { anyhow::Ok(host()?.data_dir(folder.path()).workers(2).stores(2).start().await?) };
    let notes = json!({ "op": "get", "of": "log", "path": ["notes"] });
    let leave =
        |what: &str| json!({ "op": "runAtEnd", "of": "log", "path": [], "from": "note", "value": what });
    let running = start().await?;
    let mut one = Client::on_worker(&running, 0).await?;
    let mut two = Client::on_worker(&running, 1).await?;
    two.ask("do", leave("worker 1 was killed")).await?;
    one.ask("do", leave("worker 0 ended")).await?;
    for store in [0, 1] {
        running.kill(Role::Store, store)?;
    }
    let back = async { while one.call("do", notes.clone()).await.ok() != Some(json!("nothing")) {} };
    wait::within(wait::SOON, "the stores to be back", back).await?;
    running.kill(Role::Worker, 1)?;
    let noted = async {
        while one.ask("do", notes.clone()).await? == "nothing" {}
        anyhow::Ok(())
    };
    wait::within(wait::SOON, "the procedure of a worker's end", noted).await??;
    drop((one, two));
    running.stop().await?;

    let again = start().await?;
    let mut one = Client::on_worker(&again, 0).await?;
    let all = one.ask("do", notes).await?;
    ensure!(all == json!(["worker 1 was killed", "worker 0 ended"]), "{all}");
    again.is_unhurt()
}

#[tokio::test]
async fn controllers_that_are_none() -> anyhow::Result<()> {
    let host = host_of("browser").start().await?;
    let mut client = Client::connect(&host).await?;
    let refused = run(&mut client, "sum", json!([])).await.err().context("refused")?;
    ensure!(
        refused.name() == "ProcedureError" && format!("{refused:?}").contains("store.component"),
        "{refused:?}"
    );
    let deadline = wait::COMPILED;
    let worker = guests::guest("browser")?;
    let wrong = host_of("browser").set("store.component", worker.display());
    wrong.run(deadline)?.refused(65, &["browser.wasm", "world `store`"])?;
    let wrong = host_of("procedures");
    wrong.run(deadline)?.refused(65, &["procedures.wasm", "values"])?;
    let folder = tempfile::tempdir()?;
    let component = guests::guest("procedures")?;
    let app = format!(
        "[worker]\ncomponent = {:?}\n[store]\ncomponent = {:?}\nconfig = {{ refuse = true }}\n",
        worker.display().to_string(),
        component.display().to_string()
    );
    std::fs::write(folder.path().join("sc.toml"), app)?;
    let refusing = crate::host().app(folder.path());
    refusing.run(deadline)?.refused(65, &["procedures.wasm", "told to refuse"])
}
