//! The agent's clock: the system's, but it never goes back.
//!
//! What has expired or ended stays so when the system's clock is set back, and an id that was taken is not free again. The
//! clock then stands still until the system's has caught up. A start goes on from the newest log entry's
//! time, so that a restart does not undo this.
//!
//! The price: a clock that once jumped far ahead stays there, and no caller's request is of its time any more, nor a
//! session. Only the operator can tell such a jump from a clock that was set back, and says so with
//! `accept_earlier_clock`: one start then begins from the system's clock.

/// The clock. Reads and gives Unix milliseconds.
pub struct Clock(u64);

impl Clock {
    /// A clock that is at `since` at least.
    pub fn new(since: u64) -> Self {
        Self(since)
    }

    /// The time, when the system's clock says `system`.
    pub fn read(&mut self, system: u64) -> u64 {
        self.0 = self.0.max(system);
        self.0
    }
}
