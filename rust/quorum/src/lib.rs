//! The reconstructor's side: ask a quorum, regenerate one key, use it once, forget it (PROTOCOL §6, §9).
//!
//! Start at [`Reconstructor`]. It answers every operation within its deadline: with the result and the agents'
//! receipts, or with an [`Error`] that names each culprit. A holder that is dead, slow, silent, lying or
//! refusing costs a hedge as long as others suffice.
//!
//! Guaranteed: shares are opened, combined and used on the crucible alone, each checked against its commitment
//! and the seed against the anchor before any use; nothing is released that the token's public half does not
//! answer for; whatever an agent answers is bounded and judged before it is used. Not guaranteed: anything about
//! whether the token is yours (pin its id), and nothing against code in the same process.
//!
//! | | |
//! |---|---|
//! | whom to ask, when to stop | [`plan`], over [`latency`]; pure |
//! | what a failure is called | [`verdict`]; pure |
//! | what waits, what goes into a request, what an answer is worth | `outbox`, `compose`, `answers`; pure |
//! | the opening itself | `open`, on the crucible |
//! | requests that a caller of its own composes and proves | `carry`; pure |
//! | a key minted, resharing it, repairing a seat | `mint`, `heal` |
//! | keys that are never put together, made and used among agents | `threshold` |
//! | sockets and clocks, or what a simulator puts in their place | `io` |
#![forbid(unsafe_code)]

mod answers;
mod carry;
mod check;
mod compose;
mod error;
mod everyone;
mod fault;
mod heal;
mod holder;
mod import;
mod io;
pub mod latency;
mod mint;
mod open;
mod operation;
mod order;
mod outbox;
pub mod plan;
#[cfg(feature = "planted")]
pub mod planted;
mod reconstructor;
mod retire;
mod revoke;
pub mod runtime;
mod sessions;
mod settled;
mod status;
mod threshold;
pub mod verdict;
mod work;

pub use carry::Carried;
pub use check::{CheckRow, CheckTable};
pub use error::{Code, Error};
pub use fault::{Fault, FaultKind, Trouble};
pub use heal::{Healed, RepairSpec, ReshareSpec};
pub use holder::{Holder, Settings};
pub use mint::{MintSpec, Minted, PolicyCheck};
pub use operation::{Done, Job, Operation, Outcome, OwnedInput};
pub use order::Ordered;
pub use reconstructor::{DialSource, IdentitySource, Reconstructor};
pub use retire::Retirement;
pub use revoke::RevokedAt;
pub use settled::Settled;
pub use status::AgentStatus;
pub use threshold::{
    Renewal, RenewalSpec, Renewed, ThresholdMinted, ThresholdOperation, ThresholdRepairSpec,
    ThresholdRepaired, ThresholdSpec,
};
