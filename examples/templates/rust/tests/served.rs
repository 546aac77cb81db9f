//! The app as its users meet it: built, served by sc-host, and talked to over real sockets.

mod host;

use host::Host;
use sc_sdk::json;

#[test]
fn a_client_is_greeted() {
    let host = Host::start();
    assert_eq!(host.connect().event("greet"), json!("hello world"));
}

#[test]
fn pings_are_counted() {
    let host = Host::start();
    let (mut one, mut two) = (host.connect(), host.connect());
    one.emit("ping", json!(null));
    assert_eq!(one.event("pong"), json!({ "count": 1 }));
    two.emit("ping", json!(null));
    assert_eq!(two.event("pong"), json!({ "count": 2 }));
}

#[test]
fn everybody_hears_what_one_says() {
    let host = Host::start();
    let (mut one, mut two) = (host.connect(), host.connect());
    two.subscribe("chat");
    let hello = json!({ "name": "Ann", "text": "hello" });
    assert_eq!(one.ask("say", hello.clone()), Ok(json!(null)));
    assert_eq!(two.publication("chat"), hello);
}

#[test]
fn who_says_nothing_is_told_so() {
    let host = Host::start();
    let nothing = json!({ "name": "Ann", "text": " " });
    let answer = host.connect().ask("say", nothing);
    assert_eq!(answer.expect_err("it is refused")["name"], "EmptyError");
}

#[test]
fn nobody_publishes_past_the_checks() {
    let host = Host::start();
    let (mut one, mut two) = (host.connect(), host.connect());
    two.subscribe("chat");
    let publication = json!({ "channel": "chat", "data": null });
    let answer = one.ask("#publish", publication);
    assert_eq!(
        answer.expect_err("it is refused")["name"],
        "InvalidActionError"
    );
    let hello = json!({ "name": "Ann", "text": "hello" });
    assert_eq!(one.ask("say", hello.clone()), Ok(json!(null)));
    assert_eq!(two.publication("chat"), hello, "nothing came before it");
}
