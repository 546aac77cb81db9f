//! The store as its master sees it, and in its parts how it does what it promises.

mod disk;
mod grace;
mod procedures;
mod rig;
mod swaps;

use std::os::fd::AsFd as _;

use sc_core::ids::WorkerId;
use sc_core::link::control::MasterLink;
use sc_core::link::frames::split;
use sc_core::link::{packet_pair, stream_pair};
use sc_wire::store::{Reply, Request};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::fake::{Fakes, config};
use crate::keyspace::Place;

fn start() -> (MasterLink, JoinHandle<Result<(), StoreError>>) {
    let (ours, theirs) = packet_pair().expect("a pair");
    let link = ChildLink::new(theirs).expect("a link");
    let task = tokio::task::spawn_local(run::<Fakes>(link, StoreId(0), config(), None));
    (MasterLink::new(ours).expect("a link"), task)
}

/// What the store says next, besides how much it holds.
async fn said(control: &MasterLink) -> FromChild {
    loop {
        match control.recv().await.expect("a link").expect("a message").0 {
            FromChild::Holds(_) => {}
            message => return message,
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_master() {
    LocalSet::new()
        .run_until(async {
            let (control, task) = start();
            assert!(matches!(said(&control).await, FromChild::Ready));
            drop(control);
            task.await.expect("no panic").expect("no error");
        })
        .await;
}

#[tokio::test]
async fn it_drains_when_the_last_worker_is_gone_or_at_the_deadline() {
    LocalSet::new()
        .run_until(async {
            let (control, task) = start();
            assert!(matches!(said(&control).await, FromChild::Ready));
            let (ours, theirs) = stream_pair().expect("a pair");
            control.send(&ToChild::WorkerLink(WorkerId(1)), &[theirs.as_fd()]).await.expect("sent");
            drop(theirs);
            control.send(&ToChild::Drain(60_000), &[]).await.expect("sent");
            let (sender, mut receiver, drain) = split::<Request, Reply>(ours).expect("a link");
            let writing = tokio::task::spawn_local(drain);
            sender.send(&Request::Publish { op: Some(7), channel: "c".into(), data: None }).expect("sent");
            assert_eq!(receiver.recv().await.expect("a frame"), Some(Reply::Done { op: 7 }));
            assert!(!task.is_finished(), "a worker is linked");
            drop((sender, receiver));
            writing.await.expect("written");
            assert!(matches!(said(&control).await, FromChild::Drained));
            task.await.expect("no panic").expect("no error");

            let (control, task) = start();
            assert!(matches!(said(&control).await, FromChild::Ready));
            let (_ours, theirs) = stream_pair().expect("a pair");
            control.send(&ToChild::WorkerLink(WorkerId(1)), &[theirs.as_fd()]).await.expect("sent");
            control.send(&ToChild::Drain(10), &[]).await.expect("sent");
            assert!(matches!(said(&control).await, FromChild::Drained));
            task.await.expect("no panic").expect("no error");
        })
        .await;
}

#[tokio::test]
async fn garbage_costs_only_its_own_link() {
    LocalSet::new()
        .run_until(async {
            let (control, _task) = start();
            let (bad, theirs) = stream_pair().expect("a pair");
            control.send(&ToChild::WorkerLink(WorkerId(1)), &[theirs.as_fd()]).await.expect("sent");
            let (good, theirs) = stream_pair().expect("a pair");
            control.send(&ToChild::WorkerLink(WorkerId(2)), &[theirs.as_fd()]).await.expect("sent");
            let (garbage, mut ended, drain) = split::<String, Reply>(bad).expect("a link");
            let _writing = tokio::task::spawn_local(drain);
            garbage.send(&"no request".to_owned()).expect("sent");
            assert!(ended.recv().await.expect("no bytes").is_none());
            let (sender, mut receiver, drain) = split::<Request, Reply>(good).expect("a link");
            let _writing = tokio::task::spawn_local(drain);
            sender.send(&Request::Subscribe { op: 1, channel: "c".into() }).expect("sent");
            assert_eq!(receiver.recv().await.expect("a frame"), Some(Reply::Done { op: 1 }));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn it_says_each_second_how_much_it_holds() {
    LocalSet::new()
        .run_until(async {
            let (control, _task) = start();
            assert!(matches!(said(&control).await, FromChild::Ready));
            for _ in 0..3 {
                assert!(matches!(control.recv().await, Ok(Some((FromChild::Holds(_), _)))));
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_opening_is_heard_of_only_while_it_comes_on() {
    let (ours, theirs) = packet_pair().expect("a pair");
    let (control, link) = (MasterLink::new(ours).expect("a link"), ChildLink::new(theirs).expect("a link"));
    let progress = Progress::default();
    let working = async {
        for bytes in [1, 3] {
            progress.made(bytes).await;
            tokio::time::sleep(2 * STATUS_INTERVAL).await;
        }
        tokio::time::sleep(20 * STATUS_INTERVAL).await;
    };
    tokio::select! {
        never = show_progress(&link, &progress) => match never {},
        () = working => {}
    }
    drop(link);
    let mut heard = Vec::new();
    while let Some((message, _)) = control.recv().await.expect("a link") {
        match message {
            FromChild::Opening(bytes) => heard.push(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, [1, 4]);
}

#[test]
fn what_the_master_says_meanwhile_is_kept() {
    rig::test(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open_now(folder.path(), drop).expect("a journal");
        let value = bytes::Bytes::from(format!("\"{}\"", "x".repeat(64 << 10)));
        for key in 0..64 {
            let place = rig::place(&key.to_string());
            let change = crate::change::Change::Set { place, value: value.clone() };
            journal.append(&[change]).expect("appended");
        }
        journal.write().expect("written");
        drop(journal);
        let (ours, theirs) = packet_pair().expect("a pair");
        let (control, link) =
            (MasterLink::new(ours).expect("a link"), ChildLink::new(theirs).expect("a link"));
        let config = StoreConfig { folder: Some(folder.path().to_owned()), ..config() };
        let _task = tokio::task::spawn_local(run::<Fakes>(link, StoreId(0), config, None));
        let (end, theirs) = stream_pair().expect("a pair");
        control.send(&ToChild::WorkerLink(WorkerId(1)), &[theirs.as_fd()]).await.expect("sent");
        let mut worker = rig::Wire::new(end);
        assert_eq!(worker.get("63").await.map(|value| value.len()), Some((64 << 10) + 2));
    });
}
