//! A client of the modern protocol that shows its test every packet: hundreds of them fit in one test.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::host::Host;
use crate::wait;

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// An event without a call id.
    Event(String, Value),
    /// Anything else: a question or a response.
    Other(Value),
    /// The end: 1006 when the connection broke without a close frame.
    Closed(u16, String),
}

/// How a call failed.
#[derive(Debug)]
pub enum CallError {
    /// The server's error.
    Refused(Value),
    /// The connection ended first.
    Closed(u16),
}

impl CallError {
    /// The error's name, if it is a server's.
    pub fn name(&self) -> &str {
        match self {
            CallError::Refused(error) => error.get("name").and_then(Value::as_str).unwrap_or_default(),
            CallError::Closed(_) => "",
        }
    }
}

/// A client, connected and past its handshake.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    cid: u64,
    inbox: VecDeque<Packet>,
    /// The answer to the handshake.
    pub status: Value,
    /// The cookie that the upgrade set.
    pub cookie: Option<String>,
}

/// How a client connects.
#[derive(Debug, Default)]
pub struct Way {
    /// Its token.
    pub token: Value,
    /// More headers of the upgrade.
    pub headers: Vec<(&'static str, String)>,
    /// The request's query.
    pub query: &'static str,
    /// The address of this machine that it comes from.
    pub from: Option<Ipv4Addr>,
}

impl Client {
    /// Connects without a token.
    pub async fn connect(host: &Host) -> anyhow::Result<Self> {
        Client::connect_with(host, Value::Null).await
    }

    /// Connects with a token.
    pub async fn connect_with(host: &Host, token: Value) -> anyhow::Result<Self> {
        Client::open(host, Way { token, ..Way::default() }).await
    }

    /// Connects as a browser that has a session's cookie.
    pub async fn in_session(host: &Host, cookie: &str) -> anyhow::Result<Self> {
        Client::open(host, Way { headers: vec![("cookie", cookie.to_owned())], ..Way::default() }).await
    }

    /// Connects in that way.
    pub async fn open(host: &Host, way: Way) -> anyhow::Result<Self> {
        let Way { token, headers, query, from } = way;
        let connecting = async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            if let Some(from) = from {
                socket.bind((from, 0).into())?;
            }
            let stream = socket.connect(host.address().parse()?).await?;
            stream.set_nodelay(true)?;
            let url = format!("ws://{}/socketcluster/?{query}", host.address());
            let mut request = url.into_client_request()?;
            for (name, value) in headers {
                request.headers_mut().insert(name, value.parse()?);
            }
            anyhow::Ok(tokio_tungstenite::client_async(request, stream).await?)
        };
        let (socket, response) = wait::within(wait::SOON, "the upgrade", connecting).await??;
        let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
        let cookie = cookie.map(str::to_owned);
        let mut client = Client { socket, cid: 0, inbox: VecDeque::new(), status: Value::Null, cookie };
        match client.call("#handshake", json!({ "authToken": token })).await {
            Ok(status) => client.status = status,
            Err(error) => bail!("the handshake failed: {error:?}"),
        }
        Ok(client)
    }

