//! What TLS costs: a ping over it against a plain one, and a connection with one request, plain, with a full handshake
//! and resumed, in rounds that take turns. Certificates are ECDSA P-256.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sc_tests::tls::{Authority, Connector};
use sc_tests::{Host, HostBuilder, Role, guests, usage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{HandshakeKind, SupportedProtocolVersion, version};

use crate::median;
use crate::ping::{CONNECTIONS, Peer, Socket, connect, measure, pids, upgraded};

const REQUEST: &[u8] = b"GET /sc/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const IDLE: usize = 1_000;

pub(crate) async fn compare(binary: &str, rounds: u64, round: Duration) -> anyhow::Result<()> {
    let component = guests::example("ping")?;
    let folder = tempfile::tempdir()?;
    let authority = Authority::new("bench")?;
    let (certificate, key) = authority.issue(&["localhost"])?.write(folder.path(), "host")?;
    let start = || HostBuilder::new(binary).component(&component).set("log.level", "warn,sc_host=info");
    let plain = start().start().await?;
    let secure = start().set("tls.certificate", certificate.display()).set("tls.key", key.display());
    let secure = secure.start().await?;
    pings(&plain, &secure, &authority, rounds, round).await?;
    connections(&plain, &secure, &authority, rounds, round).await?;
    idle(&plain, &secure, &authority).await
}

async fn over_tls(host: &Host, connector: &Connector) -> anyhow::Result<Socket> {
    upgraded(host.address(), Box::new(connector.connect(host).await?), Peer::Host).await
}

async fn pings(
    plain: &Host,
    secure: &Host,
    authority: &Authority,
    rounds: u64,
    round: Duration,
) -> anyhow::Result<()> {
    let connector = Connector::new(&authority.pem(), "localhost", None)?;
    let to_plain = connect(plain.address(), Peer::Host).await?;
    let mut to_secure = Vec::new();
    for _ in 0..CONNECTIONS {
        to_secure.push(over_tls(secure, &connector).await?);
    }
    let balancer = secure.pid(Role::Balancer, 0).context("a balancer")?;
    let (mut of_plain, mut of_secure, mut of_pump) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=rounds {
        let bare = measure(&to_plain, &pids(plain), round).await?;
        let (before, ours) = (usage::cpu(balancer), measure(&to_secure, &pids(secure), round).await?);
        // With the warm-up, as many pings a second.
        let all = ours.rate * (round + crate::ping::WARM_UP).as_secs_f64();
        let pump = (usage::cpu(balancer) - before).as_secs_f64() * 1e6 / all;
        println!("round {number}: plain {bare}, over TLS {ours}, of that the balancer {pump:.2} us");
        of_plain.push(bare.cpu);
        of_secure.push(ours.cpu);
        of_pump.push(pump);
    }
    let (bare, ours, pump) = (median(&mut of_plain), median(&mut of_secure), median(&mut of_pump));
    println!(
        "median CPU per ping: plain {bare:.2} us, over TLS {ours:.2} us, ratio {:.2}; the balancer {pump:.2} us",
        ours / bare
    );
    Ok(())
}

/// A way to make a connection, and what it cost the balancer so far.
struct Way<'h> {
    name: &'static str,
    host: &'h Host,
    connector: Option<Connector>,
    kind: HandshakeKind,
    costs: Vec<f64>,
}

impl<'h> Way<'h> {
    fn new(
        name: &'static str,
        host: &'h Host,
        trusted: &str,
        only: Option<&'static SupportedProtocolVersion>,
        kind: HandshakeKind,
    ) -> anyhow::Result<Self> {
        let connector = only.map(|only| Connector::new(trusted, "localhost", Some(only))).transpose()?;
        Ok(Way { name, host, connector, kind, costs: Vec::new() })
    }
}

async fn connections(
    plain: &Host,
    secure: &Host,
    authority: &Authority,
    rounds: u64,
    round: Duration,
) -> anyhow::Result<()> {
    let pem = authority.pem();
    let (v12, v13) = (Some(&version::TLS12), Some(&version::TLS13));
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    let mut ways = [
        Way::new("plain", plain, &pem, None, full)?,
        Way::new("TLS 1.3 full", secure, &pem, v13, full)?,
        Way::new("TLS 1.3 resumed", secure, &pem, v13, resumed)?,
        Way::new("TLS 1.2 full", secure, &pem, v12, full)?,
        Way::new("TLS 1.2 resumed", secure, &pem, v12, resumed)?,
    ];
    for _ in 0..rounds {
        for way in &mut ways {
            let balancer = way.host.pid(Role::Balancer, 0).context("a balancer")?;
            if let Some(connector) = way.connector.as_ref().filter(|_| way.kind == HandshakeKind::Resumed) {
                connector.get(way.host, "/sc/health").await?;
            }
            let (before, end, mut count) = (usage::cpu(balancer), Instant::now() + round, 0_u32);
            while Instant::now() < end {
                match &way.connector {
                    None => {
                        let mut stream = TcpStream::connect(way.host.address()).await?;
                        stream.write_all(REQUEST).await?;
                        stream.read_to_end(&mut Vec::new()).await?;
                    }
                    Some(connector) => {
                        let only = if way.name.contains("1.2") { &version::TLS12 } else { &version::TLS13 };
                        let fresh = Connector::new(&pem, "localhost", Some(only))?;
                        let connector = if way.kind == HandshakeKind::Full { &fresh } else { connector };
                        let (_, kind) = connector.get(way.host, "/sc/health").await?;
                        ensure!(kind == way.kind, "{}: {kind:?}", way.name);
                    }
                }
                count += 1;
            }
            way.costs.push((usage::cpu(balancer) - before).as_secs_f64() * 1e6 / f64::from(count));
        }
    }
    let plain = median(&mut ways[0].costs);
    println!("balancer's CPU per connection with one request: plain {plain:.0} us");
    for way in &mut ways[1..] {
        let cost = median(&mut way.costs);
        let most = 1e6 / (cost - plain);
        println!(
            "{}: {cost:.0} us; without what a plain one takes, {most:.0} of them a CPU second",
            way.name
        );
    }
    Ok(())
}

/// Memory of an idle socket.
async fn idle(plain: &Host, secure: &Host, authority: &Authority) -> anyhow::Result<()> {
    let connector = Connector::new(&authority.pem(), "localhost", None)?;
    let resident = |host: &Host| pids(host).into_iter().map(usage::resident).sum::<u64>();
    let (mut sockets, before) = (Vec::new(), (resident(plain), resident(secure)));
    for _ in 0..IDLE {
        let stream = TcpStream::connect(plain.address()).await?;
        sockets.push(upgraded(plain.address(), Box::new(stream), Peer::Host).await?);
        sockets.push(over_tls(secure, &connector).await?);
    }
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / IDLE as f64 / 1024.0;
    println!(
        "memory of an idle socket: plain {:.1} KiB, over TLS {:.1} KiB",
        each(before.0, resident(plain)),
        each(before.1, resident(secure))
    );
    Ok(())
}
