//! Reads a request's head: bounded in bytes and, with what surrounds it, in time. Nothing of it is changed; whoever
//! gets the connection reads the same bytes again.

use bytes::BytesMut;
use sc_core::affinity::worker_of;
use sc_core::limits::{HEADERS_MAX, PACKET_MAX};
use sc_core::session_id::SessionIds;
use sc_core::upgrade;

use crate::client::Client;
use crate::handoff::Given;
use crate::refusal::Refusal;
use crate::targets::{Deal, Wish};

/// Most bytes of a connection that fit a handoff beside what else it says.
pub(crate) const READ_MAX: usize = PACKET_MAX - 1024;

/// What tells where a request belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs<'a> {
    /// Without them a request belongs to no worker.
    pub(crate) ids: Option<&'a SessionIds>,
    /// Where sockets open.
    pub(crate) socket_path: &'a str,
}

/// Reads until the head is whole; `max` is its largest size in bytes.
pub(crate) async fn read(client: &mut Client, max: usize, signs: Signs<'_>) -> Result<Given, Refusal> {
    let max = max.min(READ_MAX);
    let mut read = BytesMut::new();
    let mut parser = Parser::default();
    loop {
        let room = max.saturating_sub(read.len());
        match client.read_into(&mut read, room).await {
            Ok(0) | Err(_) => return Err(Refusal::Gone),
            Ok(_) => {}
        }
        if let Some(wish) = parser.parse(&read, signs)? {
            return Ok(Given { read, wish });
        }
        if read.len() >= max {
            return Err(Refusal::TooLong(max));
        }
    }
}

/// Parses only when that can tell something new, so that a head sent byte by byte costs no more than one sent whole.
#[derive(Debug, Default)]
struct Parser {
    seen: usize,
    /// Bytes of the empty lines that a head may begin with: they do not end it.
    blank: usize,
    /// Parse at this length even without a head's end, to see garbage early.
    due: usize,
}

impl Parser {
    /// None while the head is incomplete, else where its request belongs.
    fn parse(&mut self, bytes: &[u8], signs: Signs<'_>) -> Result<Option<Wish>, Refusal> {
        let blank = bytes.get(self.blank..).unwrap_or_default().iter();
        self.blank += blank.take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let fresh = bytes.get(self.seen.saturating_sub(2).max(self.blank)..).unwrap_or_default();
        self.seen = bytes.len();
        let ends =
            fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n");
        if !ends && bytes.len() < self.due {
            return Ok(None);
        }
        self.due = bytes.len().saturating_mul(2);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Partial) => Ok(None),
            Ok(httparse::Status::Complete(_)) => {
                let target = request.path.unwrap_or_default();
                let (path, query) = match target.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (target, None),
                };
                let headers = request.headers.iter().map(|header| (header.name, header.value));
                let cookies = headers.clone().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
                let cookies = cookies.map(|(_, value)| value);
                let worker = signs.ids.and_then(|ids| worker_of(ids, query, cookies));
                let is_socket = upgrade::opens(path, query, signs.socket_path, headers);
                let deal = if is_socket { Deal::Socket } else { Deal::Connection };
                Ok(Some(Wish { key: None, worker, deal }))
            }
            Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooMany(HEADERS_MAX)),
            Err(error) => Err(Refusal::Malformed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use sc_core::ids::WorkerId;

    use super::*;

    #[test]
    fn a_head_is_found_however_it_is_cut() {
        let ids = SessionIds { key: sc_core::session_id::ClusterKey([1; 32]), host: String::new(), port: 1 };
        let signs = Signs { ids: Some(&ids), socket_path: "/socketcluster/" };
        let id = ids.mint(WorkerId(7), 1, false).expect("random bytes");
        for head in [
            format!("GET /?ssid={id} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("\r\n\r\nGET / HTTP/1.0\nCookie: sid={id}\n\n"),
        ] {
            for cut in 1..head.len() {
                let mut parser = Parser::default();
                let mut found = None;
                for end in (cut..head.len()).step_by(cut).chain([head.len()]) {
                    assert_eq!(found, None, "complete before its end");
                    found = parser.parse(&head.as_bytes()[..end], signs).expect("well formed");
                }
                let worker = found.map(|wish| wish.worker);
                assert_eq!(worker, Some(Some(WorkerId(7))), "cut by {cut}");
            }
        }
    }

    #[test]
    fn empty_lines_before_a_head_are_not_parsed_again_and_again() {
        let signs = Signs { ids: None, socket_path: "" };
        let mut head = b"\r\n".repeat(1000);
        let (mut parser, mut parsed) = (Parser::default(), 0);
        for end in (2..=head.len()).step_by(2) {
            let due = parser.due;
            assert_eq!(parser.parse(&head[..end], signs), Ok(None));
            parsed += u32::from(parser.due != due);
        }
        assert!(parsed < 20, "{parsed} times");
        head.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        assert!(matches!(parser.parse(&head, signs), Ok(Some(_))));
    }

    #[test]
    fn as_many_header_lines_are_taken_as_workers_take() {
        let parse = |lines: usize| {
            let head = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(lines));
            Parser::default().parse(head.as_bytes(), Signs { ids: None, socket_path: "" })
        };
        assert!(matches!(parse(HEADERS_MAX), Ok(Some(_))));
        assert_eq!(parse(HEADERS_MAX + 1), Err(Refusal::TooMany(HEADERS_MAX)));
    }

    #[test]
    fn garbage_is_seen_before_a_head_ends() {
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"G\0T",
        ] {
            assert!(
                matches!(
                    Parser::default().parse(garbage, Signs { ids: None, socket_path: "" }),
                    Err(Refusal::Malformed(_))
                ),
                "{garbage:?}"
            );
        }
    }
}
