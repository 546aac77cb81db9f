//! The finished middleware in `plugins/`, each in a running host, with clients on real sockets.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::client::CallError;
use sc_tests::{Client, Host, HostBuilder, guests as components, http, jwt, paths, raw};
use serde_json::{Value, json};

use crate::host;

/// A debug build compiles a large component for a minute.
const DEADLINE: Duration = Duration::from_secs(180);

fn plugin(name: &str) -> anyhow::Result<String> {
    Ok(components::build(&paths::root().join("plugins").join(name))?.display().to_string())
}

/// A folder with an app of the test suite's worker behind that plugin, and its configuration.
fn app_with(name: &str, config: &str) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let worker = components::guest("suite")?;
    let file = format!(
        "[worker]\ncomponent = {worker:?}\n[[middleware]]\ncomponent = {:?}\n{config}\n",
        plugin(name)?
    );
    std::fs::write(folder.path().join("sc.toml"), file)?;
    Ok(folder)
}

fn app(folder: &Path) -> HostBuilder {
    host().app(folder)
}

/// Runs a host that has to refuse the plugin's configuration, with those words.
fn refused(name: &str, config: &str, words: &[&str]) -> anyhow::Result<()> {
    let folder = app_with(name, config)?;
    app(folder.path()).run(DEADLINE)?.refused(65, words)
}

async fn blocked(client: &mut Client, event: &str, data: Value) -> anyhow::Result<Value> {
    match client.call(event, data).await {
        Err(CallError::Refused(error)) => Ok(error),
        other => anyhow::bail!("{event} was not blocked: {other:?}"),
    }
}

async fn with_token(host: &Host, claims: Value) -> anyhow::Result<Client> {
    let token = jwt::sign(&claims, jwt::KEY);
    Client::connect_with(host, json!(token)).await
}

#[tokio::test]
async fn token_auth_blocks_by_claims() -> anyhow::Result<()> {
    let folder = app_with(
        "token-auth",
        r#"
        [[middleware.config.rules]]
        on = ["publish-in"]
        [[middleware.config.rules]]
        on = ["event"]
        names = ["proc"]
        claims.role = { one_of = ["admin", "editor"] }
        [[middleware.config.rules]]
        on = ["subscribe", "publish-in"]
        names = ["user.*"]
        claims.username = { part = 2 }
        "#,
    )?;
    let host = app(folder.path()).start_within(DEADLINE).await?;
    let mut stranger = Client::connect(&host).await?;
    stranger.subscribe("news").await?;
    for (event, data) in [
        ("#publish", json!({ "channel": "news", "data": 1 })),
        ("#subscribe", json!({ "channel": "user.bob" })),
        ("proc", json!(123)),
    ] {
        let error = blocked(&mut stranger, event, data).await?;
        ensure!(error["name"] == "NotAuthenticatedError", "{event}: {error}");
    }
    let mut bob = with_token(&host, json!({ "username": "bob", "role": "guest" })).await?;
    bob.publish("news", json!("from bob")).await?;
    ensure!(stranger.publication("news").await? == "from bob");
    bob.subscribe("user.bob").await?;
    let error = blocked(&mut bob, "#subscribe", json!({ "channel": "user.eve" })).await?;
    ensure!(error["name"] == "NotAuthorizedError" && error["claim"] == "username", "{error}");
    let error = blocked(&mut bob, "proc", json!(123)).await?;
    ensure!(error["claim"] == "role", "{error}");
    let mut editor = with_token(&host, json!({ "username": "eve", "role": "editor" })).await?;
    ensure!(editor.ask("proc", json!(123)).await? == "success 123");
    host.is_unhurt()
}

