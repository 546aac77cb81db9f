//! What does not succeed and would go on failing for others: a socket that instances die of, a channel that its store
//! did not confirm.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use sc_core::controller::{Command, Event, Interest};
use sc_core::limits::STORE_DEADLINE;

use crate::middleware::{echo, trap};
use crate::rig::{Later, Rig, Source, config};
use crate::swaps::{Heard, release, runs};
use crate::{local, quiet};

local!(a_socket_that_instances_die_of_costs_the_others_nothing, async {
    let poisoned = Rc::new(RefCell::new(HashSet::new()));
    let behave = move |event: &Event| match event {
        Event::Message { event, socket, .. } if &**event == "poison" => {
            poisoned.borrow_mut().insert(*socket);
            trap()
        }
        Event::Resume(info) if poisoned.borrow().contains(&info.id) => trap(),
        other => echo(other),
    };
    let later = Later::new("2", vec![Command::Listen("*".into())], release("2", false, &Heard::default()));
    let source = Source { later: vec![later], ..Source::new(behave) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let (mut fatal, mut other) = (rig.client().await, rig.client().await);
    let answer = fatal.ask(r#"{"event":"poison","cid":2}"#).await;
    assert!(answer.contains("ControllerError"), "{answer}");
    assert_eq!(other.ask(r#"{"event":"echo","data":1,"cid":2}"#).await, r#"{"rid":2,"data":1}"#);
    for cid in 3..6 {
        let answer = fatal.ask(&format!(r#"{{"event":"echo","cid":{cid}}}"#)).await;
        assert!(answer.starts_with(&format!(r#"{{"rid":{cid},"error""#)), "{answer}");
        assert!(answer.contains("each time it was told of this socket"), "{answer}");
    }
    assert_eq!(other.ask(r#"{"event":"echo","data":2,"cid":3}"#).await, r#"{"rid":3,"data":2}"#);
    // What needs no controller goes on.
    let subscribe = r##"{"event":"#subscribe","data":{"channel":"c"},"cid":6}"##;
    assert_eq!(fatal.ask(subscribe).await, r#"{"rid":6}"#);
    // Another crash does not bring it back, another generation does.
    assert!(other.ask(r#"{"event":"poison","cid":4}"#).await.contains("ControllerError"));
    assert!(fatal.ask(r#"{"event":"echo","cid":7}"#).await.contains("each time"));
    let of_it = rig.log.borrow().iter().find_map(|event| match event {
        Event::Message { event, socket, .. } if &**event == "poison" => Some(*socket),
        _ => None,
    });
    let told = |event: &&Event| matches!(event, Event::Resume(info) if Some(info.id) == of_it);
    assert_eq!(rig.log.borrow().iter().filter(told).count(), 2);
    rig.reload("fake", "2").await;
    runs(&mut fatal, "2").await;
    assert_eq!(fatal.ask(r#"{"event":"echo","data":3,"cid":8}"#).await, r#"{"rid":8,"data":3}"#);
});

local!(a_channel_that_was_not_confirmed_is_tried_again, async {
    let first = vec![Command::Watch("c".into()), Command::Want(Interest::Unsubscribe)];
    let mut config = config();
    config.protocol.ping_interval = Duration::from_secs(60);
    let source = Source { first, ..Source::new(quiet) };
    let rig = Rig::start_without_store(config, source, vec![]).await;
    let mut client = rig.client().await;
    let subscribe = r##"{"event":"#subscribe","data":{"channel":"c"},"cid":2}"##;
    client.send(subscribe).await;
    let answer = client.next_within(2 * STORE_DEADLINE).await;
    assert!(answer.contains("Failed to subscribe socket to the c channel"), "{answer}");
    rig.heard(|event| matches!(event, Event::Unsubscribe { channel, .. } if &**channel == "c")).await;
    rig.link_store().await;
    client.send(subscribe).await;
    assert_eq!(client.next_within(2 * STORE_DEADLINE).await, r#"{"rid":2}"#);
});
