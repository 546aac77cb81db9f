//! The task of one link: tells events and answers in the link's order, and of its end. It holds the stores weakly, so
//! that they end with their last user.

use std::rc::{Rc, Weak};

use sc_core::ids::StoreId;
use sc_core::link::frames::FrameReceiver;
use sc_core::log::FAULT;
use sc_wire::store::Reply;
use tokio::sync::Notify;

use super::link::Unexpected;
use super::{CallError, Inner, StoreEvent};

/// Replies handled before other work of the thread gets its turn.
const TURN: usize = 128;

/// Reads one link of a store until it breaks.
pub(super) struct Reader {
    pub(super) inner: Weak<Inner>,
    pub(super) store: StoreId,
    pub(super) generation: u64,
    /// Told when the link is of no more use.
    pub(super) broken: Rc<Notify>,
}

impl Reader {
    /// `gap_now`: there is a gap to tell of, and nothing to re-subscribe before it.
    pub(super) async fn run(
        self,
        mut receiver: FrameReceiver<Reply>,
        drain: impl Future<Output = ()>,
        gap_now: bool,
    ) {
        if gap_now {
            self.tell(StoreEvent::Gap(self.store));
        }
        let (mut drain, mut broken) = (std::pin::pin!(drain), std::pin::pin!(self.broken.notified()));
        let mut drained = false;
        let mut turn = 0;
        loop {
            // A broken write is not the end: what the store said before it died is still to be read.
            let received = tokio::select! {
                received = receiver.recv() => received,
                () = &mut drain, if !drained => { drained = true; continue; }
                () = &mut broken => break,
            };
            match received {
                Ok(Some(reply)) => {
                    if let Err(error) = self.take(reply) {
                        tracing::error!(
                            store = %self.store,
                            error = &error as &dyn std::error::Error,
                            "a store is out of step: its link is dropped"
                        );
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(
                        store = %self.store,
                        error = &error as &dyn std::error::Error,
                        "the link to a store failed"
                    );
                    break;
                }
            }
            turn += 1;
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        let Some(inner) = self.inner.upgrade() else { return };
        let Some(link) = inner.links.get(usize::from(self.store.0)) else { return };
        if link.borrow_mut().lose(self.generation) {
            (inner.on_event)(StoreEvent::Lost(self.store));
        }
    }

    fn take(&self, reply: Reply) -> Result<(), Unexpected> {
        let (op, result) = match reply {
            Reply::Message { channel, data } => {
                self.tell(StoreEvent::Message { channel, data });
                return Ok(());
            }
            Reply::Session { session, message } => {
                self.tell(StoreEvent::Session { session, message });
                return Ok(());
            }
            Reply::Member { channel, change, member } => {
                self.tell(StoreEvent::Member { channel, change, member });
                return Ok(());
            }
            Reply::SessionEnd { session } => {
                self.tell(StoreEvent::SessionEnd(session));
                return Ok(());
            }
            Reply::Relay { channel, data } => {
                if let Some(inner) = self.inner.upgrade()
                    && let Err(error) = (super::Stores { inner }).publish(&channel, data)
                {
                    tracing::warn!(target: FAULT, %error, "a publication of a procedure is lost");
                }
                return Ok(());
            }
            Reply::Problem { op, name, message, extra } => {
                (op, Err(CallError::Problem { name, message, extra }))
            }
            Reply::Done { op } => (op, Ok(None)),
            Reply::Value { op, value } => (op, Ok(value)),
            Reply::Failed { op, error } => (op, Err(CallError::Refused(error))),
        };
        let Some(inner) = self.inner.upgrade() else { return Ok(()) };
        let Some(link) = inner.links.get(usize::from(self.store.0)) else { return Ok(()) };
        let resubscribed = link.borrow_mut().answered(op, result)?;
        if resubscribed {
            (inner.on_event)(StoreEvent::Gap(self.store));
        }
        Ok(())
    }

    fn tell(&self, event: StoreEvent) {
        if let Some(inner) = self.inner.upgrade() {
            (inner.on_event)(event);
        }
    }
}
