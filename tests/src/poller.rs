//! A classic client by hand, which polls: each request goes over a connection of its own, and takes text.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, ensure};

use crate::host::Host;
use crate::http::{self, Response};
use crate::raw::Raw;

/// Where its requests go.
const PATH: &str = "/socketcluster/?EIO=3&transport=polling&b64=1";

/// The client.
#[derive(Clone, Debug)]
pub struct Poller {
    address: String,
    /// Its Engine.IO id.
    pub sid: String,
    /// The head of the first answer.
    pub head: String,
}

impl Poller {
    /// Opens a socket.
    pub async fn open(host: &Host) -> anyhow::Result<Self> {
        Self::open_with(host, "").await
    }

    /// Opens a socket by a request with more headers, each with its line end.
    pub async fn open_with(host: &Host, headers: &str) -> anyhow::Result<Self> {
        Self::opened(host, request(host, "GET", PATH, headers, "").await?)
    }

    /// Opens a socket from an address of this machine, `127.0.0.` and that number.
    pub async fn open_from(host: &Host, number: u8) -> anyhow::Result<Self> {
        let address = host.address();
        let text = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut raw = Raw::open_from(host, Ipv4Addr::new(127, 0, 0, number)).await?;
        Self::opened(host, http::send_over(&mut raw, &text).await?)
    }

    fn opened(host: &Host, answer: Response) -> anyhow::Result<Self> {
        ensure!(answer.status == 200, "no socket was opened: {answer:?}");
        let packets = packets(&answer.body)?;
        let open = packets.first().and_then(|packet| packet.strip_prefix('0')).context("no open packet")?;
        let open: serde_json::Value = serde_json::from_str(open)?;
        let sid = open.get("sid").and_then(serde_json::Value::as_str).context("no sid")?.to_owned();
        Ok(Poller { address: host.address().to_owned(), sid, head: answer.head })
    }

    /// Opens a socket and says that it is ready; the answer to that is read.
    pub async fn ready(host: &Host) -> anyhow::Result<Self> {
        let poller = Self::open(host).await?;
        let connect = poller.poll(host).await?;
        let is_let_in = |packet: &String| packet.starts_with(r#"4{"event":"connect","data":{"soid":"#);
        ensure!(connect.len() == 1 && connect.iter().all(is_let_in), "{connect:?}");
        poller.say(host, &[r#"4{"event":"ready","cid":1}"#]).await?;
        let ready = poller.poll(host).await?;
        ensure!(ready.first().is_some_and(|packet| packet == r#"4{"cid":1}"#), "{ready:?}");
        Ok(poller)
    }

    /// Path and query of its requests.
    pub fn path(&self) -> String {
        format!("{PATH}&sid={}", self.sid)
    }

    /// A poll's request as text, which leaves its connection open.
    pub fn poll_request(&self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path(), self.address)
    }

    /// A request as text that brings packets and leaves its connection open.
    pub fn say_request(&self, packets: &[&str]) -> String {
        let body = payload(packets);
        let (path, address, length) = (self.path(), &self.address, body.len());
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    /// Waits for packets.
    pub async fn poll(&self, host: &Host) -> anyhow::Result<Vec<String>> {
        let answer = request(host, "GET", &self.path(), "", "").await?;
        ensure!(answer.status == 200, "the poll failed: {answer:?}");
        packets(&answer.body)
    }

    /// Sends packets of ASCII.
    pub async fn say(&self, host: &Host, packets: &[&str]) -> anyhow::Result<Response> {
        let kind = "Content-Type: text/plain;charset=UTF-8\r\n";
        request(host, "POST", &self.path(), kind, &payload(packets)).await
    }

    /// A poll that begins and is left waiting.
    pub async fn waiting(&self, host: &Host) -> anyhow::Result<Raw> {
        let mut raw = Raw::open(host).await?;
        raw.send(self.poll_request().as_bytes()).await?;
        Ok(raw)
    }
}

/// A request over a connection of its own.
pub async fn request(
    host: &Host,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> anyhow::Result<Response> {
    let (address, length) = (host.address(), body.len());
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}");
    http::send(host, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
}

/// A text payload of packets in ASCII.
pub fn payload(packets: &[&str]) -> String {
    let mut body = String::new();
    for packet in packets {
        let _ = write!(body, "{}:{packet}", packet.len());
    }
    body
}

/// The packets of a text payload in ASCII.
pub fn packets(mut body: &str) -> anyhow::Result<Vec<String>> {
    let mut packets = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_once(':').with_context(|| format!("no payload: {body}"))?;
        let (packet, rest) = rest.split_at_checked(length.parse()?).context("a payload ends early")?;
        packets.push(packet.to_owned());
        body = rest;
    }
    Ok(packets)
}
