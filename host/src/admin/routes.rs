//! What is answered where.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use sc_core::limits::PACKET_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::requests::{Call, Disconnect, Done, Emit, Kick, Problem, ProblemText, Publish, Reload};
use crate::master::{CallFailed, Order};
use crate::reloader::{NotReloaded, Reloader};

/// Largest body in bytes: what it asks has to fit into one message to a worker.
const BODY_MAX: usize = PACKET_MAX - 32 * 1024;
/// For a whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A door of the host, and what it opens to.
pub(super) struct Door {
    pub(super) orders: mpsc::Sender<Order>,
    /// Only those who may read the app's files may have it reloaded.
    pub(super) reloader: Option<Rc<Reloader>>,
    /// What a request has to know; none where the system lets nobody else in.
    pub(super) key: Option<Rc<str>>,
}

/// Why a request is not done.
struct Refused {
    status: StatusCode,
    name: &'static str,
    message: String,
    /// Whether the same may be granted in a moment.
    later: bool,
    /// Whether some of it may be done all the same.
    partial: bool,
}

impl Refused {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Refused { status, name, message: message.into(), later: false, partial: false }
    }

    fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", "the host ends")
    }
}

impl Door {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match self.serve(request).await {
            Ok(body) => response(StatusCode::OK, body),
            Err(Refused { status, name, message, later, partial }) => {
                let problem = Problem { error: ProblemText { name: name.to_owned(), message, partial } };
                let mut response = response(status, json(&problem));
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
                }
                if later {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                }
                if status == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                    // Who does not know the key keeps no place, however often it asks.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }
    }

    async fn serve(&self, request: Request<Incoming>) -> Result<Bytes, Refused> {
        self.check(request.headers())?;
        let path = request.uri().path().to_owned();
        match (request.method(), &*path) {
            (&Method::GET, "/api/status") => {
                let (answer, answered) = oneshot::channel();
                self.order(Order::Status(answer)).await?;
                Ok(json(&answered.await.map_err(|_| Refused::ending())?))
            }
            (&Method::POST, "/api/publish") => {
                self.call(read::<Publish>(request).await?).await?;
                Ok(json(&Done::default()))
            }
            (&Method::POST, "/api/emit") => self.reach(read::<Emit>(request).await?).await,
            (&Method::POST, "/api/disconnect") => self.reach(read::<Disconnect>(request).await?).await,
            (&Method::POST, "/api/kick") => self.reach(read::<Kick>(request).await?).await,
            (&Method::POST, "/api/reload") => {
                let Some(reloader) = &self.reloader else {
                    let message = "reloads are asked for on the Unix socket: sc-host reload";
                    return Err(Refused::new(StatusCode::FORBIDDEN, "Forbidden", message));
                };
                let Reload { names, component, allow_new_imports } = read(request).await?;
                let reloaded = reloader.reload(names, component, allow_new_imports).await;
                let refused = |NotReloaded { reason, partial }| {
                    let refused = Refused::new(StatusCode::CONFLICT, "ReloadRefused", reason);
                    Refused { partial, ..refused }
                };
                Ok(json(&Done { report: reloaded.map_err(refused)?.report(), sockets: None }))
            }
            (
                _,
                "/api/status" | "/api/publish" | "/api/emit" | "/api/disconnect" | "/api/kick"
                | "/api/reload",
            ) => {
                let message = format!("{} does not do that to {path}", request.method());
                Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message))
            }
            _ => {
                let message = format!("there is no {path}");
                Err(Refused::new(StatusCode::NOT_FOUND, "NotFound", message))
            }
        }
    }

    /// Whether the request knows the key.
    fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(key) = &self.key else { return Ok(()) };
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let given = bearer.or_else(|| headers.get("x-api-key").map(HeaderValue::as_bytes));
        // Compared by their hashes, so that the time it takes says nothing about the key.
        let hash = |bytes: &[u8]| sc_guest::content_hash(bytes);
        if given.is_some_and(|given| hash(given) == hash(key.as_bytes())) {
            return Ok(());
        }
        let message = "send the key of `api.key_file` as `Authorization: Bearer KEY` or `X-API-Key: KEY`";
        Err(Refused::new(StatusCode::UNAUTHORIZED, "Unauthorized", message))
    }

    async fn reach(&self, body: impl Call) -> Result<Bytes, Refused> {
        let reached = self.call(body).await?;
        Ok(json(&Done { sockets: Some(reached), report: Vec::new() }))
    }

    async fn call(&self, body: impl Call) -> Result<u32, Refused> {
        let call = body.call().map_err(Refused::bad)?;
        let (done, answered) = oneshot::channel();
        self.order(Order::Call(call, done)).await?;
        answered.await.map_err(|_| Refused::ending())?.map_err(|error| {
            let status = match error {
                CallFailed::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let later = matches!(error, CallFailed::NoWorker | CallFailed::Crowded(_));
            // Of several workers, those that did not say so may have done it.
            let partial = matches!(error, CallFailed::Refused(_) | CallFailed::Unanswered(_));
            Refused { later, partial, ..Refused::new(status, "CallFailed", error.to_string()) }
        })
    }

    async fn order(&self, order: Order) -> Result<(), Refused> {
        self.orders.send(order).await.map_err(|_| Refused::ending())
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    let whole = timeout(BODY_TIMEOUT, Limited::new(request.into_body(), BODY_MAX).collect()).await;
    let slow = |_| Refused::new(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body came too slowly");
    let bytes = whole.map_err(slow)?.map_err(|error| match error.is::<LengthLimitError>() {
        true => {
            let message = format!("a body may have {BODY_MAX} bytes");
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
        }
        false => Refused::bad(format!("the body is broken: {error}")),
    })?;
    serde_json::from_slice(&bytes.to_bytes()).map_err(|error| Refused::bad(format!("the body: {error}")))
}

fn json(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
