//! What healthy guests see.

use sc_core::controller::{Command, Controller as _, Event, EventKind, StartError};
use sc_core::ids::{SocketId, Token};

use crate::component;
use crate::stage::{Stage, message, run};

#[test]
fn a_component_with_few_interfaces_loads_and_hears_only_those() {
    run(async {
        let stage = Stage::new();
        let mut guest = stage.guest(&component::echo()).await;
        assert!(guest.handles(EventKind::Messages) && guest.handles(EventKind::Timers));
        assert!(!guest.handles(EventKind::Connections) && !guest.handles(EventKind::Values));
        let unheard = Event::Close { socket: SocketId(1), code: 1000, reason: "".into() };
        assert_eq!(guest.call(&unheard).await.unwrap(), []);
        assert_eq!(guest.snapshot().await.unwrap(), None);
    });
}

#[test]
fn a_call_returns_its_commands_and_only_its_own() {
    run(async {
        let stage = Stage::new();
        let mut guest = stage.guest(&component::echo()).await;
        for data in [Some("{\"a\":[1,2]}"), None, Some(" 1 ")] {
            let commands = guest.call(&message("ping", data)).await.unwrap();
            let [Command::Emit { to, event, data: echoed }] = &*commands else { panic!("{commands:?}") };
            assert_eq!((*to, &**event), (SocketId(7), "ping"));
            assert_eq!(echoed.as_deref(), data);
        }
    });
}

#[test]
fn tokens_are_drawn_from_the_workers_counter() {
    run(async {
        let stage = Stage::new();
        let ask = "(drop (call $ask (i64.const 7) (i32.const 0) (i32.const 0)
                     (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))";
        let mut first = stage.guest(&component::on_message(ask)).await;
        let mut second = stage.guest(&component::on_message(ask)).await;
        let mut drawn = Vec::new();
        for of_first in [true, false, true] {
            let guest = if of_first { &mut first } else { &mut second };
            match &*guest.call(&message("x", None)).await.unwrap() {
                [Command::Ask { token, timeout: None, .. }] => drawn.push(*token),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(drawn, [Token(1), Token(2), Token(3)]);
    });
}

#[test]
fn starting_may_be_refused_by_the_guest() {
    run(async {
        let stage = Stage::new();
        assert!(stage.start(&component::on_start("(i32.const 0)")).await.is_ok());
        match stage.start(&component::on_start("(i32.const 1)")).await {
            Err(StartError::Refused(text)) => assert!(text.contains("no"), "{text}"),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("started"),
        }
        // What it says has to fit into a message to the master, however long it is. (All bytes of the length are
        // ASCII: it lies in the text.)
        match stage.start(&component::on_start_saying("(i32.const 1)", 0x5050)).await {
            Err(StartError::Refused(text)) => {
                assert!(text.len() < 1_100 && text.ends_with(" [cut]"), "{text}")
            }
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("started"),
        }
    });
}

#[test]
fn many_calls_and_many_instances_do_not_leak() {
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }
    run(async {
        let stage = Stage::new();
        let echo = component::echo();
        let event = message("ping", Some("{\"count\":1}"));
        let mut settled = 0;
        for round in 0..6 {
            let mut guest = stage.guest(&echo).await;
            for _ in 0..5_000 {
                assert_eq!(guest.call(&event).await.unwrap().len(), 1);
            }
            for _ in 0..50 {
                drop(stage.guest(&echo).await);
            }
            if round == 1 {
                settled = resident();
            }
        }
        let grown = resident().saturating_sub(settled);
        assert!(grown < 16 << 20, "{grown} bytes more after 20,000 calls and 200 instances");
    });
}
