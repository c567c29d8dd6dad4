//! Request ids that were seen, so that no request is answered twice (PROTOCOL §6, Request).
//!
//! A table of fixed size, one 64-bit slot per id: 40 bits of a keyed hash and the second in which the
//! request ends, after which the slot is free again. Memory is flat however many requests come; when every
//! slot that an id may take is in use, the request is turned away rather than let through unseen; so it is when its
//! caller's ids take up half of the table, that no caller may fill it for the others. Two
//! different ids pass for one with a chance of 2^-36. A restart ends every session, and with it every
//! request made under one.

use std::collections::HashMap;
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
    /// Too many live ids, of all callers or of this one, to tell.
    Full,
}

/// The ids seen.
pub struct Replay {
    buckets: Vec<[u64; SLOTS]>,
    key: [u8; 16],
    /// The clock's highest second: a clock that is set back frees no slot.
    latest: u64,
    callers: HashMap<Id, Live>,
    /// Live ids that one caller may have.
    most: u32,
}

/// How many live ids a caller has.
struct Live {
    /// By the second in which their requests end, modulo their number.
    ends: [u32; REQUEST_AHEAD as usize + 1],
    total: u32,
    /// The first second that was not over when this was last counted.
    since: u64,
}

impl Live {
    fn new(now: u64) -> Self {
        Self {
            ends: [0; REQUEST_AHEAD as usize + 1],
            total: 0,
            since: now,
        }
    }

    fn end(&mut self, second: u64) -> &mut u32 {
        &mut self.ends[(second % (REQUEST_AHEAD + 1)) as usize]
    }

    /// Takes off what ended before `now`.
    fn total(&mut self, now: u64) -> u32 {
        if now.saturating_sub(self.since) > REQUEST_AHEAD {
            *self = Self::new(now);
        }
        while self.since < now {
            self.total -= std::mem::take(self.end(self.since));
            self.since += 1;
        }
        self.total
    }
}

impl Replay {
    /// Room for about `ids` at a time, rounded up to a power of two; `key` is random.
    pub fn new(ids: usize, key: [u8; 16]) -> Self {
        let buckets = ids.div_ceil(SLOTS).next_power_of_two().min(1 << TIME_BITS);
        Self {
            buckets: vec![[0; SLOTS]; buckets],
            key,
            latest: 0,
            callers: HashMap::new(),
            most: (buckets * SLOTS / 2) as u32,
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
                let live = self.callers.entry(*caller);
                let live = live.or_insert_with(|| Live::new(now));
                if live.total(now) >= self.most {
                    return Taken::Full;
                }
                live.total += 1;
                *live.end(not_after) += 1;
                // One second longer than the request lives; the zero slot is kept for "never used".
                let slot = print << TIME_BITS | ((not_after + 1) & TIME_MASK);
                self.buckets[bucket][place] = slot.max(1);
                Taken::Fresh
            }
            None => Taken::Full,
        }
    }

    /// Forgets the counts of callers that the directory no longer has. Their ids stay taken.
    pub fn keep(&mut self, known: impl Fn(&Id) -> bool) {
        self.callers.retain(|caller, _| known(caller));
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
        // Of so many callers that none has its half.
        let caller = |n: u64| [(n % 8) as u8; 32];
        let full = (0..ids)
            .filter(|n| table.take(&caller(*n), &id(*n), 1_060, 1_000) == Taken::Full)
            .count();
        assert_eq!(full, 0, "turned away at three fifths");
        for n in 0..ids {
            assert_eq!(table.take(&caller(n), &id(n), 1_060, 1_060), Taken::Seen);
        }
        assert_eq!(
            table.take(&[9; 32], &id(0), 1_060, 1_060),
            Taken::Fresh,
            "another caller's"
        );
        let full = (0..2 * ids)
            .filter(|n| table.take(&caller(*n), &id(*n), 1_100, 1_061) == Taken::Full)
            .count();
        assert!(full > 0, "a full table lets nothing through unseen");
        let again = (0..ids)
            .filter(|n| table.take(&caller(*n), &id(*n), 1_200, 1_102) != Taken::Fresh)
            .count();
        assert_eq!(again, 0, "what has ended makes room");
    }

    #[test]
    fn one_caller_has_half_of_the_table_and_what_has_ended_makes_room() {
        let mut table = Replay::new(1 << 11, [7; 16]);
        let half = 1 << 10;
        let taken = |table: &mut Replay, caller, ids: std::ops::Range<u64>, not_after, now| {
            let fresh = |n: &u64| table.take(&caller, &id(*n), not_after, now) == Taken::Fresh;
            ids.filter(fresh).count()
        };
        assert_eq!(taken(&mut table, [1; 32], 0..1000, 1_010, 1_000), 1000);
        assert_eq!(taken(&mut table, [1; 32], 1000..3000, 1_300, 1_000), 24);
        assert_eq!(
            taken(&mut table, [2; 32], 0..100, 1_300, 1_000),
            100,
            "another caller has room"
        );
        let seen = table.take(&[1; 32], &id(0), 1_010, 1_010);
        assert_eq!(seen, Taken::Seen, "and is told what it asked for before");
        assert_eq!(taken(&mut table, [1; 32], 4000..4001, 1_300, 1_010), 0);
        assert_eq!(taken(&mut table, [1; 32], 4000..6000, 1_311, 1_011), 1000);
        assert_eq!(
            taken(&mut table, [1; 32], 6000..9000, 3_000, 2_900),
            half as usize,
            "long after"
        );
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
