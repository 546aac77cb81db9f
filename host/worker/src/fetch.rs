//! Requests of the controller to other servers: only to hosts on its list, and then only to addresses that the list may
//! open. A name is resolved here and the connection goes to the very address that was looked at, so that no second answer
//! of a name server leads elsewhere. Connections are kept for the next request to the same host.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use sc_core::causes::causes;
use sc_core::config::FetchConfig;
use sc_core::controller::{Event, Failure, HttpFetch, HttpResponse};
use sc_core::ids::Token;
use sc_core::limits::FETCH_BODY_BYTES;
use sc_core::outbound::{HostRule, NoAddress, open_addresses};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use crate::seat::Seat;
use crate::worker::Worker;

/// Requests of one worker under way at once; more wait their turn within their time.
const AT_ONCE: usize = 256;
/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_secs(30);
/// Connections kept to one host: as many as a burst opens, or the next burst opens them all again.
const IDLE_PER_HOST: usize = AT_ONCE;

/// The way out.
pub(crate) struct Fetch {
    /// Made at the first request: most controllers send none.
    client: std::cell::OnceCell<Client<HttpsConnector<Checked>, Full<Bytes>>>,
    config: FetchConfig,
    places: Semaphore,
    /// Bytes of the bodies of requests under way.
    bodies: Cell<usize>,
}

impl Fetch {
    pub(crate) fn new(config: &FetchConfig) -> Self {
        Fetch {
            client: std::cell::OnceCell::new(),
            config: config.clone(),
            places: Semaphore::new(AT_ONCE),
            bodies: Cell::new(0),
        }
    }

    /// Sends a request; its answer is an event.
    pub(crate) fn start(worker: &Rc<Worker>, seat: &Rc<Seat>, token: Token, request: HttpFetch) {
        let bytes = request.body.len();
        let bodies = worker.fetch.bodies.get();
        if bytes > 0 && bodies > 0 && bodies.saturating_add(bytes) > FETCH_BODY_BYTES {
            let most = FETCH_BODY_BYTES >> 20;
            let message = format!(
                "the request was not sent: the bodies of those under way have {most} MiB: wait for answers before \
                 sending on"
            );
            let outcome = Err(Failure::named("ResourceLimitError", message));
            return seat.calls.push_answer(Event::Fetched { to: token, outcome });
        }
        worker.fetch.bodies.set(bodies.saturating_add(bytes));
        let (on, seat) = (Rc::clone(worker), Rc::clone(seat));
        worker.answers.spawn_local(async move {
            let outcome = on.fetch.send(request).await;
            on.fetch.bodies.set(on.fetch.bodies.get().saturating_sub(bytes));
            seat.calls.push_answer(Event::Fetched { to: token, outcome });
        });
    }

    async fn send(&self, fetch: HttpFetch) -> Result<HttpResponse, Failure> {
        let within = fetch.timeout.map_or(self.config.timeout, |asked| asked.min(self.config.timeout));
        let late =
            |_| Failure::named("TimeoutError", format!("no whole answer within {} ms", within.as_millis()));
        timeout(within, self.exchange(fetch)).await.map_err(late)?
    }

    async fn exchange(&self, fetch: HttpFetch) -> Result<HttpResponse, Failure> {
        let request = build(fetch)?;
        self.check(request.uri())?;
        let broken = |error: &dyn std::error::Error| Failure::named("ConnectionError", causes(error));
        let _place = self.places.acquire().await.map_err(|error| broken(&error))?;
        let client = self.client.get_or_init(|| client(&self.config.allow_hosts));
        let response = client.request(request).await.map_err(|error| match prohibited(&error) {
            Some(text) => Failure::named("NotAllowedError", text),
            None => broken(&error),
        })?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, self.config.body_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let most = self.config.body_max;
                let text = format!("the answer is larger than {most} bytes: see worker.fetch_body_max");
                return Err(Failure::named("TooLargeError", text));
            }
            Err(error) => return Err(broken(&*error)),
        };
        let headers = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Ok(HttpResponse { status: head.status.as_u16(), headers: headers.collect(), body: body.into() })
    }

    /// Whether the list names the host.
    fn check(&self, uri: &Uri) -> Result<(), Failure> {
        let (host, port) = target(uri);
        if self.config.allow_hosts.iter().any(|rule| rule.names(&host, port)) {
            return Ok(());
        }
        let text = format!("worker.allow_hosts of sc.toml does not name {host}:{port}");
        Err(Failure::named("NotAllowedError", text))
    }
}

fn build(fetch: HttpFetch) -> Result<Request<Full<Bytes>>, Failure> {
    let wrong = |what: String| Failure::named("InvalidArgumentsError", what);
    let uri: Uri =
        fetch.url.parse().map_err(|error| wrong(format!("the URL cannot be understood: {error}")))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    // A user's name and password make a host look like another one.
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    if !is_http || authority.is_none() {
        return Err(wrong(
            "a URL is http://host/.. or https://host/.., without user and password".to_owned(),
        ));
    }
    let method = Method::from_bytes(fetch.method.as_bytes())
        .map_err(|_| wrong("there is no such method".to_owned()))?;
    let mut request = Request::new(Full::from(fetch.body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in fetch.headers {
        // They were checked when the controller asked.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
        {
            request.headers_mut().append(name, value);
        }
    }
    Ok(request)
}

fn target(uri: &Uri) -> (String, u16) {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let host = uri.host().unwrap_or_default();
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}

fn client(rules: &[HostRule]) -> Client<HttpsConnector<Checked>, Full<Bytes>> {
    let connector = HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(Checked(rules.into()));
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

/// Connects to addresses that the rules admit, and to no others.
#[derive(Clone)]
struct Checked(Arc<[HostRule]>);

impl Service<Uri> for Checked {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let all = Arc::clone(&self.0);
        Box::pin(async move {
            let (host, port) = target(&uri);
            let open = open_addresses(&all, &host, port).await.map_err(io::Error::other)?;
            let stream = TcpStream::connect(open.as_slice()).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// What to say of an address that no rule admits, if that is at the root of an error.
fn prohibited(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(closed @ NoAddress::Closed(_)) = inner.and_then(|inner| inner.downcast_ref()) {
            let help = "worker.allow_hosts of sc.toml has to hold that address itself, or localhost";
            return Some(format!("the host cannot be asked: {closed}: {help}"));
        }
        cause = error.source();
    }
    None
}
