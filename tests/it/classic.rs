//! The classic generation: socketcluster-client 0.9.37, 1.0.0 and 1.0.7 from npm, unmodified, next to modern clients.

use std::time::Duration;

use sc_tests::guests as components;
use sc_tests::require::require;
use sc_tests::{node, paths};

use crate::clients::{beating, play};
use crate::guests::app_of;
use crate::{host, host_of};

/// Versions of the client, without dots.
const VERSIONS: [&str; 3] = ["937", "100", "107"];

#[tokio::test]
async fn over_each_transport() -> anyhow::Result<()> {
    for version in VERSIONS {
        play(beating(), &["classic.mjs", version]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn all_generations_in_one_channel() -> anyhow::Result<()> {
    play(host_of("suite").workers(3).stores(2), &["classic-mixed.mjs", "937"]).await
}

/// On three workers they log in, hear each other, are blocked and kicked, each in its own idiom.
#[tokio::test]
async fn all_generations_in_one_club() -> anyhow::Result<()> {
    for version in ["100", "107"] {
        play(host_of("club").workers(3).stores(2), &["club.mjs", version]).await?;
    }
    Ok(())
}

/// The original's own tests, as far as clients see what they ask for.
#[tokio::test]
async fn rows_of_the_acceptance_table() -> anyhow::Result<()> {
    for version in VERSIONS {
        let app = app_of("suite", "greet = true")?;
        for rows in ["A1_", "A2_"] {
            let host = host().app(app.path()).workers(1).stores(1).set("balancer.smart_balancing", false);
            play(host, &["classic-table.mjs", version, rows]).await?;
        }
        for rows in ["B1_", "D1_", "D3_"] {
            let host = host().app(app.path()).workers(2).stores(3);
            play(host, &["classic-table.mjs", version, rows]).await?;
        }
        play(host().app(app.path()).workers(2), &["classic-table.mjs", version, "E1_"]).await?;
        let chain = components::guest("chain")?.display().to_string();
        let guarded = host_of("suite").workers(2).arg("--middleware").arg(chain);
        play(guarded, &["classic-table.mjs", version, "middleware"]).await?;
    }
    Ok(())
}

/// Its rows about stores: what they forget, and what they do.
#[tokio::test]
async fn rows_about_stores() -> anyhow::Result<()> {
    let procedures = components::guest("procedures")?;
    // One after the other: each has four hundred clients.
    for version in VERSIONS {
        let host = host_of("browser")
            .workers(3)
            .stores(3)
            .set("app.balancers", 2)
            .set("session.timeout", "1s")
            .set("session.grace", "200ms")
            .set("store.component", procedures.display());
        play(host, &["classic-stores.mjs", version]).await?;
    }
    Ok(())
}

/// Requests that a balancer's controller sees are proxied one by one, and still meet their sockets.
#[tokio::test]
async fn through_a_balancers_controller() -> anyhow::Result<()> {
    let door = components::guest("door")?.display().to_string();
    play(beating().set("balancer.component", door), &["classic.mjs", "937"]).await
}

/// The bundle of 0.9.37 in headless Chromium, with the original sample's page.
#[tokio::test]
async fn the_samples_page_in_a_browser() -> anyhow::Result<()> {
    if !require(&["node", "npm", "chromium"]) {
        return Ok(());
    }
    node::install()?;
    let page = tempfile::tempdir()?;
    let clients = node::folder();
    std::fs::copy(clients.join("classic-page.html"), page.path().join("index.html"))?;
    let bundle = clients.join("node_modules/client0937/socketcluster.js");
    std::fs::copy(bundle, page.path().join("socketcluster.js"))?;
    let public = page.path().display().to_string();
    let host =
        host().component(&components::guest("sample")?).set("app.public", public).workers(2).start().await?;
    let picture = paths::target_folder("screenshots")?.join("classic.png");
    let arguments = [picture.display().to_string()];
    let said = node::script(&host, "classic-browser.mjs", &[&arguments[0]], Duration::from_secs(120)).await?;
    println!("{said}");
    host.is_unhurt()
}
