//! The pages of the examples in headless Chromium: what a newcomer sees after the README's first command.

use std::time::Duration;

use sc_tests::require::require;
use sc_tests::{guests, node, paths};

use crate::host;

#[tokio::test]
async fn the_page_is_live() -> anyhow::Result<()> {
    if !require(&["node", "npm", "chromium"]) {
        return Ok(());
    }
    let app = paths::root().join("examples/ping");
    let component = guests::example("ping")?;
    let host = host().component(&component).app(&app).start().await?;
    let picture = paths::target_folder("screenshots")?.join("ping.png");
    let said = node::script(&host, "browser.mjs", &[&picture.display().to_string()], Duration::from_secs(60))
        .await?;
    println!("{said}");
    assert!(std::fs::metadata(&picture)?.len() > 5_000, "the screenshot is empty");
    host.is_unhurt()
}

/// `examples/todo`: a login by form, a session over tabs and workers, a list that is live and outlives the host.
#[tokio::test]
async fn the_list_is_shared() -> anyhow::Result<()> {
    if !require(&["node", "npm", "chromium"]) {
        return Ok(());
    }
    let (app, component) = (paths::root().join("examples/todo"), guests::example("todo")?);
    let data = tempfile::tempdir()?;
    let picture = paths::target_folder("screenshots")?.join("todo.png");
    let arguments = |part: &'static str| [picture.display().to_string(), part.to_owned()];
    for part in ["first", "again"] {
        let host = host().component(&component).app(&app).workers(2).data_dir(data.path()).start().await?;
        let arguments = arguments(part);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        println!("{}", node::script(&host, "todo.mjs", &arguments, Duration::from_secs(60)).await?);
        host.is_unhurt()?;
        // Dropped, it is killed.
    }
    assert!(std::fs::metadata(&picture)?.len() > 5_000, "the screenshot is empty");
    Ok(())
}
