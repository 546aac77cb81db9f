//! A controller for tests, in plain Rust: procedures by name.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sc_core::config::{Fsync, StoreConfig};
use sc_core::controller::{
    CallError, Failure, Fault, Generation, Json, KeyErrorKind, KeyOp, ProcedureData, StartError, StartInfo,
    StoreController, StoreControllerSource,
};
use tokio::sync::Notify;

/// The configuration of one store that keeps everything in memory.
pub(crate) fn config() -> StoreConfig {
    let [session_timeout, session_grace] = [Duration::from_secs(60), Duration::from_millis(20)];
    StoreConfig {
        folder: None,
        fsync: Fsync::Interval,
        session_timeout,
        session_grace,
        stores: 1,
        app: "test".into(),
    }
}

/// Makes [`Fake`]s.
#[derive(Clone, Default)]
pub(crate) struct Fakes {
    /// Lets a procedure named `waits` go on.
    pub(crate) gate: Rc<Notify>,
    /// None can be made.
    pub(crate) are_down: Rc<Cell<bool>>,
    /// Those that start try to write and publish, and then wait for this.
    pub(crate) start_gate: Rc<RefCell<Option<Rc<Notify>>>>,
}

/// What it does is in its `run`.
pub(crate) struct Fake {
    data: Rc<dyn ProcedureData>,
    gate: Rc<Notify>,
    release: String,
}

impl StoreControllerSource for Fakes {
    type Instance = Fake;

    async fn start(
        &self,
        generation: &Generation,
        _: &StartInfo,
        data: Rc<dyn ProcedureData>,
    ) -> Result<Fake, StartError> {
        let gate = self.start_gate.borrow().clone();
        if let Some(gate) = gate {
            let written = data.act(key("a"), KeyOp::Set { value: "\"in start\"".into() });
            assert_eq!(written.map_err(|error| error.kind), Err(KeyErrorKind::Path));
            data.publish("done".to_owned(), None);
            gate.notified().await;
        }
        match self.are_down.get() {
            false => Ok(Fake { data, gate: Rc::clone(&self.gate), release: generation.hash.clone() }),
            true => Err(StartError::Refused("down".to_owned())),
        }
    }
}

fn key(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

impl StoreController for Fake {
    async fn run(
        &mut self,
        name: &str,
        argument: Option<&str>,
    ) -> Result<Result<Option<Json>, Failure>, CallError> {
        if name == "release" {
            return Ok(Ok(Some(format!("\"{}\"", self.release))));
        }
        let value = argument.unwrap_or("null").to_owned();
        let _ = self.data.act(key("a"), KeyOp::Set { value: value.into() });
        self.data.publish("done".to_owned(), None);
        tokio::task::yield_now().await;
        match name {
            "waits" => self.gate.notified().await,
            "expires at once and fails" => {
                let expired = self.data.act(key("b"), KeyOp::Expire { after_ms: 0 });
                assert_eq!(expired.as_ref().map(Option::as_deref), Ok(Some(&b"true"[..])));
                assert_eq!(self.data.act(key("b"), KeyOp::Get), Ok(None));
            }
            _ => {}
        }
        if name.ends_with("fails") {
            return Ok(Err(Failure::named("NoError", "not now")));
        }
        if name == "traps" {
            return Err(CallError::new(Fault::Trap, "unreachable"));
        }
        let got = self.data.act(key("a"), KeyOp::Get).ok().flatten();
        Ok(Ok(got.map(|got| String::from_utf8_lossy(&got).into_owned())))
    }

    fn hears_channels(&self) -> bool {
        false
    }

    async fn channel(&mut self, _: &str, _: bool) -> Result<(), CallError> {
        Ok(())
    }
}
