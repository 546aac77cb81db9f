//! The resolved configuration: every option with its value. The master resolves it from file, environment and
//! flags, and sends each child what it needs over the control link.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outbound::HostRule;
use crate::session_id::SessionIds;

/// What a worker runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerConfig {
    /// The application's name.
    pub app: String,
    /// Clients' protocol.
    pub protocol: ProtocolConfig,
    /// Clients of the classic generation.
    pub classic: ClassicConfig,
    /// Tokens.
    pub auth: AuthConfig,
    /// Bounds on one client.
    pub client: ClientConfig,
    /// Sessions.
    pub sessions: SessionConfig,
    /// Who is on a channel.
    pub presence: PresenceConfig,
    /// HTTP.
    pub http: HttpConfig,
    /// A folder served over HTTP.
    pub public: Option<PathBuf>,
    /// Headers of a socket's request that the controller may ask for, in lower case.
    pub keep_headers: Vec<String>,
    /// What the controller may send to other servers.
    pub fetch: FetchConfig,
    /// What the site may use.
    pub site: SiteConfig,
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

/// Options for clients of the classic generation; defaults are SocketCluster 0.9's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassicConfig {
    /// Whether they are served. `true`
    pub enabled: bool,
    /// How they may come. In any way
    pub transports: Transports,
    /// How often they are to ping. 25 s
    pub ping_interval: Duration,
    /// For a ping's answer; after this and the interval without any packet, a socket closes. 60 s
    pub ping_timeout: Duration,
    /// For the way from polling to a WebSocket. 10 s
    pub upgrade_timeout: Duration,
    /// How they take publications. `auto`
    pub events: ClassicEvents,
}

/// How classic clients may come; at least one way is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transports {
    /// By requests, one after the other.
    pub polling: bool,
    /// By a WebSocket, at once or after polling.
    pub websocket: bool,
}

impl ClassicConfig {
    /// How long a client may say nothing.
    pub fn silence(&self) -> Duration {
        self.ping_interval.saturating_add(self.ping_timeout)
    }
}

/// How classic clients take publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassicEvents {
    /// As what each does tells; in both ways until then.
    Auto,
    /// As events: clients up to 0.9.37.
    Events,
    /// In a shape of their own: clients from 1.0.0 on.
    Channels,
}

/// Batches at the start of a socket's life, when its client asks for much at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batching {
    /// From the handshake's answer on. 400 ms
    pub duration: Duration,
    /// Between two batches. 50 ms
    pub interval: Duration,
}

/// How sessions are known and routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionConfig {
    /// Makes and knows their ids.
    pub ids: SessionIds,
    /// Whether a request goes to the worker that its session names. `true`
    pub affinity: bool,
    /// Whether requests begin sessions, and not only sockets. `true`
    pub http: bool,
}

/// On which channels it is known who is there. In patterns `*` stands for any text, `?` for one character.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PresenceConfig {
    /// Those for which it is kept. None
    pub channels: Vec<String>,
    /// Those of them whose subscribers may ask. None: only controllers may.
    pub clients: Vec<String>,
}

/// Options of plain HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpConfig {
    /// Largest body of a request that a controller is given, else 413. 1 MiB
    pub body_max: usize,
    /// For a request's whole body, else 408. 30 s
    pub body_timeout: Duration,
    /// For a controller's answer, else 504. 30 s
    pub answer_timeout: Duration,
    /// Proxies whose `X-Forwarded-For` is believed. None
    pub trusted_proxies: Vec<Network>,
}

impl HttpConfig {
    /// How long a worker may take for the head of an answer. It keeps its own deadlines, and says so to the client,
    /// unless it hangs: a body may come for as long as it may, a site's request may then wait for an instance, and its
    /// answer be late once more.
    pub fn longest_answer(&self) -> Duration {
        const SLACK: Duration = Duration::from_secs(5);
        self.body_timeout.saturating_add(self.answer_timeout.saturating_mul(2)).saturating_add(SLACK)
    }
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// One of them.
    pub address: IpAddr,
    /// How many bits they share.
    pub bits: u8,
}

