//! A cache bounded by bytes, whatever is put into it.
//!
//! Two generations: what is used moves to the young one; when that holds half of the bytes, the old one is
//! dropped whole and the young one becomes old. Each step takes constant time, and no order is kept.

use std::collections::HashMap;
use std::hash::Hash;

/// Bytes reckoned for an item's own place in a map, beside what its owner says it holds.
const PLACE: usize = 64;

/// At most `capacity` bytes of `V`, as reckoned at insertion.
pub struct Cache<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_bytes: usize,
    old_bytes: usize,
    half: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// An empty cache of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_bytes: 0,
            old_bytes: 0,
            half: capacity / 2,
        }
    }

    /// The value of `key`, which counts as a use.
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (value, bytes) = self.old.remove(key)?;
        self.old_bytes -= bytes;
        self.put(key.clone(), value.clone(), bytes);
        Some(value)
    }

    /// Keeps `value`, which holds `bytes`; one that is larger than half the cache is not kept.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        if let Some((_, bytes)) = self.old.remove(&key) {
            self.old_bytes -= bytes;
        }
        self.put(key, value, bytes + PLACE);
    }

    fn put(&mut self, key: K, value: V, bytes: usize) {
        if bytes > self.half {
            return;
        }
        if self.young_bytes + bytes > self.half {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        self.young_bytes += bytes;
        if let Some((_, replaced)) = self.young.insert(key, (value, bytes)) {
            self.young_bytes -= replaced;
        }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.young_bytes + self.old_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let mut cache = Cache::new(100 * (PLACE + 36));
        cache.insert(0, "kept", 36);
        for n in 1..10_000 {
            cache.insert(n, "passing", 36);
            assert!(cache.bytes() <= 100 * (PLACE + 36));
            assert_eq!(cache.get(&0), Some("kept"));
        }
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.get(&9_999), Some("passing"));
    }

    #[test]
    fn the_account_of_bytes_is_exact() {
        let mut cache = Cache::new(1 << 20);
        cache.insert(1, (), 1000);
        cache.insert(1, (), 10);
        assert_eq!(cache.bytes(), 10 + PLACE);
        cache.insert(2, (), 1 << 20);
        assert_eq!(cache.bytes(), 10 + PLACE, "too large to keep");
    }
}
