//! What is counted of each group, by its key.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The key of a group, in its place while it is as short as an IPv6 address and a state.
type Key = SmallVec<[u8; 24]>;

/// Groups by the keys that [`By`](super::By) makes. Allocates for groups not seen before alone.
///
/// Remote hosts choose the keys, so hashing is seeded.
#[derive(Clone, Debug)]
pub struct PerGroup<T> {
    groups: HashTable<(Key, T)>,
    seed: u64,
}

impl<T> Default for PerGroup<T> {
    fn default() -> Self {
        Self {
            groups: HashTable::new(),
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl<T: Default> PerGroup<T> {
    /// What is known of a group; nothing yet, where it is new.
    pub fn of(&mut self, key: &[u8]) -> &mut T {
        let seed = self.seed;
        let hash = |key: &[u8]| xxh3_64_with_seed(key, seed);
        let entry = self.groups.entry(
            hash(key),
            |(known, _)| known.as_slice() == key,
            |(known, _)| hash(known),
        );
        let new = || (Key::from_slice(key), T::default());
        &mut entry.or_insert_with(new).into_mut().1
    }
}

impl<T> PerGroup<T> {
    /// What is known of a group that is not new.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&T> {
        let hash = xxh3_64_with_seed(key, self.seed);
        let found = (self.groups).find(hash, |(known, _)| known.as_slice() == key);
        found.map(|(_, counts)| counts)
    }

    /// How many groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Every group, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        (self.groups.iter()).map(|(key, counts)| (key.as_slice(), counts))
    }

    /// Keeps the groups of whose counts `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.groups.retain(|(_, counts)| keep(counts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_counts_of_its_own_however_long_it_is() {
        let mut counts = PerGroup::<u64>::default();
        let keys: Vec<Vec<u8>> = (0..2000_u16)
            .map(|number| number.to_be_bytes().repeat(usize::from(number % 40)))
            .collect();
        for _ in 0..3 {
            for key in &keys {
                *counts.of(key) += 1;
            }
        }
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(counts.len(), distinct.len());
        for (key, count) in counts.iter() {
            let times = keys.iter().filter(|known| *known == key).count() as u64;
            assert_eq!(*count, 3 * times);
            assert_eq!(counts.get(key), Some(count));
        }
        assert_eq!(counts.get(b"another"), None);
        counts.retain(|count| *count > 3);
        // The empty key stands for fifty numbers.
        assert_eq!(counts.len(), 1);
    }
}