    /// Connects again and again until that works: for hosts that are being hurt.
    pub async fn connect_soon(host: &Host) -> anyhow::Result<Self> {
        let trying = async {
            loop {
                if let Ok(client) = Client::connect(host).await {
                    return client;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        wait::within(wait::SOON, "a new connection", trying).await
    }

    /// Connects until the client is on that worker, which `whoami` tells.
    pub async fn on_worker(host: &Host, worker: u64) -> anyhow::Result<Self> {
        for _ in 0..1000 {
            let mut client = Client::connect(host).await?;
            if client.worker().await? == worker {
                return Ok(client);
            }
        }
        bail!("no connection of 1000 came to worker {worker}")
    }

    /// The socket's id, as the server calls it.
    pub fn id(&self) -> &str {
        self.status.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    /// Which worker holds this socket.
    pub async fn worker(&mut self) -> anyhow::Result<u64> {
        let me = self.ask("whoami", Value::Null).await?;
        me.get("worker").and_then(Value::as_u64).context("whoami names no worker")
    }

    /// Sends a text frame.
    pub async fn send(&mut self, text: impl Into<String>) -> anyhow::Result<()> {
        let sending = self.socket.send(Message::text(text.into()));
        Ok(wait::within(wait::SOON, "the host to read", sending).await??)
    }

    /// Sends text frames in one go, without waiting for anything.
    pub async fn send_all(&mut self, texts: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
        for text in texts {
            wait::within(wait::SOON, "the host to read", self.socket.feed(Message::text(text))).await??;
        }
        Ok(wait::within(wait::SOON, "the host to read", self.socket.flush()).await??)
    }

    /// Sends an event that nothing answers.
    pub async fn emit(&mut self, event: &str, data: Value) -> anyhow::Result<()> {
        self.send(json!({ "event": event, "data": data }).to_string()).await
    }

    /// Sends a question and returns its id.
    pub async fn begin(&mut self, event: &str, data: Value) -> anyhow::Result<u64> {
        self.cid += 1;
        self.send(json!({ "event": event, "data": data, "cid": self.cid }).to_string()).await?;
        Ok(self.cid)
    }

    /// Waits for the answer to a question. What comes before it stays for `next`.
    pub async fn finish(&mut self, cid: u64) -> Result<Value, CallError> {
        let is_it =
            |packet: &Packet| matches!(packet, Packet::Other(value) if value.get("rid") == Some(&json!(cid)));
        let waiting = self.inbox.iter().position(is_it).and_then(|at| self.inbox.remove(at));
        let mut found = waiting;
        while found.is_none() {
            match self.receive().await {
                Ok(Packet::Closed(code, reason)) => {
                    self.inbox.push_back(Packet::Closed(code, reason));
                    return Err(CallError::Closed(code));
                }
                Ok(packet) if is_it(&packet) => found = Some(packet),
                Ok(packet) => self.inbox.push_back(packet),
                Err(error) => {
                    return Err(CallError::Refused(
                        json!({ "name": "NoAnswer", "message": error.to_string() }),
                    ));
                }
            }
        }
        match found {
            Some(Packet::Other(mut answer)) => match answer.get_mut("error").map(Value::take) {
                Some(error) => Err(CallError::Refused(error)),
                None => Ok(answer.get_mut("data").map(Value::take).unwrap_or(Value::Null)),
            },
            _ => Ok(Value::Null),
        }
    }

    /// Asks and waits for the answer.
    pub async fn call(&mut self, event: &str, data: Value) -> Result<Value, CallError> {
        match self.begin(event, data).await {
            Ok(cid) => self.finish(cid).await,
            Err(_) => Err(CallError::Closed(1006)),
        }
    }

    /// Asks what must be answered well.
    pub async fn ask(&mut self, event: &str, data: Value) -> anyhow::Result<Value> {
        self.call(event, data).await.map_err(|error| anyhow::anyhow!("{event} failed: {error:?}"))
    }

    /// Subscribes and waits until it took effect.
    pub async fn subscribe(&mut self, channel: &str) -> anyhow::Result<()> {
        self.ask("#subscribe", json!({ "channel": channel })).await.map(drop)
    }

    /// Publishes and waits until the server took it.
    pub async fn publish(&mut self, channel: &str, data: Value) -> anyhow::Result<()> {
        self.ask("#publish", json!({ "channel": channel, "data": data })).await.map(drop)
    }

    /// The next packet that is not yet read.
    pub async fn next(&mut self) -> anyhow::Result<Packet> {
        match self.inbox.pop_front() {
            Some(packet) => Ok(packet),
            None => self.receive().await,
        }
    }

    /// The data of the next event of that name; other packets are dropped.
    pub async fn event(&mut self, name: &str) -> anyhow::Result<Value> {
        loop {
            match self.next().await.with_context(|| format!("waiting for the event {name}"))? {
                Packet::Event(event, data) if event == name => return Ok(data),
                Packet::Closed(code, reason) => {
                    bail!("closed with {code} {reason:?} before the event {name}")
                }
                _ => {}
            }
        }
    }

    /// The next publication on that channel.
    pub async fn publication(&mut self, channel: &str) -> anyhow::Result<Value> {
        loop {
            let mut data = self.event("#publish").await?;
            if data.get("channel").is_some_and(|name| name == channel) {
                return Ok(data.get_mut("data").map(Value::take).unwrap_or(Value::Null));
            }
        }
    }

    /// How the connection ends; what comes before is dropped.
    pub async fn closed(&mut self) -> anyhow::Result<(u16, String)> {
        loop {
            if let Packet::Closed(code, reason) = self.next().await? {
                return Ok((code, reason));
            }
        }
    }

    /// All events that have come and are not yet read, and those that come before the answer to one more question,
    /// `ask`.
    pub async fn events_so_far(&mut self, ask: &str) -> anyhow::Result<Vec<Packet>> {
        self.ask(ask, Value::Null).await?;
        Ok(self.unread_events())
    }

    /// Events that have come and are not yet read.
    pub fn unread_events(&self) -> Vec<Packet> {
        self.inbox.iter().filter(|packet| matches!(packet, Packet::Event(..))).cloned().collect()
    }

    /// Fails unless the connection is up and answers.
    pub async fn is_up(&mut self) -> anyhow::Result<()> {
        let began = self.ask("whoami", Value::Null).await?;
        ensure!(began.get("name").is_some_and(|name| name == self.id()), "another socket answered: {began}");
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<Packet> {
        loop {
            let message = match wait::within(wait::SOON, "a packet from the host", self.socket.next()).await?
            {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => return Ok(Packet::Closed(1006, String::new())),
            };
            match message {
                Message::Text(text) if text.is_empty() => self.send("").await?,
                Message::Text(text) if text.as_str() == "#1" => {}
                Message::Text(text) => match serde_json::from_str(&text)? {
                    Value::Array(packets) => {
                        self.inbox.extend(packets.into_iter().map(packet));
                        if let Some(first) = self.inbox.pop_front() {
                            return Ok(first);
                        }
                    }
                    one => return Ok(packet(one)),
                },
                Message::Close(Some(CloseFrame { code, reason })) => {
                    return Ok(Packet::Closed(code.into(), reason.to_string()));
                }
                Message::Close(None) => return Ok(Packet::Closed(1005, String::new())),
                _ => {}
            }
        }
    }
}

fn packet(mut value: Value) -> Packet {
    match value.get("event").and_then(Value::as_str) {
        Some(event) if value.get("cid").is_none() => {
            let event = event.to_owned();
            Packet::Event(event, value.get_mut("data").map(Value::take).unwrap_or(Value::Null))
        }
        _ => Packet::Other(value),
    }
}
