//! A hash index that maps hashes to numbers. The caller keeps the hashed items and compares them, so a vocabulary's
//! texts are stored once and a table of 150,000 entries needs no allocation per entry.
//!
//! Open addressing with linear probing in a table that is at most half full. The seed is random, so a file cannot
//! contain texts that all hash to the same slot.

use std::hash::{BuildHasher, RandomState};

/// Numbers by hash.
#[derive(Debug)]
pub(super) struct Index {
    /// `tag << 32 | number + 1`; 0 is free. The tag avoids most comparisons of unequal items.
    slots: Vec<u64>,
    seed: u64,
}

impl Index {
    /// An index with capacity for `count` numbers.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            slots: vec![0; (2 * count).next_power_of_two().max(2)],
            seed: RandomState::new().hash_one(0),
        }
    }

    /// The number under `hash` for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = hash as usize;
        loop {
            let slot = self.slots[at & (self.slots.len() - 1)];
            if slot == 0 {
                return None;
            }
            let number = slot as u32 - 1;
            if slot >> 32 == hash >> 32 && is_it(number) {
                return Some(number);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Inserts `number` under `hash`. If there is already a number for which `is_it` holds, returns that one and
    /// changes nothing. At most as many numbers as the capacity may be inserted.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        number: u32,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut at = hash as usize;
        loop {
            let mask = self.slots.len() - 1;
            let slot = &mut self.slots[at & mask];
            if *slot == 0 {
                *slot = (hash >> 32) << 32 | u64::from(number + 1);
                return None;
            }
            let other = *slot as u32 - 1;
            if *slot >> 32 == hash >> 32 && is_it(other) {
                return Some(other);
            }
            at = at.wrapping_add(1);
        }
    }

    /// The hash of some bytes.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let start = self.seed ^ bytes.len() as u64;
        let all = words.iter().chain([&last]);
        all.fold(start, |hash, word| mix(hash ^ u64::from_le_bytes(*word)))
    }

    /// The hash of one number.
    pub(super) fn hash_number(&self, number: u64) -> u64 {
        mix(self.seed ^ number)
    }
}

/// Spreads each bit over all bits (the finaliser of MurmurHash3; wasm has 64-bit multiplications).
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ x >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_nothing_else() {
        let texts: Vec<String> = (0..5_000)
            .map(|i| format!("{}{i}", "ab".repeat(i % 9)))
            .collect();
        let mut index = Index::with_capacity(texts.len());
        for (number, text) in texts.iter().enumerate() {
            let same = |other: u32| texts[other as usize] == *text;
            assert_eq!(
                index.insert(index.hash(text.as_bytes()), number as u32, same),
                None
            );
        }
        let first = index.insert(index.hash(texts[7].as_bytes()), 9_999, |other| other == 7);
        assert_eq!(first, Some(7));
        let find = |text: &str| {
            index.find(index.hash(text.as_bytes()), |number| {
                texts[number as usize] == text
            })
        };
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(find(text), Some(number as u32));
        }
        assert_eq!(find("absent"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        let index = Index::with_capacity(0);
        assert_eq!(index.find(index.hash(b"x"), |_| true), None);
    }

    #[test]
    fn bytes_of_zero_and_their_number_count() {
        let index = Index::with_capacity(0);
        assert_ne!(index.hash(b""), index.hash(b"\0"));
        assert_ne!(index.hash(b"\0"), index.hash(b"\0\0"));
    }
}
