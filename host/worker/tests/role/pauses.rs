//! The process does not run for a while, as on a machine that was suspended: nobody pays for what it could not see.

use std::time::Duration;

use sc_core::controller::Command;
use sc_core::limits::{OVERSLEPT, PROBATION};

use crate::local;
use crate::rig::{Later, Rig, Source, config};
use crate::swaps::{Heard, release, runs};

/// Client and worker share this thread, so that neither runs meanwhile.
fn pause(time: Duration) {
    std::thread::sleep(time);
}

local!(what_lies_unread_is_heard, async {
    let mut config = config();
    config.protocol.ping_timeout = Duration::from_secs(1);
    let rig = Rig::start(config, crate::lively).await;
    let (mut speaks, mut silent) = (rig.client().await, rig.client().await);
    for client in [&mut speaks, &mut silent] {
        assert_eq!(client.next().await, r#"{"event":"greet","data":1}"#);
    }
    speaks.send(r#"{"event":"echo","data":1,"cid":2}"#).await;
    pause(Duration::from_secs(1) + 2 * OVERSLEPT);
    assert_eq!(speaks.next().await, r#"{"rid":2,"data":1}"#);
    assert_eq!(silent.next().await, "close 4001");
    assert_eq!(speaks.ask(r#"{"event":"echo","data":2,"cid":3}"#).await, r#"{"rid":3,"data":2}"#);
});

local!(a_generation_is_watched_for_its_whole_time, async {
    let heard = Heard::default();
    let later = Later::new("2", vec![Command::Listen("*".into())], release("2", true, &heard));
    let source = Source { later: vec![later], ..Source::new(release("1", false, &heard)) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let mut client = rig.client().await;
    runs(&mut client, "1").await;
    rig.reload("fake", "2").await;
    runs(&mut client, "2").await;
    client.send(r#"{"event":"trap","data":7,"cid":3}"#).await;
    pause(PROBATION + 2 * OVERSLEPT);
    assert_eq!(client.next().await, r#"{"rid":3,"data":7}"#, "the one before answers");
    assert!(rig.reloaded().await.unwrap_err().contains("on probation"));
});
