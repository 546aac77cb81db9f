//! Names of things, as types of their own so that no two are ever mixed up.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A worker's number, from 0; it survives the worker's restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u16);

/// A store's number, from 0; it survives the store's restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoreId(pub u16);

/// A balancer's number, from 0; it survives the balancer's restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BalancerId(pub u16);

/// A socket of one worker process: 13 bits of worker, 40 bits of a counter that never goes back. Below 2^53, so
/// that JavaScript guests hold it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SocketId(pub u64);

/// What a command that asks returned, or what a client's message waits for; unique in its worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u64);

const COUNTER_BITS: u32 = 40;
/// So many counters further on, the low 3 bytes in a socket's name come again.
const NAME_PERIOD: u64 = 1 << 24;

impl SocketId {
    /// The id of a worker's `counter`th socket.
    pub fn new(worker: WorkerId, counter: u64) -> Self {
        let counter = counter & ((1 << COUNTER_BITS) - 1);
        SocketId((u64::from(worker.0) & 0x1fff) << COUNTER_BITS | counter)
    }
}

/// The id that clients see, in the original's format: 12 random bytes and the low 3 bytes of a counter, as 20
/// characters of URL-safe base64.
pub fn socket_name(counter: u32) -> Result<String, getrandom::Error> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes[..12])?;
    bytes[12..].copy_from_slice(&counter.to_be_bytes()[1..]);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Which of these counters a socket of that name may have, latest first: one of each 2^24 of them, and none if it is
/// no such name. A classic client's has more fields ahead of that one.
pub fn counters_named_by(name: &str, among: Range<u64>) -> impl Iterator<Item = u64> {
    let own = match name.len().checked_sub(20) {
        Some(at @ 1..) => name.get(at - 1..).and_then(|field| field.strip_prefix('_')),
        _ => Some(name),
    };
    let bytes = own.and_then(|own| URL_SAFE_NO_PAD.decode(own).ok()).filter(|bytes| bytes.len() == 15);
    let low = bytes.and_then(|bytes| match *bytes {
        [.., high, middle, low] => Some(u64::from_be_bytes([0, 0, 0, 0, 0, high, middle, low])),
        _ => None,
    });
    let latest = low.zip(among.end.checked_sub(1)).and_then(|(low, last)| {
        let latest = last & !(NAME_PERIOD - 1) | low;
        if latest <= last { Some(latest) } else { latest.checked_sub(NAME_PERIOD) }
    });
    let earlier = |counter: &u64| counter.checked_sub(NAME_PERIOD);
    std::iter::successors(latest, earlier).take_while(move |counter| *counter >= among.start)
}

/// The worker that a session or Engine.IO id names: `<host>_w<worker>_<port>_<secure>_<rand>`, the classic format.
pub fn worker_named_by(id: &str) -> Option<WorkerId> {
    let mut fields = id.splitn(5, '_');
    let (_host, worker) = (fields.next()?, fields.next()?);
    fields.nth(2)?;
    worker.strip_prefix('w')?.parse().ok().map(WorkerId)
}

macro_rules! display {
    ($($type:ident $prefix:literal),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}
display!(WorkerId "w", StoreId "s", BalancerId "b", SocketId "", Token "");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_ids_stay_below_two_to_the_53() {
        assert!(SocketId::new(WorkerId(8191), u64::MAX).0 < 1 << 53);
        assert_ne!(SocketId::new(WorkerId(1), 7), SocketId::new(WorkerId(2), 7));
    }

    #[test]
    fn socket_names_have_the_reference_format() {
        let name = socket_name(1).expect("random bytes");
        assert_eq!(name.len(), 20);
        assert!(name.ends_with("AAAB"));
    }

    #[test]
    fn a_socket_name_leads_to_its_counter() {
        let first = 1_800_000_000_u64 << 18;
        let found = |name: &str, among| counters_named_by(name, among).collect::<Vec<_>>();
        for counter in [first, first + 1, first + 99_999] {
            let name = socket_name(u32::try_from(counter & 0xffff_ffff).expect("low")).expect("random bytes");
            assert_eq!(found(&name, first..first + 100_000), [counter]);
            assert_eq!(found(&format!("_w3_8000_0_{name}"), first..first + 100_000), [counter]);
            assert_eq!(found(&name, first..counter), [0; 0], "it is not yet");
            let (one, two) = (counter + NAME_PERIOD, counter + 2 * NAME_PERIOD);
            assert_eq!(found(&name, first..two + 1), [two, one, counter]);
        }
        let name = socket_name(7).expect("random bytes");
        assert_eq!(found(&name, 0..5), [0; 0]);
        assert_eq!(found(&name, 0..8), [7]);
        for no_name in ["", "AAAB", "nobody", &name[1..], &format!("{name}AAAA"), "!!!!!!!!!!!!!!!!!!!!"] {
            assert_eq!(found(no_name, first..first + (NAME_PERIOD << 2)), [0; 0], "{no_name}");
        }
    }

    #[test]
    fn classic_ids_name_their_worker() {
        assert_eq!(worker_named_by("_w3_8000_0_xOC13VNpeGd48JdRAAAB"), Some(WorkerId(3)));
        assert_eq!(worker_named_by("h.example_w0_8000_0_a_b"), Some(WorkerId(0)));
        assert_eq!(worker_named_by("w3"), None);
        assert_eq!(worker_named_by("_x3_8000_0_a"), None);
    }
}
