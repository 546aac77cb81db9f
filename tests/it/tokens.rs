//! Tokens of others, verified with their public keys, and who may replace the host's own key.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use sc_tests::client::CallError;
use sc_tests::{Client, HostBuilder, node, run, session, wait};
use serde_json::{Value, json};

use crate::host_of;

/// The tokens of an identity provider whose keys are in the folder.
fn provider(folder: &Path) -> anyhow::Result<Value> {
    node::install()?;
    let mut script = run::command("node");
    script.arg("tokens.mjs").arg(folder).current_dir(node::folder());
    Ok(serde_json::from_str(&run::succeed(&mut script, "tokens.mjs")?)?)
}

#[tokio::test]
async fn of_an_identity_provider() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = provider(folder.path())?;
    let files = ["rsa", "p256", "p384", "ed25519"]
        .map(|name| folder.path().join(format!("{name}.pem")).display().to_string());
    let host = host_of("browser").set("auth.public_keys", files.join(",")).start().await?;
    let token = |name: &str| tokens[name].as_str().context("a token").map(str::to_owned);

    for name in ["RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA"] {
        let verified = session::send(&host, None, "POST", "/verify", &token(name)?).await?;
        let claims: Value =
            serde_json::from_str(&verified.body).with_context(|| format!("{name}: {verified:?}"))?;
        ensure!(verified.status == 200 && claims["username"] == "bob", "{name}: {verified:?}");
        let mut client = Client::connect_with(&host, json!(token(name)?)).await?;
        client.is_up().await?;
        let mut late = Client::connect(&host).await?;
        let status = late.ask("#authenticate", json!(token(name)?)).await?;
        ensure!(status["isAuthenticated"] == true && status["authError"].is_null(), "{name}: {status}");
    }
    for (name, message) in [
        ("expired", "jwt expired"),
        ("foreign", "invalid signature"),
        ("confused", "invalid signature"),
        ("trimmed", "invalid signature"),
    ] {
        let verified = session::send(&host, None, "POST", "/verify", &token(name)?).await?;
        ensure!(verified.status == 401 && verified.body.contains(message), "{name}: {verified:?}");
        let mut client = Client::connect(&host).await?;
        match client.call("#authenticate", json!(token(name)?)).await {
            Err(CallError::Refused(error)) => ensure!(error["message"] == message, "{name}: {error}"),
            outcome => bail!("{name}: {outcome:?}"),
        }
    }
    // What this host signs stays good beside them.
    let signed = session::send(&host, None, "POST", "/token", r#"{"username":"ann"}"#).await?;
    let verified = session::send(&host, None, "POST", "/verify", &signed.body).await?;
    ensure!(verified.status == 200 && verified.body.contains("ann"), "{verified:?}");
    host.is_unhurt()
}

#[test]
fn files_that_hold_no_public_key() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    provider(folder.path())?;
    std::fs::write(folder.path().join("text.pem"), "hello")?;
    for (file, words) in [
        ("none.pem", "cannot be read"),
        ("text.pem", "holds no public key"),
        ("rsa.private.pem", "holds a private key"),
        ("p256.private.pem", "holds a private key"),
    ] {
        let file = folder.path().join(file).display().to_string();
        let refused = host_of("browser").set("auth.public_keys", &file).run(wait::COMPILED)?;
        refused.refused(78, &[&file, words, "openssl pkey"])?;
    }
    Ok(())
}

/// Without leave the call fails, and the key stays as it was.
#[tokio::test]
async fn a_controller_without_leave_replaces_no_key() -> anyhow::Result<()> {
    let host = host_of("suite").start().await?;
    let mut client = Client::connect(&host).await?;
    client.ask("login", json!({ "username": "bob" })).await?;
    let token = client.event("#setAuthToken").await?["token"].clone();
    ensure!(client.call("setAuthKey", json!("another key")).await.is_err(), "it was answered");
    let names =
        |record: &Value| record["cause"].as_str().is_some_and(|cause| cause.contains("rotation = true"));
    host.log().record("what would allow it", names).await?;
    let mut again = Client::connect_with(&host, token).await?;
    again.is_up().await?;
    ensure!(again.ask("whoami", Value::Null).await?["auth"]["username"] == "bob", "the key was replaced");
    Ok(())
}

/// A key that a controller replaced stays replaced over a restart, where the host keeps its key itself.
#[tokio::test]
async fn a_replaced_key_outlives_the_host() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let host =
        || -> HostBuilder { host_of("suite").own_key().data_dir(folder.path()).set("auth.rotation", true) };
    let login = async |client: &mut Client| -> anyhow::Result<Value> {
        client.ask("login", json!({ "username": "bob" })).await?;
        Ok(client.event("#setAuthToken").await?["token"].clone())
    };
    let first = host().start().await?;
    let mut client = Client::connect(&first).await?;
    let old = login(&mut client).await?;
    client.ask("setAuthKey", json!("another key")).await?;
    let new = login(&mut client).await?;
    first.stop().await?;
    let second = host().start().await?;
    for (token, name) in [(new, json!("bob")), (old, Value::Null)] {
        let mut client = Client::connect_with(&second, token).await?;
        let auth = client.ask("whoami", Value::Null).await?["auth"].clone();
        ensure!(auth.get("username").unwrap_or(&Value::Null) == &name, "{auth}");
    }
    second.is_unhurt()
}
