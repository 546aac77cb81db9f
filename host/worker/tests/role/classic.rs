//! Clients of the classic generation: what is particular to them.

use std::time::Duration;

use sc_core::controller::{Command, Event};

use crate::rig::{Later, Rig, Source, config};
use crate::{Calls, local};

/// Forgets events, as the SDK does with what only events' handlers hear; answers `which` with the generation, and parks
/// `park`.
fn release(hash: &'static str) -> impl Fn(&Event) -> Calls + 'static {
    move |event| {
        Ok(match event {
            Event::Message { event, reply: Some(reply), .. } => match &**event {
                "which" => vec![Command::Answer { reply: *reply, data: Some(hash.into()) }],
                "park" => vec![],
                _ => vec![Command::Forget { reply: *reply }],
            },
            _ => vec![],
        })
    }
}

local!(only_calls_are_refused_when_their_instance_is_replaced, async {
    let later = Later::new("2", vec![Command::Listen("*".into())], release("2"));
    let source = Source { later: vec![later], ..Source::new(release("1")) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let mut client = rig.classic().await;
    assert_eq!(client.ask(r#"4{"event":"ready","cid":1}"#).await, r#"4{"cid":1}"#);
    for cid in 2..12 {
        client.send(&format!(r#"4{{"event":"say","data":"hello","cid":{cid}}}"#)).await;
    }
    client.send(r#"4{"event":"park","cid":12}"#).await;
    assert_eq!(client.ask(r#"4{"event":"which","cid":13}"#).await, r#"4{"cid":13,"data":1}"#);
    rig.reload("fake", "2").await;
    let refused = client.next().await;
    assert!(refused.starts_with(r#"4{"cid":12,"error":{"#) && refused.contains("replaced"), "{refused}");
    assert_eq!(client.ask(r#"4{"event":"which","cid":14}"#).await, r#"4{"cid":14,"data":2}"#);
});

local!(what_was_asked_too_long_ago_to_be_waited_for_is_not_refused, async {
    let mut config = config();
    config.protocol.ack_timeout = Duration::from_millis(100);
    // A component that never forgets.
    let source = |hash: &'static str| {
        let release = release(hash);
        move |event: &Event| match release(event) {
            Ok(commands) if matches!(*commands, [Command::Forget { .. }]) => Ok(vec![]),
            other => other,
        }
    };
    let later = Later::new("2", vec![Command::Listen("*".into())], source("2"));
    let rig =
        Rig::start_from(config, Source { later: vec![later], ..Source::new(source("1")) }, vec![]).await;
    let mut client = rig.classic().await;
    client.ask(r#"4{"event":"ready","cid":1}"#).await;
    client.send(r#"4{"event":"say","cid":2}"#).await;
    assert_eq!(client.ask(r#"4{"event":"which","cid":3}"#).await, r#"4{"cid":3,"data":1}"#);
    tokio::time::sleep(Duration::from_millis(120)).await;
    rig.reload("fake", "2").await;
    let mut answer = String::new();
    while answer != r#"4{"cid":4,"data":2}"# {
        answer = client.ask(r#"4{"event":"which","cid":4}"#).await;
        assert!(answer.starts_with(r#"4{"cid":4,"#), "{answer}");
    }
});
