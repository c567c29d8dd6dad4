//! What waits to be asked of one holder.
//!
//! Pure. What queued while requests were under way shares the next one; nothing waits for company. How many
//! may be under way follows from the way there: on a short one few, so that under load many openings share
//! the cost of a request; on a long one as many as it takes that no opening waits for another's round trip.

use std::collections::VecDeque;
use std::sync::Arc;

use evanesce_wire::limits::REPLAY_WINDOW;

use crate::work::Work;

/// Most openings that share a request: bounds how long an agent is busy with one.
const OPENINGS_AT_ONCE: usize = 128;
/// Most bytes of requests and contexts that share a request, about.
const BYTES_AT_ONCE: usize = 1 << 20;
/// Requests under way when the way there costs nothing.
const UNDER_WAY_LEAST: usize = 3;
/// Requests under way before anything is known of the way there.
const UNDER_WAY_FIRST: usize = 16;
/// Most requests under way.
const UNDER_WAY_MOST: usize = 128;
/// One more for each such stretch of the way, in µs.
const STRETCH: u64 = 500;
/// Most shares under way: each takes a counter of the session, and counters far apart cannot both be opened.
const SHARES_UNDER_WAY: usize = REPLAY_WINDOW as usize / 4;

/// One opening's seats at one holder.
pub(crate) struct Ask {
    /// The opening.
    pub key: u64,
    pub work: Arc<Work>,
    pub seats: Vec<u32>,
    /// When it was asked, in µs.
    pub at: u64,
    /// Whether it waited for a connection, so that its answer time says nothing of the holder.
    pub cold: bool,
    /// Whether it was sent before: then everything goes whole.
    pub again: bool,
}

/// One holder's queue.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Ask>,
    under_way: usize,
    shares_under_way: usize,
}

impl Outbox {
    pub fn push(&mut self, ask: Ask) {
        self.queue.push_back(ask);
    }

    /// Whether something for `key` has not gone out yet.
    pub fn holds(&self, key: u64) -> bool {
        self.queue.iter().any(|ask| ask.key == key)
    }

    /// Forgets what is no longer wanted; says whether anything is left.
    pub fn retain(&mut self, wanted: impl Fn(u64) -> bool) -> bool {
        self.queue.retain(|ask| wanted(ask.key));
        !self.queue.is_empty()
    }

    /// Everything that waits: there is no way to ask it.
    pub fn drain(&mut self) -> Vec<Ask> {
        self.queue.drain(..).collect()
    }

    /// The next request's openings, if a request may go out now. `fastest` is the shortest way there and back, in µs.
    pub fn take(&mut self, fastest: Option<u64>) -> Option<Vec<Ask>> {
        if self.queue.is_empty() || self.under_way >= most_under_way(fastest) {
            return None;
        }
        let (mut bytes, mut shares, mut count) = (0, self.shares_under_way, 0);
        for ask in self.queue.iter().take(OPENINGS_AT_ONCE) {
            bytes += ask.work.wire_size() + ask.work.token.body.header_bytes.len();
            shares += ask.seats.len();
            let first = count == 0 && self.under_way == 0;
            if !first && (bytes > BYTES_AT_ONCE || shares > SHARES_UNDER_WAY) {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let asks: Vec<Ask> = self.queue.drain(..count).collect();
        self.under_way += 1;
        self.shares_under_way += shares_of(&asks);
        Some(asks)
    }

    /// So many shares of a request that [`take`](Self::take) gave were left out of it.
    pub fn without(&mut self, shares: usize) {
        self.shares_under_way -= shares;
    }

    /// A request that [`take`](Self::take) gave, with this many shares in it, has ended, however it did.
    pub fn ended(&mut self, shares: usize) {
        self.under_way -= 1;
        self.shares_under_way -= shares;
    }
}

/// Seats asked for.
pub(crate) fn shares_of(asks: &[Ask]) -> usize {
    asks.iter().map(|ask| ask.seats.len()).sum()
}

fn most_under_way(fastest: Option<u64>) -> usize {
    match fastest {
        Some(way) => (UNDER_WAY_LEAST + (way / STRETCH) as usize).min(UNDER_WAY_MOST),
        None => UNDER_WAY_FIRST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tests::{ask, token};

    #[test]
    fn what_queued_while_requests_were_under_way_shares_the_next() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        for key in 0..UNDER_WAY_LEAST as u64 {
            outbox.push(ask(key, &token));
            assert_eq!(
                outbox.take(Some(0)).map(|asks| asks.len()),
                Some(1),
                "nothing waits for company"
            );
        }
        for key in 10..26 {
            outbox.push(ask(key, &token));
            assert!(outbox.take(Some(0)).is_none());
        }
        outbox.ended(1);
        assert_eq!(outbox.take(Some(0)).map(|asks| asks.len()), Some(16));
        assert!(outbox.take(Some(0)).is_none());
    }

    #[test]
    fn across_a_long_way_nobody_waits_for_anothers_round_trip() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        for key in 0..64 {
            outbox.push(ask(key, &token));
            assert!(outbox.take(Some(40_000)).is_some());
        }
    }

    #[test]
    fn a_request_is_bounded_and_so_are_the_shares_under_way() {
        let token = token(0, 0);
        let mut outbox = Outbox::default();
        (0..5_000).for_each(|key| outbox.push(ask(key, &token)));
        let mut taken = 0;
        while let Some(asks) = outbox.take(Some(1_000_000)) {
            assert!(asks.len() <= OPENINGS_AT_ONCE);
            taken += asks.len();
        }
        assert_eq!(taken, SHARES_UNDER_WAY);
        assert!(outbox.retain(|key| key >= 4_999));
        assert_eq!(outbox.drain().len(), 1);
    }
}
