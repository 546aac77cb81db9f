//! Actions that middleware decides about: what their clients see, and in which order.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sc_core::controller::{CallError, Command, Event, Failure, Fault, Line, Verdict};

use crate::rig::{Behave, Middleware, Rig, config};
use crate::{Calls, local};

pub fn decide(event: &Event, verdict: impl Fn(Line, &str, Option<&str>) -> Option<Verdict>) -> Calls {
    let Event::Action { action, line, name, data, .. } = event else { return Ok(vec![]) };
    let verdict = verdict(*line, name, data.as_deref());
    Ok(verdict.into_iter().map(|verdict| Command::Decide { action: *action, verdict }).collect())
}

pub fn middleware(guards: &[Line], behave: impl Fn(&Event) -> Calls + 'static) -> Middleware {
    let behave: Rc<Behave> = Rc::new(behave);
    Middleware { guards: guards.to_vec(), fails_open: false, behave, gate: None, later: vec![] }
}

pub fn block(name: &str) -> Verdict {
    Verdict::Block { error: Failure::named(name, "no"), code: None }
}

/// Answers calls with their data.
pub fn echo(event: &Event) -> Calls {
    Ok(match event {
        Event::Message { data, reply: Some(reply), .. } => {
            vec![Command::Answer { reply: *reply, data: data.clone() }]
        }
        Event::Message { event, socket, data, reply: None } => {
            vec![Command::Emit { to: *socket, event: event.clone(), data: data.clone() }]
        }
        _ => vec![],
    })
}

pub fn trap() -> Calls {
    Err(CallError::new(Fault::Trap, "boom"))
}

