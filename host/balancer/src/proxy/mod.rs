//! Requests on their way to workers and answers on their way back, streamed. A link that breaks before its worker can
//! have seen the request costs nothing; later, only what may safely be asked twice is asked again.

mod body;
mod headers;
pub(crate) mod links;

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::{Body as _, Incoming};
use sc_core::config::Peer;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use self::body::Said;
pub(crate) use self::body::{Body, full, held};
use self::links::Link;
use crate::connection::Shared;
use crate::handoff::{PAUSE, WORKER_WAIT};
use crate::refusal::Refusal;
use crate::targets::{Target, Wish};

/// How often a request is asked again after a worker may have seen it.
const AGAIN: u32 = 1;

/// Brings a request to a worker and returns with the head of its answer. `set` are the headers that the controller has
/// set.
pub(crate) async fn forward(
    shared: &Rc<Shared>,
    request: Request<Incoming>,
    set: &[HeaderName],
    wish: &Wish,
    peer: Peer,
    number: u64,
) -> Result<Response<Body>, Refusal> {
    let (mut parts, body) = request.into_parts();
    headers::outward(&mut parts, set, peer, &shared.config.trusted_proxies);
    let is_bare = body.is_end_stream();
    if !is_bare && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        // Unless told, the client's side of HTTP takes a GET for one without a body.
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    // The sender goes with the answer; who hears of a hundred-continue has only a part in it.
    let said = (!is_bare && expects(&parts)).then(|| Arc::new(watch::Sender::new(Said::Nothing)));
    let hears = said.as_ref().map(|said| said.subscribe());
    let mut outgoing = body::outgoing((!is_bare).then_some(body), hears);
    let deadline = Instant::now() + WORKER_WAIT;
    let mut again = 0;
    loop {
        let (target, mut link) = linked(shared, wish, peer, deadline).await?;
        let request = assembled(&parts, outgoing, said.as_ref());
        match timeout(shared.config.answer_timeout, link.sender.try_send_request(request)).await {
            Ok(Ok(response)) => {
                tracing::trace!(request = number, worker = %target.worker, "a request was proxied");
                return Ok(answered(response, target, link, said));
            }
            Ok(Err(mut error)) => {
                let unseen = error.take_message();
                let error: &dyn std::error::Error = error.error();
                tracing::debug!(request = number, worker = %target.worker, error, "a link to a worker broke");
                match unseen {
                    Some(unseen) => outgoing = unseen.into_body(),
                    None if is_bare && is_safe && again < AGAIN => {
                        again += 1;
                        outgoing = body::outgoing(None, None);
                    }
                    None => return Err(Refusal::Broken),
                }
            }
            Err(_) => return Err(Refusal::Late(shared.config.answer_timeout)),
        }
        if Instant::now() >= deadline {
            return Err(Refusal::NoWorker(WORKER_WAIT));
        }
    }
}

/// A link to the request's worker, made now or kept from before.
async fn linked(
    shared: &Rc<Shared>,
    wish: &Wish,
    peer: Peer,
    deadline: Instant,
) -> Result<(Rc<Target>, Link), Refusal> {
    loop {
        let added = shared.targets.added();
        let Some(target) = shared.targets.choose(wish, peer.address) else {
            match timeout_at(deadline, added).await {
                Ok(()) => continue,
                Err(_) => return Err(Refusal::NoWorker(WORKER_WAIT)),
            }
        };
        match links::take(&shared.targets, &target, deadline).await? {
            Some(link) => return Ok((target, link)),
            None if Instant::now() >= deadline => return Err(Refusal::NoWorker(WORKER_WAIT)),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The request as it goes out on a link.
fn assembled(parts: &Parts, body: Body, said: Option<&Arc<watch::Sender<Said>>>) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = parts.headers.clone();
    if let Some(said) = said.map(Arc::downgrade) {
        hyper::ext::on_informational(&mut request, move |informed| {
            if informed.status() == http::StatusCode::CONTINUE
                && let Some(said) = said.upgrade()
            {
                said.send_replace(Said::Continue);
            }
        });
    }
    request
}

fn expects(parts: &Parts) -> bool {
    let expect = parts.headers.get(header::EXPECT);
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn answered(
    response: Response<Incoming>,
    target: Rc<Target>,
    link: Link,
    said: Option<Arc<watch::Sender<Said>>>,
) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    headers::inward(&mut parts.headers);
    parts.version = Version::HTTP_11;
    if let Some(said) = &said {
        said.send_if_modified(|said| {
            let is_early = *said == Said::Nothing;
            if is_early {
                *said = Said::Answered;
            }
            is_early
        });
    }
    Response::from_parts(parts, body::linked(body, target, link, said))
}
