//! Answers of the balancer itself: why a connection is not handed over. The close lingers, so that the client can
//! read the answer also while it is still sending.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a client may take to read the answer and close.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes taken from a client that goes on sending.
const LINGER_BYTES: usize = 256 * 1024;

/// Why a connection is not handed over.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The client went away.
    Gone,
    /// Its request's head is no HTTP/1.
    Malformed(httparse::Error),
    /// Its head took too long.
    TooSlow(Duration),
    /// Its head has too many bytes.
    TooLong(usize),
    /// Its head has too many lines.
    TooMany(usize),
    /// No worker took it in time.
    NoWorker(Duration),
}

impl Refusal {
    /// Status line and text.
    fn words(&self) -> Option<(&'static str, String)> {
        Some(match self {
            Refusal::Gone => return None,
            Refusal::Malformed(error) => {
                ("400 Bad Request", format!("This is not an HTTP/1.1 request: {error}."))
            }
            Refusal::TooSlow(limit) => (
                "408 Request Timeout",
                format!("The request's head was not complete within {} s.", limit.as_secs_f32()),
            ),
            Refusal::TooLong(limit) => (
                "431 Request Header Fields Too Large",
                format!("The request's head is over the limit of {limit} bytes."),
            ),
            Refusal::TooMany(limit) => (
                "431 Request Header Fields Too Large",
                format!("The request's head is over the limit of {limit} header lines."),
            ),
            Refusal::NoWorker(limit) => (
                "503 Service Unavailable",
                format!("No worker took the request within {} s. Try again soon.", limit.as_secs_f32()),
            ),
        })
    }

    /// Answers and closes.
    pub(crate) async fn answer(&self, mut stream: TcpStream) {
        let Some((status, text)) = self.words() else { return };
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{text}\n",
            text.len() + 1
        );
        let linger = async {
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            let mut rest = [0; 512];
            let mut taken = 0;
            while taken < LINGER_BYTES {
                match stream.read(&mut rest).await? {
                    0 => break,
                    read => taken += read,
                }
            }
            std::io::Result::Ok(())
        };
        // A client that is gone, or reads no answer in time, does without.
        let _ = tokio::time::timeout(LINGER, linger).await;
    }
}
