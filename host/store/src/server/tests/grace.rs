//! How long a session waits for its sockets: by its grace, but a worker whose link broke may come back with them.

use sc_wire::store::KeyOp;

use super::rig::{Rig, Wire, test};
use super::*;

fn hold(worker: &Wire, sockets: u32) {
    worker.sender.send(&Request::SessionSockets { session: "s".to_owned(), sockets }).expect("sent");
}

fn rig() -> Rig {
    Rig::new(StoreConfig { session_grace: Duration::ZERO, ..config() })
}

/// Ends what is due as long as a test looks.
async fn sweep_for(rig: &Rig, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        rig.hub.borrow_mut().sweep();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_link_that_breaks_ends_no_session_though_its_grace_is_none() {
    test(async {
        let rig = rig();
        let (mut worker, mut other) = (rig.link(1), rig.link(2));
        hold(&worker, 1);
        worker.get("a").await;
        drop(worker);
        sweep_for(&rig, Duration::from_millis(100)).await;
        let mut worker = rig.link(1);
        hold(&worker, 1);
        worker.get("a").await;
        assert!(rig.hub.borrow().until_next_end().is_none(), "it has its socket again");
        rig.hub.borrow_mut().sweep();
        other.act("a", KeyOp::Get).await.expect("got");
        worker.act("a", KeyOp::Get).await.expect("got");
        assert!(worker.heard.is_empty() && other.heard.is_empty(), "{:?} {:?}", worker.heard, other.heard);
        hold(&worker, 0);
        assert_eq!(worker.hear().await, Reply::SessionEnd { session: "s".to_owned() }, "at once");
    });
}

#[test]
fn a_worker_that_is_gone_is_not_waited_for() {
    test(async {
        for retired_first in [true, false] {
            let rig = rig();
            let (mut worker, mut other) = (rig.link(1), rig.link(2));
            hold(&worker, 1);
            worker.get("a").await;
            if retired_first {
                rig.hub.borrow_mut().worker_gone(WorkerId(1));
            }
            drop(worker);
            sweep_for(&rig, Duration::from_millis(50)).await;
            if !retired_first {
                rig.hub.borrow_mut().worker_gone(WorkerId(1));
                rig.hub.borrow_mut().sweep();
            }
            let ended = tokio::time::timeout(hub::COME_BACK / 2, other.hear()).await;
            assert_eq!(ended, Ok(Reply::SessionEnd { session: "s".to_owned() }), "{retired_first}");
        }
    });
}

/// A store that takes long to begin, its controller's start for example, is not one that waited meanwhile.
#[test]
fn sessions_of_the_last_life_are_waited_for_from_when_links_are_taken() {
    test(async {
        let rig = rig();
        let mut worker = rig.link(1);
        hold(&worker, 1);
        worker.get("a").await;
        let mut keys = Keyspace::new(true);
        Journal::open_now(rig.folder.path(), |change| keys.apply(change)).expect("a journal");
        let mut next = Hub::new(StoreId(0), rig.hub.borrow().config().clone(), keys, None);
        assert!(next.until_next_end().is_none(), "nobody could come back yet");
        next.expect_sessions();
        assert!(next.until_next_end().is_some_and(|left| left > hub::COME_BACK / 2));
    });
}
