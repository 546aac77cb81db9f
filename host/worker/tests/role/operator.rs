//! What reaches a socket by the id that its client sees.

use sc_core::link::control::{ApiCall, FromChild, ToChild, Whom};

use crate::rig::{Client, Rig, config};
use crate::{local, quiet};

/// A client, and the id it was told.
async fn named(rig: &Rig) -> (Client, String) {
    let mut client = rig.websocket().await;
    let answer = client.ask(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await;
    let name = answer.split(r#""id":""#).nth(1).and_then(|rest| rest.split('"').next());
    (client, name.unwrap_or_else(|| panic!("{answer}")).to_owned())
}

/// How many sockets a call reached.
async fn reached(rig: &Rig, call: ApiCall) -> u32 {
    rig.master.send(&ToChild::Call(5, call), &[]).await.unwrap();
    loop {
        if let (FromChild::Answered(5, outcome), _) = rig.master.recv().await.unwrap().unwrap() {
            return outcome.unwrap();
        }
    }
}

async fn emitted(rig: &Rig, name: &str) -> u32 {
    let to = Whom::Socket(name.to_owned());
    reached(rig, ApiCall::Emit { to, event: "hello".into(), data: None }).await
}

local!(one_socket_is_reached_by_its_id, async {
    let rig = Rig::start(config(), quiet).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(named(&rig).await);
    }
    for (client, name) in &mut clients {
        assert_eq!(emitted(&rig, name).await, 1);
        assert_eq!(client.next().await, r#"{"event":"hello"}"#);
    }
    let (mut client, name) = clients.pop().unwrap();
    // The same place with other random bytes is nobody's.
    let other = format!("{}{}", "A".repeat(16), &name[16..]);
    for nobody in [&*other, "", "nobody", &name[1..]] {
        assert_eq!(emitted(&rig, nobody).await, 0, "{nobody}");
    }
    let who = Whom::Socket(name.clone());
    assert_eq!(reached(&rig, ApiCall::Disconnect { who, code: 4001, reason: "bye".into() }).await, 1);
    assert_eq!(client.next().await, "close 4001 bye");
    assert_eq!(emitted(&rig, &name).await, 0, "it is closing or gone");
    for (client, _) in &mut clients {
        assert_eq!(
            client.ask(r##"{"event":"#subscribe","data":{"channel":"c"},"cid":2}"##).await,
            r#"{"rid":2}"#
        );
    }
});
