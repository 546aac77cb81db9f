//! Answers of the balancer itself: why a connection is not handed over. The close lingers, so that the client can
//! read the answer also while it is still sending.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use sc_core::log::NOTICE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::Client;
use crate::proxy::{Body, full};

/// How long a client may take to read the answer and close.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes taken from a client that goes on sending.
const LINGER_BYTES: usize = 256 * 1024;

/// Why a connection is not handed over, or a request not proxied.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The client went away.
    Gone,
    /// Its request's head is no HTTP/1.
    Malformed(httparse::Error),
    /// Its head took too long.
    TooSlow(Duration),
    /// Its head has too many bytes.
    TooLong(usize),
    /// Its head has too many lines.
    TooMany(usize),
    /// No worker took it in time.
    NoWorker(Duration),
    /// Its head can be understood in two ways.
    Ambiguous(&'static str),
    /// It wants a tunnel.
    Method,
    /// More requests are under way than may be.
    Busy,
    /// The controller has not decided.
    Undecided,
    /// Its worker went away while it worked on it.
    Broken,
    /// Its worker does not answer.
    Late(Duration),
    /// It is plain HTTP where TLS is spoken.
    NoTls,
    /// The balancer holds as many connections as it may.
    Full,
    /// What it wants is there, over TLS.
    Elsewhere(String),
    /// It names no host.
    NoHost,
}

impl Refusal {
    /// Status line and text.
    fn words(&self) -> Option<(StatusCode, String)> {
        Some(match self {
            Refusal::Gone => return None,
            Refusal::Malformed(error) => {
                (StatusCode::BAD_REQUEST, format!("This is not an HTTP/1.1 request: {error}."))
            }
            Refusal::TooSlow(limit) => (
                StatusCode::REQUEST_TIMEOUT,
                format!("The request's head was not complete within {} s.", limit.as_secs_f32()),
            ),
            Refusal::TooLong(limit) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("The request's head is over the limit of {limit} bytes."),
            ),
            Refusal::TooMany(limit) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                format!("The request's head is over the limit of {limit} header lines."),
            ),
            Refusal::NoWorker(limit) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("No worker took the request within {} s. Try again soon.", limit.as_secs_f32()),
            ),
            Refusal::Ambiguous(why) => (StatusCode::BAD_REQUEST, format!("The request is refused: {why}.")),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "This server makes no tunnels.".to_owned()),
            Refusal::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many requests are under way. Try again soon.".to_owned(),
            ),
            Refusal::Undecided => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Nobody can decide about the request now. Try again soon.".to_owned(),
            ),
            Refusal::Broken => {
                (StatusCode::BAD_GATEWAY, "The worker went away while it worked on the request.".to_owned())
            }
            Refusal::NoTls => {
                (StatusCode::BAD_REQUEST, "This port speaks TLS: use https:// or wss://.".to_owned())
            }
            Refusal::Elsewhere(location) => (StatusCode::PERMANENT_REDIRECT, format!("It is at {location}.")),
            Refusal::NoHost => (StatusCode::BAD_REQUEST, "The request names no host.".to_owned()),
            Refusal::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "This host holds as many connections as it may. Try again later.".to_owned(),
            ),
            Refusal::Late(limit) => (
                StatusCode::GATEWAY_TIMEOUT,
                format!("No worker answered the request within {} s.", limit.as_secs_f32()),
            ),
        })
    }

    /// Logs it. What a client did wrong, or a limit, is worth a notice; that a connection went quiet, or a worker
    /// away, is not: who has to know of the latter is told elsewhere.
    pub(crate) fn note(&self, request: u64, address: IpAddr) {
        match self {
            Refusal::Malformed(_)
            | Refusal::TooLong(_)
            | Refusal::TooMany(_)
            | Refusal::Ambiguous(_)
            | Refusal::NoTls
            | Refusal::Busy
            | Refusal::Full => {
                tracing::info!(target: NOTICE, request, %address, refusal = ?self, "a request was refused");
            }
            _ => tracing::debug!(request, %address, refusal = ?self, "a request was refused"),
        }
    }

    /// The same as the answer to a request.
    pub(crate) fn response(&self, closes: bool) -> Response<Body> {
        let (status, text) = self.words().unwrap_or((StatusCode::BAD_REQUEST, String::new()));
        let mut response = Response::new(full(text + "\n"));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers and closes.
    pub(crate) async fn answer(&self, mut stream: Client) {
        let Some((status, text)) = self.words() else { return };
        let location = match self {
            Refusal::Elsewhere(location) => format!("Location: {location}\r\n"),
            _ => String::new(),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{location}Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        let linger = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            let mut rest = [0; 512];
            let mut taken = 0;
            while taken < LINGER_BYTES {
                match stream.read(&mut rest).await? {
                    0 => break,
                    read => taken += read,
                }
            }
            std::io::Result::Ok(())
        };
        // A client that is gone, or reads no answer in time, does without.
        let _ = tokio::time::timeout(LINGER, linger).await;
    }
}
