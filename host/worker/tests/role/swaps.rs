//! Generations that take each other's place: what is told of sockets that close meanwhile, and who
//! decides about what comes meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sc_core::controller::{Command, Event, Line, Verdict};
use sc_core::ids::Token;
use sc_core::limits::GUARDS_WAIT;
use tokio::sync::Notify;

use crate::middleware::{block, decide, echo, middleware, trap};
use crate::rig::{Client, Later, Rig, Source, config};
use crate::{Calls, local};

/// Ends of sockets, and what is told of them before, as somebody heard of them.
type Heard = Rc<RefCell<Vec<Event>>>;

/// Answers `which` with the name of the generation, traps at `trap` if it is to, and echoes everything else.
fn release(hash: &'static str, traps: bool, heard: &Heard) -> impl Fn(&Event) -> Calls + 'static {
    let heard = Rc::clone(heard);
    move |event| match event {
        Event::Message { event, reply: Some(reply), .. } if &**event == "which" => {
            Ok(vec![Command::Answer { reply: *reply, data: Some(hash.into()) }])
        }
        Event::Message { event, .. } if traps && &**event == "trap" => trap(),
        Event::Resume(_) | Event::Close { .. } => {
            heard.borrow_mut().push(event.clone());
            Ok(vec![])
        }
        other => echo(other),
    }
}

/// The same of middleware, which puts its generation in the place of the data of `which`.
fn gate(hash: &'static str, traps: bool, heard: &Heard) -> impl Fn(&Event) -> Calls + 'static {
    let heard = Rc::clone(heard);
    move |event| match event {
        Event::Action { name, .. } if traps && &**name == "trap" => trap(),
        Event::SocketEnd { .. } => {
            heard.borrow_mut().push(event.clone());
            Ok(vec![])
        }
        other => decide(other, |_, name, _| {
            Some(if name == "which" { Verdict::AllowWith(Some(hash.into())) } else { Verdict::Allow })
        }),
    }
}

fn guard(line: Line, pattern: &str) -> Command {
    Command::Guard { line, pattern: pattern.into() }
}

/// Waits until that generation answers.
async fn runs(client: &mut Client, hash: &str) {
    let expected = format!(r#"{{"rid":9,"data":{hash}}}"#);
    for _ in 0..1_000 {
        if client.ask(r#"{"event":"which","cid":9}"#).await == expected {
            return;
        }
    }
    panic!("generation {hash} does not answer");
}

local!(who_closes_on_probation_is_gone_for_the_generation_that_comes_back, async {
    let (one, two) = (Heard::default(), Heard::default());
    let later = Later::new("2", vec![Command::Listen("*".into())], release("2", true, &two));
    let source = Source { later: vec![later], ..Source::new(release("1", false, &one)) };
    let rig = Rig::start_from(config(), source, vec![]).await;
    let (mut stays, mut leaves) = (rig.client().await, rig.client().await);
    runs(&mut stays, "1").await;
    leaves.ask(r#"{"event":"echo","cid":2}"#).await;
    rig.reload("fake", "2").await;
    runs(&mut stays, "2").await;
    let mut passes = rig.client().await;
    passes.close(4002, "of the new one only").await;
    leaves.close(4001, "bye").await;
    for code in [4001, 4002] {
        rig.heard(|event| matches!(event, Event::Close { code: closed, .. } if *closed == code)).await;
    }
    assert!(one.borrow().is_empty(), "{one:?}");
    // It comes back with the state of the swap, and handles what the other one failed at.
    assert_eq!(stays.ask(r#"{"event":"trap","data":7,"cid":3}"#).await, r#"{"rid":3,"data":7}"#);
    assert!(rig.reloaded().await.unwrap_err().contains("on probation"));
    runs(&mut stays, "1").await;
    let told = one.take();
    let ends: Vec<_> = told.iter().filter(|event| matches!(event, Event::Close { .. })).collect();
    let [Event::Close { socket, code: 4001, reason }] = &*ends else { panic!("{told:?}") };
    assert_eq!(&**reason, "bye");
    // It is told of the socket before it is told of its end.
    let first = told.iter().position(|event| matches!(event, Event::Resume(info) if info.id == *socket));
    assert!(first.is_some_and(|first| told.get(first + 1) == Some(ends[0])), "{told:?}");
    // What closes later is told once, as ever.
    stays.close(4003, "").await;
    rig.heard(|event| matches!(event, Event::Close { code: 4003, .. })).await;
    let told = one.take();
    assert!(matches!(&*told, [Event::Close { code: 4003, .. }]), "{told:?}");
});

local!(middleware_that_comes_back_hears_of_ends_once, async {
    for hears in [true, false] {
        let (one, two) = (Heard::default(), Heard::default());
        let first = [guard(Line::Invoke, "*")].into_iter().chain(hears.then_some(Command::HearEnds));
        let mut it = middleware(&[Line::Invoke], gate("1", false, &one));
        it.later.push(Later::new("2", first.collect(), gate("2", true, &two)));
        let rig = Rig::start_with(config(), echo, vec![it]).await;
        let (mut stays, mut leaves) = (rig.client().await, rig.client().await);
        runs(&mut stays, "1").await;
        leaves.ask(r#"{"event":"echo","cid":2}"#).await;
        rig.reload("middleware-0", "2").await;
        runs(&mut stays, "2").await;
        leaves.close(4001, "bye").await;
        rig.heard(|event| matches!(event, Event::Close { code: 4001, .. })).await;
        assert_eq!(stays.ask(r#"{"event":"trap","data":7,"cid":3}"#).await, r#"{"rid":3,"data":7}"#);
        assert!(rig.reloaded().await.is_err());
        runs(&mut stays, "1").await;
        assert_eq!(two.borrow().len(), usize::from(hears));
        let told = one.take();
        let [Event::SocketEnd { socket }] = *told else { panic!("{told:?}") };
        assert!(!two.borrow().iter().any(|event| *event != Event::SocketEnd { socket }));
    }
});

local!(what_only_the_generation_before_guarded_goes_on, async {
    let (begin, decide_now) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
    let verdict = |event: &Event, verdict: Verdict| {
        let commands = event.action().map(|action| Command::Decide { action, verdict });
        Ok(commands.into_iter().collect())
    };
    let mut it = middleware(&[Line::Invoke, Line::Upgrade], move |event| verdict(event, Verdict::Allow));
    it.gate = Some(Rc::clone(&decide_now));
    let second =
        Later::new("2", vec![guard(Line::Transmit, "*")], move |event| verdict(event, block("NoError")));
    it.later.push(Later { start: Some(Rc::clone(&begin)), ..second });
    let rig = Rig::start_with(config(), echo, vec![it]).await;
    let (mut one, mut two, mut three) = (rig.client().await, rig.client().await, rig.client().await);
    rig.reload("middleware-0", "2").await;
    for _ in 0..2 {
        assert_eq!(three.ask(r#"{"event":"echo","cid":2}"#).await, r#"{"rid":2}"#);
    }
    // The one before is at a verdict while the new one gets ready and more is asked.
    one.send(r#"{"event":"wait","cid":2}"#).await;
    rig.heard(|event| matches!(event, Event::Action { name, .. } if &**name == "wait")).await;
    begin.notify_one();
    two.send_together(&[r#"{"event":"echo","data":5,"cid":2}"#, r#"{"event":"echo","data":6,"cid":3}"#])
        .await;
    let (mut fresh, ()) = tokio::join!(rig.websocket(), async {
        for cid in [3, 4, 5] {
            let text = format!(r##"{{"event":"#subscribe","data":{{"channel":"{cid}"}},"cid":{cid}}}"##);
            assert_eq!(three.ask(&text).await, format!(r#"{{"rid":{cid}}}"#));
        }
        decide_now.notify_one();
    });
    assert_eq!(one.next().await, r#"{"rid":2}"#);
    assert_eq!(two.next().await, r#"{"rid":2,"data":5}"#);
    assert_eq!(two.next().await, r#"{"rid":3,"data":6}"#);
    fresh.ask(r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##).await;
    assert_eq!(fresh.ask(r#"{"event":"echo","data":8,"cid":2}"#).await, r#"{"rid":2,"data":8}"#);
    // It runs, and decides about its own.
    two.send_together(&[r#"{"event":"blocked"}"#, r#"{"event":"echo","data":7,"cid":4}"#]).await;
    assert_eq!(two.next().await, r#"{"rid":4,"data":7}"#);
});

local!(guards_that_are_said_late_leave_no_gap, async {
    let heard = Heard::default();
    let begins = |token, after| {
        let timer = Command::Timer { token: Token(token), period: after, repeat: false };
        vec![guard(Line::Invoke, "which"), timer]
    };
    let late = |event: &Event| match event {
        Event::Timer { .. } => Ok(vec![guard(Line::Invoke, "late")]),
        _ => decide(event, |_, name, _| {
            Some(if name == "which" { Verdict::AllowWith(Some("2".into())) } else { block("LateError") })
        }),
    };
    let mut it = middleware(&[Line::Invoke], gate("1", false, &heard));
    it.later.push(Later::new("2", begins(1 << 40, Duration::from_secs(2)), late));
    it.later.push(Later::new("3", begins(1 << 41, Duration::from_secs(60)), gate("3", false, &heard)));
    let rig = Rig::start_with(config(), echo, vec![it]).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    runs(&mut one, "1").await;
    rig.reload("middleware-0", "2").await;
    runs(&mut one, "2").await;
    // Both wait: nobody knows yet what becomes of them.
    let is_said = || rig.log.borrow().iter().any(|event| matches!(event, Event::Timer { .. }));
    two.send(r#"{"event":"free","data":1,"cid":2}"#).await;
    assert!(!is_said(), "too slow a machine: the new generation has said all already");
    let answer = one.ask(r#"{"event":"late","cid":2}"#).await;
    assert!(answer.contains(r#""name":"LateError""#), "{answer}");
    assert_eq!(two.next().await, r#"{"rid":2,"data":1}"#);
    assert!(is_said(), "it went on too early");
    assert_eq!(two.ask(r#"{"event":"free","data":2,"cid":3}"#).await, r#"{"rid":3,"data":2}"#);
    rig.reloaded().await.unwrap();
    // Who waits for longer has its time.
    let began = Instant::now();
    rig.reload("middleware-0", "3").await;
    runs(&mut one, "3").await;
    two.send(r#"{"event":"late","data":3,"cid":4}"#).await;
    let mut answer = String::new();
    while !answer.starts_with(r#"{"rid":4"#) {
        // Pings come meanwhile.
        answer = two.next_within(2 * GUARDS_WAIT).await;
    }
    assert_eq!(answer, r#"{"rid":4,"data":3}"#);
    assert!((GUARDS_WAIT..2 * GUARDS_WAIT).contains(&began.elapsed()), "{:?}", began.elapsed());
});
