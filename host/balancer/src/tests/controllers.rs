//! Balancers with a controller: what it decides, what is proxied, and what its failures cost.

use sc_core::controller::Cause;
use sc_core::link::control::Way;
use tokio::net::UnixStream;

use super::fake::generation;
use super::*;

/// A link for requests, as its worker sees it.
struct Link(UnixStream, Vec<u8>);

impl Link {
    /// Waits for the worker to be given one.
    async fn take(worker: &HandoffReceiver) -> Self {
        let (handoff, descriptors) = worker.recv().await.expect("received").expect("a handoff");
        assert_eq!((handoff.way, handoff.read.is_empty()), (Way::Proxied, true));
        let descriptor = descriptors.into_iter().next().expect("a descriptor");
        Link(UnixStream::from_std(descriptor.into()).expect("a stream"), Vec::new())
    }

    /// Reads up to and with that.
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.1.windows(end.len()).position(|bytes| bytes == end.as_bytes()) {
                let rest = self.1.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.1, rest)).expect("text");
            }
            let read = self.0.read_buf(&mut self.1).await.expect("read");
            assert!(read > 0, "the link ended after {:?}", String::from_utf8_lossy(&self.1));
        }
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("written");
    }
}

async fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        assert_eq!(client.read(&mut byte).await.expect("read"), 1, "it ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

async fn ask(host: &Host, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    answer(&mut host.client(request.as_bytes()).await).await
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn one_path_is_blocked_others_are_proxied_and_upgrades_handed_over() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let worker = host.worker(0).await;
        let denied = ask(&host, "/deny").await;
        assert!(denied.starts_with("HTTP/1.1 403 Forbidden\r\n") && denied.ends_with("denied"), "{denied}");

        // On one connection: a proxied request, a blocked one, another proxied one on the same link, a socket.
        let mut client =
            host.client(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n").await;
        let mut link = Link::take(&worker).await;
        let head = link.head().await;
        assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n") && head.contains("host: h\r\n"), "{head}");
        assert!(head.contains("x-forwarded-proto: http\r\n") && !head.contains("6.6.6.6"), "{head}");
        link.say(OK).await;
        assert!(read_until(&mut client, "ok").await.contains("200 OK"));
        client.write_all(b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
        assert!(read_until(&mut client, "denied").await.contains("403"));
        client
            .write_all(b"POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            .await
            .expect("written");
        assert!(link.until("abc").await.contains("content-length: 3\r\n"));
        link.say(OK).await;
        read_until(&mut client, "ok").await;
        let upgrade =
            "GET /socketcluster/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.write_all(format!("{upgrade}early").as_bytes()).await.expect("written");
        let (handoff, mut stream) = take(&worker).await;
        assert_eq!(handoff.way, Way::Open);
        let read = String::from_utf8(handoff.read.to_vec()).expect("text");
        assert!(
            read.starts_with("GET /socketcluster/ HTTP/1.1\r\n") && read.ends_with("\r\n\r\nearly"),
            "{read}"
        );
        drop(host.control);
        host.task.await.expect("no panic").expect("no error");
        stream.write_all(b"hello").await.expect("written");
        read_until(&mut client, "hello").await;
        let seen: Vec<_> = fakes.seen.borrow().iter().map(|it| (it.target.clone(), it.is_upgrade)).collect();
        let expected =
            [("/deny", false), ("/a?b", false), ("/deny", false), ("/c", false), ("/socketcluster/", true)];
        assert_eq!(seen, expected.map(|(target, is_upgrade)| (target.to_owned(), is_upgrade)));
    });
}

#[test]
fn what_the_controller_changes_the_worker_sees() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let mut client =
            host.client(b"GET /change?x HTTP/1.1\r\nX-Gone: 1\r\nx-gone: 2\r\nX-Set: 0\r\nConnection: keep-alive, x-set\r\n\r\n").await;
        let mut link = Link::take(&worker).await;
        let head = link.head().await;
        assert!(head.starts_with("GET /changed?x HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-set: 1\r\n") && !head.contains("x-gone") && !head.contains(": 0"), "{head}");
        link.say(OK).await;
        read_until(&mut client, "ok").await;
        let mut closed = host.client(b"GET /close HTTP/1.1\r\n\r\n").await;
        assert_eq!(answer(&mut closed).await, "");
        let upgrade = b"GET /key?a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let _client = host.client(upgrade).await;
        assert_eq!(take(&worker).await.0.way, Way::Settled);
    });
}

