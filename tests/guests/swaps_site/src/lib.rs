//! A site that is replaced again and again. Each release says which one it is; tests write that into the built file.

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use futures_lite::stream::unfold;
use wstd::http::body::{Body, Bytes};
use wstd::http::{Error, Request, Response, StatusCode};
use wstd::time::Duration;

static RELEASE: [u8; 16] = *b"release=00000000";

/// What the file says, not what the compiler knew.
fn release() -> String {
    String::from_utf8_lossy(std::hint::black_box(&RELEASE).as_slice()).into_owned()
}

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    match path.trim_start_matches('/').split_once('/') {
        Some(("now", _)) => Ok(Response::new(release().into())),
        Some(("pieces", count)) => pieces(count.parse().context("a number after the path")?),
        _ => Ok(Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty())?),
    }
}

/// So many lines, each after a pause, and an end.
fn pieces(count: u64) -> Result<Response<Body>, Error> {
    let piece = move |number: u64| async move {
        if number > count {
            return None;
        }
        wstd::task::sleep(Duration::from_millis(10)).await;
        let line = if number == count { "end\n".to_owned() } else { format!("{}\n", release()) };
        Some((Ok::<_, Infallible>(Bytes::from(line)), number + 1))
    };
    Ok(Response::new(Body::from_try_stream(unfold(0, piece))))
}
