//! A site as anybody writes one with `wstd`: nothing in here knows of this host.

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use futures_lite::stream::unfold;
use wstd::http::body::{Body, Bytes};
use wstd::http::{Client, Error, Request, Response, StatusCode};
use wstd::time::Duration;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let (name, rest) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let number = || rest.parse::<u64>().context("a number after the path");
    match name {
        "" | "hello" => Ok(Response::new(format!("hello from the site, {rest}\n").into())),
        "seen" => seen(&request),
        "echo" => echo(request).await,
        "length" => length(request).await,
        "status" => {
            Ok(Response::builder().status(rest.parse::<u16>()?).body("as asked\n".to_owned().into())?)
        }
        "stream" => pieces(number()?, None, 10),
        "breaks" => pieces(3, Some(2), 10),
        "stalls" => pieces(2, None, 60_000),
        "large" => large(number()?),
        "sleep" => {
            wstd::task::sleep(Duration::from_millis(number()?)).await;
            Ok(Response::new("slept\n".to_owned().into()))
        }
        "cookie" => {
            let response = Response::builder().header("set-cookie", "a=1").header("set-cookie", "b=2");
            Ok(response.body(Body::empty())?)
        }
        "says" => {
            println!("said {rest}");
            eprintln!("warned {rest}");
            Ok(Response::new(Body::empty()))
        }
        "rights" => Ok(Response::new(rights().into())),
        "panics" => panic!("asked to"),
        "errs" => Err(anyhow::anyhow!("asked to fail")),
        "loops" => loop {
            std::hint::spin_loop();
        },
        "hoards" => {
            let mut kept: Vec<Vec<u8>> = Vec::new();
            loop {
                kept.push(vec![1; 1 << 20]);
            }
        }
        "out" => out(&request).await,
        _ => {
            Ok(Response::builder().status(StatusCode::NOT_FOUND).body("no such page\n".to_owned().into())?)
        }
    }
}

/// What came in, one thing a line.
fn seen(request: &Request<Body>) -> Result<Response<Body>, Error> {
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    }
    Ok(Response::builder()
        .header("content-type", "text/plain")
        .header("x-more", "yes")
        .body(lines.join("\n").into())?)
}

/// The body as it comes.
async fn echo(request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new(request.into_body()))
}

async fn length(request: Request<Body>) -> Result<Response<Body>, Error> {
    let length = request.into_body().contents().await?.len();
    Ok(Response::new(format!("{length} bytes\n").into()))
}

/// Pieces with a pause before each; a panic before one of them.
fn pieces(count: u64, breaks: Option<u64>, pause: u64) -> Result<Response<Body>, Error> {
    let piece = move |number: u64| async move {
        if number == count {
            return None;
        }
        if number > 0 {
            wstd::task::sleep(Duration::from_millis(pause)).await;
        }
        assert_ne!(Some(number), breaks, "asked to");
        Some((Ok::<_, Infallible>(Bytes::from(format!("piece {number}\n"))), number + 1))
    };
    Ok(Response::new(Body::from_try_stream(unfold(0, piece))))
}

/// So many times 64 KiB.
fn large(count: u64) -> Result<Response<Body>, Error> {
    let piece = move |number: u64| async move {
        (number < count).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 << 10])), number + 1))
    };
    Ok(Response::new(Body::from_try_stream(unfold(0, piece))))
}

/// What it may see of the machine.
fn rights() -> String {
    let variables = std::env::vars().count();
    let file = std::fs::read("/etc/hostname").is_ok();
    let socket = std::net::TcpStream::connect("127.0.0.1:80").map_err(|error| error.kind());
    let clock =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).is_ok_and(|now| now.as_secs() > 0);
    format!("variables {variables}, file {file}, socket {socket:?}, clock {clock}")
}

/// Asks the address in the header `x-target`.
async fn out(request: &Request<Body>) -> Result<Response<Body>, Error> {
    let target = request.headers().get("x-target").context("no x-target")?.to_str()?;
    let answer = Client::new().send(Request::get(target).body(Body::empty())?).await;
    match answer {
        Ok(answer) => {
            let status = answer.status();
            let mut body = answer.into_body();
            Ok(Response::new(format!("{status}: {}", body.str_contents().await?).into()))
        }
        Err(error) => Ok(Response::builder().status(502).body(format!("{error:?}").into())?),
    }
}