#[test]
fn what_may_be_smuggled_is_refused_and_its_connection_closed() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let _worker = host.worker(0).await;
        for lines in [
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\nContent-Length: 1",
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Host: a\r\nHost: b",
            "X: a\r\n folded: b",
            "Content-Length : 4",
            "Content-Length: -1",
        ] {
            // Also behind a request that is fine.
            for before in ["", "GET /deny HTTP/1.1\r\nHost: h\r\n\r\n"] {
                let request = format!(
                    "{before}POST /x HTTP/1.1\r\n{lines}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
                );
                let said = answer(&mut host.client(request.as_bytes()).await).await;
                let said = said
                    .strip_prefix("HTTP/1.1 403 ")
                    .map_or(said.as_str(), |said| said.find("HTTP/1.1").map_or("", |at| &said[at..]));
                assert!(said.starts_with("HTTP/1.1 400 "), "{before:?} {lines:?}: {said}");
                assert_eq!(said.matches("HTTP/1.1 4").count(), 1, "{lines:?}: {said}");
            }
        }
        assert!(fakes.seen.borrow().iter().all(|arrival| arrival.target == "/deny"), "nobody hears of those");
    });
}

#[test]
fn bodies_and_trailers_stream_both_ways() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let head = "POST /x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = host.client(head.as_bytes()).await;
        let mut link = Link::take(&worker).await;
        let head = link.head().await;
        assert!(head.contains("te: trailers\r\n") && head.contains("trailer: x-sum\r\n"), "{head}");
        client.write_all(b"3\r\nabc\r\n").await.expect("written");
        link.until("3\r\nabc\r\n").await;
        client.write_all(b"0\r\nx-sum: 1\r\n\r\n").await.expect("written");
        assert_eq!(link.until("\r\n\r\n").await, "0\r\nx-sum: 1\r\n\r\n");
        link.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-total\r\n\r\n2\r\nde\r\n")
            .await;
        let head = read_until(&mut client, "de\r\n").await;
        // Where a body in chunks ends is not looked at, so nothing may follow it.
        assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"), "{head}");
        link.say("0\r\nx-total: 2\r\n\r\n").await;
        assert_eq!(answer(&mut client).await, "0\r\nx-total: 2\r\n\r\n");
    });
}

#[test]
fn a_request_of_any_method_keeps_its_body() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let request = "GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let mut client = host.client(request.as_bytes()).await;
        let mut link = Link::take(&worker).await;
        assert!(link.head().await.contains("transfer-encoding: chunked\r\n"));
        link.until("3\r\nabc\r\n0\r\n\r\n").await;
        link.say(OK).await;
        read_until(&mut client, "ok").await;
    });
}

#[test]
fn what_fits_no_packet_is_refused_and_charged_to_no_worker() {
    test(async {
        let host = Host::controlled(
            BalancerConfig { head_max: 1 << 20, ..config() },
            Fakes::default().controlled(false),
        )
        .await;
        let zero = host.worker(0).await;
        let _one = host.worker(1).await;
        let upgrade = |padding: usize| {
            let target = format!("/socketcluster/?ssid={}", session(0));
            let padding = "x".repeat(padding);
            format!(
                "GET {target} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: {padding}\r\n\r\n"
            )
        };
        let mut client = host.client(b"GET /deny HTTP/1.1\r\n\r\n").await;
        read_until(&mut client, "denied").await;
        client.write_all(upgrade(200_000).as_bytes()).await.expect("written");
        let said = answer(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
        let _client = host.client(upgrade(1).as_bytes()).await;
        take(&zero).await;
    });
}

#[test]
fn a_body_waits_for_its_worker_to_want_it() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let head = b"POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        let mut client = host.client(head).await;
        let mut link = Link::take(&worker).await;
        assert!(link.head().await.contains("expect: 100-continue\r\n"));
        let mut byte = [0];
        let early = timeout(Duration::from_millis(200), client.read(&mut byte)).await;
        assert!(early.is_err(), "nobody said that it may come");
        link.say("HTTP/1.1 100 Continue\r\n\r\n").await;
        assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100 Continue\r\n"));
        client.write_all(b"abc").await.expect("written");
        link.until("abc").await;
        link.say(OK).await;
        read_until(&mut client, "ok").await;

        // A worker that refuses it never sees it, and its client need not send it.
        let mut client = host.client(head).await;
        link.head().await;
        link.say("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nbig").await;
        let said = answer(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 413 ") && said.ends_with("big"), "{said}");
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let mut client = host.client(b"POST /x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nabc").await;
        let mut link = Link::take(&worker).await;
        link.until("abc").await;
        link.say("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate").await;
        drop(link);
        let said = read_until(&mut client, "late").await;
        assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    });
}

