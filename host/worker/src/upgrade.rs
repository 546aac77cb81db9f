//! The WebSocket upgrade: who may open a socket, and the answers to those who may not.
//!
//! Source of order, status codes and texts: the upgrade as socketcluster-server 20.0.1 does it.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::BytesMut;
use sc_core::client::Client;
use sc_core::config::ProtocolConfig;
use sc_core::controller::{Header, HttpResponse};
use sc_core::limits::HEADERS_MAX_PROXIED;
use sc_core::log::{NOTICE, cut};
use tungstenite::handshake::derive_accept_key;

use crate::socket::Opening;

/// Bytes of a refusal's text in its notice: an origin may be as long as a head.
const REASON_MAX: usize = 200;

/// A request's head, whoever parsed it.
pub(crate) struct Head<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a [u8])>,
}

/// An answer that refuses the upgrade; the connection closes after it.
#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// More headers; a kind of body other than `text/html` among them.
    pub(crate) headers: Vec<Header>,
    /// Whether it is worth a notice.
    is_notable: bool,
}

/// What the answer that accepts the upgrade carries.
#[derive(Debug, PartialEq)]
pub(crate) struct Acceptance {
    pub(crate) accept_key: String,
    /// The first subprotocol the client offered, which is how the original picks one.
    pub(crate) subprotocol: Option<String>,
}

impl<'a> Head<'a> {
    /// The head among bytes that hold a whole one, and its length.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX_PROXIED];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => {
                let headers = request.headers.iter().map(|header| (header.name, header.value)).collect();
                Some((Head { method: request.method?, target: request.path?, headers }, length))
            }
            _ => None,
        }
    }

    /// The head as it may have been sent.
    pub(crate) fn bytes(&self) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(1024);
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            bytes.extend_from_slice(b"\r\n");
        };
        line(&[self.method.as_bytes(), b" ", self.target.as_bytes(), b" HTTP/1.1"]);
        self.headers.iter().for_each(|(name, value)| line(&[name.as_bytes(), b": ", value]));
        line(&[]);
        bytes
    }

    pub(crate) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    pub(crate) fn query(&self) -> &'a str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }

    /// Where the page comes from that sent it. Before version 13 of the WebSocket protocol the header had another
    /// name.
    pub(crate) fn origin(&self) -> Option<&'a str> {
        self.text("origin").or_else(|| self.text("sec-websocket-origin"))
    }

    /// The page that sent it, for requests whose origin browsers do not tell.
    pub(crate) fn referer(&self) -> Option<&'a str> {
        self.text("referer")
    }

    /// Whether it says that it comes from a browser.
    pub(crate) fn is_of_browser(&self) -> bool {
        self.text("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
    }

    /// Whether the request asks for a socket.
    pub(crate) fn wants_upgrade(&self, socket_path: &str) -> bool {
        sc_core::upgrade::is_wanted(self.path(), socket_path, self.headers.iter().copied())
    }

    /// Values of all cookie headers.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie")).map(|(_, value)| *value)
    }

    /// What a socket keeps of the request that opened it.
    pub(crate) fn opening(&self, client: Client, keep: &[String]) -> Opening {
        let kept =
            self.headers.iter().filter(|(name, _)| keep.iter().any(|kept| kept.eq_ignore_ascii_case(name)));
        Opening {
            address: client.address.to_string().into(),
            secure: client.secure,
            path: self.path().into(),
            query: self.query().into(),
            headers: kept.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        }
    }
}

/// Decides about an upgrade request. That of a classic client may have more path behind that of sockets.
pub(crate) fn check(
    head: &Head<'_>,
    config: &ProtocolConfig,
    is_classic: bool,
) -> Result<Acceptance, Refusal> {
    let refuse = |status, body: &str| Err(Refusal::new(status, body));
    if head.method != "GET" {
        return refuse(405, "Invalid HTTP method");
    }
    if !head.text("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return refuse(400, "Invalid Upgrade header");
    }
    let Some(key) = head.text("sec-websocket-key").filter(|key| is_key(key)) else {
        return refuse(400, "Missing or invalid Sec-WebSocket-Key header");
    };
    if !matches!(head.text("sec-websocket-version"), Some("13" | "8")) {
        let refusal = Refusal::new(400, "Missing or invalid Sec-WebSocket-Version header");
        return Err(refusal.with("Sec-WebSocket-Version", "13, 8"));
    }
    if head.path() != config.path && !is_classic {
        return refuse(400, "Bad Request");
    }
    let origin = head.origin().unwrap_or("*");
    if !origin_allowed(origin, &config.origins) {
        let origin = if origin == "null" { "*" } else { origin };
        return refuse(403, &format!("Failed to authorize socket handshake - Invalid origin: {origin}"));
    }
    let offered = head.text("sec-websocket-protocol").and_then(|offered| offered.split(',').next());
    Ok(Acceptance {
        accept_key: derive_accept_key(key.as_bytes()),
        subprotocol: offered.map(str::trim).filter(|offered| is_token(offered)).map(str::to_owned),
    })
}

