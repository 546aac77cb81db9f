//! Whole balancers with real TCP clients; the tests play master, workers and controllers.

mod controllers;
pub(crate) mod fake;
mod tls;

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::time::Instant as Clock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sc_core::ids::WorkerId;
use sc_core::link::control::{Handoff, HandoffReceiver, MasterLink};
use sc_core::link::packet_pair;
use sc_core::session_id::{ClusterKey, SessionIds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;

use self::fake::Fakes;
use super::*;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n";

pub(crate) fn config() -> BalancerConfig {
    BalancerConfig {
        head_timeout: Duration::from_secs(5),
        head_max: 1024,
        pending_max: 4096,
        pending_per_address: 4096,
        smart_balancing: true,
        session_ids: SessionIds { key: ClusterKey([1; 32]), host: String::new(), port: 8000 },
        balancers: 1,
        app: "app".to_owned(),
        socket_path: "/socketcluster/".to_owned(),
        trusted_proxies: Vec::new(),
        answer_timeout: Duration::from_secs(5),
        tls: None,
    }
}

/// A session of that worker.
fn session(worker: u16) -> String {
    config().session_ids.mint(WorkerId(worker), 1, false).expect("random bytes")
}

fn by_query(worker: u16) -> Vec<u8> {
    format!("GET /?ssid={} HTTP/1.1\r\n\r\n", session(worker)).into_bytes()
}

struct Host {
    control: MasterLink,
    address: SocketAddr,
    task: JoinHandle<Result<(), BalancerError>>,
}

impl Host {
    async fn start(config: BalancerConfig) -> Self {
        Host::controlled(config, None).await
    }

    async fn controlled(config: BalancerConfig, controlled: Option<Controlled<Fakes>>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ours, theirs) = packet_pair().expect("a pair");
        let link = ChildLink::new(theirs).expect("a link");
        let is_secure = config.tls.is_some();
        let task =
            tokio::task::spawn_local(run(link, BalancerId(0), config, vec![listener.into()], controlled));
        let control = MasterLink::new(ours).expect("a link");
        if is_secure {
            let first = ToChild::Credentials(1, Box::new(tls::credentials()));
            control.send(&first, &[]).await.expect("sent");
            let taken = control.recv().await;
            assert!(matches!(taken, Ok(Some((FromChild::Credentialed(1, Ok(())), _)))), "{taken:?}");
        }
        assert!(matches!(control.recv().await, Ok(Some((FromChild::Ready, _)))));
        Host { control, address, task }
    }

    /// What the balancer says next, besides that it lives.
    async fn said(&self) -> FromChild {
        loop {
            match self.control.recv().await.expect("a link").expect("a message").0 {
                FromChild::Alive => {}
                message => return message,
            }
        }
    }

    async fn worker(&self, id: u16) -> HandoffReceiver {
        let (ours, theirs) = packet_pair().expect("a pair");
        self.control.send(&ToChild::HandoffTo(WorkerId(id)), &[theirs.as_fd()]).await.expect("sent");
        HandoffReceiver::new(ours).expect("a link")
    }

    async fn client(&self, sends: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.expect("connected");
        client.write_all(sends).await.expect("written");
        client
    }
}

fn test(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { timeout(Duration::from_secs(20), run).await };
    LocalSet::new().block_on(&runtime, limited).expect("done in time");
}

async fn take(worker: &HandoffReceiver) -> (Handoff, TcpStream) {
    let (handoff, descriptors) = worker.recv().await.expect("received").expect("a handoff");
    let descriptor = descriptors.into_iter().next().expect("a descriptor");
    (handoff, TcpStream::from_std(std::net::TcpStream::from(descriptor)).expect("a stream"))
}

async fn answer(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("read to its end");
    answer
}

#[test]
fn a_connection_arrives_with_its_bytes_and_outlives_the_balancer() {
    test(async {
        let host = Host::start(config()).await;
        let worker = host.worker(0).await;
        let sent = b"POST /x?y HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
        let mut client = host.client(sent).await;
        let (handoff, mut stream) = take(&worker).await;
        assert_eq!(&handoff.read[..], sent);
        assert_eq!(handoff.peer.port, client.local_addr().expect("an address").port());
        assert!(handoff.peer.address.is_loopback() && !handoff.peer.secure);
        assert!(stream.nodelay().expect("an option"));
        let _other = host.client(GET).await;
        let (next, _) = take(&worker).await;
        assert_eq!(next.request, handoff.request.wrapping_add(1));

        drop(host.control);
        host.task.await.expect("no panic").expect("no error");
        client.write_all(b"more").await.expect("written");
        let mut read = [0; 4];
        stream.read_exact(&mut read).await.expect("read");
        stream.write_all(&read).await.expect("written");
        client.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"more");
        drop(stream);
        assert_eq!(client.read(&mut read).await.expect("read"), 0, "no other descriptor is left");
    });
}

