//! How much CPU time the running call has used, and how long it has waited.
//!
//! Time of the thread counts only while the guest is polled: neither what other tasks do while a long call yields or
//! waits is charged to it, nor a core lost to other processes. A call that ends before its first tick reads no clock;
//! the price is that a call may exceed its limit by up to one tick.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use sc_core::controller::Fault;
use tokio::time::{Instant, Sleep};
use wasmtime::UpdateDeadline;

use crate::clock::thread_cpu;
use crate::context::Ended;
use crate::voice::Voice;

/// How long a call may wait in sum for WASI, such as a sleep or a file: meanwhile its instance hears nothing. What
/// may use more CPU time may wait longer by the same factor.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The clock of one instance, and what it says. The store's callback and the future that polls the call share it on
/// one thread; its atomics are there because wasmtime asks for `Send`.
pub(crate) struct Meter {
    voice: Voice,
    most: AtomicU64,
    used: AtomicU64,
    /// The thread's CPU time up to which all is charged, in nanoseconds; 0 until the first tick of a call.
    since: AtomicU64,
    paused: AtomicBool,
    yielding: AtomicBool,
}

impl Meter {
    pub(crate) fn new(voice: Voice) -> Self {
        Meter {
            voice,
            most: AtomicU64::new(0),
            used: AtomicU64::new(0),
            since: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            yielding: AtomicBool::new(false),
        }
    }

    fn begin(&self, most: Duration) {
        self.most.store(nanos(most), Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
        self.paused.store(false, Ordering::Relaxed);
        self.yielding.store(false, Ordering::Relaxed);
    }

    fn charge(&self) -> u64 {
        let now = now();
        let since = self.since.swap(now, Ordering::Relaxed);
        let more = if since == 0 { 0 } else { now.saturating_sub(since) };
        self.used.fetch_add(more, Ordering::Relaxed).saturating_add(more)
    }

    /// A tick came while the guest ran: it yields to the thread's other tasks, or its time is over.
    pub(crate) fn tick(&self) -> wasmtime::Result<UpdateDeadline> {
        let most = Duration::from_nanos(self.most.load(Ordering::Relaxed));
        if Duration::from_nanos(self.charge()) > most {
            let message =
                format!("a call may use {} ms of CPU time, and this one used more", most.as_millis());
            return Err(Ended { fault: Fault::Timeout, message }.into());
        }
        self.yielding.store(true, Ordering::Relaxed);
        // wasmtime's own yield wakes itself at once, and the loop would look for native work far too rarely.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    }

    fn resume(&self) {
        if self.paused.swap(false, Ordering::Relaxed) {
            self.since.store(now(), Ordering::Relaxed);
        }
    }

    /// Says whether the guest pauses because it yields, not because it waits.
    fn pause(&self) -> bool {
        if self.since.load(Ordering::Relaxed) != 0 {
            self.charge();
        }
        self.paused.store(true, Ordering::Relaxed);
        self.yielding.swap(false, Ordering::Relaxed)
    }

    /// Runs a call to its end, with `factor` times the CPU time of `most` and the waiting of a usual call.
    pub(crate) async fn run<T>(
        &self,
        most: Duration,
        factor: u32,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        self.run_patiently(most.saturating_mul(factor), WAIT_MAX.saturating_mul(factor), call).await
    }

    /// Runs a call to its end, with so much CPU time and waiting.
    pub(crate) async fn run_patiently<T>(
        &self,
        most: Duration,
        wait_max: Duration,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> wasmtime::Result<T> {
        self.begin(most);
        let mut call = pin!(call);
        let mut patience = wait_max;
        let mut waiting: Option<(Instant, Pin<Box<Sleep>>)> = None;
        poll_fn(|context| {
            self.resume();
            if let Some((since, _)) = waiting.take() {
                patience = patience.saturating_sub(since.elapsed());
            }
            match call.as_mut().poll(context) {
                Poll::Ready(outcome) => {
                    if outcome.is_ok() {
                        self.voice.release();
                    }
                    return Poll::Ready(outcome);
                }
                Poll::Pending if self.pause() => return Poll::Pending,
                Poll::Pending => self.voice.release(),
            }
            // A sleep of no time is not over at its first poll, so patience itself is asked as well.
            let mut sleep = Box::pin(tokio::time::sleep(patience));
            if patience.is_zero() || sleep.as_mut().poll(context).is_ready() {
                let message = format!(
                    "a call may wait {} s, and this one waited longer: use timers instead of sleeping",
                    wait_max.as_secs()
                );
                return Poll::Ready(Err(Ended { fault: Fault::Timeout, message }.into()));
            }
            waiting = Some((Instant::now(), sleep));
            Poll::Pending
        })
        .await
    }
}

/// The thread's CPU time; never 0, which means that nothing was read.
fn now() -> u64 {
    nanos(thread_cpu()).max(1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
