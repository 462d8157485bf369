//! Tables keyed by handles: looked up for every packet, and the keys are our own, so that no hash has to be safe against
//! strangers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::events::Handle;

/// A table keyed by handles, or by something else that only we choose.
pub(crate) type HandleMap<V, K = Handle> = HashMap<K, V, BuildHasherDefault<HandleHasher>>;

/// Spreads the bits of one integer.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct HandleHasher(u64);

/// The golden ratio in 64 bits, as an odd number.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for HandleHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(SPREAD);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_in_sequence_differ_in_the_bits_that_tables_use() {
        let hashes = (0..1000_u64).map(|handle| {
            let mut hasher = HandleHasher::default();
            hasher.write_u64(handle);
            hasher.finish()
        });
        let buckets: std::collections::HashSet<u64> = hashes.map(|hash| (hash & 0xff) << 7 | hash >> 57).collect();
        assert!(buckets.len() > 900, "{} different", buckets.len());
    }
}