#[test]
fn a_slow_head_is_answered_408() {
    test(async {
        let host = Host::start(BalancerConfig { head_timeout: Duration::from_millis(300), ..config() }).await;
        let _worker = host.worker(0).await;
        let mut client = host.client(b"GET / HTTP/1.1\r\nX: ").await;
        // Each byte comes well within the timeout, which is for the whole head.
        let (mut reading, mut writing) = client.split();
        let dripping = async {
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut answer = String::new();
        tokio::select! {
            read = reading.read_to_string(&mut answer) => drop(read.expect("read to its end")),
            () = dripping => panic!("the connection broke before its answer"),
            () = tokio::time::sleep(Duration::from_secs(10)) => panic!("it was never given up"),
        }
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("within 0.3 s.\n"), "{answer}");
    });
}

#[test]
fn a_long_head_is_answered_431_and_can_be_read_by_a_client_that_still_sends() {
    test(async {
        let host = Host::start(config()).await;
        let worker = host.worker(0).await;
        let long = |size: usize| {
            let line = "GET / HTTP/1.1\r\nX: ";
            format!("{line}{}\r\n\r\n", "x".repeat(size - line.len() - 4))
        };
        let _exact = host.client(long(1024).as_bytes()).await;
        assert_eq!(take(&worker).await.0.read.len(), 1024);
        let mut client = host.client(long(1025).as_bytes()).await;
        let refused = answer(&mut client).await;
        assert!(refused.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{refused}");
        assert!(refused.contains("1024 bytes"), "{refused}");
        let mut client = host.client(long(100_000).as_bytes()).await;
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn garbage_is_answered_400() {
    test(async {
        let host = Host::start(config()).await;
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET  / HTTP/9\r\n\r\n",
        ] {
            let mut client = host.client(garbage).await;
            let answer = answer(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.contains("Content-Type: text/plain") && head.ends_with(&body.len().to_string()),
                "{answer}"
            );
        }
    });
}

#[test]
fn the_most_bytes_of_a_connection_fit_a_packet() {
    test(async {
        let host = Host::start(BalancerConfig { head_max: usize::MAX, ..config() }).await;
        let worker = host.worker(0).await;
        let mut client = host.client(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n").await;
        let padding = format!("X: {}\r\n\r\n", "x".repeat(162_700));
        let body = tokio::task::spawn_local(async move {
            client.write_all(padding.as_bytes()).await.expect("written");
            client.write_all(&vec![b'b'; 1_000_000]).await.expect("written");
            client
        });
        let (handoff, mut stream) = take(&worker).await;
        let head = handoff.read.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head") + 4;
        let mut left = 1_000_000 - (handoff.read.len() - head);
        let mut rest = vec![0; 65536];
        while left > 0 {
            let read = stream.read(&mut rest).await.expect("read");
            assert!(read > 0 && rest[..read].iter().all(|byte| *byte == b'b'));
            left -= read;
        }
        body.await.expect("all written");
    });
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    // Both ends of each are in this process.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("more descriptors");
    test(async {
        let host =
            Host::start(BalancerConfig { pending_max: 900, pending_per_address: 900, ..config() }).await;
        let worker = host.worker(0).await;
        let mut idle = Vec::new();
        for _ in 0..1000 {
            idle.push(host.client(b"").await);
        }
        for _ in 0..50 {
            let begun = Clock::now();
            let _client = host.client(GET).await;
            take(&worker).await;
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        // The oldest were closed, the newest were not.
        let mut byte = [0];
        assert!(matches!(idle[0].read(&mut byte).await, Ok(0)));
        assert_eq!(idle[999].try_read(&mut byte).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    });
}

#[test]
fn a_request_goes_to_the_worker_it_names() {
    test(async {
        let host = Host::start(config()).await;
        let _zero = host.worker(0).await;
        let one = host.worker(1).await;
        for _ in 0..5 {
            let _client = host.client(&by_query(1)).await;
            take(&one).await;
            let _client = host
                .client(
                    format!("GET / HTTP/1.1\r\nCOOKIE: a=b; n/app/ssid={}\r\n\r\n", session(1)).as_bytes(),
                )
                .await;
            take(&one).await;
        }
    });
}

#[test]
fn nobody_aims_at_a_worker() {
    test(async {
        let host = Host::start(config()).await;
        let zero = host.worker(0).await;
        let one = host.worker(1).await;
        let forged = session(0).replacen("_w0_", "_w1_", 1);
        let request = format!("GET /?ssid={forged} HTTP/1.1\r\n\r\n");
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(host.client(request.as_bytes()).await);
        }
        // Chosen by chance, as without an id.
        take(&zero).await;
        take(&one).await;
    });
}

#[test]
fn a_worker_whose_link_is_gone_costs_no_connection() {
    test(async {
        let host = Host::start(config()).await;
        let dead = host.worker(1).await;
        let alive = host.worker(0).await;
        drop(dead);
        for _ in 0..10 {
            let _client = host.client(&by_query(1)).await;
            take(&alive).await;
        }
    });
}

#[test]
fn a_worker_that_takes_nothing_costs_time_but_no_connection() {
    test(async {
        let host = Host::start(BalancerConfig { head_max: 100_000, ..config() }).await;
        let _stuck = host.worker(0).await;
        let mut request = by_query(0);
        request.truncate(request.len() - 2);
        request.extend(b"X: ");
        request.extend(std::iter::repeat_n(b'x', 90_000));
        request.extend(b"\r\n\r\n");
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(host.client(&request).await);
        }
        let alive = host.worker(1).await;
        take(&alive).await;
    });
}

#[test]
fn a_link_that_came_without_its_descriptor_is_asked_for_again() {
    test(async {
        let host = Host::start(config()).await;
        host.control.send(&ToChild::HandoffTo(WorkerId(3)), &[]).await.expect("sent");
        let said = host.said().await;
        let expected = Giver::Balancer(BalancerId(0));
        assert!(matches!(said, FromChild::HandoffsLost(giver, WorkerId(3)) if giver == expected), "{said:?}");
    });
}

#[test]
fn connections_wait_for_a_worker_and_not_for_ever() {
    test(async {
        let host = Host::start(config()).await;
        let _client = host.client(GET).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let worker = host.worker(3).await;
        assert_eq!(&take(&worker).await.0.read[..], GET);
        host.control.send(&ToChild::Retire(WorkerId(3)), &[]).await.expect("sent");
        let mut unserved = host.client(GET).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        let answer = answer(&mut unserved).await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    });
}

#[test]
fn draining_refuses_new_connections_and_serves_those_it_has() {
    test(async {
        let host = Host::start(config()).await;
        let worker = host.worker(0).await;
        let mut begun = host.client(b"GET / HT").await;
        let _idle = host.client(b"").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        // No time passes until the deadline is all that is waited for: a clock that is paused goes on by itself only
        // when there is nothing to do. What goes wrong here ends with the test's own deadline.
        tokio::time::pause();
        let clock = Clock::now();
        let busy = tokio::task::spawn_local(async move {
            while clock.elapsed() < Duration::from_secs(20) {
                tokio::task::yield_now().await;
            }
        });
        let began = tokio::time::Instant::now();
        host.control.send(&ToChild::Drain(500), &[]).await.expect("sent");
        while TcpStream::connect(host.address).await.is_ok() {
            assert!(clock.elapsed() < Duration::from_secs(20), "the listener is not closed");
        }
        begun.write_all(b"TP/1.1\r\n\r\n").await.expect("written");
        take(&worker).await;
        busy.abort();
        tokio::time::resume();
        assert!(matches!(host.said().await, FromChild::Drained));
        assert!(began.elapsed() >= Duration::from_millis(500), "the idle one had until the deadline");
        host.task.await.expect("no panic").expect("no error");
    });
}

#[test]
fn a_drain_without_connections_ends_at_once() {
    test(async {
        let host = Host::start(config()).await;
        host.control.send(&ToChild::Drain(60_000), &[]).await.expect("sent");
        assert!(matches!(host.said().await, FromChild::Drained));
    });
}
