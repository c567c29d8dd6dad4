//! One node's clock and public randomness. Time is tokio's paused time; each node's clock may be off by an amount of its own.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evanesce_wire::World;
use tokio::time::Instant;

use crate::rng::Rng;

/// When every schedule begins, in Unix milliseconds.
pub const BEGIN: u64 = 1_800_000_000_000;

/// A node's world.
pub struct SimWorld {
    begin: Instant,
    off: AtomicI64,
    chance: Mutex<Rng>,
}

impl SimWorld {
    /// At the begin of a schedule.
    pub fn new(begin: Instant, chance: Rng) -> Self {
        Self {
            begin,
            off: AtomicI64::new(0),
            chance: Mutex::new(chance),
        }
    }

    /// Sets the clock `ms` milliseconds ahead of true time, or behind it.
    pub fn set_off(&self, ms: i64) {
        self.off.store(ms, Relaxed);
    }

    /// By how much it is off now.
    pub fn off(&self) -> i64 {
        self.off.load(Relaxed)
    }
}

impl World for SimWorld {
    fn unix(&self) -> Duration {
        let now = BEGIN + self.begin.elapsed().as_millis() as u64;
        Duration::from_millis(now.saturating_add_signed(self.off()))
    }

    fn random(&self, out: &mut [u8]) {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.fill(out);
    }

    fn single_threaded(&self) -> bool {
        true
    }
}
