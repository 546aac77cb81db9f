//! Requests that the site answers: bodies stream both ways. What is wrong with a request's body is told the client by
//! the host, whatever the site makes of it, as long as no answer has begun.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use sc_core::client::Client;
use sc_core::config::HttpConfig;
use sc_core::site::{Site, SiteError};
use tokio::time::Sleep;

use super::requests::{Unfit, retry};
use super::{Body, text};
use crate::worker::Worker;

/// Asks the site, and gives the beginning of its answer.
pub(super) async fn ask(
    worker: &Worker,
    site: &dyn Site,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let config = &worker.config.http;
    if request.body().size_hint().lower() > config.body_max as u64 {
        return Unfit::TooLarge.response(config);
    }
    let unfit = Arc::default();
    let mut request = request.map(|body| Intake::new(body, config, Arc::clone(&unfit)).boxed_unsync());
    introduce(&mut request, client);
    let answer = site.handle(request, client.secure).await;
    if let Some(unfit) = unfit.get() {
        return unfit.response(config);
    }
    match answer {
        Ok(response) => response,
        Err(SiteError::Busy) => retry("The server is too busy. Try again.\n"),
        Err(SiteError::Late) => text(StatusCode::GATEWAY_TIMEOUT, "The request took too long.\n"),
        Err(SiteError::Failed) => text(StatusCode::INTERNAL_SERVER_ERROR, "The request failed.\n"),
    }
}

/// Says who asks, in place of what the client says of itself.
fn introduce(request: &mut Request<Body>, client: Client) {
    const ADDRESS: HeaderName = HeaderName::from_static("x-forwarded-for");
    const SCHEME: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let headers = request.headers_mut();
    headers.remove(ADDRESS);
    // An address is always a header's value.
    if let Ok(address) = HeaderValue::try_from(client.address.to_string()) {
        headers.insert(ADDRESS, address);
    }
    headers.insert(SCHEME, HeaderValue::from_static(if client.secure { "https" } else { "http" }));
}

/// A request's body within its bounds of size and time.
struct Intake {
    body: Limited<Incoming>,
    deadline: Pin<Box<Sleep>>,
    unfit: Arc<OnceLock<Unfit>>,
}

impl Intake {
    fn new(body: Incoming, config: &HttpConfig, unfit: Arc<OnceLock<Unfit>>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(config.body_timeout));
        Intake { body: Limited::new(body, config.body_max), deadline, unfit }
    }

    fn refuse(&self, unfit: Unfit) -> io::Error {
        // The first reason is the one that counts.
        let _ = self.unfit.set(unfit);
        match unfit {
            Unfit::TooLarge => io::ErrorKind::FileTooLarge.into(),
            Unfit::Slow => io::ErrorKind::TimedOut.into(),
            Unfit::Broken | Unfit::Crowded => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

impl HttpBody for Intake {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.refuse(Unfit::of(&*error))))),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match this.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(this.refuse(Unfit::Slow)))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
