//! What a controller may send to other servers, and what becomes of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use sc_tests::{Host, session};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::host_of;

/// A server that does what the path says; it counts its connections.
struct Server {
    port: u16,
    connections: Rc<Cell<usize>>,
}

impl Server {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let connections = Rc::new(Cell::new(0));
        let counted = Rc::clone(&connections);
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.set(counted.get() + 1);
                tokio::task::spawn_local(serve(stream));
            }
        });
        Ok(Server { port, connections })
    }
}

async fn serve(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut read = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        read.extend_from_slice(&piece[..count]);
        if read.starts_with(&[0x16]) {
            // TLS, which this server does not speak.
            return Ok(());
        }
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let answer = match head.split(' ').nth(1).unwrap_or("/") {
            "/never" => std::future::pending().await,
            "/closes" => return Ok(()),
            "/large" => "x".repeat(2000),
            "/moved" => {
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n").await?;
                read.clear();
                continue;
            }
            _ => format!("{} | {body}", head.replace("\r\n", "; ")),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/x-echo\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        read.clear();
    }
}

async fn fetch(host: &Host, what: Value) -> anyhow::Result<Value> {
    let answer = session::send(host, None, "POST", "/fetch", &what.to_string()).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

#[tokio::test]
async fn only_where_it_is_allowed() -> anyhow::Result<()> {
    LocalSet::new()
        .run_until(async {
            let server = Server::start().await?;
            let port = server.port;
            let host = host_of("browser")
                .set("worker.allow_hosts", format!("127.0.0.1:{port},example.com,*.localhost"))
                .set("worker.fetch_timeout", "3s")
                .set("worker.fetch_body_max", 1000)
                .start()
                .await?;
            let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
            let echo =
                fetch(&host, json!({ "url": url("/a?b=1"), "method": "PUT", "body": "hello" })).await?;
            ensure!(echo["status"] == 200 && echo["kind"] == "text/x-echo", "{echo}");
            let seen = echo["body"].as_str().unwrap_or_default().to_lowercase();
            ensure!(seen.starts_with("put /a?b=1 http/1.1") && seen.ends_with("| hello"), "{seen}");
            ensure!(
                seen.contains("x-asked: yes") && seen.contains(&format!("host: 127.0.0.1:{port}")),
                "{seen}"
            );
            let moved = fetch(&host, json!({ "url": url("/moved") })).await?;
            ensure!(moved["status"] == 302, "{moved}");

            let began = Instant::now();
            for (url, error) in [
                (url("/never"), "TimeoutError"),
                (url("/closes"), "ConnectionError"),
                (url("/large"), "TooLargeError"),
                (format!("https://127.0.0.1:{port}/"), "ConnectionError"),
                (format!("http://localhost:{port}/"), "NotAllowedError"),
                ("http://127.0.0.1:1/".to_owned(), "NotAllowedError"),
                ("http://other.example.com/".to_owned(), "NotAllowedError"),
                // A name that leads into this machine, whoever says so.
                (format!("http://name.localhost:{port}/"), "NotAllowedError"),
                (format!("http://example.com@127.0.0.1:{port}/"), "InvalidArgumentsError"),
                ("ftp://example.com/".to_owned(), "InvalidArgumentsError"),
                ("no url".to_owned(), "InvalidArgumentsError"),
            ] {
                let answer = fetch(&host, json!({ "url": url })).await?;
                // Where names below localhost are no addresses at all, the name leads nowhere.
                let nowhere = url.contains("name.localhost") && answer["error"] == "ConnectionError";
                ensure!(answer["error"] == error || nowhere, "{url}: {answer}");
            }
            ensure!(began.elapsed() < Duration::from_secs(20), "a deadline was not kept");
            host.is_unhurt()
        })
        .await
}

/// Five hundred at once: all answered, over a bounded number of connections that are used again.
#[tokio::test]
async fn many_at_once() -> anyhow::Result<()> {
    LocalSet::new()
        .run_until(async {
            let server = Server::start().await?;
            let host = host_of("browser").set("worker.allow_hosts", "127.0.0.1").start().await?;
            let url = format!("http://127.0.0.1:{}/", server.port);
            for _ in 0..2 {
                let answer = fetch(&host, json!({ "url": url, "times": 500 })).await?;
                ensure!(answer["status"] == 200, "{answer}");
            }
            let connections = server.connections.get();
            ensure!(connections < 600, "{connections} connections for 1000 requests");
            let again = fetch(&host, json!({ "url": url })).await?;
            ensure!(again["status"] == 200 && server.connections.get() == connections, "none was kept");
            host.is_unhurt()
        })
        .await
}
