//! A controller for tests, in plain Rust: procedures by name.

use std::rc::Rc;

use sc_core::controller::{
    CallError, ComponentRef, Failure, Fault, Json, KeyOp, ProcedureData, StartError, StartInfo,
    StoreController, StoreControllerSource,
};

/// Makes [`Fake`]s.
pub(crate) struct NoController;

/// What it does is in its `run`.
pub(crate) struct Fake(Rc<dyn ProcedureData>);

impl StoreControllerSource for NoController {
    type Instance = Fake;

    async fn start(
        &self,
        _: &ComponentRef,
        _: &StartInfo,
        data: Rc<dyn ProcedureData>,
    ) -> Result<Fake, StartError> {
        Ok(Fake(data))
    }
}

impl StoreController for Fake {
    async fn run(
        &mut self,
        name: &str,
        argument: Option<&str>,
    ) -> Result<Result<Option<Json>, Failure>, CallError> {
        let key = || vec!["a".to_owned()];
        let value = argument.unwrap_or("null").to_owned();
        let _ = self.0.act(key(), KeyOp::Set { value: value.into() });
        self.0.publish("done".to_owned(), None);
        tokio::task::yield_now().await;
        match name {
            "fails" => Ok(Err(Failure::named("NoError", "not now"))),
            "traps" => Err(CallError { fault: Fault::Trap, message: "unreachable".to_owned() }),
            _ => {
                let got = self.0.act(key(), KeyOp::Get).ok().flatten();
                Ok(Ok(got.map(|got| String::from_utf8_lossy(&got).into_owned())))
            }
        }
    }

    fn hears_channels(&self) -> bool {
        true
    }

    async fn channel(&mut self, channel: &str, is_subscribed: bool) -> Result<(), CallError> {
        if channel != "turns" {
            self.0.publish("turns".to_owned(), Some(format!("\"{channel} {is_subscribed}\"")));
        }
        Ok(())
    }
}
