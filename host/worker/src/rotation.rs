//! Keys of tokens that the controller chose, on their way to the master, who tells all workers: one in a [`REST`], and
//! of those that come meanwhile the last. None is lost but for a later one. This worker signs and verifies with each
//! at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sc_core::link::control::FromChild;

use crate::worker::Worker;

/// Between two keys.
const REST: Duration = Duration::from_secs(1);

/// What is on its way.
#[derive(Default)]
pub(crate) struct Rotation {
    next: RefCell<Option<Box<str>>>,
    is_sending: Cell<bool>,
}

impl Rotation {
    /// The controller replaces the key.
    pub(crate) fn choose(worker: &Rc<Worker>, key: Box<str>) {
        match worker.rotation.next.replace(Some(key.clone())) {
            Some(_) => worker.tokens.choose_instead(key),
            None => worker.tokens.choose(key),
        }
        if !worker.rotation.is_sending.replace(true) {
            let this = Rc::clone(worker);
            worker.tasks.spawn_local(async move { this.rotation.send(&this).await });
        }
    }

    /// The key that the master is still to be told, for who tells it at once.
    pub(crate) fn take(&self) -> Option<FromChild> {
        self.next.take().map(|key| FromChild::RotateAuthKey(key.into()))
    }

    async fn send(&self, worker: &Worker) {
        while let Some(message) = self.take() {
            worker.answer_master(message).await;
            tokio::time::sleep(REST).await;
        }
        self.is_sending.set(false);
    }
}
