//! Plugins for balancers, as their READMEs say.

use std::net::Ipv4Addr;

use anyhow::ensure;
use sc_tests::client::Way;
use sc_tests::raw::Raw;
use sc_tests::{Client, HostBuilder, guests, http, paths, wait};
use serde_json::json;

fn host(config: &str, more: &str, folder: &tempfile::TempDir) -> anyhow::Result<HostBuilder> {
    let filter = json!(guests::build(&paths::root().join("plugins/ip-filter"))?);
    let worker = json!(guests::guest("browser")?);
    let balancer = format!("[balancer]\ncomponent = {filter}\nconfig = {config}\n");
    let text = format!("[worker]\ncomponent = {worker}\n{more}\n{balancer}");
    std::fs::write(folder.path().join("sc.toml"), text)?;
    Ok(crate::host().app(folder.path()))
}

async fn opens_from(host: &sc_tests::Host, from: [u8; 4]) -> bool {
    Client::open(host, Way { from: Some(Ipv4Addr::from(from)), ..Way::default() }).await.is_ok()
}

#[tokio::test]
async fn ip_filter_refuses_by_address() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = r#"{ allow = ["127.0.0.0/24"], deny = ["127.0.0.9", "127.0.0.64/26"], status = 451 }"#;
    let filtered = host(config, "", &folder)?.start().await?;
    ensure!(http::get(&filtered, "/files/a").await?.body == "a");
    for (from, expected) in
        [([127, 0, 0, 1], true), ([127, 0, 0, 9], false), ([127, 0, 0, 65], false), ([127, 0, 1, 1], false)]
    {
        ensure!(opens_from(&filtered, from).await == expected, "{from:?}");
    }
    // A client cannot say that it is another.
    let forged = "GET /files/a HTTP/1.1\r\nConnection: close\r\nX-Forwarded-For: 127.0.0.9\r\n\r\n";
    ensure!(http::send(&filtered, forged).await?.status == 200);
    filtered.is_unhurt()?;

    // A trusted proxy can.
    let proxied = host(config, "[http]\ntrusted_proxies = [\"127.0.0.1\"]", &folder)?.start().await?;
    let got = http::send(&proxied, forged).await?;
    ensure!(got.status == 451 && got.body == "Not allowed from your address.\n", "{got:?}");

    let closing = host(r#"{ deny = ["127.0.0.1"], close = true }"#, "", &folder)?.start().await?;
    let mut raw = Raw::open(&closing).await?;
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await?;
    ensure!(raw.rest().await?.is_empty());
    Ok(())
}

#[test]
fn ip_filter_refuses_what_it_cannot_mean() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    for (config, said) in [
        ("{}", "both empty"),
        (
            r#"{ deny = ["10.0.0.1/8"] }"#,
            r#"`deny` holds "10.0.0.1/8", an address within a network: write "10.0.0.0/8""#,
        ),
        (r#"{ allow = ["here"] }"#, r#"`allow` holds "here""#),
        (r#"{ allow = "10.0.0.0/8" }"#, "balancer.config"),
        (r#"{ deny = ["10.0.0.0/8"], status = 200 }"#, "from 400 to 599"),
        (r#"{ denny = ["10.0.0.0/8"] }"#, "denny"),
    ] {
        let refused = host(config, "", &folder)?.run(wait::COMPILED)?;
        refused.refused(65, &["ip_filter.wasm", said])?;
    }
    Ok(())
}
