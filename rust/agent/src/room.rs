//! What requests take up: places among those in flight, and bytes of bodies and answers, so many in all and a part of
//! them one caller's.
//!
//! A [`Room`] goes with what became of its request: the body, the work, the answer. It is given back when the
//! last of these is gone, whether or not anyone still waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use evanesce_wire::limits as wire;

use crate::known::{Known, UnderWay};
use crate::limits::{Limits, PARTS};
use crate::metrics::Metrics;

/// The bounds, and what is taken of them.
pub struct Rooms {
    metrics: Arc<Metrics>,
    bytes: AtomicUsize,
    most_requests: u64,
    most_bytes: usize,
}

impl Rooms {
    /// Nothing is taken yet. Requests in flight are counted in `metrics`.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            bytes: AtomicUsize::new(0),
            most_requests: limits.pending as u64,
            most_bytes: limits.buffered_bytes,
        })
    }

    /// For a request of `who` that becomes work; why not, when too many are in flight.
    pub fn request(self: &Arc<Self>, who: &Arc<Known>) -> Result<Room, String> {
        let mut room = self.bytes(Some(who));
        room.request = true;
        let pending = self.metrics.pending.fetch_add(1, Relaxed);
        let own = who.under_way.requests.fetch_add(1, Relaxed);
        if own >= self.most_requests.div_ceil(PARTS as u64) {
            return Err(format!("{} has too many requests in flight", who.name));
        }
        match pending < self.most_requests {
            true => Ok(room),
            false => Err("too many requests in flight".into()),
        }
    }

    /// For one that is answered at once, and takes up its bytes alone.
    pub fn bytes(self: &Arc<Self>, who: Option<&Arc<Known>>) -> Room {
        Room {
            all: self.clone(),
            who: who.cloned(),
            request: false,
            bytes: 0,
        }
    }
}

/// What one request takes up.
pub struct Room {
    all: Arc<Rooms>,
    who: Option<Arc<Known>>,
    request: bool,
    bytes: usize,
}

impl Room {
    /// Takes up `bytes` more; false when that is too much.
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let most = self.all.most_bytes;
        // Each counts it, whether or not it fits the other.
        let all = self.all.bytes.fetch_add(bytes, Relaxed) + bytes <= most;
        let own = self.under_way().is_none_or(|own| {
            let part = most.div_ceil(PARTS).max(wire::BODY);
            own.bytes.fetch_add(bytes, Relaxed) + bytes <= part
        });
        all && own
    }

    fn under_way(&self) -> Option<&UnderWay> {
        self.who.as_ref().map(|who| &who.under_way)
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all.bytes.fetch_sub(bytes, Relaxed);
        if let Some(own) = self.under_way() {
            own.bytes.fetch_sub(bytes, Relaxed);
        }
    }

    /// Takes up `bytes` in place of what it did; false when that is too much.
    pub fn resize(&mut self, bytes: usize) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.give_back(self.bytes - bytes);
                true
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.bytes);
        if self.request {
            self.all.metrics.pending.fetch_sub(1, Relaxed);
            if let Some(own) = self.under_way() {
                own.requests.fetch_sub(1, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::Directory;

    fn caller(name: &str) -> Arc<Known> {
        let id = format!("{:064x}", name.len());
        let text = format!("[[identity]]\nname = \"{name}\"\nid = \"{id}\"\nroles = [\"caller\"]");
        let directory = Directory::parse(&text).unwrap();
        let mut id = [0; 32];
        id[31] = name.len() as u8;
        directory.find(&id).unwrap().clone()
    }

    #[test]
    fn what_was_taken_comes_back_and_the_bounds_hold() {
        let (a, bb) = (caller("a"), caller("bb"));
        let limits = Limits {
            pending: 8,
            buffered_bytes: 5 * wire::BODY,
            ..Limits::default()
        };
        let rooms = Rooms::new(&limits, Arc::new(Metrics::default()));
        let mut one = rooms.request(&a).unwrap();
        let two = rooms.request(&a).unwrap();
        let why = rooms.request(&a).err().unwrap();
        assert_eq!(why, "a has too many requests in flight");
        assert!(rooms.request(&bb).is_ok(), "bb has a part of its own");
        // A caller has a quarter, here the rounded quarter of five bodies; all have five.
        let part = (5 * wire::BODY).div_ceil(PARTS);
        assert!(one.grow(part) && !one.resize(part + 1) && one.resize(part));
        let mut others: Vec<Room> = (0..4).map(|_| rooms.bytes(None)).collect();
        for other in &mut others[..3] {
            assert!(other.grow(wire::BODY));
        }
        let rest = 5 * wire::BODY - part - 3 * wire::BODY;
        assert!(!others[3].resize(rest + 1) && others[3].resize(rest));
        assert!(!rooms.bytes(Some(&bb)).grow(1), "nothing is left");
        drop(one);
        assert!(rooms.bytes(Some(&bb)).grow(part) && rooms.request(&a).is_ok());
        drop((two, others));
        let taken = (&rooms.bytes, &rooms.metrics.pending);
        assert_eq!((taken.0.load(Relaxed), taken.1.load(Relaxed)), (0, 0));
        let own = (&a.under_way.bytes, &a.under_way.requests);
        assert_eq!((own.0.load(Relaxed), own.1.load(Relaxed)), (0, 0));
    }

    #[test]
    fn requests_of_many_callers_are_bounded_together() {
        let limits = Limits {
            pending: 4,
            ..Limits::default()
        };
        let rooms = Rooms::new(&limits, Arc::new(Metrics::default()));
        let callers: Vec<_> = (1..=5).map(|n| caller(&"x".repeat(n))).collect();
        let held: Vec<_> = callers[..4].iter().map(|who| rooms.request(who)).collect();
        assert!(held.iter().all(Result::is_ok));
        let why = rooms.request(&callers[4]).err().unwrap();
        assert_eq!(why, "too many requests in flight");
        drop(held);
        assert!(rooms.request(&callers[4]).is_ok());
    }
}
