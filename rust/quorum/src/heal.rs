//! Healing: a key outlives its holders and its rules (PROTOCOL §9, repair and refresh / reshare).
//!
//! Promised: the seed is opened and dealt anew, or the lost share regenerated, in one job on the crucible, and leaves it
//! only as shares that are sealed to their holders; the old token is as good as before whatever fails, and wherever; what
//! is returned has every new seat checked, and of a reshare has been opened once, or says why not. Nothing is retired here: that is
//! the caller's to ask for, once the new token is durable.

mod repair;
mod reshare;

use std::sync::{Arc, OnceLock};

use evanesce_token::Token;
use evanesce_wire::message::Receipt;

use crate::error::Error;
use crate::fault::Fault;

pub use repair::RepairSpec;
pub(crate) use repair::{Repair, crowding, repair, seat_and_place};
pub use reshare::ReshareSpec;
pub(crate) use reshare::{Remint, kept, reshare, spent};

/// A token that was healed, and counts.
pub struct Healed {
    /// The new token; after a repair the same one with another row.
    pub token: Token,
    /// The log entries of the agents that opened, of those that were seated, and of a reshare's first opening.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
    /// Holders that failed on the way, though it went on without them.
    pub faults: Vec<Fault>,
    /// The salt of the input digest under which the old token was opened.
    pub salt: [u8; 32],
    /// After a reshare that people had approved: why the new token, whose every seat was checked, has not been opened yet.
    /// It counts once it was ([`Reconstructor::check`](crate::Reconstructor::check)).
    pub unproven: Option<Error>,
}

/// Where a job on the crucible leaves what it made: a pointer to it alone crosses (see `open`).
type Slot<T> = Arc<OnceLock<Arc<T>>>;