impl Network {
    /// Whether it has the address; IPv4 addresses in IPv6 count as IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        let number = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let ((one, width), (other, other_width)) = (number(self.address), number(address));
        let shift = width - u32::from(self.bits).min(width);
        width == other_width && one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    }
}

/// When a store's journal reaches the disk itself. Whatever it is, an acknowledged change survives the end of every
/// process of the host; this decides about the end of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fsync {
    /// Before a change is acknowledged.
    Always,
    /// Each second.
    Interval,
    /// When the system sees fit.
    Never,
}

/// What a store runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreConfig {
    /// Where its journal lies; none keeps all in memory.
    pub folder: Option<PathBuf>,
    /// When the journal reaches the disk. `interval`
    pub fsync: Fsync,
    /// How long a session's data lives without a socket. 20 min
    pub session_timeout: Duration,
    /// How long a session may be without a socket before it ends. 5 s
    pub session_grace: Duration,
    /// How many stores there are.
    pub stores: u16,
    /// The application's name.
    pub app: String,
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
    /// Public keys (PEM: RSA, EC, Ed25519) whose tokens are good as well. None
    pub public_keys: Vec<String>,
    /// Whether the controller may replace the secret. No
    pub rotation: bool,
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
    /// Sockets of one client address on all workers; none for no limit. None
    pub address_limit: Option<u32>,
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

/// What the `wasi:http` component may use, beside memory and CPU time, which belong to its generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteConfig {
    /// Requests that it works on at once in one worker. 64
    pub instances: usize,
    /// Hosts that it may send requests to. None
    pub allow_hosts: Vec<HostRule>,
}

/// What a controller may send to other servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FetchConfig {
    /// Hosts that it may send requests to. None
    pub allow_hosts: Vec<HostRule>,
    /// For a whole exchange. 10 s
    pub timeout: Duration,
    /// Largest body of an answer in bytes. 1 MiB
    pub body_max: usize,
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
    /// Balance by session and quota (`true`) or by a hash of the client's address.
    pub smart_balancing: bool,
    /// Knows the ids of sessions.
    pub session_ids: SessionIds,
    /// How many balancers share the work.
    pub balancers: usize,
    /// The application's name.
    pub app: String,
    /// Where sockets open; see [`ProtocolConfig::path`].
    pub socket_path: String,
    /// Proxies whose `X-Forwarded-For` is believed; see [`HttpConfig::trusted_proxies`].
    pub trusted_proxies: Vec<Network>,
    /// For the head of a worker's answer to a proxied request, else 504; see [`HttpConfig::longest_answer`].
    pub answer_timeout: Duration,
    /// Options of TLS, if it is served.
    pub tls: Option<TlsConfig>,
}

/// Options of TLS that hold for as long as the host runs; [`crate::tls::Credentials`] are the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsConfig {
    /// For a connection's handshake, else it is closed. 10 s
    pub handshake_timeout: Duration,
    /// Connections that one balancer may pump to workers at once; more are answered 503. What its descriptors allow
    pub pumps_max: usize,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_addresses_of_their_kind() {
        let network = |address: &str, bits| Network { address: address.parse().expect("an address"), bits };
        for (network, address, expected) in [
            (network("10.0.0.0", 8), "10.255.1.2", true),
            (network("10.0.0.0", 8), "11.0.0.1", false),
            (network("10.0.0.0", 8), "::ffff:10.1.1.1", true),
            (network("0.0.0.0", 0), "1.2.3.4", true),
            (network("0.0.0.0", 0), "::1", false),
            (network("::1", 128), "::1", true),
            (network("fd00::", 8), "fdff::1", true),
            (network("127.0.0.1", 32), "127.0.0.2", false),
        ] {
            assert_eq!(network.has(address.parse().expect("an address")), expected, "{network:?} {address}");
        }
    }
}
