//! Which seats of which tokens failed lately, so that the next operation asks others first.

use std::collections::HashMap;

use evanesce_wire::Id;

/// How long a seat is remembered, in µs.
const REMEMBERED: u64 = 30_000_000;
/// Most seats remembered.
const SEATS: usize = 4096;

/// The memory.
#[derive(Default)]
pub(super) struct Recent(HashMap<(Id, u32), u64>);

impl Recent {
    pub fn note(&mut self, token: &Id, seat: u32, now: u64) {
        if self.0.len() >= SEATS {
            self.0.retain(|_, until| now < *until);
            if self.0.len() >= SEATS {
                self.0.clear();
            }
        }
        self.0.insert((*token, seat), now + REMEMBERED);
    }

    pub fn failed(&self, token: &Id, seat: u32, now: u64) -> bool {
        !self.0.is_empty()
            && self
                .0
                .get(&(*token, seat))
                .is_some_and(|until| now < *until)
    }
}
