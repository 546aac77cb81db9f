//! Server CPU per ping, 100 connections with one outstanding each: the host against a bare tokio-tungstenite echo, in
//! rounds that take turns.

use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use sc_tests::{Host, HostBuilder, guests, usage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::median;

pub(crate) const CONNECTIONS: usize = 100;
const PING: &str = r#"{"event":"ping"}"#;
const READ_BUFFER: usize = 4 * 1024;
pub(crate) const WARM_UP: Duration = Duration::from_millis(700);

pub(crate) async fn compare(binary: &str, rounds: u64, round: Duration) -> anyhow::Result<()> {
    let component = guests::example("ping")?;
    let host =
        HostBuilder::new(binary).component(&component).set("log.level", "warn,sc_host=info").start().await?;
    let echo = Echo::start()?;
    let (mut of_host, mut of_echo) = (Vec::new(), Vec::new());
    let to_host = connect(host.address(), Peer::Host).await?;
    let to_echo = connect(&echo.address, Peer::Echo).await?;
    for number in 1..=rounds {
        let bare = measure(&to_echo, &[echo.child.id()], round).await?;
        let ours = measure(&to_host, &pids(&host), round).await?;
        println!("round {number}: bare echo {bare}, host {ours}");
        of_echo.push(bare.cpu);
        of_host.push(ours.cpu);
    }
    let (bare, ours) = (median(&mut of_echo), median(&mut of_host));
    println!("median CPU per ping: bare echo {bare:.2} us, host {ours:.2} us, ratio {:.2}", ours / bare);
    println!(
        "of the host's processes, resident: {} MiB",
        pids(&host).into_iter().map(usage::resident).sum::<u64>() >> 20
    );
    Ok(())
}

/// The same pings through 0, 1 and 3 middleware that let them through.
pub(crate) async fn through_middleware(binary: &str, rounds: u64, round: Duration) -> anyhow::Result<()> {
    let (component, allows) = (guests::example("ping")?, guests::guest("allows")?);
    let folder = tempfile::tempdir()?;
    let mut hosts = Vec::new();
    for count in [0_usize, 1, 3] {
        let mut host = HostBuilder::new(binary).component(&component).set("log.level", "warn,sc_host=info");
        for number in 0..count {
            // Their files give them their names.
            let copy = folder.path().join(format!("allows-{number}.wasm"));
            std::fs::copy(&allows, &copy)?;
            host = host.arg("--middleware").arg(copy.display().to_string());
        }
        let host = host.start().await?;
        let sockets = connect(host.address(), Peer::Host).await?;
        hosts.push((count, host, sockets, Vec::new()));
    }
    for number in 1..=rounds {
        for (count, host, sockets, costs) in &mut hosts {
            let cost = measure(sockets, &pids(host), round).await?;
            println!("round {number}: {count} middleware {cost}");
            costs.push(cost.cpu);
        }
    }
    let mut without = 0.0;
    for (count, _, _, costs) in &mut hosts {
        let cost = median(costs);
        match *count {
            0 => {
                without = cost;
                println!("median CPU per ping: no middleware {cost:.2} us");
            }
            count => {
                let each = (cost - without) / count as f64;
                println!("median CPU per ping: {count} middleware {cost:.2} us, {each:.2} us each");
            }
        }
    }
    Ok(())
}

pub(crate) fn pids(host: &Host) -> Vec<u32> {
    host.pids()
}

/// What one round cost.
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) rate: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} us at {:.0}/s", self.cpu, self.rate)
    }
}

/// A client's connection, plain or over TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub(crate) type Socket = Rc<tokio::sync::Mutex<WebSocketStream<Box<dyn Stream>>>>;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Peer {
    Host,
    Echo,
}

pub(crate) async fn connect(address: &str, peer: Peer) -> anyhow::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        sockets.push(upgraded(address, Box::new(stream), peer).await?);
    }
    Ok(sockets)
}

pub(crate) async fn upgraded(address: &str, stream: Box<dyn Stream>, peer: Peer) -> anyhow::Result<Socket> {
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let url = format!("ws://{address}/socketcluster/");
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
    if peer == Peer::Host {
        socket.send(Message::text(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##)).await?;
        while !next_text(&mut socket).await?.starts_with(r#"{"rid":1,"#) {}
    }
    Ok(Rc::new(tokio::sync::Mutex::new(socket)))
}

async fn next_text(socket: &mut WebSocketStream<Box<dyn Stream>>) -> anyhow::Result<String> {
    loop {
        if let Message::Text(text) = socket.next().await.context("the connection ended")?? {
            return Ok(text.to_string());
        }
    }
}

/// Pings for so long, and what the server's processes spent meanwhile.
pub(crate) async fn measure(sockets: &[Socket], pids: &[u32], round: Duration) -> anyhow::Result<Cost> {
    let spent = || pids.iter().copied().map(usage::cpu).sum::<Duration>();
    let warm = Instant::now() + WARM_UP;
    let end = warm + round;
    let counted = Rc::new(std::cell::Cell::new(0_u64));
    let mut clients = JoinSet::new();
    for socket in sockets {
        let (socket, counted) = (Rc::clone(socket), Rc::clone(&counted));
        clients.spawn_local(async move {
            let mut socket = socket.lock().await;
            while Instant::now() < end {
                socket.send(Message::text(PING)).await?;
                loop {
                    match next_text(&mut socket).await?.as_str() {
                        "" => socket.send(Message::text("")).await?,
                        text if text.starts_with(r#"{"event":"p"#) => break,
                        _ => {}
                    }
                }
                counted.set(counted.get() + 1);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep_until(warm.into()).await;
    let (before, first) = (spent(), counted.get());
    tokio::time::sleep_until(end.into()).await;
    let (after, last) = (spent(), counted.get());
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let pings = (last - first) as f64;
    Ok(Cost { cpu: (after - before).as_secs_f64() * 1e6 / pings, rate: pings / round.as_secs_f64() })
}

/// The bare echo, as a process of its own.
struct Echo {
    child: Child,
    address: String,
}

impl Echo {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("echo").stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let out = child.stdout.take().context("stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut address)?;
        Ok(Echo { child, address: address.trim().to_owned() })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn echo() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
            let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
            while let Some(message) = socket.next().await {
                match message? {
                    text @ Message::Text(_) => socket.send(text).await?,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            anyhow::Ok(())
        });
    }
}
