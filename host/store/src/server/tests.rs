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
