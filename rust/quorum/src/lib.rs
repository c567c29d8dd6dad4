//! The reconstructor's side: ask a quorum, regenerate one key, use it once, forget it.
#![forbid(unsafe_code)]
#![allow(dead_code)]

mod check;
mod error;
mod fault;
mod holder;
pub mod latency;
mod mint;
mod operation;
pub mod plan;
mod reconstructor;
mod retire;
mod status;
pub mod verdict;

pub use check::{CheckRow, CheckTable};
pub use error::{Code, Error};
pub use fault::{Fault, FaultKind, Trouble};
pub use holder::{Holder, Settings};
pub use mint::{MintSpec, Minted, PolicyCheck};
pub use operation::{Done, Job, Operation, Outcome, OwnedInput};
pub use reconstructor::{IdentitySource, Reconstructor};
pub use retire::Retirement;
pub use status::AgentStatus;
