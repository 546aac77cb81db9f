//! The admin channel: what operators, and backends in other languages, ask of a running host. It is HTTP with JSON, on
//! a Unix socket in the runtime folder that only this user may open, and, if the configuration says so, on a TCP port
//! for those who know the key. The TCP port does not reload: that is for who may read the files.

mod client;
mod requests;
mod routes;
mod runtime_dir;
mod server;

use std::path::Path;
use std::rc::Rc;

pub(crate) use client::{Client, ClientError};
pub(crate) use requests::{Disconnect, Done, Emit, Kick, Publish, Reload};
pub(crate) use runtime_dir::RuntimeDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;

use crate::config::{ApiSettings, Settings};
use crate::error::HostError;
use crate::master::Order;
use crate::reloader::Reloader;
use routes::Door;

/// The doors of a running host, open.
pub(crate) struct Admin {
    runtime: Option<(RuntimeDir, UnixListener)>,
    api: Option<(ApiSettings, TcpListener)>,
}

impl Admin {
    /// Takes the runtime folder, and the port of the API if there is one. Needs a runtime.
    ///
    /// A folder that cannot be had is an error if the user named it; else the host does without, and says so.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, HostError> {
        let runtime = match RuntimeDir::take(settings) {
            Ok(opened) => Some(opened),
            Err(error @ HostError::Running { .. }) => return Err(error),
            Err(error) if settings.app.runtime_dir.is_some() => return Err(error),
            Err(error) => {
                tracing::warn!(
                    error = error.flat(),
                    "the runtime folder cannot be used: `sc-host status` and the like will not find this host"
                );
                None
            }
        };
        let api = match settings.api.clone() {
            None => None,
            Some(api) => {
                let listener = TcpListener::bind(api.listen).await;
                let (host, port) = (api.listen.ip().to_string(), api.listen.port());
                let listener = listener.map_err(|source| match source.kind() {
                    std::io::ErrorKind::AddrInUse => {
                        HostError::PortInUse { host, port, option: "in api.listen" }
                    }
                    _ => HostError::Bind { host, port, source },
                })?;
                Some((api, listener))
            }
        };
        Ok(Admin { runtime, api })
    }

    /// Serves for ever.
    pub(crate) async fn serve(self, orders: mpsc::Sender<Order>, reloader: Rc<Reloader>) {
        let unix = async {
            match &self.runtime {
                Some((_, listener)) => {
                    let door = Door { orders: orders.clone(), reloader: Some(reloader), key: None };
                    server::serve(listener, Rc::new(door)).await;
                }
                None => std::future::pending().await,
            }
        };
        let tcp = async {
            match &self.api {
                Some((api, listener)) => {
                    if let Ok(address) = listener.local_addr() {
                        tracing::info!(%address, "the API listens");
                    }
                    let door = Door { orders: orders.clone(), reloader: None, key: Some(api.key.clone()) };
                    server::serve(listener, Rc::new(door)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::join!(unix, tcp);
    }
}

/// The socket's name in the runtime folder.
const SOCKET: &str = "admin.sock";

/// The path of a runtime folder's socket.
fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join(SOCKET)
}
