//! The store process: links of workers in, operations on the keyspace and the channels, answers out.
//!
//! The operations of a link are done in their order, each at once, so the answers of a link are in its order too
//! and a publication reaches every link in the order in which its publisher sent it. Nothing is acknowledged before
//! it is done. All values live in this process's memory and die with it.

mod links;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use sc_core::ids::StoreId;
use sc_core::link::control::{ChildLink, FromChild, ToChild, keep_alive};
use tokio::time::{Instant, MissedTickBehavior};

use self::links::Hub;
use crate::StoreError;

/// How often memory of expired values is freed; operations never see them anyway.
const SWEEP: Duration = Duration::from_secs(1);

/// Serves until the master is gone or has it drained. Runs inside a `LocalSet`.
///
/// On [`ToChild::Drain`] it goes on until its last worker's link is gone or the deadline has passed, then says so.
///
/// # Errors
/// When the control link fails.
pub async fn run(control: ChildLink, id: StoreId) -> Result<(), StoreError> {
    let hub = Rc::new(RefCell::new(Hub::new(id)));
    let changed = hub.borrow().changed();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline: Option<Instant> = None;
    control.send(&FromChild::Ready, &[]).await?;
    let mut alive = pin!(keep_alive(&control));
    loop {
        let drained = async {
            match deadline {
                Some(deadline) if !hub.borrow().is_idle() => tokio::time::sleep_until(deadline).await,
                Some(_) => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = control.recv() => match received? {
                None => return Ok(()),
                Some((ToChild::WorkerLink(worker), descriptors)) => match descriptors.into_iter().next() {
                    Some(end) => match links::serve(&hub, worker, end) {
                        Ok(()) => tracing::debug!(store = %id, %worker, "a worker is linked"),
                        Err(error) => tracing::error!(store = %id, %worker, %error, "a worker's link cannot be used"),
                    },
                    None => tracing::error!(store = %id, %worker, "a worker's link came without its descriptor"),
                },
                Some((ToChild::Drain(ms), _)) => deadline = Some(Instant::now() + Duration::from_millis(ms)),
                Some((other, _)) => {
                    let message = std::mem::discriminant(&other);
                    tracing::warn!(store = %id, ?message, "a message that is not for stores was ignored");
                }
            },
            () = drained => {
                // A master that is gone needs no telling.
                let _ = control.send(&FromChild::Drained, &[]).await;
                return Ok(());
            }
            () = changed.notified() => {}
            never = alive.as_mut() => match never {},
            _ = sweep.tick() => hub.borrow_mut().sweep(),
        }
    }
}

#[cfg(test)]
mod tests;
