//! Which store holds what: rendezvous hashing, so that every worker finds the same store without asking, and a
//! change of the number of stores moves only what must move. The hash and its seeds never change: they are part of
//! the format of stored data.

use std::net::IpAddr;

use sc_core::ids::StoreId;
use sc_wire::store::Tree;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const CHANNEL: u64 = 0x63_68_61_6e;
const SESSION: u64 = 0x73_65_73_73;
const GLOBAL: u64 = 0x67_6c_6f_62;
const NAMED: u64 = 0x6e_61_6d_65;
const ADDRESS: u64 = 0x61_64_64_72;

/// The store that carries a channel.
pub fn of_channel(channel: &str, stores: u16) -> StoreId {
    pick(channel, CHANNEL, stores)
}

/// The store that knows a session's sockets, and holds its data.
pub fn of_session(session: &str, stores: u16) -> StoreId {
    pick(session, SESSION, stores)
}

/// The store that counts an address's sockets.
pub fn of_address(address: IpAddr, stores: u16) -> StoreId {
    pick(&address.to_string(), ADDRESS, stores)
}

/// The store that holds a path of a tree: a session or a named tree lies whole in one store, the global tree is
/// spread by the path's first part. None for the whole global tree, of which every store has a piece.
pub fn of_path(tree: &Tree, path: &[String], stores: u16) -> Option<StoreId> {
    Some(match (tree, path.first()) {
        (Tree::Session(id), _) => pick(id, SESSION, stores),
        (Tree::Named(name), _) => pick(name, NAMED, stores),
        (Tree::Global, Some(first)) => pick(first, GLOBAL, stores),
        (Tree::Global, None) => return None,
        // Each store has its own; no worker asks for it.
        (Tree::Own, _) => StoreId(0),
    })
}

/// The store with the highest score for the key. One store when `stores` is 0.
fn pick(key: &str, seed: u64, stores: u16) -> StoreId {
    let key = xxh3_64_with_seed(key.as_bytes(), seed).to_le_bytes();
    let best = (0..stores).max_by_key(|store| xxh3_64_with_seed(&key, u64::from(*store)));
    StoreId(best.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_frozen() {
        let placed: Vec<_> =
            ["a", "pong", "chan", "channel.foo", ""].map(|name| of_channel(name, 5).0).into();
        assert_eq!(placed, [2, 4, 3, 0, 3]);
    }

    #[test]
    fn keys_spread_evenly() {
        let mut counts = [0u32; 3];
        for number in 0..30_000 {
            counts[usize::from(of_channel(&format!("channel-{number}"), 3).0)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_store_more_takes_only_its_share() {
        for number in 0..1_000 {
            let name = format!("channel-{number}");
            let (before, after) = (of_channel(&name, 3), of_channel(&name, 4));
            assert!(before == after || after == StoreId(3));
        }
    }

    #[test]
    fn trees_lie_whole_in_one_store_but_the_global_one() {
        let path = |part: &str| vec![part.to_owned()];
        let session = Tree::Session("s".into());
        assert_eq!(of_path(&session, &path("a"), 7), of_path(&session, &[], 7));
        assert!((0..9).any(
            |n| of_path(&Tree::Global, &path(&n.to_string()), 7) != of_path(&Tree::Global, &path("0"), 7)
        ));
        assert_eq!(of_path(&Tree::Global, &[], 7), None);
    }
}
