//! What ends a command other than a running host: a signal, or the end of its terminal. Builds have process groups of
//! their own and hear of it only from here: they end when their futures are dropped.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::HostError;
use crate::master::Signals;

/// Hears it. From its making on, none of these signals ends the process by itself.
pub(super) struct Ends {
    signals: Signals,
    hangup: Option<Signal>,
}

impl Ends {
    /// Starts to hear.
    pub(super) fn new() -> Result<Self, HostError> {
        let hear = || {
            // Heard, a signal is not ignored any more.
            let hangup = if ignores_hangups() { None } else { Some(signal(SignalKind::hangup())?) };
            Ok(Ends { signals: Signals::new()?, hangup })
        };
        hear().map_err(HostError::os("waiting for signals"))
    }

    /// Works until that is done, or dropped since one of them came.
    pub(super) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, HostError>>,
    ) -> Result<T, HostError> {
        tokio::select! {
            done = work => done,
            _ = self.signals.next() => Err(HostError::Interrupted),
            () = hung_up(&mut self.hangup) => Err(HostError::Interrupted),
        }
    }

    /// The end of the terminal alone, for who hears the others elsewhere.
    pub(super) async fn hung_up(&mut self) {
        hung_up(&mut self.hangup).await;
    }
}

async fn hung_up(hangup: &mut Option<Signal>) {
    let came = match hangup {
        Some(hangup) => hangup.recv().await.is_some(),
        None => false,
    };
    if !came {
        std::future::pending().await
    }
}

/// Whether this process was started by `nohup`, or the like.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // One bit for each signal, and SIGHUP is the first.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
