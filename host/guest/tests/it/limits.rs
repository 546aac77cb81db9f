//! Limits on commands, and the checks of their arguments.

use sc_core::config::GuestConfig;
use sc_core::controller::{Command, Controller as _, Event, Failure, Fault};
use sc_core::ids::{SocketId, Token};
use sc_core::limits::TOKENS;
use std::time::Duration;

use crate::component::{self, Parts};
use crate::stage::{Stage, config, message, run};

/// Repeats instructions `$i` times.
fn times(count: usize, body: &str) -> String {
    format!(
        "(local.set $i (i32.const {count}))
         (loop $again
           {body}
           (local.set $i (i32.sub (local.get $i) (i32.const 1)))
           (br_if $again (local.get $i)))"
    )
}

/// Debug builds are slow; these tests are not about time.
fn patient() -> Stage {
    Stage::with(GuestConfig { cpu_per_call: Duration::from_secs(60), ..config() })
}

const EMIT: &str = "(call $emit (i64.const 1) (local.get $event) (local.get $event_len)
                      (local.get $some) (local.get $data) (local.get $data_len))";
const ASK: &str = "(drop (call $ask (i64.const 1) (i32.const 0) (i32.const 0)
                      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))";

async fn fault(stage: &Stage, body: &str, event: &Event) -> (Fault, String) {
    let mut guest = stage.guest(&component::on_message(body)).await;
    match guest.call(event).await {
        Ok(commands) => panic!("it succeeded with {} commands", commands.len()),
        Err(error) => (error.fault, error.message),
    }
}

#[test]
fn a_flood_of_commands_fails_the_call() {
    run(async {
        let stage = patient();
        let mut guest = stage.guest(&component::on_message(&times(200_000, EMIT))).await;
        assert_eq!(guest.call(&message("x", None)).await.unwrap().len(), 200_000, "exactly the limit");
        let (fault, text) = fault(&stage, &times(200_001, EMIT), &message("x", None)).await;
        assert_eq!(fault, Fault::Limit);
        assert!(text.contains("200000") || text.contains("200,000"), "{text}");
    });
}

#[test]
fn a_flood_of_bytes_fails_the_call() {
    run(async {
        let stage = patient();
        let parts = Parts { on_message: &times(40, EMIT), pages: 40, ..Parts::default() };
        let mut guest = stage.guest(&component::with(&parts)).await;
        let megabyte = format!("\"{}\"", "a".repeat(1 << 20));
        let error = guest.call(&message("x", Some(&megabyte))).await.unwrap_err();
        assert_eq!(error.fault, Fault::Limit, "{}", error.message);
    });
}

#[test]
fn tokens_are_limited_until_they_are_answered() {
    run(async {
        let stage = patient();
        let mut guest = stage.guest(&component::on_message(&times(TOKENS, ASK))).await;
        let commands = guest.call(&message("x", None)).await.unwrap();
        for command in &commands {
            let Command::Ask { token, .. } = command else { panic!("{command:?}") };
            let outcome = Err(Failure::named("TimeoutError", "late"));
            guest.call(&Event::ClientAnswer { to: *token, outcome }).await.unwrap();
        }
        guest.call(&message("x", None)).await.unwrap();
        let error = guest.call(&message("x", None)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Limit, "{}", error.message);
    });
}

