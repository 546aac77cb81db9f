//! Disks that are full, and disks that fail.

use sc_wire::store::{KeyErrorKind, KeyOp};

use super::rig::{Rig, place, test};
use super::*;

#[test]
fn a_change_that_cannot_be_written_is_not_made() {
    test(async {
        let rig = Rig::new(config());
        let mut worker = rig.link(1);
        worker.set("a", "1").await.expect("set");
        let room = rig.write_to("/dev/full");
        let (kind, message) = worker.act("a", KeyOp::Set { value: "2".into() }).await.expect_err("no room");
        assert_eq!(kind, KeyErrorKind::Storage);
        assert!(message.starts_with("nothing was changed") && message.contains("No space left"), "{message}");
        assert_eq!(worker.get("a").await.as_deref(), Some(&b"1"[..]), "and reads go on");
        assert_eq!(worker.set("a", "3").await, Err(KeyErrorKind::Storage), "not even tried");
        rig.write_back_to(room);
        rig.hub.borrow_mut().sweep();
        assert_eq!(rig.kept("a").as_deref(), Some(&b"1"[..]), "nothing of it comes later");
        worker.set("b", "1").await.expect("nothing has to be pending for changes to be taken again");
        assert_eq!((rig.kept("a").as_deref(), rig.kept("b").as_deref()), (Some(&b"1"[..]), Some(&b"1"[..])));
    });
}

#[test]
fn a_procedure_that_cannot_be_written_publishes_nothing_and_is_undone() {
    test(async {
        let rig = Rig::driven(&Fakes::default()).await;
        let mut worker = rig.link(1);
        let op = worker.say(|op| Request::Subscribe { op, channel: "done".to_owned() });
        worker.answer(op).await.expect("subscribed");
        worker.run("sets", "1").await.expect("run");
        assert_eq!(std::mem::take(&mut worker.heard).len(), 1, "ahead of the answer");
        let room = rig.write_to("/dev/full");
        let (kind, message) = worker.run("sets", "2").await.expect_err("no room");
        assert!(kind == KeyErrorKind::Storage && message.starts_with("nothing was changed"), "{message}");
        assert_eq!(worker.get("a").await.as_deref(), Some(&b"1"[..]));
        rig.write_back_to(room);
        rig.hub.borrow_mut().sweep();
        worker.run("sets", "3").await.expect("run");
        assert_eq!(worker.heard.len(), 1, "{:?}", worker.heard);
        assert_eq!(rig.kept("a").as_deref(), Some(&b"3"[..]));
    });
}

/// What the store notes for itself is not taken back, and comes once there is room.
#[test]
fn sessions_are_noted_when_there_is_room_again() {
    test(async {
        let rig = Rig::new(config());
        let mut worker = rig.link(1);
        let room = rig.write_to("/dev/full");
        worker.sender.send(&Request::SessionSockets { session: "s".to_owned(), sockets: 1 }).expect("sent");
        assert_eq!(worker.set("a", "1").await, Err(KeyErrorKind::Storage));
        rig.write_back_to(room);
        rig.hub.borrow_mut().sweep();
        let mut keys = Keyspace::new(false);
        Journal::open_now(rig.folder.path(), |change| keys.apply(change)).expect("a journal");
        let live = keys.act(0, &crowd::live(Some("s")), KeyOp::Has).expect("asked");
        assert_eq!(live.as_deref(), Some(&b"true"[..]));
        assert_eq!(worker.get("a").await, None);
    });
}

/// A sync that failed is never tried again: the store ends, and the next one writes all it can read anew.
#[test]
fn a_disk_that_fails_ends_the_store_and_its_successor_mends_the_journal() {
    test(async {
        let rig = Rig::new(StoreConfig { fsync: Fsync::Always, ..config() });
        let mut worker = rig.link(1);
        let syncing = tokio::task::spawn_local({
            let hub = Rc::clone(&rig.hub);
            async move { sync(&hub).await }
        });
        worker.set("a", "1").await.expect("set");
        let segment = rig.write_to("/dev/null");
        let Place { tree, path } = place("a");
        worker.say(|op| Request::Key { op, tree, path, action: KeyOp::Set { value: "2".into() } });
        let error = syncing.await.expect("no panic");
        assert!(matches!(error, JournalError::NotSynced { .. }), "{error}");
        rig.write_back_to(segment);
        assert_eq!(rig.segments(), ["journal-00000001", "not-synced"]);
        let folder = rig.folder.path();
        let (mut keys, commit, _lock) =
            open(folder, StoreId(0), Fsync::Always, &Progress::default()).await.expect("opened");
        assert_eq!(rig.segments(), ["journal-00000002"]);
        assert!(!commit.journal.is_doubted());
        assert_eq!(keys.act(0, &place("a"), KeyOp::Get).expect("got").as_deref(), Some(&b"1"[..]));
        assert_eq!(rig.kept("a").as_deref(), Some(&b"1"[..]));
    });
}
