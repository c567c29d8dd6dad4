//! What a state machine is given of the world beside messages: the time of day, and randomness that need not be
//! secret.
//!
//! Injected, so that a simulator can turn the clock and repeat a run. Time that passes is tokio's, which a test can
//! pause; seeds, coefficients and session keys are drawn on the crucible, from the kernel alone, whatever world
//! this is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day and public randomness.
pub trait World: Send + Sync {
    /// Time since the Unix epoch; zero before it.
    fn unix(&self) -> Duration;
    /// Fills `out` with what nobody can guess or repeat: ids, nonces and salts, which are shown or kept by callers.
    fn random(&self, out: &mut [u8]);

    /// Whether all work is done on the thread that asks for it, within its tokio runtime, and none by threads of our
    /// own. A run that is to be repeated must not depend on which of two threads is faster; the real world's need not.
    fn single_threaded(&self) -> bool {
        false
    }

    /// Unix seconds.
    fn unix_seconds(&self) -> u64 {
        self.unix().as_secs()
    }

    /// Unix milliseconds.
    fn unix_millis(&self) -> u64 {
        self.unix().as_millis() as u64
    }
}

/// The real one: the system's clock and the kernel's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl World for System {
    fn unix(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn random(&self, out: &mut [u8]) {
        evanesce_secret::random(out);
    }
}
