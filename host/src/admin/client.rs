//! The command line's side of the admin channel.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::requests::Problem;
use super::socket;

/// For what a host answers at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// For a reload: a component may have to be compiled, and each worker takes its time.
const RELOAD_DEADLINE: Duration = Duration::from_secs(1200);

/// A host's admin socket.
#[derive(Debug)]
pub(crate) struct Client {
    folder: PathBuf,
}

/// Why a host did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// None runs, or not there.
    #[error("no host answers at {}", path.display())]
    NoHost {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It broke the connection off, or was too slow.
    #[error("the host did not answer: {0}")]
    Unanswered(String),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// It says no, but some of it may be done.
    #[error("{0}")]
    Partial(String),
}

impl Client {
    /// Of the host that has that runtime folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Client { folder: folder.to_owned() }
    }

    /// Asks for something to read.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, Bytes::new(), DEADLINE).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Unanswered(error.to_string()))?;
        let deadline = if path.ends_with("/reload") { RELOAD_DEADLINE } else { DEADLINE };
        self.send(Method::POST, path, body.into(), deadline).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<T, ClientError> {
        let address = socket(&self.folder);
        let stream = UnixStream::connect(&address).await;
        let stream = stream.map_err(|source| ClientError::NoHost { path: address, source })?;
        let unanswered = |error: hyper::Error| ClientError::Unanswered(error.to_string());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| ClientError::Unanswered(error.to_string()))?;
        let answered = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(unanswered)?;
            let exchange = async move {
                let response = sender.send_request(request).await.map_err(unanswered)?;
                let status = response.status();
                let body = response.into_body().collect().await.map_err(unanswered)?.to_bytes();
                Ok((status, body))
            };
            // The connection ends with its sender, which the exchange takes along.
            tokio::join!(exchange, connection).0
        };
        let (status, body) = timeout(deadline, answered)
            .await
            .map_err(|_| ClientError::Unanswered(format!("not within {} s", deadline.as_secs())))??;
        if status != StatusCode::OK {
            let said = serde_json::from_slice::<Problem>(&body);
            return Err(match said.map(|problem| problem.error) {
                Ok(error) if error.partial => ClientError::Partial(error.message),
                Ok(error) => ClientError::Refused(error.message),
                Err(_) => ClientError::Partial(status.to_string()),
            });
        }
        serde_json::from_slice(&body).map_err(|error| ClientError::Unanswered(error.to_string()))
    }
}
