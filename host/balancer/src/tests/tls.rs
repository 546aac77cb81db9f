//! Balancers that serve TLS: what goes through a pump, how it ends, and what is refused.

use std::sync::{Arc, OnceLock};

use rustls_pki_types::{CertificateDer, ServerName};
use sc_core::tls::{Credentials, Identity, TicketKey, TlsVersion};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use super::*;

const OPTIONS: TlsConfig = TlsConfig { handshake_timeout: Duration::from_secs(5), pumps_max: 100 };

fn identity() -> Identity {
    static MADE: OnceLock<Identity> = OnceLock::new();
    let made = || {
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).expect("a certificate");
        let (chain, key) = (vec![made.cert.der().to_vec().into()], made.signing_key.serialize_der().into());
        Identity { chain, key }
    };
    MADE.get_or_init(made).clone()
}

/// What the tests' balancers start with.
pub(super) fn credentials() -> Credentials {
    Credentials {
        identities: vec![identity()],
        clients: None,
        oldest: TlsVersion::V12,
        tickets: vec![TicketKey([7; 32])],
    }
}

fn secure() -> BalancerConfig {
    BalancerConfig { tls: Some(OPTIONS), ..config() }
}

fn trusting(identity: &Identity) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity.chain[0].to_vec())).expect("a root");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn shake(host: &Host, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(host.address).await.expect("connected");
    connector.connect(ServerName::try_from("h").expect("a name"), stream).await.expect("a handshake")
}

async fn client(host: &Host, sends: &[u8]) -> TlsStream<TcpStream> {
    let mut client = shake(host, &trusting(&identity())).await;
    client.write_all(sends).await.expect("written");
    client
}

async fn take_end(worker: &HandoffReceiver) -> (Handoff, UnixStream) {
    let (handoff, descriptors) = worker.recv().await.expect("received").expect("a handoff");
    let descriptor = descriptors.into_iter().next().expect("a descriptor");
    (handoff, UnixStream::from_std(descriptor.into()).expect("a stream"))
}

async fn text(client: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).await.expect("read to a close-notify");
    text
}

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    test(async {
        let host = Host::start(secure()).await;
        let worker = host.worker(0).await;
        let mut client = client(&host, &[GET, b"early"].concat()).await;
        let (handoff, mut end) = take_end(&worker).await;
        assert!(handoff.read.starts_with(GET) && handoff.peer.secure, "{handoff:?}");
        let mut early = handoff.read[GET.len()..].to_vec();
        while early.len() < 5 {
            end.read_buf(&mut early).await.expect("read");
        }
        assert_eq!(early, b"early");

        // More than all buffers hold, both ways at once.
        let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_worker, mut to_worker) = end.into_split();
        let (mut there, mut back) = (vec![0; large.len()], vec![0; large.len()]);
        let (one, two, three, four) = tokio::join!(
            async {
                to_client.write_all(&large).await?;
                // What was encrypted may still wait for the network.
                to_client.flush().await
            },
            from_worker.read_exact(&mut there),
            to_worker.write_all(&large),
            from_client.read_exact(&mut back),
        );
        for ended in [one, two.map(drop), three, four.map(drop)] {
            ended.expect("all is sent and read");
        }
        assert!(there == large && back == large);

        client = from_client.unsplit(to_client);
        client.shutdown().await.expect("ended");
        let mut rest = Vec::new();
        assert_eq!(from_worker.read_to_end(&mut rest).await.expect("an end"), 0);
        to_worker.write_all(b"the last words").await.expect("written");
        drop((from_worker, to_worker));
        assert_eq!(text(&mut client).await, "the last words");
    });
}

#[test]
fn what_a_worker_ends_is_ended_well() {
    test(async {
        let host = Host::start(secure()).await;
        let worker = host.worker(0).await;
        let mut client = client(&host, GET).await;
        let (_, mut end) = take_end(&worker).await;
        end.write_all(&[b'x'; 100_000]).await.expect("written");
        drop(end);
        // The client still sends: its answer is whole all the same.
        client.write_all(&[b'y'; 50_000]).await.expect("written");
        assert_eq!(text(&mut client).await.len(), 100_000);
    });
}

#[test]
fn a_client_that_breaks_off_is_gone_for_its_worker() {
    test(async {
        let host = Host::start(secure()).await;
        let worker = host.worker(0).await;
        let client = client(&host, GET).await;
        let (_, mut end) = take_end(&worker).await;
        // Without a close-notify.
        drop(client);
        assert_eq!(end.read(&mut [0; 8]).await.expect("an end"), 0);
    });
}

#[test]
fn a_pump_goes_on_through_a_drain_and_is_waited_for() {
    test(async {
        let host = Host::start(secure()).await;
        let worker = host.worker(0).await;
        let mut client = client(&host, GET).await;
        let (_, mut end) = take_end(&worker).await;
        host.control.send(&ToChild::Drain(10_000), &[]).await.expect("sent");
        tokio::time::sleep(LAST_HEADS + Duration::from_millis(300)).await;
        assert!(TcpStream::connect(host.address).await.is_err(), "nobody listens");
        client.write_all(b"ping").await.expect("written");
        let mut read = [0; 4];
        end.read_exact(&mut read).await.expect("read");
        end.write_all(b"going away").await.expect("written");
        drop(end);
        assert_eq!(text(&mut client).await, "going away");
        drop(client);
        assert!(matches!(host.said().await, FromChild::Drained));
        host.task.await.expect("no panic").expect("no error");
    });
}