#[test]
fn a_worker_that_goes_away_costs_only_what_it_may_have_begun() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let zero = host.worker(0).await;
        let one = host.worker(1).await;
        // What only reads is asked again elsewhere.
        let mut client = host.client(&by_query(0)).await;
        let mut link = Link::take(&zero).await;
        link.head().await;
        host.control.send(&ToChild::Retire(WorkerId(0)), &[]).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(link);
        let mut link = Link::take(&one).await;
        link.head().await;
        link.say(OK).await;
        read_until(&mut client, "ok").await;
        // What changes something is not.
        let mut client = host.client(b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
        link.until("abc").await;
        drop(link);
        let said = read_until(&mut client, "the request.\n").await;
        assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
        // A link that ended while nobody used it costs nothing.
        client.write_all(b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await.expect("written");
        let mut link = Link::take(&one).await;
        link.until("abc").await;
        link.say(OK).await;
        read_until(&mut client, "ok").await;
        drop(link);
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.write_all(b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await.expect("written");
        Link::take(&one).await.until("abc").await;
    });
}

#[test]
fn a_crash_costs_one_request_and_no_other_connection() {
    test(async {
        for fails_open in [false, true] {
            let fakes = Fakes::default();
            let host = Host::controlled(config(), fakes.controlled(fails_open)).await;
            let worker = host.worker(0).await;
            let mut open = host.client(b"GET /a HTTP/1.1\r\n\r\n").await;
            let mut link = Link::take(&worker).await;
            link.head().await;
            let mut trapping = host.client(b"GET /trap HTTP/1.1\r\nConnection: close\r\n\r\n").await;
            if fails_open {
                let mut link = Link::take(&worker).await;
                link.head().await;
                link.say(OK).await;
                assert!(answer(&mut trapping).await.ends_with("ok"));
            } else {
                let said = answer(&mut trapping).await;
                assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 1"), "{said}");
            }
            link.say(OK).await;
            read_until(&mut open, "ok").await;
            assert!(ask(&host, "/calls").await.ends_with("first 1"), "a fresh instance");
            assert_eq!(*fakes.started.borrow(), [Cause::Boot, Cause::Crash]);
        }
    });
}

#[test]
fn a_controller_that_does_not_start_again_keeps_nobody_waiting() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let _worker = host.worker(0).await;
        fakes.is_broken.set(true);
        ask(&host, "/trap").await;
        let clock = Clock::now();
        for _ in 0..20 {
            assert!(ask(&host, "/x").await.starts_with("HTTP/1.1 503 "));
        }
        // None waits, which would be for a second each.
        assert!(clock.elapsed() < Duration::from_secs(10), "{:?}", clock.elapsed());
        fakes.is_broken.set(false);
        while !ask(&host, "/calls").await.starts_with("HTTP/1.1 403 ") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_slow_controller_holds_up_neither_accepting_nor_those_behind_for_long() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(true)).await;
        let worker = host.worker(0).await;
        let _slow = host.client(b"GET /slow HTTP/1.1\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let clock = Clock::now();
        let mut behind = host.client(b"GET /deny HTTP/1.1\r\n\r\n").await;
        // Both are decided by `on_failure` after a second, in either order.
        let mut links = [Link::take(&worker).await, Link::take(&worker).await];
        assert!(clock.elapsed() < Duration::from_secs(10), "{:?}", clock.elapsed());
        for link in &mut links {
            link.head().await;
            link.say(OK).await;
        }
        read_until(&mut behind, "ok").await;
    });
}

