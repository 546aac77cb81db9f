//! Procedures: what one that fails leaves, what waits for them, and those for a worker's end.

use sc_wire::store::{KeyErrorKind, KeyOp};

use super::rig::{Rig, Wire, generation, place, procedure, test};
use super::*;

/// What had expired when a procedure began stays gone though the procedure fails, also for the journal.
#[test]
fn what_a_failed_procedure_found_expired_stays_gone() {
    test(async {
        let rig = Rig::driven(&Fakes::default()).await;
        let mut worker = rig.link(1);
        worker.set("x", "1").await.expect("set");
        worker.act("x", KeyOp::Expire { after_ms: 1 }).await.expect("expires");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(rig.kept("x").is_some(), "nobody has noticed");
        worker.run("fails", "2").await.expect_err("it fails");
        assert!(!rig.hub.borrow().procedures.is_running());
        assert_eq!(rig.kept("x"), None, "noticed, and noted");
        assert_eq!((worker.get("x").await, worker.get("a").await), (None, None));
    });
}

#[test]
fn an_expiry_that_is_set_and_due_in_a_failed_procedure_is_undone() {
    test(async {
        let rig = Rig::driven(&Fakes::default()).await;
        let mut worker = rig.link(1);
        worker.set("b", "[1]").await.expect("set");
        worker.run("expires at once and fails", "2").await.expect_err("it fails");
        assert_eq!(worker.get("b").await.as_deref(), Some(&b"[1]"[..]));
        assert_eq!(worker.act("b", KeyOp::GetExpiry).await, Ok(None));
        assert_eq!(rig.kept("b").as_deref(), Some(&b"[1]"[..]));
    });
}

#[test]
fn no_compaction_begins_while_a_procedure_runs() {
    test(async {
        let fakes = Fakes::default();
        let rig = Rig::driven(&fakes).await;
        let mut worker = rig.link(1);
        worker.set("a", "1").await.expect("set");
        let run = worker.say(|op| Request::Run { op, run: procedure("waits", "2") });
        while !rig.hub.borrow().procedures.is_running() {
            tokio::task::yield_now().await;
        }
        compaction::compact(&rig.hub).await.expect("put off");
        assert_eq!(rig.segments(), ["journal-00000001"]);
        fakes.gate.notify_one();
        worker.answer(run).await.expect("run");
        compaction::compact(&rig.hub).await.expect("done");
        assert_eq!(rig.segments(), ["journal-00000002"]);
        assert_eq!(rig.kept("a").as_deref(), Some(&b"2"[..]));
    });
}

/// Links wait for procedures, but not for a controller that does not start.
#[test]
fn a_controller_that_cannot_restart_holds_no_link_up() {
    test(async {
        let fakes = Fakes::default();
        let rig = Rig::driven(&fakes).await;
        let (mut one, mut two) = (rig.link(1), rig.link(2));
        fakes.are_down.set(true);
        one.run("traps", "1").await.expect_err("it traps");
        for _ in 0..2 {
            let run = one.say(|op| Request::Run { op, run: procedure("sets", "1") });
            two.set("b", "1").await.expect("served");
            let (kind, message) = one.answer(run).await.expect_err("nobody runs it");
            assert!(kind == KeyErrorKind::Procedure && message.contains("down"), "{message}");
            one.set("c", "1").await.expect("served");
        }
        fakes.are_down.set(false);
        while one.run("sets", "2").await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(two.get("a").await.as_deref(), Some(&b"2"[..]));
    });
}

/// Said again over another link it is the same, and what came last, after the master's word, is run too.
#[test]
fn what_a_worker_left_is_run_once_when_it_is_gone() {
    test(async {
        let rig = Rig::driven(&Fakes::default()).await;
        let mut other = rig.link(2);
        let op = other.say(|op| Request::Subscribe { op, channel: "done".to_owned() });
        other.answer(op).await.expect("subscribed");
        let left = |number, value| Request::RunAtEnd { number, run: procedure("sets", value) };
        let mut worker = rig.link(1);
        worker.sender.send(&left(0, "1")).expect("sent");
        worker.get("a").await;
        let mut worker = rig.link(1);
        worker.sender.send(&left(0, "1")).expect("sent");
        assert_eq!(worker.get("a").await, None, "it lives");
        rig.hub.borrow_mut().worker_gone(WorkerId(1));
        worker.sender.send(&left(1, "2")).expect("sent");
        worker.sender.room(0).await;
        drop(worker);
        while other.get("a").await.as_deref() != Some(&b"2"[..]) {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.heard.len(), 2);
    });
}

#[tokio::test]
async fn a_store_that_drains_runs_what_workers_left_before_it_ends() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().expect("a folder");
            let (ours, theirs) = packet_pair().expect("a pair");
            let (control, link) =
                (MasterLink::new(ours).expect("a link"), ChildLink::new(theirs).expect("a link"));
            let kept = StoreConfig { folder: Some(folder.path().to_owned()), ..config() };
            let fakes = Fakes::default();
            let controller = Some((fakes.clone(), generation("0"), Cause::Boot));
            let task = tokio::task::spawn_local(run(link, StoreId(0), kept, controller));
            assert!(matches!(said(&control).await, FromChild::Ready));
            let (ours, theirs) = stream_pair().expect("a pair");
            control.send(&ToChild::WorkerLink(WorkerId(1)), &[theirs.as_fd()]).await.expect("sent");
            drop(theirs);
            let mut worker = Wire::new(ours);
            let run = procedure("waits", "7");
            worker.sender.send(&Request::RunAtEnd { number: 0, run }).expect("sent");
            worker.get("a").await;
            drop(worker);
            control.send(&ToChild::Retire(WorkerId(1)), &[]).await.expect("sent");
            control.send(&ToChild::Drain(60_000), &[]).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(!task.is_finished(), "it runs");
            fakes.gate.notify_one();
            assert!(matches!(said(&control).await, FromChild::Drained));
            task.await.expect("no panic").expect("no error");
            let mut keys = Keyspace::new(false);
            Journal::open_now(folder.path(), |change| keys.apply(change)).expect("a journal");
            let kept = keys.act(0, &place("a"), KeyOp::Get).expect("got");
            assert_eq!(kept.as_deref(), Some(&b"7"[..]));
        })
        .await;
}
