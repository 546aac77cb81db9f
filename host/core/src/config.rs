//! The resolved configuration: every option with its value. The master resolves it from file, environment and
//! flags, and sends each child what it needs over the control link.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a worker runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// The application's name.
    pub app: String,
    /// Clients' protocol.
    pub protocol: ProtocolConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Bounds on one client.
    pub client: ClientConfig,
    /// A folder served over HTTP.
    pub public: Option<PathBuf>,
    /// Headers of a socket's request that the controller may ask for, in lower case.
    pub keep_headers: Vec<String>,
    /// The controller's configuration, a JSON object.
    pub controller: String,
    /// What the controller may use.
    pub guest: GuestConfig,
}

/// Options of the wire protocol; defaults and names are SocketCluster's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProtocolConfig {
    /// Path of the WebSocket endpoint, compared exactly. `/socketcluster/`
    pub path: String,
    /// Allowed origins as `host:port`, `host:*`, `*:port`, `*:*`. `["*:*"]`
    pub origins: Vec<String>,
    /// Between two pings. 8 s
    pub ping_interval: Duration,
    /// Without a pong, the socket closes with 4001. 20 s
    pub ping_timeout: Duration,
    /// No pings and no pong timer. `false`
    pub ping_timeout_disabled: bool,
    /// For a client's answer to a question. 10 s
    pub ack_timeout: Duration,
    /// For the handshake, else 4005. 10 s
    pub handshake_timeout: Duration,
    /// Whether clients may publish. `true`
    pub allow_client_publish: bool,
    /// Packets to a socket whose handshake was just answered go out in batches: for how long, and how often. `None`
    pub batching: Option<Batching>,
}

/// Batches at the start of a socket's life, when its client asks for much at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batching {
    /// From the handshake's answer on. 400 ms
    pub duration: Duration,
    /// Between two batches. 50 ms
    pub interval: Duration,
}

/// Options of tokens (JWT).
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthConfig {
    /// The secret that signs and verifies.
    pub key: String,
    /// `HS256`, `HS384` or `HS512`. `HS256`
    pub algorithm: String,
    /// Life of a token without an expiry of its own. 24 h
    pub default_expiry: Duration,
}

impl std::fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What happens to a client that reads too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlowClient {
    /// Its oldest waiting publications are dropped; it closes with 1013 if the rest alone is too much.
    DropOldest,
    /// It closes with 1013.
    Close,
}

/// Bounds on one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientConfig {
    /// Largest message from a client in bytes; larger closes with 1009. 1 MiB
    pub max_payload: usize,
    /// Channels of one socket; none for no limit. 1000
    pub channel_limit: Option<usize>,
    /// Bytes that may wait to be sent to one client. 4 MiB
    pub outbox_max: usize,
    /// What happens past it. `drop-oldest`
    pub slow_client: SlowClient,
    /// Sockets of one worker; none for what its descriptors allow.
    pub max_sockets: Option<usize>,
}

/// What a controller may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// Sum of its memories in bytes. 64 MiB
    pub memory_max: usize,
    /// CPU time of one call. 50 ms
    pub cpu_per_call: Duration,
    /// Environment variables it sees.
    pub env: Vec<(String, String)>,
    /// Folders it sees.
    pub dirs: Vec<DirGrant>,
}

/// A folder that a controller sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirGrant {
    /// The folder on the host, absolute.
    pub host: PathBuf,
    /// Its path in the guest.
    pub guest: String,
    /// Whether the guest may write.
    pub write: bool,
}

/// What a balancer runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BalancerConfig {
    /// For the whole request head, else 408. 10 s
    pub head_timeout: Duration,
    /// Largest request head in bytes, else 431. 16 KiB
    pub head_max: usize,
    /// Connections whose head is still being read; past it the oldest is closed. 4096
    pub pending_max: usize,
    /// Such connections of one address. 1024
    pub pending_per_address: usize,
    /// Balance by quota (`true`) or by a hash of the client's address.
    pub smart_balancing: bool,
    /// How many balancers share the work.
    pub balancers: usize,
}

/// A connection's other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether it came over TLS.
    pub secure: bool,
}
