//! The port for plain HTTP beside one that speaks TLS: every request is told where to go. A challenge of ACME over
//! HTTP would be answered here, ahead of that.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use crate::client::Client;
use crate::connection::{Shared, first};
use crate::pending::Place;
use crate::refusal::Refusal;

/// The port of `https` that needs no naming.
const HTTPS: u16 = 443;

/// Answers one connection's first request, and closes it.
pub(crate) async fn serve(
    shared: Rc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    _place: Place,
    port: u16,
) {
    let mut client = Client::Plain(stream);
    let refusal = match first(&shared, &mut client).await {
        Ok(given) => match location(&given.read, port) {
            Some(location) => Refusal::Elsewhere(location),
            None => Refusal::NoHost,
        },
        Err(refusal) => refusal,
    };
    tracing::trace!(%address, ?refusal, "a request over plain HTTP");
    refusal.answer(client).await;
}

/// The same over TLS; none when the request names no host.
fn location(head: &[u8], port: u16) -> Option<String> {
    let mut headers = [httparse::EMPTY_HEADER; sc_core::limits::HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let target: http::Uri = request.path?.parse().ok()?;
    let named = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let named = named.and_then(|header| std::str::from_utf8(header.value).ok());
    // A target with a host beats the header.
    let authority: http::uri::Authority = match target.authority() {
        Some(authority) => authority.clone(),
        None => named?.trim().parse().ok()?,
    };
    let host = authority.host();
    if host.is_empty() {
        return None;
    }
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    Some(format!("https://{host}{port}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_sent_to_the_same_place_over_tls() {
        for (line, host, port, expected) in [
            ("GET /a?b=c HTTP/1.1", "example.com", 443, Some("https://example.com/a?b=c")),
            ("GET / HTTP/1.1", "example.com:8080", 8443, Some("https://example.com:8443/")),
            ("GET / HTTP/1.1", "[::1]:80", 443, Some("https://[::1]/")),
            ("GET http://other.org/x HTTP/1.1", "example.com", 443, Some("https://other.org/x")),
            ("OPTIONS * HTTP/1.1", "example.com", 443, Some("https://example.com/")),
            ("GET //evil.org HTTP/1.1", "example.com", 443, Some("https://example.com//evil.org")),
            ("GET / HTTP/1.1", "user@example.com", 443, Some("https://example.com/")),
            ("GET / HTTP/1.1", "", 443, None),
            ("GET / HTTP/1.1", "a b", 443, None),
            ("GET / HTTP/1.1", "a/b", 443, None),
        ] {
            let head = format!("{line}\r\nHost: {host}\r\n\r\n");
            assert_eq!(location(head.as_bytes(), port).as_deref(), expected, "{line} {host}");
        }
        assert_eq!(location(b"GET / HTTP/1.0\r\n\r\n", 443), None);
    }
}
