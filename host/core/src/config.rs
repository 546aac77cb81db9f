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
    /// The path of the WebSocket endpoint, compared exactly. Default: `/socketcluster/`.
    pub path: String,
    /// The origins that may open sockets, as `host:port`, `host:*`, `*:port` or `*:*`. Default: `["*:*"]`.
    pub origins: Vec<String>,
    /// The time between two pings. Default: 8 s.
    pub ping_interval: Duration,
    /// How long a client may take for a pong; then its socket closes with 4001. Default: 20 s.
    pub ping_timeout: Duration,
    /// Whether there are neither pings nor a deadline for pongs. Default: no.
    pub ping_timeout_disabled: bool,
    /// How long a client may take for its answer to a question. Default: 10 s.
    pub ack_timeout: Duration,
    /// How long a client may take for its handshake; then its socket closes with 4005. Default: 10 s.
    pub handshake_timeout: Duration,
    /// Whether clients may publish. Default: yes.
    pub allow_client_publish: bool,
    /// For how long and how often packets to a socket whose handshake was just answered go out in batches; `None`, the
    /// default, for no batches.
    pub batching: Option<Batching>,
}

/// Options for clients of the classic generation; defaults are SocketCluster 0.9's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassicConfig {
    /// Whether they are served. Default: yes.
    pub enabled: bool,
    /// How they may come. Default: in any way.
    pub transports: Transports,
    /// How often they are to ping. Default: 25 s.
    pub ping_interval: Duration,
    /// How long a ping's answer may take. After this and the interval without any packet, a socket closes. Default:
    /// 60 s.
    pub ping_timeout: Duration,
    /// How long a client may take to get from polling to a WebSocket. Default: 10 s.
    pub upgrade_timeout: Duration,
    /// How they take publications. Default: `auto`.
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
    /// In the way that a client shows it takes; in both ways until it has shown one.
    Auto,
    /// As events of the channel's name, for clients up to 0.9.37.
    Events,
    /// In a shape of their own, for clients from 1.0.0 on.
    Channels,
}

/// Batches at the start of a socket's life, when its client asks for much at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batching {
    /// How long packets are batched, from the handshake's answer on. Default: 400 ms.
    pub duration: Duration,
    /// The time between two batches. Default: 50 ms.
    pub interval: Duration,
}

/// How sessions are known and routed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionConfig {
    /// Makes and knows their ids.
    pub ids: SessionIds,
    /// Whether a request goes to the worker that its session names. Default: yes.
    pub affinity: bool,
    /// Whether requests begin sessions as well, and not only sockets. Default: yes.
    pub http: bool,
}

/// On which channels it is known who is there. In patterns `*` stands for any text, `?` for one character.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PresenceConfig {
    /// The channels for which it is known. Default: none.
    pub channels: Vec<String>,
    /// Those of them whose subscribers may ask. Default: none, so that only controllers may.
    pub clients: Vec<String>,
}

/// Options of plain HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpConfig {
    /// The largest body of a request for a controller, in bytes; a larger one is answered with 413. Default: 1 MiB.
    pub body_max: usize,
    /// How long a client may take for a request's whole body; then it gets 408. Default: 30 s.
    pub body_timeout: Duration,
    /// How long a controller may take for its answer; then the client gets 504. Default: 30 s.
    pub answer_timeout: Duration,
    /// The proxies whose `X-Forwarded-For` is believed. Default: none.
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
    /// The folder of its journal; without one all is kept in memory only.
    pub folder: Option<PathBuf>,
    /// When the journal reaches the disk. Default: `interval`.
    pub fsync: Fsync,
    /// How long a session's data live without a socket. Default: 20 min.
    pub session_timeout: Duration,
    /// How long a session may be without a socket before it ends. Default: 5 s.
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
    /// The algorithm of its signatures: `HS256`, `HS384` or `HS512`. Default: `HS256`.
    pub algorithm: String,
    /// How long a token without an expiry of its own is good. Default: 24 h.
    pub default_expiry: Duration,
    /// Public keys (PEM: RSA, EC, Ed25519) whose tokens are good as well. Default: none.
    pub public_keys: Vec<String>,
    /// Whether the controller may replace the secret. Default: no.
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
    /// The largest message from a client, in bytes; a larger one closes its socket with 1009. Default: 1 MiB.
    pub max_payload: usize,
    /// How many channels one socket may subscribe to; `None` for no limit. Default: 1000.
    pub channel_limit: Option<usize>,
    /// How many sockets one client address may have on all workers together; `None` for no limit. Default: `None`.
    pub address_limit: Option<u32>,
    /// How many bytes may wait to be sent to one client. Default: 4 MiB.
    pub outbox_max: usize,
    /// What happens when more would wait. Default: `drop-oldest`.
    pub slow_client: SlowClient,
    /// How many sockets one worker may have; `None`, the default, for as many as its descriptors allow.
    pub max_sockets: Option<usize>,
}

/// What a controller may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// The largest sum of its memories, in bytes. Default: 64 MiB.
    pub memory_max: usize,
    /// The CPU time that one call may use. Default: 50 ms.
    pub cpu_per_call: Duration,
    /// Environment variables it sees.
    pub env: Vec<(String, String)>,
    /// Folders it sees.
    pub dirs: Vec<DirGrant>,
}

/// What the `wasi:http` component may use, beside memory and CPU time, which belong to its generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteConfig {
    /// How many requests it works on at once in one worker. Default: 64.
    pub instances: usize,
    /// The hosts that it may send requests to. Default: none.
    pub allow_hosts: Vec<HostRule>,
}

/// What a controller may send to other servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FetchConfig {
    /// The hosts that it may send requests to. Default: none.
    pub allow_hosts: Vec<HostRule>,
    /// How long a request and its whole answer may take. Default: 10 s.
    pub timeout: Duration,
    /// The largest body of an answer, in bytes. Default: 1 MiB.
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
    /// How long a client may take for the whole head of a request; then it gets 408. Default: 10 s.
    pub head_timeout: Duration,
    /// The largest head of a request, in bytes; a larger one is answered with 431. Default: 16 KiB.
    pub head_max: usize,
    /// How many connections may be without a whole head; when one more comes, the oldest is closed. Default: 4096.
    pub pending_max: usize,
    /// How many of these may be of one address. Default: 1024.
    pub pending_per_address: usize,
    /// Whether it balances by session and quota, or else by a hash of the client's address. Default: yes.
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
    /// How long a worker may take for the head of its answer to a proxied request; then the client gets 504. See
    /// [`HttpConfig::longest_answer`].
    pub answer_timeout: Duration,
    /// Options of TLS, if it is served.
    pub tls: Option<TlsConfig>,
}

/// Options of TLS that hold for as long as the host runs; [`crate::tls::Credentials`] are the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsConfig {
    /// How long a client may take for its TLS handshake; then its connection is closed. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How many connections one balancer may relay to workers at once; one more is answered with 503. Default: as many
    /// as its descriptors allow.
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
