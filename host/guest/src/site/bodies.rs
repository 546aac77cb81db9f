//! Bodies between a client and an instance. Each piece that passes is a sign of life, and an answer whose instance
//! failed ends with an error, never as if it were whole.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use sc_core::limits::{CATCH_UP, OVERSLEPT};
use sc_core::site::Body;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

/// How long an instance may go on without a sign of life once its client has left the answer.
const PARTING: Duration = Duration::from_secs(2);

/// How far a request is. Shared by its instance and both bodies; all on one thread, though wasmtime asks for `Send`.
#[derive(Debug)]
pub(super) struct Progress {
    patience: Duration,
    last: Mutex<Instant>,
    begun: AtomicBool,
    late: AtomicBool,
    failed: AtomicBool,
    /// The client left: its request broke off, was not fit, or its answer finds no reader.
    left: AtomicBool,
    leaving: Notify,
    over: Notify,
    returned: AtomicBool,
    /// The instance returned in the middle of its answer's body.
    unfinished: AtomicBool,
    /// Of whoever sends that body.
    sending: AtomicWaker,
}

impl Progress {
    pub(super) fn new(patience: Duration) -> Self {
        let no = || AtomicBool::new(false);
        Progress {
            patience,
            last: Mutex::new(Instant::now()),
            begun: no(),
            late: no(),
            failed: no(),
            left: no(),
            leaving: Notify::new(),
            over: Notify::new(),
            returned: no(),
            unfinished: no(),
            sending: AtomicWaker::new(),
        }
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// The answer's head is there.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.touch();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The instance failed: what it has not sent will not come.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    /// The client wants no more of it.
    fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        self.leaving.notify_one();
    }

    /// Whether the client left, so that a failure is nobody's fault but its own.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// The answer's body went out, was given up, or there is none.
    pub(super) fn end(&self) {
        self.over.notify_one();
    }

    /// The instance returned: what it has not handed over will not come. Waits for the answer's end, and says whether
    /// it was whole.
    pub(super) async fn finished(&self) -> bool {
        self.returned.store(true, Ordering::Relaxed);
        self.sending.wake();
        self.over.notified().await;
        !self.unfinished.load(Ordering::Relaxed)
    }

    /// Waits until nothing has moved for too long.
    pub(super) async fn stalled(&self) {
        loop {
            let patience = if self.is_left() { self.patience.min(PARTING) } else { self.patience };
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match last.checked_add(patience) {
                Some(until) if until <= Instant::now() => break,
                Some(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {
                            // What came in time is not seen yet if this process did not run itself.
                            if until.elapsed() > OVERSLEPT {
                                sleep(CATCH_UP).await;
                            }
                        }
                        () = self.leaving.notified() => {}
                    }
                }
                None => self.leaving.notified().await,
            }
        }
        self.late.store(true, Ordering::Relaxed);
    }
}

/// A request's body on its way in.
pub(super) struct Intake {
    body: Body,
    progress: Arc<Progress>,
}

impl Intake {
    pub(super) fn new(body: Body, progress: Arc<Progress>) -> Self {
        Intake { body, progress }
    }
}

impl HttpBody for Intake {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        this.progress.touch();
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                this.progress.leave();
                explain(&error)
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the instance hears of a body that breaks off.
fn explain(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => Error::HttpRequestBodySize(None),
        io::ErrorKind::TimedOut => Error::ConnectionReadTimeout,
        _ => Error::ConnectionTerminated,
    }
}

/// An answer's body on its way out.
pub(super) struct Streamed {
    body: HyperOutgoingBody,
    progress: Arc<Progress>,
    ended: bool,
    is_empty: bool,
}

impl Streamed {
    pub(super) fn new(body: HyperOutgoingBody, progress: Arc<Progress>) -> Self {
        Streamed { body, progress, ended: false, is_empty: true }
    }

    /// What follows when nothing more is there yet.
    fn wait(&mut self, context: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !self.progress.returned.load(Ordering::Relaxed) {
            self.progress.sending.register(context.waker());
            return Poll::Pending;
        }
        self.ended = true;
        // Some engines finish no body when they have nothing to send: that is whole, whoever finishes it.
        let unfinished = (!self.is_empty).then(|| {
            self.progress.unfinished.store(true, Ordering::Relaxed);
            Err(io::Error::other("the site returned before its answer was whole"))
        });
        self.progress.end();
        Poll::Ready(unfinished)
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.progress.leave();
        }
        self.progress.end();
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            return this.wait(context);
        };
        this.progress.touch();
        this.is_empty = false;
        if frame.is_none() {
            this.ended = true;
            this.progress.end();
        }
        Poll::Ready(match frame {
            None if this.progress.failed.load(Ordering::Relaxed) => {
                Some(Err(io::Error::other("the site failed before its answer was whole")))
            }
            frame => frame.map(|frame| frame.map_err(io::Error::other)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
