//! `http`: answers to requests, and requests of the guest's own.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use sc_core::controller::{Command, Header, HttpFetch, HttpResponse};
use sc_core::ids::Token;
use sc_core::log;

use crate::bindings::socketcluster::controller::http::Host;
use crate::context::{Context, Ended};

/// Headers that say how an answer travels, which is the host's business.
const TRAVEL: [HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
    header::TE,
];

impl Host for Context {
    fn respond(
        &mut self,
        request: u64,
        status: u16,
        headers: Vec<Header>,
        body: Vec<u8>,
    ) -> wasmtime::Result<()> {
        let (headers, bytes) = checked_answer("http.respond", status, headers, &body)?;
        let response = HttpResponse { status, headers, body };
        Ok(self.push(Command::Respond { request: Token(request), response }, bytes)?)
    }

    fn fetch(
        &mut self,
        method: String,
        url: String,
        headers: Vec<Header>,
        body: Vec<u8>,
        timeout_ms: u32,
    ) -> wasmtime::Result<u64> {
        let (headers, bytes) = kept("http.fetch", headers, &body)?;
        let bytes = bytes + method.len() + url.len();
        let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
        let token = self.token()?;
        let request = HttpFetch { method, url, headers, body, timeout };
        self.push(Command::Fetch { token, request }, bytes)?;
        Ok(token.0)
    }
}

/// An answer's headers that go out, and what they and the body weigh; an error when it cannot be an answer.
pub(super) fn checked_answer(
    function: &str,
    status: u16,
    headers: Vec<Header>,
    body: &[u8],
) -> Result<(Vec<Header>, usize), Ended> {
    if !(200..=599).contains(&status) {
        return Err(Ended::argument(format!("{function}: the status {status} is not from 200 to 599")));
    }
    kept(function, headers, body)
}

/// Headers that go out, and what they and the body weigh; an error when one is none.
pub(crate) fn kept(function: &str, headers: Vec<Header>, body: &[u8]) -> Result<(Vec<Header>, usize), Ended> {
    let mut bytes = body.len();
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        bytes += name.len() + value.len() + size_of::<Header>();
        if is_kept(function, &name, &value)? {
            kept.push((name, value));
        }
    }
    Ok((kept, bytes))
}

fn is_kept(function: &str, name: &str, value: &[u8]) -> Result<bool, Ended> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Ended::argument(format!("{function}: \"{}\" is no name of a header", log::name(name).escape_debug()))
    })?;
    if HeaderValue::from_bytes(value).is_err() {
        return Err(Ended::argument(format!(
            "{function}: the value of the header {name} holds a line break or another control character"
        )));
    }
    Ok(!TRAVEL.contains(&parsed))
}
