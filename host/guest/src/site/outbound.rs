//! Requests that an instance sends: none, unless its host is on the list, and then only to an address that the list
//! may open. Names are resolved here and the connection goes to the very address that was looked at, so that no second
//! answer of a name server leads elsewhere.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri, uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sc_core::log::FAULT;
use sc_core::outbound::{HostRule, NoAddress, open_addresses};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use wasmtime_wasi::runtime::spawn;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::error::GuestError;

/// Connections of one instance at a time.
const CONNECTIONS: usize = 64;
/// To resolve a name and to connect; an instance may ask for less.
const CONNECT: Duration = Duration::from_secs(10);
/// Largest piece of a body that an instance writes at once.
const PIECE: usize = 64 * 1024;

/// An answer, and what drives its connection.
type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// The way out of one instance.
#[derive(Clone)]
pub(super) struct Outbound {
    component: Arc<str>,
    rules: Arc<[HostRule]>,
    tls: Arc<ClientConfig>,
    connections: Arc<Semaphore>,
}

impl Outbound {
    pub(super) fn new(component: &str, rules: Vec<HostRule>) -> Result<Self, GuestError> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let tls = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| GuestError::Engine(format!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Outbound {
            component: component.into(),
            rules: rules.into(),
            tls: Arc::new(tls),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }

    /// The way out of a fresh instance.
    pub(super) fn of_instance(&self) -> Self {
        Outbound { connections: Arc::new(Semaphore::new(CONNECTIONS)), ..self.clone() }
    }

    async fn send(self, mut request: Request<WasiBody>, options: RequestOptions) -> Sent {
        match self.open(request.uri(), &options).await.and_then(|open| point(&mut request).map(|()| open)) {
            Ok((stream, place)) => exchange(stream, request, options, place).await,
            Err(why) => {
                // An instance that is still writing the body must hear this error, not that its stream was closed.
                tokio::spawn(timeout(CONNECT, discard(request.into_body())));
                Err(why)
            }
        }
    }

    /// A connection to where the request may go.
    async fn open(
        &self,
        uri: &Uri,
        options: &RequestOptions,
    ) -> Result<(Box<dyn Stream>, OwnedSemaphorePermit), Error> {
        let target = Target::of(uri)?;
        if !self.rules.iter().any(|rule| rule.names(&target.host, target.port)) {
            tracing::warn!(
                target: FAULT,
                component = &*self.component,
                host = target.host,
                port = target.port,
                "the site may not send requests to this host: http.allow_hosts does not name it"
            );
            return Err(Error::HttpRequestDenied);
        }
        let place = Arc::clone(&self.connections).try_acquire_owned();
        let place = place.map_err(|_| Error::ConnectionLimitReached)?;
        let within = options.connect_timeout.map_or(CONNECT, |asked| asked.min(CONNECT));
        let stream = timeout(within, self.connect(&target)).await;
        Ok((stream.map_err(|_| Error::ConnectionTimeout)??, place))
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, Error> {
        let open = open_addresses(&self.rules, target.bare_host(), target.port).await;
        let open = open.map_err(|why| match why {
            NoAddress::Unresolved(error) => {
                Error::DnsError { rcode: Some(error.to_string()), info_code: None }
            }
            NoAddress::Nowhere => Error::DestinationNotFound,
            NoAddress::Closed(address) => {
                self.warn_of(target, address);
                Error::DestinationIpProhibited
            }
        })?;
        let stream = TcpStream::connect(open.as_slice()).await.map_err(refused)?;
        if !target.secure {
            return Ok(Box::new(stream));
        }
        let name =
            ServerName::try_from(target.bare_host().to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        Ok(Box::new(tls.map_err(Error::Tls)?))
    }

    fn warn_of(&self, target: &Target, address: IpAddr) {
        tracing::warn!(
            target: FAULT,
            component = &*self.component,
            host = target.host,
            %address,
            "the site may not send requests to an address of this machine or its network, unless http.allow_hosts \
             holds that address itself or localhost"
        );
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(self.clone().send(request, options.unwrap_or_default()))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// Where a request goes.
struct Target {
    /// As written; an IPv6 address has its brackets.
    host: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let secure = uri.scheme() == Some(&uri::Scheme::HTTPS);
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        // A user's name and password have no place here, and make a host look like another one.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Ok(Target { host: authority.host().to_owned(), port, secure })
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// A request to a server names only path and query, and the host in a header of its own.
fn point(request: &mut Request<WasiBody>) -> Result<(), Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(())
}

/// Takes a body that goes nowhere, until its instance ends it.
async fn discard(mut body: WasiBody) {
    while let Some(Ok(_)) = body.frame().await {}
}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<WasiBody>,
    options: RequestOptions,
    place: OwnedSemaphorePermit,
) -> Sent {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Error::from)?;
    // Ends when it is dropped.
    let driver = spawn(async move {
        let ended = connection.await.map_err(Error::from);
        drop(place);
        ended
    });
    let sent = sender.send_request(request);
    let sent = match options.first_byte_timeout {
        Some(within) => timeout(within, sent).await.map_err(|_| Error::ConnectionReadTimeout)?,
        None => sent.await,
    };
    let response = sent.map_err(Error::from)?;
    let response = response.map(|body| Reply::new(body, options.between_bytes_timeout).boxed_unsync());
    Ok((response, Box::new(driver)))
}

/// A connection, plain or under TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

fn refused(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        _ => Error::Connect(error),
    }
}

/// The body of a reply, which may be bound to go on within a time.
struct Reply {
    body: Incoming,
    within: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    fn new(body: Incoming, within: Option<Duration>) -> Self {
        Reply { body, within, sleep: None }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let Some(within) = this.within else { return Poll::Pending };
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        sleep.as_mut().poll(context).map(|()| Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
