//! Requests for a static page per second of server CPU, beside nginx, both under `wrk`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sc_tests::{Host, HostBuilder, guests, usage};

use crate::median;
use crate::peer::Peer;

pub(crate) async fn compare(binary: &str, rounds: u64, round: Duration) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let public = folder.path().join("public");
    std::fs::create_dir(&public)?;
    std::fs::write(public.join("page.html"), "<!doctype html><title>page</title>".repeat(30))?;
    let component = guests::example("ping")?;
    let host = HostBuilder::new(binary).component(&component).set("log.level", "warn,sc_host=info");
    let host = host.arg("--public").arg(public.display().to_string()).start().await?;
    let nginx = Peer::start("nginx", |port| {
        let root = folder.path().display();
        let text = format!(
            "worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on; etag on;\n\
             keepalive_requests 1000000000;\n\
             server {{ listen 127.0.0.1:{port}; root {root}/public; }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).expect("a file");
        vec!["-c".to_owned(), file.display().to_string()]
    })?;
    // Its workers are another user, who has to get in.
    open_to_all(folder.path())?;
    let (mut of_host, mut of_nginx) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let theirs = measure(&format!("127.0.0.1:{}", nginx.port), round, || nginx.cpu())?;
        let ours = measure(host.address(), round, || spent(&host))?;
        println!("round {number}: nginx {theirs:.0}, host {ours:.0} requests per CPU second");
        of_nginx.push(theirs);
        of_host.push(ours);
    }
    let (theirs, ours) = (median(&mut of_nginx), median(&mut of_host));
    println!("median: nginx {theirs:.0}, host {ours:.0} requests per CPU second, ratio {:.2}", ours / theirs);
    Ok(())
}

fn spent(host: &Host) -> Duration {
    host.pids().into_iter().map(usage::cpu).sum()
}

fn open_to_all(folder: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?)
}

/// Requests per second of CPU.
fn measure(address: &str, round: Duration, spent: impl Fn() -> Duration) -> anyhow::Result<f64> {
    let before = spent();
    let seconds = round.as_secs().to_string();
    let url = format!("http://{address}/page.html");
    let said = Command::new("wrk").args(["-t1", "-c50", "-d", &seconds, &url]).output().context("wrk")?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.status.success() && !text.contains("Non-2xx"), "wrk failed: {text}");
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok());
    Ok(count.context("wrk told no number of requests")? / (spent() - before).as_secs_f64())
}
