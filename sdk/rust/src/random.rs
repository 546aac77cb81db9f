//! Cheap random numbers, seeded once by the host.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A random number. Good for games and jitter, not for secrets.
///
/// ```
/// let dice = sc_sdk::random_u32() % 6 + 1;
/// assert!((1..=6).contains(&dice));
/// ```
pub fn random_u32() -> u32 {
    // SplitMix64; `RandomState` takes its keys from the host's random source.
    let seed =
        SEED.get().unwrap_or_else(|| RandomState::new().hash_one(0)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    SEED.set(Some(seed));
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::random_u32;

    #[test]
    fn numbers_spread_over_the_range() {
        let mut seen = [0_u32; 16];
        for _ in 0..16_000 {
            seen[(random_u32() >> 28) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
    }
}
