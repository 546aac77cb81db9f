//! The page of `examples/ping` in headless Chromium: what a newcomer sees after the README's first command.

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
