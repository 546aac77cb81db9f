//! What every host serves under `/sc/`: its health, and the browser client.

use http::{HeaderValue, Response, StatusCode, header};
use sc_core::link::control::Phase;

use super::{Body, full, method_not_allowed, reads, text};
use crate::upgrade::Head;
use crate::worker::Worker;

/// The browser client, as one module.
const CLIENT: &str = include_str!("../../../../sdk/client/sc.js");
/// Its types.
const CLIENT_TYPES: &str = include_str!("../../../../sdk/client/sc.d.ts");

/// The answer, if the path is one of ours.
pub(super) fn respond(worker: &Worker, head: &Head<'_>) -> Option<Response<Body>> {
    let name = head.path().strip_prefix("/sc/")?;
    Some(match name {
        "health" | "client.js" | "client.d.ts" if !reads(head.method) => method_not_allowed(),
        "health" => health(worker),
        "client.js" => module(CLIENT, "text/javascript; charset=utf-8"),
        "client.d.ts" => module(CLIENT_TYPES, "text/plain; charset=utf-8"),
        _ => text(StatusCode::NOT_FOUND, "The host serves /sc/health and /sc/client.js here.\n"),
    })
}

/// 200 while the host serves, 503 while it starts or drains.
fn health(worker: &Worker) -> Response<Body> {
    let (status, phase) = match worker.phase.get() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Phase::Ready => (StatusCode::OK, "ready"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    let body = format!("{{\"status\":\"{phase}\",\"worker\":{}}}\n", worker.id.0);
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn module(source: &'static str, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(full(source));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // A new host may bring a new client: browsers ask each time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
