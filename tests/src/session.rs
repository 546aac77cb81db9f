//! Sessions as browsers hold them: the host's cookie, from a response's head to the next request's.

use anyhow::{Context as _, bail};

use crate::host::Host;
use crate::http;
use crate::raw::{Raw, upgrade_request};

/// The session's cookie, `name=value`, that a response gives; none when it gives none.
pub fn cookie(head: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let cookie = value.trim().split(';').next()?;
        let is_it = name.eq_ignore_ascii_case("set-cookie") && cookie.split('=').next()?.ends_with("/ssid");
        is_it.then(|| cookie.to_owned())
    })
}

/// A session that belongs to a worker, as its cookie.
pub async fn of_worker(host: &Host, worker: u64) -> anyhow::Result<String> {
    for _ in 0..100 {
        let mut raw = Raw::open(host).await?;
        raw.send(upgrade_request(host, "/socketcluster/").as_bytes()).await?;
        let head = raw.head().await?;
        let cookie = cookie(&head).with_context(|| format!("no session was given: {head}"))?;
        if cookie.contains(&format!("=_w{worker}_")) {
            return Ok(cookie);
        }
    }
    bail!("no session of worker {worker} was given in 100 upgrades")
}

/// Sends a request of a session, or of none, with a body.
pub async fn send(
    host: &Host,
    cookie: Option<&str>,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<http::Response> {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    let (address, length) = (host.address(), body.len());
    http::send(
        host,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{cookie}\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
    .await
}