async fn reload(host: &Host, number: u64, name: &str) {
    host.control.send(&ToChild::Reload(number, Box::new(generation(name))), &[]).await.expect("sent");
}

/// The answer to a reload, with its number.
async fn reloaded(host: &Host) -> (u64, Result<(), String>) {
    match host.said().await {
        FromChild::Reloaded(number, outcome) => (number, outcome),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_component_takes_over_between_two_calls_or_not_at_all() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let _worker = host.worker(0).await;
        assert!(ask(&host, "/calls").await.ends_with("first 1"));
        for (number, bad, said) in
            [(7, "bad", "told to refuse"), (8, "forgetful", "told to refuse its state")]
        {
            reload(&host, number, bad).await;
            assert_eq!(reloaded(&host).await, (number, Err(said.to_owned())));
        }
        assert!(ask(&host, "/calls").await.ends_with("first 2"), "nothing changed");
        reload(&host, 9, "second").await;
        assert_eq!(reloaded(&host).await, (9, Ok(())));
        assert!(ask(&host, "/calls").await.ends_with("second 3"), "with the state of the first");
        assert_eq!(*fakes.started.borrow(), [Cause::Boot, Cause::Reload, Cause::Reload]);
        assert_eq!(*fakes.restored.borrow(), [2]);
    });
}

#[test]
fn requests_are_decided_while_another_component_starts() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let _worker = host.worker(0).await;
        reload(&host, 1, "slow").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        for calls in 1..=3 {
            let said = ask(&host, "/calls").await;
            assert!(said.ends_with(&format!("first {calls}")), "{said}");
        }
        // One that crashes meanwhile is restarted.
        ask(&host, "/trap").await;
        assert!(ask(&host, "/calls").await.ends_with("first 1"));
        fakes.slow.add_permits(1);
        assert_eq!(reloaded(&host).await, (1, Ok(())));
        assert!(ask(&host, "/calls").await.ends_with("slow 2"), "with the state of when it took over");
        // A later order takes the place of one whose instance has not started yet.
        reload(&host, 2, "slow again").await;
        reload(&host, 3, "second").await;
        assert_eq!(reloaded(&host).await, (3, Ok(())));
        fakes.slow.add_permits(1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(ask(&host, "/calls").await.ends_with("second 3"));
    });
}

#[test]
fn a_component_takes_over_from_one_that_does_not_start_again() {
    test(async {
        let fakes = Fakes::default();
        let host = Host::controlled(config(), fakes.controlled(false)).await;
        let _worker = host.worker(0).await;
        reload(&host, 1, "slow").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        fakes.is_broken.set(true);
        ask(&host, "/trap").await;
        assert!(ask(&host, "/calls").await.starts_with("HTTP/1.1 503 "));
        fakes.is_broken.set(false);
        fakes.slow.add_permits(1);
        assert_eq!(reloaded(&host).await, (1, Ok(())));
        assert!(ask(&host, "/calls").await.ends_with("slow 1"));
    });
}

#[test]
fn a_controller_that_does_not_start_is_told_to_the_master() {
    test(async {
        let (ours, theirs) = packet_pair().expect("a pair");
        let fakes = Fakes::default();
        fakes.is_broken.set(true);
        let link = ChildLink::new(theirs).expect("a link");
        let ended = run(link, BalancerId(0), config(), Vec::new(), fakes.controlled(false)).await;
        assert!(matches!(ended, Err(BalancerError::Controller(_))));
        let said =
            MasterLink::new(ours).expect("a link").recv().await.expect("received").expect("a message").0;
        assert!(matches!(said, FromChild::Refused { reason, .. } if reason == "told to refuse"));
    });
}

