//! Requests that wait for the controller's answer. Each belongs to the connection that waits; if the instance that was
//! given it fails, it is answered with an error at once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use foldhash::fast::RandomState;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use sc_core::client::Client;
use sc_core::config::HttpConfig;
use sc_core::controller::{Event, HttpRequest, HttpResponse};
use sc_core::ids::Token;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::routes::Taken;
use super::{Body, full, text};
use crate::sessions::Session;
use crate::upgrade::Head;
use crate::worker::Worker;

/// Requests of one worker that may wait for its controller.
const WAITING_MAX: usize = 10_000;
/// Bytes that the bodies of one worker's requests may take together; one request has room in any case.
const BODIES_MAX: usize = 256 << 20;

/// Why a request gets no answer of the controller's.
#[derive(Debug, PartialEq)]
pub(crate) enum Failed {
    /// The instance failed while it worked on it.
    Instance,
    /// No instance runs.
    Down,
}

struct Waiting {
    answer: oneshot::Sender<Result<HttpResponse, Failed>>,
    /// The instance it was given to; 0 while it is queued.
    instance: u64,
}

/// The requests that wait.
#[derive(Default)]
pub(crate) struct Requests {
    waiting: RefCell<HashMap<Token, Waiting, RandomState>>,
    /// Bytes of bodies that came and are not answered.
    bodies: Cell<usize>,
}

impl Requests {
    pub(crate) fn is_waiting(&self, token: Token) -> bool {
        self.waiting.borrow().contains_key(&token)
    }

    pub(crate) fn given_to(&self, token: Token, instance: u64) {
        if let Some(waiting) = self.waiting.borrow_mut().get_mut(&token) {
            waiting.instance = instance;
        }
    }

    /// The controller answers. Only the first answer counts.
    pub(crate) fn answer(&self, token: Token, response: HttpResponse) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&token) {
            // A client that is gone does not mind.
            let _ = waiting.answer.send(Ok(response));
        }
    }

    /// There is nobody to give a request to.
    pub(crate) fn refuse(&self, token: Token) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&token) {
            let _ = waiting.answer.send(Err(Failed::Down));
        }
    }

    /// An instance is gone, and with it what it was given; gives how many requests these were.
    pub(crate) fn fail_all_of(&self, instance: u64) -> usize {
        let mut waiting = self.waiting.borrow_mut();
        let lost: Vec<_> = waiting.extract_if(|_, waiting| waiting.instance == instance).collect();
        let count = lost.len();
        for (_, waiting) in lost {
            let _ = waiting.answer.send(Err(Failed::Instance));
        }
        count
    }
}

/// Takes a request out of those that wait when its client is gone.
struct Place<'w> {
    worker: &'w Worker,
    token: Token,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.worker.requests.waiting.borrow_mut().remove(&self.token);
    }
}

/// Asks the controller, and gives its answer.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    head: &Head<'_>,
    client: Client,
    session: &Session,
    taken: Taken,
    request: Request<Incoming>,
) -> Response<Body> {
    let is_crowded = || worker.requests.waiting.borrow().len() >= WAITING_MAX || worker.app.calls.is_full();
    // Asked before the body is taken, and again when it is there.
    if is_crowded() {
        return Unfit::Crowded.response(&worker.config.http);
    }
    let mut share = Share { requests: &worker.requests, bytes: 0 };
    let body = match body(&worker.config.http, &mut share, request).await {
        Ok(body) if !is_crowded() => body,
        Ok(_) => return Unfit::Crowded.response(&worker.config.http),
        Err(unfit) => return unfit.response(&worker.config.http),
    };
    let token = worker.app.calls.token();
    let (answer, answered) = oneshot::channel();
    worker.requests.waiting.borrow_mut().insert(token, Waiting { answer, instance: 0 });
    let place = Place { worker, token };
    worker.app.calls.push_answer(Event::Request(Box::new(HttpRequest {
        token,
        method: head.method.to_owned(),
        route: taken.pattern,
        path: head.path().to_owned(),
        query: head.query().to_owned(),
        headers: head.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        body,
        address: client.address.to_string(),
        secure: client.secure,
        session: session.id.clone(),
        params: taken.params,
    })));
    let outcome = timeout(worker.config.http.answer_timeout, answered).await;
    drop(place);
    match outcome {
        Ok(Ok(Ok(response))) => build(response),
        Ok(Ok(Err(Failed::Instance)) | Err(_)) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "The request failed.\n")
        }
        Ok(Ok(Err(Failed::Down))) => retry("The server is being restarted. Try again.\n"),
        Err(_) => text(StatusCode::GATEWAY_TIMEOUT, "The request took too long.\n"),
    }
}

/// What one request's body takes of the room for all.
struct Share<'w> {
    requests: &'w Requests,
    bytes: usize,
}

impl Share<'_> {
    /// Takes more, if there is room.
    fn grow(&mut self, bytes: usize) -> Result<(), Unfit> {
        let all = self.requests.bodies.get() + bytes;
        if all > BODIES_MAX && all > self.bytes + bytes {
            return Err(Unfit::Crowded);
        }
        self.requests.bodies.set(all);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.requests.bodies.set(self.requests.bodies.get() - self.bytes);
    }
}

/// The whole body, within its bounds of size and time.
async fn body(
    config: &HttpConfig,
    share: &mut Share<'_>,
    request: Request<Incoming>,
) -> Result<Vec<u8>, Unfit> {
    let body = request.into_body();
    if body.size_hint().lower() > config.body_max as u64 {
        return Err(Unfit::TooLarge);
    }
    let mut body = Limited::new(body, config.body_max);
    let whole = async {
        let mut whole = Vec::new();
        // Into one piece as they come: many small pieces would take many times their bytes.
        while let Some(frame) = body.frame().await {
            if let Ok(piece) = frame.map_err(|error| Unfit::of(&*error))?.into_data() {
                share.grow(piece.len())?;
                whole.extend_from_slice(&piece);
            }
        }
        Ok(whole)
    };
    timeout(config.body_timeout, whole).await.unwrap_or(Err(Unfit::Slow))
}

/// Why a request's body is not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unfit {
    /// It is over its limit.
    TooLarge,
    /// It took too long.
    Slow,
    /// Its bytes are no body, or end too early.
    Broken,
    /// Too many others are at work.
    Crowded,
}

impl Unfit {
    /// What an error of a limited body says.
    pub(super) fn of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        if error.is::<LengthLimitError>() { Unfit::TooLarge } else { Unfit::Broken }
    }

    pub(super) fn response(self, config: &HttpConfig) -> Response<Body> {
        let limit = config.body_max;
        match self {
            Unfit::TooLarge => {
                text(StatusCode::PAYLOAD_TOO_LARGE, format!("A request may have {limit} bytes here.\n"))
            }
            Unfit::Slow => text(StatusCode::REQUEST_TIMEOUT, "The request's body came too slowly.\n"),
            Unfit::Broken => text(StatusCode::BAD_REQUEST, "The request's body is broken.\n"),
            Unfit::Crowded => retry("The server is too busy. Try again.\n"),
        }
    }
}

pub(super) fn retry(body: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, body);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An answer of user code as it goes out.
pub(super) fn build(answer: HttpResponse) -> Response<Body> {
    let mut response = Response::new(full(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        // They were checked when the controller answered.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}
