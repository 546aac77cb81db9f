//! Bodies on their way through: each holds what it needs for as long as it flows.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::links::Link;
use crate::pending::Work;
use crate::targets::Target;

/// A body of either way. It is made and used in one thread, whose handles it may hold.
pub(crate) type Body = Pin<Box<dyn HttpBody<Data = Bytes, Error = hyper::Error>>>;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Box::pin(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A request's body. With `wanted`, it waits for that, or for so long, before it flows.
pub(super) fn outgoing(body: Option<Incoming>, wanted: Option<Arc<Notify>>, wait: Duration) -> Body {
    let Some(body) = body else { return Box::pin(Empty::new().map_err(|never| match never {})) };
    let Some(wanted) = wanted else { return Box::pin(body) };
    let gate = async move {
        // Who does not say that it wants the body gets it nevertheless, as clients do it.
        let _ = timeout(wait, wanted.notified()).await;
    };
    Box::pin(Gated { body, gate: Some(Box::pin(gate)) })
}

struct Gated {
    body: Incoming,
    gate: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl HttpBody for Gated {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            ready!(gate.as_mut().poll(cx));
            this.gate = None;
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A worker's answer. When all of it has come, its link is kept for others; before that, the link ends with it.
pub(super) fn linked(body: Incoming, target: Rc<Target>, link: Link) -> Body {
    let mut linked = Linked { body, link: Some((target, link)) };
    linked.let_go_at_end();
    Box::pin(linked)
}

struct Linked {
    body: Incoming,
    link: Option<(Rc<Target>, Link)>,
}

impl Linked {
    fn let_go_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some((target, link)) = self.link.take()
        {
            target.links.keep(&target, link);
        }
    }
}

impl HttpBody for Linked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            None => {
                if let Some((target, link)) = this.link.take() {
                    target.links.keep(&target, link);
                }
            }
            Some(_) => this.let_go_at_end(),
        }
        Poll::Ready(frame)
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
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.get_mut().body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
