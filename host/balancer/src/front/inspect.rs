//! Looks at the bytes of a connection before the HTTP server does, and says of each request's head whether it may be
//! understood in two ways. The server itself mends such heads silently; whoever sent one may hope that somebody behind
//! understands the other.
//!
//! It knows where each head begins because it counts the bodies between them. The length of a body in chunks it does
//! not know, so such a request is the last of its connection.

use std::collections::VecDeque;

use bytes::BytesMut;
use sc_core::limits::HEADERS_MAX;

use crate::refusal::Refusal;

/// What is known of a request before it is served.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    /// Why it is refused.
    pub(crate) refusal: Option<Refusal>,
    /// Whether its connection must end with it.
    pub(crate) is_last: bool,
}

#[derive(Debug)]
enum Next {
    /// A head, of which this has come.
    Head(BytesMut),
    /// So many bytes of a body.
    Body(u64),
    /// Nothing that is looked at.
    Blind,
}

/// One connection's bytes so far.
#[derive(Debug)]
pub(crate) struct Inspector {
    head_max: usize,
    next: Next,
    seen: VecDeque<Seen>,
}

impl Inspector {
    /// For a new connection.
    pub(crate) fn new(head_max: usize) -> Self {
        Inspector { head_max, next: Next::Head(BytesMut::new()), seen: VecDeque::new() }
    }

    /// What is known of the next request. The server's parser is as strict as this one, so it is never ahead.
    pub(crate) fn take(&mut self) -> Seen {
        let unseen = || Seen { refusal: Some(Refusal::Ambiguous("it is not what it seems")), is_last: true };
        self.seen.pop_front().unwrap_or_else(unseen)
    }

    /// Takes what came over the connection.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.next {
                Next::Blind => return,
                Next::Body(left) => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(passed..).unwrap_or_default();
                    *left -= passed as u64;
                    if *left == 0 {
                        self.next = Next::Head(BytesMut::new());
                    }
                }
                Next::Head(head) => {
                    let before = head.len();
                    head.extend_from_slice(bytes);
                    // A head that comes byte by byte is parsed once.
                    let fresh = head.get(before.saturating_sub(2)..).unwrap_or_default();
                    let ends = fresh.windows(2).any(|two| two == b"\n\n")
                        || fresh.windows(3).any(|three| three == b"\n\r\n");
                    if !ends {
                        if head.len() > self.head_max {
                            self.next = Next::Blind;
                        }
                        return;
                    }
                    let Some((length, seen, next)) = judge(head, self.head_max) else { return };
                    bytes = bytes.get(length.saturating_sub(before)..).unwrap_or_default();
                    self.seen.push_back(seen);
                    self.next = next;
                }
            }
        }
    }
}

/// A whole head's length, what is to be known of it, and what follows; none while it is incomplete.
fn judge(bytes: &[u8], head_max: usize) -> Option<(usize, Seen, Next)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let ends = |refusal| (bytes.len(), Seen { refusal: Some(refusal), is_last: true }, Next::Blind);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => return Some(ends(Refusal::TooMany(HEADERS_MAX))),
        Err(error) => return Some(ends(Refusal::Malformed(error))),
    };
    if length > head_max {
        return Some(ends(Refusal::TooLong(head_max)));
    }
    Some(match body(request.headers) {
        Err(why) => ends(Refusal::Ambiguous(why)),
        Ok(Some(0)) => (length, Seen { refusal: None, is_last: false }, Next::Head(BytesMut::new())),
        Ok(Some(body)) => (length, Seen { refusal: None, is_last: false }, Next::Body(body)),
        Ok(None) => (length, Seen { refusal: None, is_last: true }, Next::Blind),
    })
}

/// The body's length, none in chunks; or why it has more than one.
fn body(headers: &[httparse::Header<'_>]) -> Result<Option<u64>, &'static str> {
    let all =
        |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if all("host").count() > 1 {
        return Err("it names more than one Host");
    }
    let mut encodings = all("transfer-encoding");
    let mut lengths = all("content-length");
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(Some(0)),
        (Some(_), Some(_)) => Err("it has both Content-Length and Transfer-Encoding"),
        (Some(encoding), None) => match encodings.next() {
            None if encoding.value.eq_ignore_ascii_case(b"chunked") => Ok(None),
            _ => Err("its Transfer-Encoding is not just `chunked`"),
        },
        (None, Some(length)) => {
            if lengths.next().is_some() {
                return Err("it has more than one Content-Length");
            }
            let is_number = !length.value.is_empty() && length.value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(length.value).ok().filter(|_| is_number);
            number.and_then(|number| number.parse().ok()).map(Some).ok_or("its Content-Length is no number")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8], cut: usize) -> Vec<Seen> {
        let mut inspector = Inspector::new(1024);
        bytes.chunks(cut).for_each(|piece| inspector.see(piece));
        inspector.seen.into()
    }

    #[test]
    fn heads_are_told_from_bodies_however_they_are_cut() {
        // A body that looks like a head with two lengths.
        let evil = "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        let good = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{evil}", evil.len());
        let all = format!("\r\n{good}GET / HTTP/1.1\n\n{good}{evil}{good}");
        for cut in 1..all.len() {
            let seen = seen(all.as_bytes(), cut);
            let refused: Vec<_> = seen.iter().map(|seen| seen.refusal.is_some()).collect();
            assert_eq!(refused, [false, false, false, true], "cut by {cut}");
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (lines, why) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked", "both"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", "both"),
            ("Content-Length: 1\r\nContent-Length: 1", "more than one Content-Length"),
            ("Content-Length: 1, 1", "no number"),
            ("Content-Length: +1", "no number"),
            ("Content-Length: 0x1", "no number"),
            ("Content-Length: 99999999999999999999999", "no number"),
            ("Content-Length:", "no number"),
            ("Transfer-Encoding: gzip, chunked", "not just"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "not just"),
            ("Transfer-Encoding: \x0bchunked", "HTTP/1.1"),
            ("Host: a\r\nHost: b", "more than one Host"),
            ("A: b\r\n c: d", "HTTP/1.1"),
            ("A : b", "HTTP/1.1"),
        ] {
            let seen = seen(format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes(), 1000);
            let text = match &seen[..] {
                [Seen { refusal: Some(Refusal::Ambiguous(why)), is_last: true }] => (*why).to_owned(),
                [Seen { refusal: Some(Refusal::Malformed(_)), is_last: true }] => "HTTP/1.1".to_owned(),
                other => panic!("{lines:?}: {other:?}"),
            };
            assert!(text.contains(why), "{lines:?}: {text}");
        }
    }

    #[test]
    fn a_body_in_chunks_is_the_last() {
        let seen = seen(b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET", 1000);
        assert_eq!(seen, [Seen { refusal: None, is_last: true }]);
    }

    #[test]
    fn a_long_head_is_refused() {
        let head = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(2000));
        assert!(matches!(
            &seen(head.as_bytes(), 5000)[..],
            [Seen { refusal: Some(Refusal::TooLong(1024)), .. }]
        ));
    }
}
