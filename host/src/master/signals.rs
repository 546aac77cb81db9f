//! Signals of the operating system as one stream.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears and drops the signals that have the host reload: only the master acts on them, but a service supervisor may
/// send them to all of its processes. Needs a tokio runtime; holds for the rest of the process.
pub(crate) fn drop_reloads() -> io::Result<()> {
    for kind in [SignalKind::hangup(), SignalKind::user_defined2()] {
        // What was heard once never has its usual effect again.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Who asked the host to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A service supervisor: SIGTERM.
    Terminate,
    /// Ctrl-C: SIGINT.
    Interrupt,
}

impl End {
    /// The signal's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            End::Terminate => "SIGTERM",
            End::Interrupt => "SIGINT",
        }
    }
}

/// Hears the signals that end the host. From its making on, they no longer kill the process by themselves.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to hear.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> End {
        tokio::select! {
            Some(()) = self.terminate.recv() => End::Terminate,
            Some(()) = self.interrupt.recv() => End::Interrupt,
            else => std::future::pending().await,
        }
    }
}
