//! `verdicts`: what becomes of the running call's request, each checked when it is asked for.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, header};
use sc_core::controller::{Header, Ruling};
use sc_core::limits::{COMMAND_BYTES_PER_CALL, COMMANDS_PER_CALL};
use sc_core::log;

use super::Door;
use crate::bindings::balancer::socketcluster::controller::verdicts::Host;
use crate::context::Ended;
use crate::imports::http::kept;

/// Headers of a request that say how it travels, or whose it is: the balancer's business.
const TRAVEL: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];
const FORWARDED: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];
/// Longest path and query, and longest key.
const TEXT_MAX: usize = 16 * 1024;

impl Door {
    fn rule(&mut self, ruling: Ruling, bytes: usize) -> wasmtime::Result<()> {
        self.ruling_bytes = self.ruling_bytes.saturating_add(bytes);
        if self.rulings.len() >= COMMANDS_PER_CALL || self.ruling_bytes > COMMAND_BYTES_PER_CALL {
            let message = format!(
                "a call may ask for {COMMANDS_PER_CALL} things of {COMMAND_BYTES_PER_CALL} bytes, and this one asked for more"
            );
            return Err(Ended::limit(message).into());
        }
        self.rulings.push(ruling);
        Ok(())
    }
}

fn wrong<T>(message: String) -> wasmtime::Result<T> {
    Err(Ended::argument(message).into())
}

/// The name of a header that a controller may change.
fn changeable(function: &str, name: &str) -> wasmtime::Result<String> {
    let Ok(parsed) = HeaderName::try_from(name) else {
        return wrong(format!("{function}: \"{}\" is no header's name", log::name(name).escape_debug()));
    };
    if TRAVEL.contains(&parsed) || FORWARDED.contains(&parsed.as_str()) {
        return wrong(format!("{function}: the header {parsed} is the host's"));
    }
    Ok(parsed.as_str().to_owned())
}

impl Host for Door {
    fn answer(&mut self, status: u16, headers: Vec<Header>, body: Vec<u8>) -> wasmtime::Result<()> {
        if !(200..=599).contains(&status) {
            return wrong(format!("verdicts.answer: the status {status} is not from 200 to 599"));
        }
        let (headers, bytes) = kept("verdicts.answer", headers, &body)?;
        self.rule(Ruling::Answer { status, headers, body }, bytes)
    }

    fn close(&mut self) -> wasmtime::Result<()> {
        self.rule(Ruling::Close, 0)
    }

    fn set_header(&mut self, name: String, value: Vec<u8>) -> wasmtime::Result<()> {
        let name = changeable("verdicts.set-header", &name)?;
        if HeaderValue::from_bytes(&value).is_err() {
            return wrong(format!(
                "verdicts.set-header: the value of {name} has bytes that no header may have"
            ));
        }
        let bytes = name.len() + value.len();
        self.rule(Ruling::SetHeader((name, value)), bytes)
    }

    fn remove_header(&mut self, name: String) -> wasmtime::Result<()> {
        let name = changeable("verdicts.remove-header", &name)?;
        let bytes = name.len();
        self.rule(Ruling::RemoveHeader(name), bytes)
    }

    fn rewrite(&mut self, target: String) -> wasmtime::Result<()> {
        // What a URI's parser takes and drops must not be asked for: it would go nowhere.
        let is_plain = target.starts_with('/') && !target.contains('#') && target.len() <= TEXT_MAX;
        if !is_plain || !target.is_ascii() || PathAndQuery::try_from(target.as_str()).is_err() {
            let shown: String = target.chars().take(100).collect();
            return wrong(format!(
                "verdicts.rewrite: \"{}\" is no path with a query: it begins with '/', is ASCII without spaces and \
                 '#', and has at most 16 KiB",
                shown.escape_debug()
            ));
        }
        let bytes = target.len();
        self.rule(Ruling::Rewrite(target), bytes)
    }

    fn route_by(&mut self, key: String) -> wasmtime::Result<()> {
        if key.len() > TEXT_MAX {
            return wrong(format!("verdicts.route-by: a key of {} bytes is over 16 KiB", key.len()));
        }
        let bytes = key.len();
        self.rule(Ruling::RouteBy(key), bytes)
    }
}
