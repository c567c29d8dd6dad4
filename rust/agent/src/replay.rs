//! Request ids that were seen, so that no request is answered twice (PROTOCOL §6, Request).
//!
//! A table of fixed size, one 64-bit slot per id: 40 bits of a keyed hash and the second in which the
//! request ends, after which the slot is free again. Memory is flat however many requests come; when every
//! slot that an id may take is in use, the request is turned away rather than let through unseen. Two
//! different ids pass for one with a chance of 2^-36. A restart ends every session, and with it every
//! request made under one.

use std::hash::{DefaultHasher, Hasher};

use evanesce_wire::Id;
use evanesce_wire::limits::REQUEST_AHEAD;

const SLOTS: usize = 8;
const TIME_BITS: u32 = 24;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// What the table says of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Not seen before; it is now.
    Fresh,
    /// Seen before.
    Seen,
    /// Too many live ids to tell.
    Full,
}

/// The ids seen.
pub struct Replay {
    buckets: Vec<[u64; SLOTS]>,
    key: [u8; 16],
    /// The clock's highest second: a clock that is set back frees no slot.
    latest: u64,
}

impl Replay {
    /// Room for about `ids` at a time, rounded up to a power of two; `key` is random.
    pub fn new(ids: usize, key: [u8; 16]) -> Self {
        let buckets = ids.div_ceil(SLOTS).next_power_of_two().min(1 << TIME_BITS);
        Self {
            buckets: vec![[0; SLOTS]; buckets],
            key,
            latest: 0,
        }
    }

    /// The present second, which never goes back.
    fn now(&mut self, now: u64) -> u64 {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// Takes an id that is in use until `not_after`, at most [`REQUEST_AHEAD`] seconds ahead of `now`.
    pub fn take(&mut self, caller: &Id, id: &[u8; 16], not_after: u64, now: u64) -> Taken {
        let now = self.now(now);
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write(caller);
        hasher.write(id);
        let hash = hasher.finish();
        let print = hash >> TIME_BITS;
        let mask = self.buckets.len() - 1;
        let first = hash as usize & mask;
        let second = (first ^ (print.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize) & mask;
        // A slot is live from its writing until the second it holds, at most REQUEST_AHEAD later.
        let live =
            |slot: u64| slot != 0 && (slot.wrapping_sub(now + 1) & TIME_MASK) <= REQUEST_AHEAD;
        // The emptier of the two buckets, so that nearly all of the table can be used.
        let mut best: Option<(usize, usize, usize)> = None;
        for bucket in [first, second] {
            let (mut free, mut place) = (0, 0);
            for (n, slot) in self.buckets[bucket].iter().enumerate() {
                if !live(*slot) {
                    (free, place) = (free + 1, n);
                } else if slot >> TIME_BITS == print {
                    return Taken::Seen;
                }
            }
            if free > best.map_or(0, |(free, ..)| free) {
                best = Some((free, bucket, place));
            }
        }
        match best {
            Some((_, bucket, place)) => {
                // One second longer than the request lives; the zero slot is kept for "never used".
                let slot = print << TIME_BITS | ((not_after + 1) & TIME_MASK);
                self.buckets[bucket][place] = slot.max(1);
                Taken::Fresh
            }
            None => Taken::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u64) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id
    }

    #[test]
    fn most_of_the_table_can_be_filled_and_frees_itself() {
        let mut table = Replay::new(1 << 16, [7; 16]);
        let ids = 40_000;
        let full = (0..ids)
            .filter(|n| table.take(&[1; 32], &id(*n), 1_060, 1_000) == Taken::Full)
            .count();
        assert_eq!(full, 0, "turned away at three fifths");
        for n in 0..ids {
            assert_eq!(table.take(&[1; 32], &id(n), 1_060, 1_060), Taken::Seen);
        }
        assert_eq!(
            table.take(&[2; 32], &id(0), 1_060, 1_060),
            Taken::Fresh,
            "another caller's"
        );
        let full = (0..2 * ids)
            .filter(|n| table.take(&[3; 32], &id(*n), 1_100, 1_061) == Taken::Full)
            .count();
        assert!(full > 0, "a full table lets nothing through unseen");
        let again = (0..ids)
            .filter(|n| table.take(&[4; 32], &id(*n), 1_200, 1_102) != Taken::Fresh)
            .count();
        assert_eq!(again, 0, "what has ended makes room");
    }

    proptest! {
        #[test]
        fn an_id_is_fresh_once_while_its_request_lives(
            steps in prop::collection::vec((0u64..40, 0u64..=REQUEST_AHEAD, -5i64..20), 1..200),
        ) {
            let mut table = Replay::new(1 << 12, [9; 16]);
            let mut clock = 1_700_000_000u64;
            let mut latest = clock;
            let mut seen = std::collections::HashMap::new();
            for (n, life, step) in steps {
                clock = clock.saturating_add_signed(step);
                latest = latest.max(clock);
                let not_after = latest + life;
                let before = seen.get(&n).is_some_and(|end| *end >= latest);
                let expected = if before { Taken::Seen } else { Taken::Fresh };
                prop_assert_eq!(table.take(&[1; 32], &id(n), not_after, clock), expected);
                if !before { seen.insert(n, not_after); }
            }
        }
    }
}