#[tokio::test]
async fn rate_limit_blocks_what_comes_too_fast() -> anyhow::Result<()> {
    let folder = app_with(
        "rate-limit",
        r#"
        [[middleware.config.limits]]
        on = ["event"]
        names = ["proc"]
        rate = 0.25
        burst = 3
        [[middleware.config.limits]]
        on = ["subscribe"]
        per = "address"
        rate = 0.01
        burst = 2
        [[middleware.config.limits]]
        on = ["publish-in"]
        rate = 0.01
        silently = true
        [[middleware.config.limits]]
        on = ["upgrade"]
        per = "address"
        rate = 0.01
        burst = 3
        "#,
    )?;
    let host = app(folder.path()).start_within(DEADLINE).await?;
    let (mut one, mut two) = (Client::connect(&host).await?, Client::connect(&host).await?);
    for _ in 0..3 {
        one.ask("proc", json!(123)).await?;
    }
    let error = blocked(&mut one, "proc", json!(123)).await?;
    let wait = error["retryAfter"].as_u64().unwrap_or(0);
    ensure!(error["name"] == "RateLimitError" && (1..=4).contains(&wait), "{error}");
    two.ask("proc", json!(123)).await?;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    one.ask("proc", json!(123)).await.context("tokens come back")?;

    one.subscribe("a").await?;
    two.subscribe("a").await?;
    let error = blocked(&mut one, "#subscribe", json!({ "channel": "b" })).await?;
    ensure!(error["name"] == "RateLimitError", "one bucket for both: {error}");

    one.publish("a", json!(1)).await?;
    let silent = blocked(&mut one, "#publish", json!({ "channel": "a", "data": 2 })).await?;
    ensure!(silent["name"] == "SilentMiddlewareBlockedError", "{silent}");

    // Three sockets may open from this address: two have, one more does.
    drop(Client::connect(&host).await?);
    let answer = http::send(&host, &raw::upgrade_request(&host, "/socketcluster/")).await?;
    ensure!(answer.status == 429 && answer.header("retry-after").is_some(), "{answer:?}");
    host.is_unhurt()
}

#[tokio::test]
async fn schema_blocks_data_that_does_not_fit() -> anyhow::Result<()> {
    let folder = app_with(
        "schema",
        r##"
        [[middleware.config.schemas]]
        on = ["publish-in"]
        names = ["chat.*"]
        [middleware.config.schemas.schema]
        type = "object"
        required = ["text"]
        additionalProperties = false
        properties.text = { type = "string", minLength = 1, maxLength = 10 }
        [[middleware.config.schemas]]
        on = ["event"]
        names = ["proc"]
        schema = { "$ref" = "#/$defs/small", "$defs" = { small = { type = "integer", maximum = 200 } } }
        "##,
    )?;
    let host = app(folder.path()).start_within(DEADLINE).await?;
    println!("the host with the schema plugin started in {:?}", host.started_in());
    let mut client = Client::connect(&host).await?;
    client.subscribe("chat.1").await?;
    client.publish("chat.1", json!({ "text": "hello" })).await?;
    ensure!(client.publication("chat.1").await? == json!({ "text": "hello" }));
    let bad = json!({ "channel": "chat.1", "data": { "text": "my secret is long", "more": 1 } });
    let error = blocked(&mut client, "#publish", bad).await?;
    ensure!(
        error["name"] == "InvalidDataError" && error["faults"].as_array().is_some_and(|it| it.len() == 2),
        "{error}"
    );
    ensure!(!error.to_string().contains("secret"), "{error}");
    client.publish("elsewhere", json!([1])).await?;
    ensure!(client.ask("proc", json!(123)).await? == "success 123");
    for data in [json!(1_000), json!("x"), Value::Null] {
        let error = blocked(&mut client, "proc", data).await?;
        ensure!(error["faults"][0]["path"] == "", "{error}");
    }
    host.is_unhurt()
}

#[test]
fn bad_configuration_is_refused_by_its_key() -> anyhow::Result<()> {
    for (name, config, words) in [
        ("token-auth", "", &["missing field `rules`"][..]),
        (
            "token-auth",
            "config = { rules = [{ on = ['event'], claim = {} }] }",
            &["rules[0]", "unknown field `claim`"],
        ),
        (
            "token-auth",
            "config = { rules = [{ on = ['handshake'] }] }",
            &["rules[0].on[0]", "handshake", "publish-in"],
        ),
        (
            "rate-limit",
            "config = { limits = [{ on = ['event'], rate = 'fast' }] }",
            &["limits[0].rate", "fast"],
        ),
        (
            "rate-limit",
            "config = { limits = [{ on = ['event'], rate = -1 }] }",
            &["limits[0]", "`rate` is -1"],
        ),
        ("rate-limit", "config = { limits = [], limit = 1 }", &["unknown field `limit`"]),
        (
            "schema",
            "config = { schemas = [{ on = ['event'], schema = { type = 'strin' } }] }",
            &["schemas[0]", "`schema`"],
        ),
        (
            "schema",
            "config = { schemas = [{ on = ['event'], schema = { '$ref' = 'https://example.com/x.json' } }] }",
            &["schemas[0]", "`schema`", "example.com"],
        ),
    ] {
        refused(name, config, words).with_context(|| format!("{name} with {config}"))?;
    }
    Ok(())
}

/// The one that is a worker's controller.
#[tokio::test]
async fn greeter_greets_as_a_controller() -> anyhow::Result<()> {
    let component = plugin("greeter")?;
    let host = host().component(Path::new(&component)).start_within(DEADLINE).await?;
    let mut client = Client::connect(&host).await?;
    ensure!(client.event("greet").await? == "hello world");
    host.is_unhurt()
}