#[test]
fn who_speaks_no_tls_is_told_or_closed() {
    test(async {
        let options = TlsConfig { handshake_timeout: Duration::from_millis(300), ..OPTIONS };
        let host = Host::start(BalancerConfig { tls: Some(options), ..config() }).await;
        let _worker = host.worker(0).await;
        let told = answer(&mut host.client(GET).await).await;
        assert!(told.starts_with("HTTP/1.1 400 ") && told.contains("https://"), "{told}");
        // A handshake that is never finished, and one that is none.
        for sends in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"\x00\x01\x02"] {
            let mut client = host.client(sends).await;
            let mut rest = Vec::new();
            let ended = client.read_to_end(&mut rest).await;
            assert!(ended.is_err() || rest.len() < 16, "{rest:?}");
        }
    });
}

#[test]
fn more_than_may_be_pumped_are_answered_503() {
    test(async {
        let options = TlsConfig { pumps_max: 1, ..OPTIONS };
        let host = Host::start(BalancerConfig { tls: Some(options), ..config() }).await;
        let worker = host.worker(0).await;
        let first = client(&host, GET).await;
        let (_, mut end) = take_end(&worker).await;
        let refused = text(&mut client(&host, GET).await).await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("as many connections"), "{refused}");
        drop(first);
        assert!(matches!(end.read(&mut [0; 8]).await, Ok(0)), "an end");
        drop(end);
        let _client = loop {
            let mut client = client(&host, GET).await;
            tokio::select! {
                (_, _end) = take_end(&worker) => break client,
                _ = text(&mut client) => {}
            }
        };
    });
}

#[test]
fn other_certificates_are_for_those_who_come_then() {
    test(async {
        let host = Host::start(secure()).await;
        let worker = host.worker(0).await;
        let mut before = client(&host, GET).await;
        let (_, mut end) = take_end(&worker).await;
        let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).expect("a certificate");
        let other = Identity {
            chain: vec![made.cert.der().to_vec().into()],
            key: made.signing_key.serialize_der().into(),
        };
        let garbled = Identity { key: vec![1_u8, 2, 3].into(), ..other.clone() };
        for (number, identity, is_fine) in [(2, &garbled, false), (3, &other, true)] {
            let next = Credentials { identities: vec![identity.clone()], ..credentials() };
            host.control.send(&ToChild::Credentials(number, Box::new(next)), &[]).await.expect("sent");
            match host.said().await {
                FromChild::Credentialed(of, taken) => assert_eq!((of, taken.is_ok()), (number, is_fine)),
                said => panic!("{said:?}"),
            }
        }
        let _after = shake(&host, &trusting(&other)).await;
        end.write_all(b"still here").await.expect("written");
        let mut read = [0; 10];
        before.read_exact(&mut read).await.expect("read");
    });
}

#[test]
fn a_session_is_resumed_under_keys_that_are_known() {
    test(async {
        let (one, two) = (Host::start(secure()).await, Host::start(secure()).await);
        let workers = [one.worker(0).await, two.worker(0).await];
        let connector = trusting(&identity());
        let mut kinds = Vec::new();
        for (host, worker) in [&one, &two].into_iter().zip(&workers) {
            let mut client = shake(host, &connector).await;
            client.write_all(GET).await.expect("written");
            let (_, mut end) = take_end(worker).await;
            // Its tickets come ahead of the answer.
            end.write_all(b"x").await.expect("written");
            client.read_exact(&mut [0]).await.expect("read");
            kinds.push(client.get_ref().1.handshake_kind().expect("done"));
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    });
}

#[test]
fn a_controller_sees_requests_over_tls_and_sockets_go_through_a_pump() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(secure(), fakes.controlled(false)).await;
        let worker = host.worker(0).await;
        let mut client = client(&host, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (_, mut link) = take_end(&worker).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            link.read_buf(&mut head).await.expect("read");
        }
        let head = String::from_utf8(head).expect("text");
        assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
        assert!(fakes.seen.borrow().iter().all(|arrival| arrival.secure));
        link.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            client.read_buf(&mut answer).await.expect("read");
        }
        let upgrade =
            "GET /socketcluster/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.write_all(upgrade.as_bytes()).await.expect("written");
        let (handoff, mut end) = take_end(&worker).await;
        assert!(handoff.peer.secure && handoff.read.starts_with(b"GET /socketcluster/"), "{handoff:?}");
        client.write_all(b"frame").await.expect("written");
        let mut frame = [0; 5];
        end.read_exact(&mut frame).await.expect("read");
        end.write_all(&frame).await.expect("written");
        client.read_exact(&mut frame).await.expect("read");
    });
}

#[test]
fn plain_http_is_told_where_to_go() {
    test(async {
        let host = Host::start(secure()).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        host.control.send(&ToChild::RedirectTo(8443), &[listener.as_fd()]).await.expect("sent");
        drop(listener);
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(b"GET /x?y HTTP/1.1\r\nHost: example.com:80\r\n\r\n").await.expect("written");
        let told = answer(&mut client).await;
        assert!(told.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{told}");
        assert!(told.contains("\r\nLocation: https://example.com:8443/x?y\r\n"), "{told}");
    });
}