#[test]
fn a_drain_waits_for_requests_and_not_for_idle_connections() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let mut idle = host.client(b"GET /deny HTTP/1.1\r\n\r\n").await;
        read_until(&mut idle, "denied").await;
        let mut working = host.client(b"GET /x HTTP/1.1\r\n\r\n").await;
        let mut link = Link::take(&worker).await;
        link.head().await;
        host.control.send(&ToChild::Drain(10_000), &[]).await.expect("sent");
        assert_eq!(answer(&mut idle).await, "");
        tokio::time::sleep(LAST_HEADS).await;
        link.say(OK).await;
        assert!(answer(&mut working).await.ends_with("ok"));
        assert!(matches!(host.said().await, FromChild::Drained));
    });
}

/// Requests that wait long, as polls do, do not keep out others before there are as many as may be under way.
#[test]
fn many_requests_may_wait_at_once() {
    test(async {
        let host = Host::controlled(config(), Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let mut waiting = Vec::new();
        for _ in 0..240 {
            let client = host.client(b"GET /poll HTTP/1.1\r\n\r\n").await;
            let mut link = Link::take(&worker).await;
            link.head().await;
            waiting.push((client, link));
        }
        for (mut client, mut link) in waiting {
            link.say(OK).await;
            read_until(&mut client, "ok").await;
        }
    });
}

#[test]
fn connections_between_two_requests_give_way_to_new_ones() {
    test(async {
        let host = Host::controlled(
            BalancerConfig { pending_max: 3, ..config() },
            Fakes::default().controlled(false),
        )
        .await;
        let worker = host.worker(0).await;
        let mut idle = Vec::new();
        for _ in 0..3 {
            let mut client = host.client(b"GET /deny HTTP/1.1\r\n\r\n").await;
            read_until(&mut client, "denied").await;
            idle.push(client);
        }
        let mut working = host.client(b"GET /x HTTP/1.1\r\n\r\n").await;
        let mut link = Link::take(&worker).await;
        link.head().await;
        let _more = [host.client(b"").await, host.client(b"").await, host.client(b"").await];
        for client in &mut idle {
            assert_eq!(answer(client).await, "");
        }
        link.say(OK).await;
        read_until(&mut working, "ok").await;
    });
}

#[test]
fn a_connection_that_waits_for_a_worker_has_a_place() {
    test(async {
        let options = BalancerConfig { pending_max: 1, ..config() };
        let host = Host::controlled(options, Fakes::default().controlled(false)).await;
        let upgrade = b"GET /socketcluster/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut waiting = host.client(upgrade).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _next = host.client(b"").await;
        assert_eq!(answer(&mut waiting).await, "", "it was the oldest");
    });
}

#[test]
fn a_client_that_goes_away_amid_its_request_drives_out_nobody() {
    test(async {
        let options = BalancerConfig { pending_max: 1, ..config() };
        let host = Host::controlled(options, Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let working = host.client(b"GET /x HTTP/1.1\r\n\r\n").await;
        let mut link = Link::take(&worker).await;
        link.head().await;
        let mut idle = host.client(b"").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(working);
        assert_eq!(link.0.read(&mut [0]).await.expect("an end"), 0);
        // Still there.
        idle.write_all(b"GET /deny HTTP/1.1\r\n\r\n").await.expect("written");
        read_until(&mut idle, "denied").await;
    });
}

#[test]
fn one_address_has_not_all_requests_that_may_be_under_way() {
    test(async {
        let options = BalancerConfig { pending_per_address: 2, ..config() };
        let host = Host::controlled(options, Fakes::default().controlled(false)).await;
        let worker = host.worker(0).await;
        let mut working = Vec::new();
        for _ in 0..2 {
            let client = host.client(b"GET /x HTTP/1.1\r\n\r\n").await;
            let mut link = Link::take(&worker).await;
            link.head().await;
            working.push((client, link));
        }
        let said = ask(&host, "/x").await;
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("under way"), "{said}");
        let (mut client, mut link) = working.remove(0);
        link.say(OK).await;
        read_until(&mut client, "ok").await;
        assert!(ask(&host, "/deny").await.starts_with("HTTP/1.1 403 "));
    });
}
