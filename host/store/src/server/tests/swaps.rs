//! Swaps of the controller: what runs ends in the old instance, what waits goes to the new one, and one that does not
//! start changes nothing.

use sc_wire::store::KeyOp;

use super::rig::{Rig, procedure, test};
use super::*;

const ZERO: Option<&[u8]> = Some(b"\"0\"");
const ONE: Option<&[u8]> = Some(b"\"1\"");

#[test]
fn what_runs_ends_in_the_old_instance_and_what_waits_goes_to_the_new_one() {
    test(async {
        let fakes = Fakes::default();
        let rig = Rig::driven(&fakes).await;
        let (mut one, mut two, mut three) = (rig.link(1), rig.link(2), rig.link(3));
        let running = one.say(|op| Request::Run { op, run: procedure("waits", "5") });
        while !rig.hub.borrow().procedures.is_running() {
            tokio::task::yield_now().await;
        }
        let gate: Rc<tokio::sync::Notify> = Rc::default();
        *fakes.start_gate.borrow_mut() = Some(Rc::clone(&gate));
        rig.reload("1");
        let waiting = two.say(|op| Request::Run { op, run: procedure("release", "0") });
        // The new one starts while the old one works, and has tried to reach its data.
        gate.notify_one();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(rig.hub.borrow().procedures.is_running(), "the old one works on");
        fakes.gate.notify_one();
        assert_eq!(one.answer(running).await.expect("run").as_deref(), Some(&b"5"[..]));
        assert_eq!(two.answer(waiting).await.expect("run").as_deref(), ONE);
        assert_eq!(rig.reloaded().await, Ok(()));
        assert_eq!(three.act("a", KeyOp::Get).await.expect("got").as_deref(), Some(&b"5"[..]));
    });
}

#[test]
fn jobs_go_on_while_an_instance_starts_and_one_that_does_not_changes_nothing() {
    test(async {
        let fakes = Fakes::default();
        let rig = Rig::driven(&fakes).await;
        let mut worker = rig.link(1);
        let gate: Rc<tokio::sync::Notify> = Rc::default();
        *fakes.start_gate.borrow_mut() = Some(Rc::clone(&gate));
        fakes.are_down.set(true);
        rig.reload("1");
        for _ in 0..3 {
            assert_eq!(worker.run("release", "0").await.expect("run").as_deref(), ZERO);
        }
        gate.notify_one();
        assert_eq!(rig.reloaded().await, Err("down".to_owned()));
        assert_eq!(worker.run("release", "0").await.expect("run").as_deref(), ZERO);
        // The running one again is no swap at all.
        rig.reload("0");
        assert_eq!(rig.reloaded().await, Ok(()));
        // An order drops the swap that is under way: only the last one is answered.
        fakes.are_down.set(false);
        rig.reload("2");
        tokio::time::sleep(Duration::from_millis(10)).await;
        *fakes.start_gate.borrow_mut() = None;
        rig.reload("1");
        assert_eq!(rig.reloaded().await, Ok(()));
        assert_eq!(worker.run("release", "0").await.expect("run").as_deref(), ONE);
    });
}

/// A controller that is down is mended by another generation, without a wait for the next try.
#[test]
fn another_generation_takes_the_place_of_one_that_is_down() {
    test(async {
        let fakes = Fakes::default();
        let rig = Rig::driven(&fakes).await;
        let mut worker = rig.link(1);
        fakes.are_down.set(true);
        worker.run("traps", "1").await.expect_err("it traps");
        worker.run("release", "0").await.expect_err("nobody runs it");
        fakes.are_down.set(false);
        rig.reload("1");
        assert_eq!(rig.reloaded().await, Ok(()));
        assert_eq!(worker.run("release", "0").await.expect("run").as_deref(), ONE);
    });
}
