//! `sc-host dev`: an edit is built and swapped in without closing a socket; a build that fails changes nothing.

use std::path::Path;
use std::time::Duration;

use sc_tests::{Client, Host, paths, wait};
use serde_json::{Value, json};

use crate::host;

const BUILD: Duration = Duration::from_secs(240);

#[tokio::test]
async fn edits_reach_open_sockets() -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(paths::target_folder("dev")?)?;
    write_app(folder.path(), "one")?;
    let host = host().dev().own_key().app(folder.path()).start_within(BUILD).await?;
    let mut client = Client::connect(&host).await?;
    assert_eq!(client.ask("version", Value::Null).await?, json!("one"));
    assert_eq!(client.event("greet").await?, json!("hello from one"));

    write_source(folder.path(), "two")?;
    answers(&mut client, "two", &host).await?;

    std::fs::write(folder.path().join("src/lib.rs"), "this is no Rust\n")?;
    let is_failure = |line: &str| line.contains("expected one of").then_some(());
    host.log().wait("the compiler's message", BUILD, 0, is_failure).await?;
    assert_eq!(client.ask("version", Value::Null).await?, json!("two"), "the running one is kept");

    write_source(folder.path(), "three")?;
    answers(&mut client, "three", &host).await?;
    let greetings = client.events_so_far("version").await?;
    assert!(greetings.is_empty(), "a swap greeted again: {greetings:?}");
    Client::connect(&host).await?.is_up_as("three").await
}

trait Version {
    async fn is_up_as(&mut self, version: &str) -> anyhow::Result<()>;
}

impl Version for Client {
    async fn is_up_as(&mut self, version: &str) -> anyhow::Result<()> {
        assert_eq!(self.ask("version", Value::Null).await?, json!(version));
        Ok(())
    }
}

/// Asks until the new code answers. The socket is the one that was open before.
async fn answers(client: &mut Client, version: &str, host: &Host) -> anyhow::Result<()> {
    let asking = async {
        while client.ask("version", Value::Null).await? != json!(version) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let swapped = wait::within(BUILD, "the new code", asking).await;
    swapped.map_err(|error| error.context(host.log().tail(40)))?
}

/// A small app. It shares its target folder with the other guests, so that its dependencies are built once.
fn write_app(folder: &Path, version: &str) -> anyhow::Result<()> {
    let target = paths::target_folder("guests")?;
    let sdk = paths::root().join("sdk/rust");
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::write(
        folder.join("Cargo.toml"),
        format!(
            "[package]\nname = \"dev-app\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
             [dependencies]\nsc-sdk = {{ path = {sdk:?} }}\n\n[workspace]\n"
        ),
    )?;
    std::fs::write(
        folder.join("sc.toml"),
        format!(
            "[app]\nname = \"dev-app\"\n\n[worker]\n\
             component = {:?}\nbuild = \"cargo build --release --target wasm32-wasip2 --target-dir {}\"\n\
             watch = [\"src\"]\n",
            target.join("wasm32-wasip2/release/dev_app.wasm"),
            target.display(),
        ),
    )?;
    write_source(folder, version)
}

fn write_source(folder: &Path, version: &str) -> anyhow::Result<()> {
    let source = format!(
        "use sc_sdk::prelude::*;\n\n#[controller]\nfn run(worker: &mut Worker) {{\n\
         \x20   worker.on_connection(|socket| {{\n\
         \x20       socket.emit(\"greet\", \"hello from {version}\");\n\
         \x20       socket.on_request(\"version\", async |_socket, _data: Json| Ok(\"{version}\"));\n\
         \x20       let name = socket.name().to_owned();\n\
         \x20       socket.on_request(\"whoami\", async move |_socket, _data: Json| Ok(json!({{ \"name\": name }})));\n\
         \x20   }});\n}}\n"
    );
    Ok(std::fs::write(folder.join("src/lib.rs"), source)?)
}
