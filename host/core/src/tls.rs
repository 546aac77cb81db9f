//! What balancers serve TLS with. The master reads and checks it, and sends it over the control link; it can be
//! replaced while connections live.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Everything about TLS that can change while the host runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credentials {
    /// The certificates with their keys. A client that names none of their hosts gets the first one that it can use.
    pub identities: Vec<Identity>,
    /// Whose certificates clients may, or must, prove themselves with. None: they are not asked.
    pub clients: Option<ClientCheck>,
    /// The oldest version that is spoken. `1.2`
    pub oldest: TlsVersion,
    /// What session tickets are sealed with: the first seals, all open. Never empty.
    pub tickets: Vec<TicketKey>,
}

/// A certificate with its chain and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The host's certificate first, then those of its issuers; DER.
    pub chain: Vec<Bytes>,
    /// The private key: PKCS#8, PKCS#1 or SEC1, unencrypted; DER.
    pub key: Bytes,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCheck {
    /// Who may have issued them; DER.
    pub roots: Vec<Bytes>,
    /// Whether a client without one is refused. `true`
    pub required: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// A secret under which all balancers of a host, and its restarts, know their session tickets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey(pub [u8; 32]);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}
