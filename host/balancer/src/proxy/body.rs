//! Bodies on their way through: each holds what it needs for as long as it flows.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use super::links::Link;
use crate::pending::Work;
use crate::targets::Target;

/// A body of either way. It is made and used in one thread, whose handles it may hold.
pub(crate) type Body = Pin<Box<dyn HttpBody<Data = Bytes, Error = io::Error>>>;

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

/// How long a body waits for a worker to want it, if its client waits for that too.
const EXPECT_WAIT: Duration = Duration::from_secs(1);

/// What a worker has said of a body that its client holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing yet. After a while it comes unasked, as clients do it.
    Nothing,
    /// It may come.
    Continue,
    /// The answer is there without it.
    Answered,
}

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A request's body. With `said`, it flows once its worker wants it.
pub(super) fn outgoing(body: Option<Incoming>, said: Option<watch::Receiver<Said>>) -> Body {
    let Some(body) = body else { return Box::pin(Empty::new().map_err(|never| match never {})) };
    match said {
        None => Box::pin(body.map_err(io::Error::other)),
        Some(said) => Box::pin(Gated { body, gate: Some(Box::pin(is_wanted(said))) }),
    }
}

/// Whether the body is to flow. When nobody speaks any more, the whole exchange is over.
async fn is_wanted(mut said: watch::Receiver<Said>) -> bool {
    loop {
        let now = *said.borrow_and_update();
        let changed = match now {
            Said::Continue => return true,
            Said::Answered => said.changed().await,
            Said::Nothing => match timeout(EXPECT_WAIT, said.changed()).await {
                Ok(changed) => changed,
                Err(_) => return true,
            },
        };
        if changed.is_err() {
            return false;
        }
    }
}

struct Gated {
    body: Incoming,
    gate: Option<Pin<Box<dyn Future<Output = bool>>>>,
}

impl HttpBody for Gated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            if !ready!(gate.as_mut().poll(cx)) {
                return Poll::Ready(Some(Err(io::Error::other("the worker answered without the body"))));
            }
            this.gate = None;
        }
        Pin::new(&mut this.body).poll_frame(cx).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A worker's answer. When all of it has come, its link is kept for others; before that, the link ends with it. So
/// does the word to a body that was held back.
pub(super) fn linked(
    body: Incoming,
    target: Rc<Target>,
    link: Link,
    said: Option<Arc<watch::Sender<Said>>>,
) -> Body {
    let mut linked = Linked { body, link: Some((target, link)), said };
    linked.let_go_at_end();
    Box::pin(linked)
}

struct Linked {
    body: Incoming,
    link: Option<(Rc<Target>, Link)>,
    said: Option<Arc<watch::Sender<Said>>>,
}

impl Linked {
    fn let_go_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.said = None;
        if let Some((target, link)) = self.link.take() {
            target.links.keep(&target, link);
        }
    }
}

impl HttpBody for Linked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => this.let_go(),
            Some(_) => this.let_go_at_end(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer that holds its connection's work until it has gone out.
pub(crate) fn held(body: Body, work: Work) -> Body {
    Box::pin(Held { body, _work: work })
}

struct Held {
    body: Body,
    _work: Work,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        self.get_mut().body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
