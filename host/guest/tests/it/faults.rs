//! A call that fails: its commands are gone, the error names the fault, the instance is dead, others live.

use std::time::{Duration, Instant};

use sc_core::config::GuestConfig;
use sc_core::controller::{CallError, Controller as _, Fault, StartError};

use crate::component::{self, Parts};
use crate::stage::{Stage, burn, config, cpu, message, other_work, run};

async fn failing(stage: &Stage, bytes: &[u8]) -> CallError {
    let mut guest = stage.guest(bytes).await;
    let error = guest.call(&message("x", None)).await.unwrap_err();
    assert!(guest.call(&message("x", None)).await.is_err(), "the instance is dead");
    error
}

const LOOP: &str = "(loop $again (br $again))";

#[test]
fn a_trap_names_the_guests_functions() {
    run(async {
        let stage = Stage::new();
        let parts = Parts {
            items: "(func $deep_inside unreachable)",
            on_message: "(call $deep_inside)",
            ..Parts::default()
        };
        let error = failing(&stage, &component::with(&parts)).await;
        assert_eq!(error.fault, Fault::Trap);
        assert!(error.message.contains("unreachable"), "{}", error.message);
        assert_eq!(error.place(), Some("deep_inside"));
        let shown = error.to_string();
        assert!(shown.contains("in deep_inside < ") && !shown.contains('\n'), "one line: {shown}");
    });
}

