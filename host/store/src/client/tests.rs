//! Clients and whole stores in one thread, over real links.

use std::cell::RefCell;
use std::os::fd::AsFd as _;
use std::rc::Rc;

use sc_core::ids::WorkerId;
use sc_core::limits::LINK_BACKLOG;
use sc_core::link::control::{ChildLink, FromChild, MasterLink, ToChild};
use sc_core::link::{packet_pair, stream_pair};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::timeout;

use super::*;
use crate::fake::{Fakes, config};

struct Store {
    control: MasterLink,
    task: JoinHandle<Result<(), crate::StoreError>>,
}

impl Store {
    async fn start(id: u16) -> Self {
        let (ours, theirs) = packet_pair().expect("a pair");
        let link = ChildLink::new(theirs).expect("a link");
        let task = tokio::task::spawn_local(crate::run::<Fakes>(link, StoreId(id), config(), None));
        let control = MasterLink::new(ours).expect("a link");
        assert!(matches!(control.recv().await, Ok(Some((FromChild::Ready, _)))));
        Store { control, task }
    }

    async fn link(&self, worker: u16) -> OwnedFd {
        let (ours, theirs) = stream_pair().expect("a pair");
        self.control.send(&ToChild::WorkerLink(WorkerId(worker)), &[theirs.as_fd()]).await.expect("sent");
        ours
    }

    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

type Events = Rc<RefCell<Vec<StoreEvent>>>;

fn client(stores: u16) -> (Stores, Events) {
    let events = Events::default();
    let log = Rc::clone(&events);
    let note = move |event| {
        if !matches!(event, StoreEvent::Attached(_)) {
            log.borrow_mut().push(event);
        }
    };
    (Stores::new(stores, note), events)
}

fn test(run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { timeout(Duration::from_secs(20), run).await };
    LocalSet::new().block_on(&runtime, limited).expect("done in time");
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn json(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn message(channel: &str, data: &str) -> StoreEvent {
    StoreEvent::Message { channel: channel.to_owned(), data: Some(json(data)) }
}

#[test]
fn publications_reach_all_subscribers_in_order_ahead_of_the_answer() {
    test(async {
        let store = Store::start(0).await;
        let ((one, heard_one), (two, heard_two)) = (client(1), client(1));
        one.attach(StoreId(0), store.link(1).await).expect("attached");
        two.attach(StoreId(0), store.link(2).await).expect("attached");
        one.all_attached().await;
        one.subscribe("c").await.expect("subscribed");
        two.subscribe("c").await.expect("subscribed");
        for number in 0..999 {
            one.publish("c", Some(json(&number.to_string()))).expect("sent");
        }
        one.publish_and_wait("c", Some(json("999"))).await.expect("taken");
        let expected: Vec<_> = (0..1000).map(|number| message("c", &number.to_string())).collect();
        assert_eq!(*heard_one.borrow(), expected, "the publisher's own copies are ahead of its answer");
        until(|| heard_two.borrow().len() == 1000).await;
        assert_eq!(*heard_two.borrow(), expected);
        two.unsubscribe("c");
        two.publish_and_wait("c", None).await.expect("taken");
        assert_eq!(heard_two.borrow().len(), 1000);
    });
}

#[test]
fn values_are_set_got_removed_and_expire() {
    test(async {
        let store = Store::start(0).await;
        let (client, _) = client(1);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        let session = Tree::Session("s".into());
        let set = client.key(&session, path(&["a", "b"]), KeyOp::Set { value: json("[1,2]") });
        let got = client.key(&session, path(&["a", "b", "1"]), KeyOp::Get);
        assert_eq!(got.await, Ok(Some(json("2"))), "sent when called, in the order of the calls");
        assert_eq!(set.await, Ok(None));
        let expire = client.key(&session, path(&["a", "b"]), KeyOp::Expire { after_ms: 20 });
        assert_eq!(expire.await, Ok(Some(json("true"))));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(client.key(&session, vec![], KeyOp::Get).await, Ok(Some(json("{\"a\":{}}"))));
        assert_eq!(
            client.key(&session, vec![], KeyOp::Remove { get_value: true }).await,
            Ok(Some(json("{\"a\":{}}")))
        );
        assert_eq!(client.key(&session, vec![], KeyOp::Get).await, Ok(None));
        let refused = client.key(&session, vec![], KeyOp::Set { value: json("1") }).await;
        assert!(
            matches!(refused, Err(CallError::Refused(error)) if error.message.contains("at least one key"))
        );
        let refused = client.subscribe(&"x".repeat(5000)).await;
        assert!(matches!(refused, Err(CallError::Refused(error)) if error.message.contains("4096")));
    });
}

#[test]
fn the_global_tree_is_spread_and_put_together() {
    test(async {
        let (client, _) = client(3);
        let mut stores = Vec::new();
        for id in 0..3 {
            let store = Store::start(id).await;
            client.attach(StoreId(id), store.link(1).await).expect("attached");
            stores.push(store);
        }
        client.all_attached().await;
        assert_eq!(client.key(&Tree::Global, vec![], KeyOp::Get).await, Ok(None));
        for number in 0..20 {
            client
                .key(&Tree::Global, path(&[&format!("k{number}")]), KeyOp::Set { value: json("1") })
                .await
                .expect("set");
        }
        let whole = client.key(&Tree::Global, vec![], KeyOp::Get).await.expect("got").expect("a value");
        let whole: std::collections::BTreeMap<String, u32> =
            serde_json::from_slice(&whole).expect("an object");
        assert_eq!(whole.len(), 20);
        let expiring = client.key(&Tree::Global, vec![], KeyOp::Expire { after_ms: 60_000 }).await;
        assert_eq!(expiring, Ok(Some(json("true"))));
        assert!(
            client
                .key(&Tree::Global, vec![], KeyOp::Remove { get_value: true })
                .await
                .expect("removed")
                .is_some()
        );
        assert_eq!(client.key(&Tree::Global, vec![], KeyOp::Get).await, Ok(None));
        // With one store gone, keys of the others are served.
        stores.remove(1).kill().await;
        let alive = (0..100)
            .map(|number| format!("k{number}"))
            .find(|key| shard::of_path(&Tree::Global, std::slice::from_ref(key), 3) != Some(StoreId(1)));
        client
            .key(&Tree::Global, vec![alive.expect("a key elsewhere")], KeyOp::Set { value: json("1") })
            .await
            .expect("set");
    });
}

/// All workers together hold what an address may have, and a store that comes back knows what each has.
#[test]
fn sockets_of_an_address_are_counted_over_all_workers() {
    test(async {
        let address = std::net::IpAddr::from([10, 0, 0, 1]);
        let ((one, _), (two, _)) = (client(1), client(1));
        assert_eq!(one.enter_address(address, 1, 2).await, Err(CallError::Lost), "there is no store yet");
        let store = Store::start(0).await;
        one.attach(StoreId(0), store.link(1).await).expect("attached");
        two.attach(StoreId(0), store.link(2).await).expect("attached");
        assert_eq!(two.enter_address(address, 1, 2).await, Ok(true), "one was told of with the link");
        assert_eq!(two.enter_address(address, 2, 2).await, Ok(false));
        two.hold_address(address, 1);
        store.kill().await;
        until(|| two.inner.links[0].borrow().room(0).is_none()).await;
        assert_eq!(two.enter_address(address, 2, 2).await, Err(CallError::Lost), "at once");
        two.hold_address(address, 1);
        let store = Store::start(0).await;
        two.attach(StoreId(0), store.link(2).await).expect("attached");
        one.attach(StoreId(0), store.link(1).await).expect("attached");
        assert_eq!(one.enter_address(address, 2, 2).await, Ok(false), "both said again what they hold");
        one.hold_address(address, 0);
        drop(two);
        until_true(async || one.enter_address(address, 2, 2).await == Ok(true)).await;
    });
}

async fn until_true(mut holds: impl AsyncFnMut() -> bool) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn channels_are_spread_and_all_are_heard() {
    test(async {
        let (client, events) = client(3);
        let mut stores = Vec::new();
        for id in 0..3 {
            let store = Store::start(id).await;
            client.attach(StoreId(id), store.link(1).await).expect("attached");
            stores.push(store);
        }
        let channels: Vec<_> = (0..30).map(|number| format!("c{number}")).collect();
        let used: std::collections::BTreeSet<_> =
            channels.iter().map(|channel| shard::of_channel(channel, 3)).collect();
        assert_eq!(used.len(), 3);
        for channel in &channels {
            client.subscribe(channel).await.expect("subscribed");
        }
        for channel in &channels {
            client.publish_and_wait(channel, Some(json("1"))).await.expect("taken");
        }
        let expected: Vec<_> = channels.iter().map(|channel| message(channel, "1")).collect();
        assert_eq!(*events.borrow(), expected);
        assert!(client.attach(StoreId(3), stores[0].link(1).await).is_err(), "there is no such store");
    });
}

#[test]
fn a_successor_is_subscribed_again_and_the_gap_is_told_after() {
    test(async {
        let store = Store::start(0).await;
        let (client, events) = client(1);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        client.subscribe("a").await.expect("subscribed");
        client.subscribe("b").await.expect("subscribed");
        client.subscribe("left").await.expect("subscribed");
        store.kill().await;
        until(|| events.borrow().contains(&StoreEvent::Lost(StoreId(0)))).await;
        client.unsubscribe("left");
        let parked = client.key(&Tree::Global, path(&["k"]), KeyOp::Set { value: json("1") });
        client.publish("a", Some(json("1"))).expect("parked");
        client.publish("left", Some(json("1"))).expect("parked");
        let pending = client.subscribe("c");
        let waited = client.publish_and_wait("c", Some(json("2")));
        let successor = Store::start(0).await;
        client.attach(StoreId(0), successor.link(1).await).expect("attached");
        let (set, subscribed, published) = tokio::join!(parked, pending, waited);
        assert_eq!((set, subscribed, published), (Ok(None), Ok(()), Ok(())));
        let gap = StoreEvent::Gap(StoreId(0));
        assert_eq!(
            *events.borrow(),
            [StoreEvent::Lost(StoreId(0)), gap, message("a", "1"), message("c", "2")]
        );
    });
}

/// Of a store that reads nothing: what it is told without an answer is not lost with a link that is full.
#[test]
fn a_link_without_room_is_given_up_and_all_is_said_again() {
    test(async {
        let (client, events) = client(1);
        let (ours, _theirs) = stream_pair().expect("a pair");
        client.attach(StoreId(0), ours).expect("attached");
        let large = Bytes::from(vec![b'1'; 1 << 20]);
        while client.publish("c", Some(large.clone())).is_ok() {}
        client.hold_session("s", 1);
        assert!(client.are_behind(), "there is room for more than publications may take");
        let large = "x".repeat(1 << 20);
        while client.are_behind() {
            client.hold_session(&large, 0);
        }
        until(|| events.borrow().contains(&StoreEvent::Lost(StoreId(0)))).await;
        assert_eq!(client.publish("c", None), Ok(()), "parked, as for a store that is down");
        let store = Store::start(0).await;
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        let emit = SessionMessage::Close { code: 4000, reason: String::new() };
        assert_eq!(client.tell_session_and_count("s", emit).await, Ok(Some(json("1"))));
        assert_eq!(events.borrow().iter().filter(|event| **event == StoreEvent::Lost(StoreId(0))).count(), 1);
    });
}

#[test]
fn what_is_to_run_at_the_end_is_said_to_each_store_again_and_bounded() {
    test(async {
        let (client, _) = client(1);
        let leave = |value: Bytes| client.run_at_end(&Tree::Global, vec![], "p".to_owned(), Some(value));
        leave(json("0")).expect("kept, though the store is down");
        let mut links = Vec::new();
        for turn in 1..3u64 {
            let (ours, theirs) = stream_pair().expect("a pair");
            client.attach(StoreId(0), ours).expect("attached");
            leave(json(&turn.to_string())).expect("sent");
            let (sender, mut store, drain) = split::<Reply, Request>(theirs).expect("a link");
            for expected in 0..=turn {
                let said = store.recv().await.expect("a frame").expect("a request");
                let is_it = matches!(
                    &said,
                    Request::RunAtEnd { number, run }
                        if *number == expected && run.argument == Some(json(&expected.to_string()))
                );
                assert!(is_it, "{said:?}");
            }
            links.push((sender, store, drain));
        }
        assert_eq!(leave(Bytes::from(vec![b'1'; LINK_BACKLOG])), Err(CallError::Busy));
        while leave(json("1")).is_ok() {}
        assert_eq!(leave(json("1")), Err(CallError::Busy));
    });
}

#[test]
fn a_first_link_is_no_gap_and_a_replaced_one_no_loss() {
    test(async {
        let store = Store::start(0).await;
        let (client, events) = client(1);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        client.key(&Tree::Global, path(&["k"]), KeyOp::Get).await.expect("got");
        assert!(events.borrow().is_empty());
        let in_flight = client.key(&Tree::Global, path(&["k"]), KeyOp::Get);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        assert_eq!(in_flight.await, Err(CallError::Lost));
        client.key(&Tree::Global, path(&["k"]), KeyOp::Get).await.expect("got");
        assert_eq!(*events.borrow(), [StoreEvent::Gap(StoreId(0))]);
    });
}

#[test]
fn calls_in_flight_fail_at_once_but_subscriptions_do_not() {
    test(async {
        let (ours, theirs) = stream_pair().expect("a pair");
        let (client, events) = client(1);
        client.attach(StoreId(0), ours).expect("attached");
        let get = client.key(&Tree::Global, path(&["k"]), KeyOp::Get);
        let mut subscribed = Box::pin(client.subscribe("c"));
        let dropped = client.publish_and_wait("c", None);
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(theirs);
        assert_eq!(get.await, Err(CallError::Lost));
        assert_eq!(dropped.await, Err(CallError::Lost));
        assert_eq!(*events.borrow(), [StoreEvent::Lost(StoreId(0))]);
        tokio::select! {
            biased;
            _ = &mut subscribed => panic!("nobody confirmed it"),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        let store = Store::start(0).await;
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        assert_eq!(subscribed.await, Ok(()));
    });
}

#[test]
fn what_waits_is_bounded_in_time() {
    test(async {
        tokio::time::pause();
        let (client, _) = client(1);
        let begun = Instant::now();
        let late = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            let got = client.key(&Tree::Global, path(&["late"]), KeyOp::Get).await;
            (got, begun.elapsed())
        };
        let (get, subscribed, (late, elapsed)) =
            tokio::join!(client.key(&Tree::Global, path(&["k"]), KeyOp::Get), client.subscribe("c"), late);
        assert_eq!(get, Err(CallError::Timeout(STORE_DEADLINE)));
        assert_eq!(subscribed, Err(CallError::Timeout(STORE_DEADLINE)));
        assert_eq!(late, Err(CallError::Timeout(STORE_DEADLINE)));
        assert!(elapsed >= Duration::from_secs(8) && elapsed < Duration::from_millis(8200), "{elapsed:?}");
        assert!(client.inner.timer.borrow().is_none(), "the timer rests when nothing waits");
        // A store that is linked but does not answer is no different.
        let (ours, _theirs) = stream_pair().expect("a pair");
        client.attach(StoreId(0), ours).expect("attached");
        assert_eq!(
            client.key(&Tree::Global, path(&["k"]), KeyOp::Get).await,
            Err(CallError::Timeout(STORE_DEADLINE))
        );
    });
}

#[test]
fn what_waits_is_bounded_in_number_and_bytes() {
    test(async {
        // No time passes while so many are asked and answered: a clock that is paused goes on by itself only when
        // there is nothing to do.
        tokio::time::pause();
        let began = std::time::Instant::now();
        let busy = tokio::task::spawn_local(async move {
            while began.elapsed() < Duration::from_secs(60) {
                tokio::task::yield_now().await;
            }
        });
        let (client, _) = client(1);
        let waiting: Vec<_> =
            (0..STORE_PENDING).map(|_| client.key(&Tree::Global, path(&["k"]), KeyOp::Get)).collect();
        assert_eq!(client.key(&Tree::Global, path(&["k"]), KeyOp::Get).await, Err(CallError::Busy));
        assert_eq!(client.publish("c", None), Err(CallError::Busy));
        assert_eq!(client.subscribe("c").await, Err(CallError::Busy));
        let store = Store::start(0).await;
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        for get in waiting {
            assert_eq!(get.await, Ok(None));
        }
        busy.abort();
        tokio::time::resume();
        store.kill().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let large = Bytes::from(vec![b'1'; LINK_BACKLOG / 2]);
        client.publish("c", Some(large.clone())).expect("parked");
        assert_eq!(client.publish("c", Some(large)), Err(CallError::Busy));
    });
}

#[test]
fn a_worker_that_does_not_read_is_dropped_and_the_others_are_served() {
    test(async {
        let store = Store::start(0).await;
        let (client, events) = client(1);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        let slow = store.link(2).await;
        let (sender, mut receiver, drain) = split::<Request, Reply>(slow).expect("a link");
        let writing = tokio::task::spawn_local(drain);
        sender.send(&Request::Subscribe { op: 1, channel: "c".into() }).expect("sent");
        assert_eq!(receiver.recv().await.expect("a frame"), Some(Reply::Done { op: 1 }));
        client.subscribe("c").await.expect("subscribed");
        let data = Bytes::from(format!("\"{}\"", "x".repeat(1 << 20)));
        let count = 2 * LINK_BACKLOG / data.len();
        for _ in 0..count {
            client.publish_and_wait("c", Some(data.clone())).await.expect("taken");
        }
        assert_eq!(events.borrow().len(), count);
        let mut received = 0;
        while let Ok(Some(_)) = receiver.recv().await {
            received += 1;
        }
        assert!(received < count, "the link ended after {received}");
        writing.abort();
    });
}

#[test]
fn a_worker_that_asks_for_much_at_once_gets_it_all() {
    test(async {
        let store = Store::start(0).await;
        let (client, _) = client(1);
        client.attach(StoreId(0), store.link(1).await).expect("attached");
        let value = Bytes::from(format!("\"{}\"", "x".repeat(1 << 20)));
        client.key(&Tree::Global, path(&["k"]), KeyOp::Set { value: value.clone() }).await.expect("set");
        let gets: Vec<_> = (0..300).map(|_| client.key(&Tree::Global, path(&["k"]), KeyOp::Get)).collect();
        for get in gets {
            assert_eq!(get.await.expect("got").expect("a value").len(), value.len());
        }
    });
}