#[test]
fn timers_give_their_tokens_back_and_cancelling_anything_else_does_not() {
    run(async {
        let stage = patient();
        let rounds = times(TOKENS * 2, "(call $cancel (call $every (i32.const 5)))");
        let mut guest = stage.guest(&component::on_message(&rounds)).await;
        guest.call(&message("x", None)).await.unwrap();

        let cheat = times(
            TOKENS + 1,
            "(call $cancel (call $ask (i64.const 1) (i32.const 0) (i32.const 0)
               (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
        );
        let (fault, text) = fault(&stage, &cheat, &message("x", None)).await;
        assert_eq!(fault, Fault::Limit, "{text}");
    });
}

#[test]
fn json_must_be_exactly_one_value() {
    run(async {
        let stage = Stage::new();
        for wrong in ["", "{", "1 2", "{}{}", "nul", "\"a", "{'a':1}", "[1,]", "1}],[\"#publish\"", "\u{7f}"]
        {
            let mut guest = stage.guest(&component::echo()).await;
            let error = guest.call(&message("x", Some(wrong))).await.unwrap_err();
            assert_eq!(error.fault, Fault::Argument, "{wrong}");
            assert!(error.message.contains("emit"), "{}", error.message);
        }
        let mut guest = stage.guest(&component::echo()).await;
        for right in ["null", "-1.5e300", "\"\\ud83d\\ude00\"", "[]", "{\"a\":{}}"] {
            assert_eq!(guest.call(&message("x", Some(right))).await.unwrap().len(), 1, "{right}");
        }
    });
}

#[test]
fn deep_nesting_costs_no_stack() {
    run(async {
        let stage = patient();
        let depth = 100_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let parts = Parts { on_message: EMIT, pages: 16, ..Parts::default() };
        let mut guest = stage.guest(&component::with(&parts)).await;
        assert_eq!(guest.call(&message("x", Some(&deep))).await.unwrap().len(), 1);
        let unbalanced = "[".repeat(depth);
        let error = guest.call(&message("x", Some(&unbalanced))).await.unwrap_err();
        assert_eq!(error.fault, Fault::Argument);
    });
}

#[test]
fn claims_must_be_an_object() {
    run(async {
        let stage = Stage::new();
        let body = "(call $set_auth (i64.const 1) (local.get $data) (local.get $data_len) (i32.const 0) (i32.const 0))";
        let mut guest = stage.guest(&component::on_message(body)).await;
        let commands = guest.call(&message("x", Some("{\"username\":\"bob\"}"))).await.unwrap();
        assert!(matches!(&*commands, [Command::SetAuth { who: SocketId(1), expires_in: None, .. }]));
        let error = guest.call(&message("x", Some("[1]"))).await.unwrap_err();
        assert_eq!(error.fault, Fault::Argument);
    });
}

#[test]
fn close_codes_and_reasons_are_checked() {
    run(async {
        let stage = Stage::new();
        let close = |code: u16, bytes: usize| {
            format!("(call $close (i64.const 1) (i32.const {code}) (i32.const 0) (i32.const {bytes}))")
        };
        for code in [1000, 3000, 4500, 4999] {
            let mut guest = stage.guest(&component::on_message(&close(code, 123))).await;
            assert_eq!(guest.call(&message("x", None)).await.unwrap().len(), 1, "{code}");
        }
        for (code, bytes) in [(0, 0), (999, 0), (1001, 0), (1005, 0), (2999, 0), (5000, 0), (1000, 124)] {
            let (fault, text) = fault(&stage, &close(code, bytes), &message("x", None)).await;
            assert_eq!(fault, Fault::Argument, "{code}");
            assert!(text.contains("close"), "{text}");
        }
    });
}

#[test]
fn only_known_events_can_be_wanted() {
    run(async {
        let stage = Stage::new();
        let body = "(call $want (local.get $event) (local.get $event_len))";
        let mut guest = stage.guest(&component::on_message(body)).await;
        for name in ["auth-change", "subscribe", "unsubscribe", "gap"] {
            assert!(matches!(&*guest.call(&message(name, None)).await.unwrap(), [Command::Want(_)]));
        }
        let error = guest.call(&message("publish", None)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Argument);
        assert!(error.message.contains("publish"), "{}", error.message);
    });
}

#[test]
fn a_timers_last_turn_gives_its_token_back() {
    run(async {
        let stage = patient();
        let body = times(TOKENS, "(drop (call $every (i32.const 5)))");
        let mut guest = stage.guest(&component::on_message(&body)).await;
        let commands = guest.call(&message("x", None)).await.unwrap();
        for command in &commands {
            let Command::Timer { token: Token(token), .. } = command else { panic!("{command:?}") };
            guest.call(&Event::Timer { token: Token(*token), last: true }).await.unwrap();
        }
        assert_eq!(guest.call(&message("x", None)).await.unwrap().len(), TOKENS);
    });
}