/// A start function runs before any handler: what fails there failed like one.
#[test]
fn a_trap_while_the_instance_is_made_names_its_functions() {
    run(async {
        let stage = Stage::new();
        let items = "(func $sets_up unreachable) (start $sets_up)";
        let bytes = component::with(&Parts { items, ..Parts::default() });
        match stage.start(&bytes).await {
            Err(StartError::Failed(error)) => {
                assert_eq!((error.fault, error.place()), (Fault::Trap, Some("sets_up")), "{error}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("started"),
        }
    });
}

#[test]
fn what_an_error_repeats_of_the_guests_words_is_short() {
    run(async {
        let stage = Stage::new();
        let body = "(call $want (i32.const 0) (i32.const 100000))";
        let error = failing(&stage, &component::on_message(body)).await;
        assert_eq!(error.fault, Fault::Argument);
        assert!(error.message.contains("setup.want") && error.message.contains("gap"), "{error}");
        assert!(error.message.len() < 1_100, "{} bytes", error.message.len());
    });
}

#[test]
fn commands_of_a_failed_call_do_not_reach_the_next_instance() {
    run(async {
        let stage = Stage::new();
        let body =
            "(call $emit (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                    (if (i32.eqz (local.get $some)) (then unreachable))";
        let bytes = component::on_message(body);
        assert_eq!(failing(&stage, &bytes).await.fault, Fault::Trap);
        let mut fresh = stage.guest(&bytes).await;
        assert_eq!(fresh.call(&message("x", Some("1"))).await.unwrap().len(), 1);
    });
}

#[test]
fn an_endless_loop_is_cut_while_other_work_goes_on() {
    run(async {
        let stage = Stage::new();
        let mut guest = stage.guest(&component::on_message(LOOP)).await;
        let (turns, other) = other_work();
        let began = cpu();
        let error = guest.call(&message("x", None)).await.unwrap_err();
        let used = cpu() - began;
        other.abort();
        assert_eq!(error.fault, Fault::Timeout);
        assert!(error.message.contains("50 ms"), "{}", error.message);
        // A busy machine may be late to say that the time is over, but an endless loop never ends by itself.
        assert!(used >= Duration::from_millis(45) && used < Duration::from_secs(1), "{used:?}");
        assert!(*turns.borrow() >= 1, "nothing else had a turn");
    });
}

#[test]
fn work_of_others_is_not_charged_to_a_call() {
    run(async {
        let most = Duration::from_millis(500);
        let stage = Stage::with(GuestConfig { cpu_per_call: most, ..config() });
        // Some tens of milliseconds of a guest's work: longer than many ticks, far from the limit.
        let body = "(local.set $i (i32.const 120000000))
                    (loop $again
                      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                      (br_if $again (local.get $i)))";
        let mut guest = stage.guest(&component::on_message(body)).await;
        let other = tokio::task::spawn_local(async {
            for _ in 0..2 {
                burn(Duration::from_millis(300));
                tokio::task::yield_now().await;
            }
        });
        let began = cpu();
        guest.call(&message("x", None)).await.unwrap();
        let used = cpu() - began;
        other.abort();
        assert!(used > most, "others must have worked more than the guest may: {used:?}");
    });
}

#[test]
fn a_guest_that_sleeps_is_cut_and_is_not_charged_for_others() {
    run(async {
        let stage = Stage::new();
        let nap = |ms: u64| {
            component::on_message(&format!("(call $block (call $after (i64.const {})))", ms * 1_000_000))
        };
        let mut napping = stage.guest(&nap(120)).await;
        let other = tokio::task::spawn_local(async {
            loop {
                burn(Duration::from_millis(10));
                tokio::task::yield_now().await;
            }
        });
        napping.call(&message("x", None)).await.unwrap();
        other.abort();
        let mut asleep = stage.guest(&nap(3_600_000)).await;
        let began = Instant::now();
        let error = tokio::time::timeout(Duration::from_secs(10), asleep.call(&message("x", None)))
            .await
            .expect("a sleeping guest holds its instance for ever")
            .unwrap_err();
        assert_eq!(error.fault, Fault::Timeout);
        assert!(error.message.contains("wait"), "{}", error.message);
        assert!(began.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn an_endless_start_is_cut() {
    run(async {
        let stage = Stage::with(GuestConfig { cpu_per_call: Duration::from_millis(10), ..config() });
        let body = "(loop $again (result i32) (br $again))";
        let began = cpu();
        assert!(stage.start(&component::on_start(body)).await.is_err());
        let used = cpu() - began;
        assert!(used > Duration::from_millis(150), "{used:?}");
    });
}

#[test]
fn memory_has_a_limit_and_its_fault_is_told() {
    run(async {
        let stage = Stage::with(GuestConfig { memory_max: 4 << 20, ..config() });
        let hog = "(loop $again
                     (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                     (br $again))";
        let error = failing(&stage, &component::on_message(hog)).await;
        assert_eq!(error.fault, Fault::Memory, "{}", error.message);
        assert!(error.message.contains("4 MiB"), "{}", error.message);
    });
}

#[test]
fn a_guest_that_lives_without_the_memory_it_asked_for_is_not_blamed_later() {
    run(async {
        let stage = Stage::with(GuestConfig { memory_max: 4 << 20, ..config() });
        let body = "(if (local.get $some)
                      (then (drop (memory.grow (i32.const 1000))))
                      (else unreachable))";
        let mut guest = stage.guest(&component::on_message(body)).await;
        guest.call(&message("x", Some("1"))).await.unwrap();
        let error = guest.call(&message("x", None)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Trap, "{}", error.message);
    });
}

#[test]
fn growth_past_a_memorys_own_maximum_is_not_counted() {
    run(async {
        let stage = Stage::with(GuestConfig { memory_max: 4 << 20, ..config() });
        // The memory of `items` may have one page; asking for more fails, and leaves the quota as it was.
        let parts = Parts {
            items: "(memory $small 1 1)",
            on_message: "(local.set $i (i32.const 100))
                         (loop $again
                           (drop (memory.grow $small (i32.const 30)))
                           (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                           (br_if $again (local.get $i)))
                         (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))",
            ..Parts::default()
        };
        let mut guest = stage.guest(&component::with(&parts)).await;
        guest.call(&message("x", None)).await.unwrap();
    });
}

#[test]
fn tables_share_one_limit() {
    run(async {
        let stage = Stage::new();
        let tables: String = (0..40).map(|_| "(table 100000 funcref)").collect();
        let parts = Parts { items: &tables, ..Parts::default() };
        assert!(stage.start(&component::with(&parts)).await.is_err(), "4,000,000 elements in 40 tables");
    });
}

#[test]
fn a_component_larger_than_its_memory_limit_does_not_start() {
    run(async {
        let stage = Stage::with(GuestConfig { memory_max: 1 << 20, ..config() });
        let bytes = component::with(&Parts { pages: 100, ..Parts::default() });
        let error = stage.start(&bytes).await.err().expect("it must not start");
        assert!(error.to_string().contains("memory"), "{error}");
    });
}
