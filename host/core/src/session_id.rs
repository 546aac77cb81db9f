//! Session ids: bearer secrets in the classic format, `<host>_w<worker>_<port>_<secure>_<rand>`, whose last field ends
//! in a MAC under the cluster's key. So nobody can make one up, choose another browser's, or aim at a worker; and any
//! process of the host can tell at once, without asking a store.
//!
//! Source of the format: SocketCluster 0.9.90. Its clients read only the first four fields.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::ids::{WorkerId, socket_name, worker_named_by};

/// Bytes of the MAC that an id carries: 120 bits, 20 characters.
const MAC: usize = 15;
/// Characters of the MAC.
const MAC_CHARS: usize = 20;
/// Longest id that is looked at.
const LONGEST: usize = 512;

/// The secret under which all processes of a host, and its restarts, know their session ids.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterKey(pub [u8; 32]);

impl std::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

/// Makes session ids and knows its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionIds {
    /// The secret.
    pub key: ClusterKey,
    /// The first field of new ids, by which a load balancer outside may know this host; often empty. No `_` in it.
    pub host: String,
    /// The public port, the third field of new ids.
    pub port: u16,
}

impl SessionIds {
    /// A new id that names a worker. `counter` only has to differ from call to call.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn mint(&self, worker: WorkerId, counter: u32, secure: bool) -> io::Result<String> {
        let (host, port, secure) = (&self.host, self.port, u8::from(secure));
        let rand = socket_name(counter).map_err(|error| io::Error::other(error.to_string()))?;
        let mut id = format!("{host}_{worker}_{port}_{secure}_{rand}");
        let mac = self.mac(&id);
        URL_SAFE_NO_PAD.encode_string(mac, &mut id);
        Ok(id)
    }

    /// Whether the id was made under this key.
    pub fn knows(&self, id: &str) -> bool {
        let Some(at) = id.len().checked_sub(MAC_CHARS).filter(|_| id.len() <= LONGEST) else { return false };
        let (Some(signed), Some(mac)) = (id.get(..at), id.get(at..)) else { return false };
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return false };
        self.hasher(signed).verify_truncated_left(&mac).is_ok()
    }

    /// The worker that an id of ours names. It need not live.
    pub fn worker(&self, id: &str) -> Option<WorkerId> {
        worker_named_by(id).filter(|_| self.knows(id))
    }

    /// What of an id others may see: all but its MAC, without which it opens nothing.
    pub fn public_part(id: &str) -> &str {
        id.len().checked_sub(MAC_CHARS).and_then(|at| id.get(..at)).unwrap_or_default()
    }

    fn mac(&self, signed: &str) -> [u8; MAC] {
        let whole = self.hasher(signed).finalize().into_bytes();
        let mut mac = [0; MAC];
        mac.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        mac
    }

    fn hasher(&self, signed: &str) -> Hmac<Sha256> {
        // A key shorter than a block counts as filled up with zeros.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(self.key.0).for_each(|(to, from)| *to = from);
        let mut hasher = <Hmac<Sha256> as hmac::digest::KeyInit>::new(&block);
        hasher.update(b"session\0");
        hasher.update(signed.as_bytes());
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(key: u8) -> SessionIds {
        SessionIds { key: ClusterKey([key; 32]), host: String::new(), port: 8000 }
    }

    #[test]
    fn ids_have_the_classic_format_and_name_their_worker() {
        let id = ids(1).mint(WorkerId(3), 1, false).expect("random bytes");
        assert!(id.starts_with("_w3_8000_0_"), "{id}");
        assert_eq!(id.len(), "_w3_8000_0_".len() + 40);
        assert_eq!(ids(1).worker(&id), Some(WorkerId(3)));
        assert_eq!(SessionIds::public_part(&id), &id[.."_w3_8000_0_".len() + 20]);
        assert!(!ids(1).knows(SessionIds::public_part(&id)));
    }

    #[test]
    fn ids_may_name_their_host() {
        let named = SessionIds { host: "h1.example".to_owned(), ..ids(1) };
        let id = named.mint(WorkerId(3), 1, true).expect("random bytes");
        assert!(id.starts_with("h1.example_w3_8000_1_"), "{id}");
        assert_eq!(ids(1).worker(&id), Some(WorkerId(3)), "whatever it says, the key decides");
        assert!(!ids(1).knows(&id.replacen("h1", "h2", 1)));
    }

    #[test]
    fn what_was_not_made_here_is_not_known() {
        let id = ids(1).mint(WorkerId(3), 1, false).expect("random bytes");
        assert!(!ids(2).knows(&id), "another key");
        assert!(!ids(1).knows(&id.replacen("_w3_", "_w1_", 1)), "another worker");
        for cut in 0..id.len() {
            assert!(!ids(1).knows(&id[..cut]), "cut at {cut}");
        }
        for at in 0..id.len() {
            let mut other = id.clone().into_bytes();
            other[at] ^= 1;
            if let Ok(other) = String::from_utf8(other) {
                assert!(!ids(1).knows(&other), "changed at {at}");
            }
        }
        for nothing in ["", "_w3_8000_0_xOC13VNpeGd48JdRAAAB", &"é".repeat(30), &"a".repeat(10_000)] {
            assert!(!ids(1).knows(nothing), "{nothing}");
        }
    }
}
