//! Plain HTTP requests, each on a connection of its own.

use anyhow::Context as _;

use crate::host::Host;
use crate::raw::Raw;

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// The body, its chunks joined.
    pub body: String,
}

impl Response {
    /// A header's value; the first, if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (of, value) = line.split_once(':')?;
            of.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// `GET` of a path.
pub async fn get(host: &Host, path: &str) -> anyhow::Result<Response> {
    let address = host.address();
    send(host, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await
}

/// Any request, as text; reads until the host closes.
pub async fn send(host: &Host, request: &str) -> anyhow::Result<Response> {
    send_over(&mut Raw::open(host).await?, request).await
}

/// The same over a connection that is there.
pub async fn send_over(raw: &mut Raw, request: &str) -> anyhow::Result<Response> {
    raw.send(request.as_bytes()).await?;
    let head = raw.head().await?;
    let rest = raw.rest().await?;
    let status =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status in the response")?;
    let mut response = Response { status, head, body: rest };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = joined(&response.body);
    }
    Ok(response)
}

fn joined(chunked: &str) -> String {
    let (mut body, mut rest) = (String::new(), chunked);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        match after.split_at_checked(size) {
            Some((chunk, after)) if size > 0 => {
                body.push_str(chunk);
                rest = after.trim_start_matches("\r\n");
            }
            _ => break,
        }
    }
    body
}
