//! A TCP connection on which every byte is ours: requests and WebSocket frames written by hand, right or wrong.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::host::Host;
use crate::wait;

/// The request that every upgrade begins with.
pub fn upgrade_request(host: &Host, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        host.address()
    )
}

/// What came: a data frame, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// A WebSocket pong.
    Pong(Vec<u8>),
    /// A close frame: its code and reason; 1005 when it has none.
    Close(u16, String),
    /// The connection ended without a close frame.
    End,
}

/// A connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    /// Connects and says nothing.
    pub async fn open(host: &Host) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host.address()).await.context("the host does not accept")?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream, unread: Vec::new() })
    }

    /// Connects from an address of this machine and says nothing.
    pub async fn open_from(host: &Host, from: Ipv4Addr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(host.address().parse()?).await.context("the host does not accept")?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream, unread: Vec::new() })
    }

    /// Connects and upgrades to WebSocket on the default path.
    pub async fn upgraded(host: &Host) -> anyhow::Result<Self> {
        let mut raw = Raw::open(host).await?;
        raw.send(upgrade_request(host, "/socketcluster/").as_bytes()).await?;
        let head = raw.head().await?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "the upgrade was refused: {head}");
        Ok(raw)
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(wait::within(wait::SOON, "the host to read", self.stream.write_all(bytes)).await??)
    }

    /// Sends a whole frame, masked as clients must.
    pub async fn frame(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        self.send(&frame(0x80 | opcode, payload, true)).await
    }

    /// Sends a text frame.
    pub async fn text(&mut self, text: &str) -> anyhow::Result<()> {
        self.frame(1, text.as_bytes()).await
    }

    /// Reads up to the end of a response's head.
    pub async fn head(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<_> = self.unread.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            ensure!(self.more().await? > 0, "the connection ended in a response's head: {:?}", self.lossy());
        }
    }

    /// Reads one response with a `Content-Length`, which leaves the connection to be used on: its head and its body.
    pub async fn response(&mut self) -> anyhow::Result<(String, String)> {
        let head = self.head().await?;
        let lowered = head.to_lowercase();
        let length = lowered.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no Content-Length")?.trim().parse()?;
        while self.unread.len() < length {
            ensure!(self.more().await? > 0, "the connection ended in a response's body");
        }
        let body: Vec<_> = self.unread.drain(..length).collect();
        Ok((head, String::from_utf8(body)?))
    }

    /// Reads all until the other end closes.
    pub async fn rest(&mut self) -> anyhow::Result<String> {
        while self.more().await? > 0 {}
        let text = self.lossy();
        self.unread.clear();
        Ok(text)
    }

    /// The next frame, data or close. A continued message is no frame of ours: the host never sends one.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                return Ok(match opcode {
                    1 => Frame::Text(String::from_utf8(payload)?),
                    2 => Frame::Binary(payload),
                    8 => close(&payload),
                    9 => continue,
                    10 => Frame::Pong(payload),
                    other => bail!("the host sent a frame with opcode {other}"),
                });
            }
            if self.more().await? == 0 {
                return Ok(Frame::End);
            }
        }
    }

    /// The next frame that is no ping of the protocol.
    pub async fn next_packet(&mut self) -> anyhow::Result<Frame> {
        loop {
            match self.next().await? {
                Frame::Text(text) if text.is_empty() || text == "#1" => {}
                other => return Ok(other),
            }
        }
    }

    /// Whether nothing but pings comes for that long.
    pub async fn is_silent(&mut self, how_long: Duration) -> bool {
        tokio::time::timeout(how_long, self.next_packet()).await.is_err()
    }

    /// The way the connection ends, whatever comes before.
    pub async fn end(&mut self) -> anyhow::Result<Frame> {
        loop {
            if let end @ (Frame::Close(..) | Frame::End) = self.next().await? {
                return Ok(end);
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, ..] = *self.unread else { return None };
        let (length, head) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(self.unread.get(2..4)?.try_into().ok()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(self.unread.get(2..10)?.try_into().ok()?)).ok()?, 10),
            short => (usize::from(short), 2),
        };
        let payload = self.unread.get(head..head + length)?.to_vec();
        self.unread.drain(..head + length);
        Some((first & 0x0f, payload))
    }

    async fn more(&mut self) -> anyhow::Result<usize> {
        let read = self.stream.read_buf(&mut self.unread);
        match wait::within(wait::SOON, "bytes from the host", read).await? {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}

/// A frame's bytes. `first` is FIN, the reserved bits and the opcode.
pub fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let flag = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(flag | short),
        (_, Ok(medium)) => {
            bytes.push(flag | 126);
            bytes.extend(medium.to_be_bytes());
        }
        _ => {
            bytes.push(flag | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}

fn close(payload: &[u8]) -> Frame {
    match payload {
        [high, low, reason @ ..] => {
            Frame::Close(u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())
        }
        _ => Frame::Close(1005, String::new()),
    }
}
