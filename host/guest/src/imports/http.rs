//! `http`: answers to requests.

use http::{HeaderName, HeaderValue, header};
use sc_core::controller::{Command, Header, HttpResponse};
use sc_core::ids::Token;

use crate::bindings::socketcluster::controller::http::Host;
use crate::context::{Context, Ended};

/// Headers that say how an answer travels, which is the host's business.
const TRAVEL: [HeaderName; 6] = [
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
        if !(200..=599).contains(&status) {
            let message = format!("http.respond: the status {status} is not from 200 to 599");
            return Err(Ended::argument(message).into());
        }
        let mut bytes = body.len();
        let mut kept = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            bytes += name.len() + value.len() + size_of::<Header>();
            if is_kept(&name, &value)? {
                kept.push((name, value));
            }
        }
        let response = HttpResponse { status, headers: kept, body };
        Ok(self.push(Command::Respond { request: Token(request), response }, bytes)?)
    }
}

/// Whether a header goes out; an error when it is none.
fn is_kept(name: &str, value: &[u8]) -> Result<bool, Ended> {
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Ended::argument(format!("http.respond: \"{}\" is no name of a header", name.escape_debug()))
    })?;
    if HeaderValue::from_bytes(value).is_err() {
        return Err(Ended::argument(format!(
            "http.respond: the value of the header {name} holds a line break or another control character"
        )));
    }
    Ok(!TRAVEL.contains(&parsed))
}
