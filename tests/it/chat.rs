//! `examples/chat` in real browsers: names, presence, history and rooms; what is blocked; and that nothing of it is
//! lost when workers are killed, the code is replaced, or the host is killed and started again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sc_tests::node::Script;
use sc_tests::require::require;
use sc_tests::{Host, Role, guests, paths};

use crate::host;
use crate::reload::{edit, reload};

#[tokio::test]
async fn people_chat_through_it_all() -> anyhow::Result<()> {
    if !require(&["node", "npm", "chromium"]) {
        return Ok(());
    }
    let folder = tempfile::tempdir_in(paths::target_folder("apps")?)?;
    let component = folder.path().join("chat.wasm");
    std::fs::copy(guests::example("chat")?, &component)?;
    let pictures = paths::target_folder("screenshots")?.join("chat");
    std::fs::create_dir_all(&pictures)?;

    // The same without its room for members.
    let app = paths::root().join("examples/chat");
    let smaller = folder.path().join("smaller");
    std::fs::create_dir(&smaller)?;
    std::os::unix::fs::symlink(app.join("public"), smaller.join("public"))?;
    let config = std::fs::read_to_string(app.join("sc.toml"))?;
    let (config, room) = config.rsplit_once("[[worker.config.rooms]]").context("rooms")?;
    anyhow::ensure!(room.contains("backstage"), "{room}");
    std::fs::write(smaller.join("sc.toml"), config)?;

    // Its key is its own, made at the first start and kept with the data.
    let start = |app: &Path, port: u16| {
        let host = host().component(&component).app(app).data_dir(&folder.path().join("data")).own_key();
        host.workers(2).without("--port").arg("--port").arg(port.to_string()).start()
    };
    let host = start(&app, 0).await?;
    let port = host.port();
    let mut script = Script::start(&host, "chat.mjs", &[&pictures.display().to_string()])?;
    let mut running = Some(host);
    while let Some(request) = script.request(Duration::from_secs(240)).await? {
        match (&running, request.as_str()) {
            (Some(host), "kill 0") => drop(host.kill(Role::Worker, 0)?),
            (Some(host), "kill 1") => drop(host.kill(Role::Worker, 1)?),
            (Some(host), "reload") => {
                edit(&component)?;
                let said = reload(host, &[]).await?;
                anyhow::ensure!(said.contains("chat"), "{said}");
            }
            // Dropped, it is killed.
            (Some(_), "stop") => running = None,
            (None, "start") => running = Some(start(&smaller, port).await?),
            _ => bail!("chat.mjs asked for `{request}`"),
        }
        script.answer("done").await?;
    }
    running.map(|host: Host| host.is_unhurt()).context("the host runs at the end")?
}
