//! What is asked meanwhile: one scenario a verb. A new verb adds a file beside these and a line to [`SCENARIOS`].

mod approve;
mod check;
mod grant;
pub mod heal;
mod hostile;
mod mint;
mod order;
mod replay;
mod retire;
mod used;

pub use used::Use;

use std::sync::Arc;

use crate::rng::Rng;
use crate::schedule::Act;

/// Draws acts for a schedule whose calm begins at `calm` ms.
pub trait Scenario: Sync {
    /// Adds them, with their times.
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>);
}

/// Every one of them, but for [`heal`], which asks for an agent more.
pub const SCENARIOS: &[&dyn Scenario] = &[
    &used::Used,
    &check::Checked,
    &retire::Retired,
    &mint::Minted,
    &order::Ordered,
    &grant::Granted,
    &approve::Approved,
    &hostile::Hostile,
    &replay::Replayed,
];