/// 16 bytes of base64.
fn is_key(key: &str) -> bool {
    key.strip_suffix("==").is_some_and(|digits| {
        digits.len() == 22
            && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Whether an origin is among the allowed ones, compared exactly. `*` stands for a missing origin.
pub(crate) fn origin_allowed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed == "*:*") || origin_named(origin, allowed)
}

/// Whether a request comes from a page of another site that `origins` does not name; to allow all names none.
pub(crate) fn is_foreign(head: &Head<'_>, origins: &[String]) -> bool {
    let Some(origin) = head.origin().or_else(|| head.referer()) else { return false };
    let host = origin.parse::<http::Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let is_same =
        host.is_some_and(|host| head.text("host").is_some_and(|own| own.eq_ignore_ascii_case(&host)));
    !is_same && !origin_named(origin, origins)
}

fn origin_named(origin: &str, allowed: &[String]) -> bool {
    let is_allowed = |pattern: &str| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(pattern));
    let Ok(uri) = origin.parse::<http::Uri>() else { return false };
    let (Some(host), Some(scheme)) = (uri.host(), uri.scheme_str()) else { return false };
    let port = uri.port_u16().unwrap_or(if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 });
    is_allowed(&format!("{host}:{port}"))
        || is_allowed(&format!("{host}:*"))
        || is_allowed(&format!("*:{port}"))
}

impl Acceptance {
    /// The whole response, with the cookie of a new session.
    pub(crate) fn response(&self, cookie: Option<&str>) -> String {
        let mut text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept_key
        );
        if let Some(subprotocol) = &self.subprotocol {
            // Writing to a String cannot fail.
            let _ = write!(text, "Sec-WebSocket-Protocol: {subprotocol}\r\n");
        }
        if let Some(cookie) = cookie {
            let _ = write!(text, "Set-Cookie: {cookie}\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

impl Refusal {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Refusal { status, body: body.into(), headers: Vec::new(), is_notable: true }
    }

    /// Marks it as not worth a log record.
    pub(crate) fn quiet(self) -> Self {
        Refusal { is_notable: false, ..self }
    }

    /// Gives notice of it.
    pub(crate) fn note(&self, address: IpAddr) {
        if self.is_notable {
            let reason = String::from_utf8_lossy(&self.body);
            let reason = cut(&reason, REASON_MAX);
            tracing::info!(target: NOTICE, status = self.status, reason, %address, "a connection was refused");
        }
    }

    /// Adds a header that the status asks for.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// What somebody decided, which has been noted. Only errors refuse an upgrade.
    pub(crate) fn of(answer: HttpResponse) -> Self {
        let HttpResponse { status, headers, body } = answer;
        Refusal { status: if status < 400 { 403 } else { status }, headers, body, is_notable: false }
    }

    /// The whole response.
    pub(crate) fn response(&self) -> Vec<u8> {
        let reason =
            http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut text =
            format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", self.status, reason.unwrap_or_default())
                .into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            text.extend_from_slice(b"Content-Type: text/html\r\n");
        }
        for (name, value) in &self.headers {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
        text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
        text.extend_from_slice(&self.body);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_room_for_what_a_balancer_adds() {
        let parse = |lines: usize| {
            let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(lines));
            Head::parse(head.as_bytes()).map(|(_, length)| length == head.len())
        };
        assert_eq!(parse(HEADERS_MAX_PROXIED), Some(true));
        assert_eq!(parse(HEADERS_MAX_PROXIED + 1), None);
    }

    #[test]
    fn origins_are_compared_exactly() {
        let allowed = ["example.com:80".to_owned(), "*:8443".to_owned(), "any.org:*".to_owned()];
        for (origin, expected) in [
            ("http://example.com", true),
            ("http://EXAMPLE.com", true),
            ("http://ample.com", false),
            ("https://example.com", false),
            ("https://other.net:8443", true),
            ("https://any.org", true),
            ("*", false),
            ("null", false),
            ("garbage", false),
        ] {
            assert_eq!(origin_allowed(origin, &allowed), expected, "{origin}");
        }
        assert!(origin_allowed("*", &["*:*".to_owned()]));
    }

    #[test]
    fn a_page_of_another_site_is_foreign_unless_it_is_named() {
        let head = |origin: &'static str| Head {
            method: "GET",
            target: "/",
            headers: vec![("Host", b"shop.com:8000"), ("Origin", origin.as_bytes())],
        };
        let named = ["friend.com:443".to_owned(), "*:*".to_owned()];
        for (origin, expected) in [
            ("http://shop.com:8000", false),
            ("http://SHOP.com:8000", false),
            ("http://shop.com", true),
            ("https://friend.com", false),
            ("https://evil.com", true),
            ("null", true),
        ] {
            assert_eq!(is_foreign(&head(origin), &named), expected, "{origin}");
        }
        let none = Head { headers: vec![("Host", b"shop.com")], ..head("") };
        assert!(!is_foreign(&none, &named), "no browser, no page");
    }

    #[test]
    fn keys_are_sixteen_bytes_of_base64() {
        assert!(is_key("LmW0iHY7ICJD+kV31K/jow=="));
        assert!(!is_key("LmW0iHY7ICJD+kV31K/jow="));
        assert!(!is_key("LmW0iHY7ICJD+kV31K/j!w=="));
    }
}