local!(verdicts_have_the_shapes_of_the_protocol, async {
    let lines = [Line::Handshake, Line::Subscribe, Line::PublishIn, Line::Transmit, Line::Invoke];
    let filter = middleware(&lines, |event| {
        decide(event, |_, name, _| {
            Some(match name {
                "no" => block("NoError"),
                "text" => Verdict::Block { error: Failure::Text("plain".into()), code: None },
                "silent" => Verdict::BlockSilently,
                "other" => Verdict::AllowWith(Some("[2]".into())),
                "none" => Verdict::AllowWith(None),
                _ => Verdict::Allow,
            })
        })
    });
    let rig = Rig::start_with(config(), echo, vec![filter]).await;
    let mut client = rig.client().await;
    for (sent, answer) in [
        (r#"{"event":"ok","data":1,"cid":2}"#, r#"{"rid":2,"data":1}"#),
        (r#"{"event":"no","data":1,"cid":3}"#, r#"{"rid":3,"error":{"message":"no","name":"NoError"}}"#),
        (r#"{"event":"text","cid":4}"#, r#"{"rid":4,"error":"plain"}"#),
        (
            r#"{"event":"silent","cid":5}"#,
            r#"{"rid":5,"error":{"message":"The invoke AGAction was blocked by inbound middleware","name":"SilentMiddlewareBlockedError","type":"inbound"}}"#,
        ),
        (r#"{"event":"other","data":1,"cid":6}"#, r#"{"rid":6,"data":[2]}"#),
        (r#"{"event":"none","data":1,"cid":7}"#, r#"{"rid":7}"#),
        (
            r##"{"event":"#subscribe","data":{"channel":"no","data":1},"cid":8}"##,
            r#"{"rid":8,"error":{"message":"no","name":"NoError"}}"#,
        ),
        (
            r##"{"event":"#publish","data":{"channel":"no","data":1},"cid":9}"##,
            r#"{"rid":9,"error":{"message":"no","name":"NoError"}}"#,
        ),
        (r##"{"event":"#subscribe","data":{"channel":"other"},"cid":10}"##, r#"{"rid":10}"#),
    ] {
        assert_eq!(client.ask(sent).await, answer, "{sent}");
    }
    client.send(r##"{"event":"#publish","data":{"channel":"other","data":1},"cid":11}"##).await;
    let mut both = [client.next().await, client.next().await];
    both.sort();
    assert_eq!(both, [r##"{"event":"#publish","data":{"channel":"other","data":[2]}}"##, r#"{"rid":11}"#]);
    // Nobody is told of an event that nobody waits for.
    client.send_together(&[r#"{"event":"no"}"#, r#"{"event":"silent"}"#, r#"{"event":"end"}"#]).await;
    assert_eq!(client.next().await, r#"{"event":"end"}"#);
});

local!(handshakes_are_decided_about_before_and_after_their_token, async {
    let guard = middleware(&[Line::Handshake, Line::Authenticate], |event| {
        decide(event, |line, _, data| {
            let data = data.unwrap_or_default();
            Some(match line {
                Line::Handshake if data.contains("evil") => {
                    Verdict::Block { error: Failure::named("EvilError", "no"), code: Some(4501) }
                }
                Line::Handshake if data.contains("silent") => Verdict::BlockSilently,
                Line::Authenticate if data.contains(r#""username":"bob""#) => block("BobError"),
                Line::Authenticate if data.contains(r#""username":"eve""#) => Verdict::Block {
                    error: Failure::Error {
                        name: None,
                        message: "m".into(),
                        extra: Some(r#"{"isBadToken":true}"#.into()),
                    },
                    code: None,
                },
                _ => Verdict::Allow,
            })
        })
    });
    let rig = Rig::start_with(config(), crate::lively, vec![guard]).await;
    let shake = |token: &str| format!(r##"{{"event":"#handshake","data":{{"authToken":{token}}},"cid":1}}"##);
    let mut evil = rig.websocket().await;
    let answer = evil.ask(&shake(r#""evil""#)).await;
    let error = r#"{"message":"no","name":"EvilError","statusCode":4501}"#;
    assert_eq!(answer, format!(r#"{{"rid":1,"error":{error},"data":{{"code":4501}}}}"#));
    assert_eq!(evil.next().await, "close 4501");
    let mut silent = rig.websocket().await;
    let answer = silent.ask(&shake(r#""silent""#)).await;
    assert!(answer.contains("The handshakeSC AGAction was blocked by handshake middleware"), "{answer}");
    assert!(answer.contains(r#""type":"handshake","statusCode":4008}"#), "{answer}");
    assert_eq!(silent.next().await, "close 4008");

    let mut bob = rig.client().await;
    bob.next().await;
    let token = bob.ask(r#"{"event":"login","cid":2}"#).await;
    bob.next().await;
    let jwt = token.split('"').nth(9).unwrap();
    let answer = bob.ask(&format!(r##"{{"event":"#authenticate","data":"{jwt}","cid":3}}"##)).await;
    let error = r#"{"message":"no","name":"BobError"}"#;
    assert_eq!(answer, format!(r#"{{"rid":3,"data":{{"isAuthenticated":false,"authError":{error}}}}}"#));
    let mut again = rig.websocket().await;
    let answer = again.ask(&shake(&format!("\"{jwt}\""))).await;
    assert!(answer.contains(&format!(r#""authError":{error},"isAuthenticated":false"#)), "{answer}");
});

local!(one_sockets_actions_keep_their_order_and_sockets_do_not_wait_for_each_other, async {
    // Holds each "hold" until somebody sends "let go".
    let held = Cell::new(None);
    let slow = middleware(&[Line::Transmit, Line::Invoke, Line::Subscribe], move |event| {
        let Event::Action { action, name, .. } = event else { return Ok(vec![]) };
        let allow = |action| Command::Decide { action, verdict: Verdict::Allow };
        Ok(match &**name {
            "hold" => {
                held.set(Some(*action));
                vec![]
            }
            "let go" => [allow(*action)].into_iter().chain(held.take().map(allow)).collect(),
            _ => vec![allow(*action)],
        })
    });
    let rig = Rig::start_with(config(), echo, vec![slow]).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.send_together(&[
        r#"{"event":"hold","cid":2}"#,
        r#"{"event":"a","cid":3}"#,
        r##"{"event":"#subscribe","data":{"channel":"c"},"cid":4}"##,
        r##"{"event":"#publish","data":{"channel":"c"},"cid":5}"##,
        r##"{"event":"#unsubscribe","data":"c","cid":6}"##,
        r#"{"event":"b"}"#,
    ])
    .await;
    for number in 2..300 {
        assert_eq!(
            two.ask(&format!(r#"{{"event":"x","cid":{number}}}"#)).await,
            format!(r#"{{"rid":{number}}}"#)
        );
    }
    two.send(r#"{"event":"let go","cid":300}"#).await;
    assert_eq!(two.next().await, r#"{"rid":300}"#);
    let mut answers = Vec::new();
    while answers.last().is_none_or(|last| last != r#"{"event":"b"}"#) {
        answers.push(one.next().await);
    }
    // What is the host's own is answered at once, what is the controller's when it comes to it.
    let place = |answer: &str| answers.iter().position(|other| other == answer);
    assert!(place(r#"{"rid":2}"#) < place(r#"{"rid":3}"#), "{answers:?}");
    assert!(
        place(r#"{"rid":6}"#).is_some() && answers.iter().all(|answer| !answer.contains("error")),
        "{answers:?}"
    );
    // A client that goes away leaves nothing behind, and one that sends much meanwhile is not read.
    one.send(r#"{"event":"hold","cid":7}"#).await;
    drop(one);
    assert_eq!(two.ask(r#"{"event":"y","cid":301}"#).await, r#"{"rid":301}"#);
});

local!(each_middleware_decides_in_its_turn_and_the_controller_last, async {
    let add = |word: &'static str| {
        middleware(&[Line::Invoke], move |event| {
            decide(event, |_, _, data| {
                let data = data.unwrap_or_default().trim_matches('"').to_owned();
                Some(match data.contains("stop") {
                    true => block(word),
                    false => Verdict::AllowWith(Some(format!("\"{data}{word}\""))),
                })
            })
        })
    };
    let rig = Rig::start_with(config(), echo, vec![add("a"), add("b"), add("c")]).await;
    let mut client = rig.client().await;
    assert_eq!(client.ask(r#"{"event":"x","data":"-","cid":2}"#).await, r#"{"rid":2,"data":"-abc"}"#);
    let stopped = client.ask(r#"{"event":"x","data":"stop","cid":3}"#).await;
    assert!(stopped.contains(r#""name":"a""#), "{stopped}");
});

local!(who_cannot_decide_blocks_unless_it_fails_open, async {
    let trapping = |fails_open| {
        let mut it = middleware(&[Line::Invoke], |event| match event {
            Event::Action { name, .. } if &**name == "park" => Ok(vec![]),
            Event::Action { name, .. } if &**name == "trap" => trap(),
            _ => decide(event, |_, _, _| Some(Verdict::Allow)),
        });
        it.fails_open = fails_open;
        it
    };
    for fails_open in [false, true] {
        let rig = Rig::start_with(config(), echo, vec![trapping(fails_open)]).await;
        let (mut one, mut two) = (rig.client().await, rig.client().await);
        one.send(r#"{"event":"park","cid":2}"#).await;
        two.ask(r#"{"event":"x","cid":2}"#).await;
        let trapped = two.ask(r#"{"event":"trap","cid":3}"#).await;
        let parked = one.next().await;
        for answer in [&trapped, &parked] {
            assert_eq!(answer.contains(r#""name":"MiddlewareError""#), !fails_open, "{answer}");
        }
        assert_eq!(two.ask(r#"{"event":"x","cid":4}"#).await, r#"{"rid":4}"#, "a fresh instance decides");
    }
});

local!(what_nobody_decides_ends_after_its_deadline, async {
    let silent = middleware(&[Line::Invoke, Line::Handshake], |event| match event {
        Event::Action { line: Line::Handshake, .. } => decide(event, |_, _, _| Some(Verdict::Allow)),
        _ => Ok(vec![]),
    });
    let rig = Rig::start_with(config(), echo, vec![silent]).await;
    let mut client = rig.client().await;
    client.send(r#"{"event":"x","cid":2}"#).await;
    let mut answer = String::new();
    // Pings come meanwhile.
    while !answer.starts_with(r#"{"rid":2,"#) {
        answer = client.next_within(Duration::from_secs(15)).await;
    }
    assert!(answer.contains(r#""name":"TimeoutError""#), "{answer}");
});

local!(a_guard_outlives_the_instance_that_said_it, async {
    // Its guards are said by a call, not at the start, and the instance dies of the next one.
    let late = middleware(&[Line::Transmit], |event| match event {
        Event::Action { action, name, .. } => {
            let allow = Command::Decide { action: *action, verdict: Verdict::Allow };
            let guard = Command::Guard { line: Line::Invoke, pattern: "x".into() };
            match &**name {
                "guard" => Ok(vec![guard, allow]),
                "trap" => trap(),
                "x" => decide(event, |_, _, _| Some(block("NoError"))),
                _ => Ok(vec![allow]),
            }
        }
        _ => Ok(vec![]),
    });
    let rig = Rig::start_with(config(), echo, vec![late]).await;
    let mut client = rig.client().await;
    assert_eq!(client.ask(r#"{"event":"x","cid":2}"#).await, r#"{"rid":2}"#);
    client.send_together(&[r#"{"event":"guard"}"#, r#"{"event":"trap"}"#, r#"{"event":"x","cid":3}"#]).await;
    let heard = [client.next().await, client.next().await];
    for expected in [r#"{"event":"guard"}"#, r#"{"rid":3,"error":{"message":"no","name":"NoError"}}"#] {
        assert!(heard.iter().any(|heard| heard == expected), "{expected}: {heard:?}");
    }
});
