//! Headers on their way through: those of one connection stay on it, and workers are told whose a request is.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sc_core::config::{Network, Peer};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers of one connection, whatever it says itself.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// A request's, as its worker gets them. What the controller has set is none of the client's connection.
pub(super) fn outward(parts: &mut Parts, set: &[HeaderName], peer: Peer, trusted: &[Network]) {
    let headers = &mut parts.headers;
    let takes_trailers = headers.get_all(header::TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| matches!(byte, b',' | b';'));
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    strip(headers, set);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // A target with a host beats the header.
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = authority.and_then(|host| HeaderValue::try_from(host.rsplit('@').next().unwrap_or(host)).ok());
    if let Some(host) = host {
        headers.insert(header::HOST, host);
    }
    forwarded(headers, peer, trusted);
}

/// An answer's, as its client gets them.
pub(super) fn inward(headers: &mut HeaderMap) {
    strip(headers, &[]);
}

fn strip(headers: &mut HeaderMap, kept: &[HeaderName]) {
    // What tells a worker whose the request is cannot be taken away by naming it.
    let values: Vec<_> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    let words = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for word in words {
        if let Ok(name) = HeaderName::from_bytes(word.trim_ascii())
            && !matches!(name, header::HOST | header::CONTENT_LENGTH | header::COOKIE | header::TRAILER)
            && !kept.contains(&name)
        {
            headers.remove(name);
        }
    }
    for name in OF_CONNECTION {
        headers.remove(name);
    }
}

/// What a trusted proxy said is extended; what anybody else said is replaced.
fn forwarded(headers: &mut HeaderMap, peer: Peer, trusted: &[Network]) {
    let is_trusted = trusted.iter().any(|network| network.has(peer.address));
    let address = peer.address.to_canonical().to_string();
    let mut chain: Vec<u8> = Vec::new();
    if is_trusted {
        for known in headers.get_all(FORWARDED_FOR) {
            chain.extend_from_slice(known.as_bytes());
            chain.extend_from_slice(b", ");
        }
    }
    chain.extend_from_slice(address.as_bytes());
    if let Ok(chain) = HeaderValue::from_bytes(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    let scheme = HeaderValue::from_static(if peer.secure { "https" } else { "http" });
    let host = headers.get(header::HOST).cloned();
    for (name, own) in [(FORWARDED_PROTO, Some(scheme)), (FORWARDED_HOST, host)] {
        if is_trusted && headers.contains_key(&name) {
            continue;
        }
        match own {
            Some(own) => drop(headers.insert(name, own)),
            None => drop(headers.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outward_of(peer: &str, lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut request = http::Request::get("http://user@other.org:81/x?y").body(()).expect("a request");
        for (name, value) in lines {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let (mut parts, ()) = request.into_parts();
        let peer = Peer { address: peer.parse().expect("an address"), port: 1, secure: false };
        let trusted = [Network { address: [10, 0, 0, 0].into(), bits: 8 }];
        outward(&mut parts, &[HeaderName::from_static("x-set")], peer, &trusted);
        parts.headers
    }

    #[test]
    fn what_is_of_the_connection_stays_on_it() {
        let headers = outward_of(
            "1.1.1.1",
            &[
                ("host", "a.org"),
                ("connection", "keep-alive, X-Own, Host"),
                ("connection", "x-forwarded-for, x-set"),
                ("x-own", "1"),
                ("x-set", "1"),
                ("keep-alive", "5"),
                ("te", "gzip, Trailers;q=1"),
                ("upgrade", "h2c"),
                ("proxy-connection", "x"),
                ("trailer", "x-sum"),
                ("x-other", "2"),
            ],
        );
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "host",
                "te",
                "trailer",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto",
                "x-other",
                "x-set"
            ]
        );
        assert_eq!(
            (headers["te"].as_bytes(), headers["host"].as_bytes()),
            (&b"trailers"[..], &b"other.org:81"[..])
        );
    }

    #[test]
    fn only_trusted_proxies_are_quoted() {
        let said = [
            ("host", "a.org"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "b.org"),
        ];
        for (peer, address, scheme, host) in [
            ("1.1.1.1", "1.1.1.1", "http", "other.org:81"),
            ("10.0.0.1", "6.6.6.6, 2.2.2.2, 10.0.0.1", "https", "b.org"),
        ] {
            let headers = outward_of(peer, &said);
            let all = |name: &str| {
                headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect::<Vec<_>>()
            };
            assert_eq!(all("x-forwarded-for"), [address]);
            assert_eq!(all("x-forwarded-proto"), [scheme]);
            assert_eq!(all("x-forwarded-host"), [host]);
        }
    }
}
