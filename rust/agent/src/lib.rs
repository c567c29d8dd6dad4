//! The recovery agent: a secure element behind a gate and a log.
//!
//! An agent holds a root in an element that only answers HMAC-SHA-256. Asked to *contribute*, it decides for
//! itself (identity, role, the token's own policy, expiry, tombstones), writes the decision to its log, asks the
//! element once, checks the share it regenerates against the token's commitment, and releases it sealed to the
//! reconstructor's session. It also *seat*s shares for minters, *check*s that it could contribute, and
//! *retire*s tokens. It keeps nothing per key but tombstones, orders and counts. PROTOCOL §5, §6 and §9; `docs/agent-api.md` has
//! every byte of its API.
//!
//! Guaranteed: a pad never leaves; nothing is released that is not in the log first; every bound is kept before
//! anything is believed. Not guaranteed: that an operator who holds both host and element keeps to this.
//!
//! | to learn | read |
//! |---|---|
//! | what is permitted | `gate`, `proven`, `known`, `delegated`, `approvals`, the rooms `policy` and `approval`; `obey` for orders |
//! | how a request becomes work and an answer | `api`, `judge`, `work` |
//! | what is done with roots, pads and shares | `regenerate` |
//! | what is written down, and when | `commit`, `log`, `sync`, `tombstones`, `orders`, `revoke`, `tell` |
//! | what is remembered | `agent`, `shown`, `replay`, `clock`, the wire's `sessions` |
//! | how often a key was used | `uses`, `recent`, `counts` |
//! | who is listened to, and how much | `server`, `places`, `body`, `room`, `observe` |
//! | what it compares with other agents | `peers` |
//! | how it moves to a new root | `roll` |
//! | how it starts | `config`, `setup`, `hardware`, `start`, `run` |
//! | what others are given of the log | `export` |
//! | what is injected | [`assemble`]: [`Disk`], [`Syncer`], element, keys, and the wire's `World` (clock and chance) |
//!
//! What decides opens no file, socket or thread and reads no clock: [`assemble::assemble`] puts an agent together from
//! parts, and [`assemble::Assembled::handle`] asks it. `start` brings the real parts and listens; the simulator brings
//! its own.
#![forbid(unsafe_code)]

mod agent;
mod api;
mod approvals;
pub mod assemble;
mod body;
mod cache;
mod clock;
mod commit;
mod config;
mod counts;
mod delegated;
mod disk;
mod error;
mod events;
mod export;
mod gate;
mod hardware;
mod judge;
mod known;
mod limits;
mod log;
mod metrics;
mod obey;
mod observe;
mod orders;
mod peers;
mod places;
#[cfg(feature = "planted")]
pub mod planted;
mod proven;
mod rate;
mod recent;
mod regenerate;
mod replay;
mod revoke;
mod roll;
mod room;
mod run;
mod server;
mod setup;
mod shown;
mod start;
mod subject;
mod sync;
mod tell;
mod threshold;
mod timely;
mod tombstones;
mod uses;
mod work;

pub use config::{
    Commit, Config, ConfigError, ElementSource, IdentitySource, Limits, Source, SourceDescriptor,
    SourceFile, SourceTerminal, Threshold,
};
pub use disk::{Disk, Journal};
pub use error::AgentError;
pub use events::Events;
pub use export::{Export, export};
pub use known::Directory;
pub use peers::{Exchanging, Peer, Peers};
pub use regenerate::{Rerooted, reroot};
pub use roll::{Problem, Rolled, roll};
pub use run::{Handle, run, spawn};
pub use setup::{ElementReport, create, probe};
pub use sync::{Duty, MakeSyncer, Message as SyncMessage, Syncer};
pub use threshold::DECLARATION;
