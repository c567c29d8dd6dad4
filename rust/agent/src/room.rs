//! What requests take up: places among those in flight, and bytes of bodies and answers, so many in all.
//!
//! A [`Room`] goes with what became of its request: the body, the work, the answer. It is given back when the
//! last of these is gone, whether or not anyone still waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::limits::Limits;
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

    /// For a request that becomes work; `None` when too many are in flight.
    pub fn request(self: &Arc<Self>) -> Option<Room> {
        let pending = self.metrics.pending.fetch_add(1, Relaxed);
        let mut room = self.bytes();
        room.request = true;
        (pending < self.most_requests).then_some(room)
    }

    /// For one that is answered at once, and takes up its bytes alone.
    pub fn bytes(self: &Arc<Self>) -> Room {
        Room {
            all: self.clone(),
            request: false,
            bytes: 0,
        }
    }
}

/// What one request takes up.
pub struct Room {
    all: Arc<Rooms>,
    request: bool,
    bytes: usize,
}

impl Room {
    /// Takes up `bytes` more; false when that is too much.
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.all.bytes.fetch_add(bytes, Relaxed) + bytes <= self.all.most_bytes
    }

    /// Takes up `bytes` in place of what it did; false when that is too much.
    pub fn resize(&mut self, bytes: usize) -> bool {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.all.bytes.fetch_sub(self.bytes - bytes, Relaxed);
                self.bytes = bytes;
                true
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.bytes.fetch_sub(self.bytes, Relaxed);
        if self.request {
            self.all.metrics.pending.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_and_the_bounds_hold() {
        let limits = Limits {
            pending: 2,
            buffered_bytes: 100,
            ..Limits::default()
        };
        let rooms = Rooms::new(&limits, Arc::new(Metrics::default()));
        let mut one = rooms.request().unwrap();
        let mut two = rooms.request().unwrap();
        assert!(rooms.request().is_none() && rooms.request().is_none());
        assert!(one.grow(60) && !two.grow(41) && two.resize(40));
        assert!(!one.resize(61) && one.resize(10) && two.resize(90));
        assert!(!rooms.bytes().grow(1));
        drop(one);
        assert!(rooms.bytes().grow(10) && rooms.request().is_some());
        drop(two);
        let taken = (&rooms.bytes, &rooms.metrics.pending);
        assert_eq!((taken.0.load(Relaxed), taken.1.load(Relaxed)), (0, 0));
    }
}
