//! Another generation takes the running one's place. Its instance starts beside the running one, which decides
//! meanwhile; then, between two calls, the old one's state is taken and restored, and the new one gets all that comes
//! from there on. If any of this fails, the old one goes on.

use std::future::Future;

use sc_core::controller::{
    BalancerController, BalancerControllerSource, Cause, Generation, Snapshot, SnapshotError, StartError,
    StartInfo,
};
use sc_core::limits::READY_DEADLINE;
use sc_core::link::control::{ChildLink, FromChild};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::{Driver, Reload};

/// An instance, or why there is none, for the user.
type Started<I> = Result<I, String>;

/// A generation that starts beside the running one, or none. Dropping it ends the start.
pub(super) struct Successor<I>(Option<Starting<I>>);

struct Starting<I> {
    /// The order's.
    number: u64,
    generation: Generation,
    info: StartInfo,
    task: JoinSet<Started<I>>,
}

/// A new generation, and how its start ended.
pub(super) struct Switch<I> {
    number: u64,
    generation: Generation,
    info: StartInfo,
    started: Started<I>,
}

impl<I> Default for Successor<I> {
    fn default() -> Self {
        Successor(None)
    }
}

impl<I: 'static> Successor<I> {
    /// Starts one, in the place of another that has not started yet.
    fn begin(
        &mut self,
        (number, generation): Reload,
        info: StartInfo,
        start: impl Future<Output = Result<I, StartError>> + 'static,
    ) {
        let mut task = JoinSet::new();
        task.spawn_local(async {
            match timeout(READY_DEADLINE, start).await {
                Ok(started) => started.map_err(|error| error.to_string()),
                Err(_) => Err(format!("it did not start in {} s", READY_DEADLINE.as_secs())),
            }
        });
        self.0 = Some(Starting { number, generation, info, task });
    }

    /// The new generation once its start has ended; for ever without one. Cancel safe.
    pub(super) async fn started(&mut self) -> Switch<I> {
        if let Some(starting) = &mut self.0
            && let Some(ended) = starting.task.join_next().await
            && let Some(Starting { number, generation, info, .. }) = self.0.take()
        {
            let started = ended.unwrap_or_else(|panicked: JoinError| Err(panicked.to_string()));
            return Switch { number, generation, info, started };
        }
        std::future::pending().await
    }
}

impl<S: BalancerControllerSource + 'static> Driver<S> {
    /// Starts an instance of another generation while the running one works on. A start that is under way already is
    /// dropped: a master that gives another order does not wait for its end.
    pub(super) fn begin(&mut self, (number, generation): Reload) {
        let info = StartInfo { cause: Cause::Reload, config: generation.config.clone(), ..self.info.clone() };
        let (source, new, its) = (self.source.clone(), generation.clone(), info.clone());
        self.successor.begin((number, generation), info, async move { source.start(&new, &its).await });
    }

    /// The new generation takes over with the state of the running one. If it cannot, nothing has changed.
    pub(super) async fn switch(&mut self, control: &ChildLink, switch: Switch<S::Instance>) {
        let (number, component) = (switch.number, switch.generation.label().to_string());
        let outcome = self.exchange(switch).await;
        match &outcome {
            Ok(()) => tracing::info!(component, "the balancer's controller is replaced"),
            Err(reason) => {
                tracing::warn!(component, reason, "the balancer's controller stays as it was")
            }
        }
        // A master that is gone needs no telling.
        let _ = control.send(&FromChild::Reloaded(number, outcome), &[]).await;
    }

    async fn exchange(&mut self, switch: Switch<S::Instance>) -> Result<(), String> {
        let Switch { generation, info, started, .. } = switch;
        let mut instance = started?;
        if let Some(state) = self.state().await? {
            instance.restore(&state).await.map_err(|error| error.to_string())?;
        }
        self.instance = Some(instance);
        self.desk.obey(&generation);
        (self.generation, self.info) = (generation, info);
        Ok(())
    }

    /// The running instance's state.
    async fn state(&mut self) -> Result<Option<Snapshot>, String> {
        let Some(running) = &mut self.instance else { return Ok(None) };
        running.snapshot().await.map_err(|error| {
            if let SnapshotError::Failed(_) = error {
                self.instance = None;
            }
            format!("the running generation's state is not to be had: {error}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_has_a_deadline() {
        let run = async {
            let generation = crate::tests::fake::generation("never");
            let info = StartInfo {
                worker: 0,
                workers: 1,
                app: "app".into(),
                config: "{}".to_owned(),
                cause: Cause::Reload,
            };
            let mut successor = Successor::<()>::default();
            successor.begin((1, generation), info, std::future::pending());
            let began = tokio::time::Instant::now();
            let ended = timeout(2 * READY_DEADLINE, successor.started()).await.expect("it ends by itself");
            assert_eq!(ended.started, Err("it did not start in 30 s".to_owned()));
            assert_eq!(began.elapsed(), READY_DEADLINE);
        };
        tokio::task::LocalSet::new().run_until(run).await;
    }
}
