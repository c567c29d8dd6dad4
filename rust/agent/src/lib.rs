//! The recovery agent: a secure element behind a gate and a log.
//!
//! An agent holds a root in an element that only answers HMAC-SHA-256. Asked to *contribute*, it decides for
//! itself (identity, role, the token's own policy, expiry, tombstones), writes the decision to its log, asks the
//! element once, checks the share it regenerates against the token's commitment, and releases it sealed to the
//! reconstructor's session. It also *seat*s shares for minters, *check*s that it could contribute, and
//! *retire*s tokens. It keeps nothing per key but tombstones. PROTOCOL §5, §6 and §9; `docs/agent-api.md` has
//! every byte of its API.
//!
//! Guaranteed: a pad never leaves; nothing is released that is not in the log first; every bound is kept before
//! anything is believed. Not guaranteed: that an operator who holds both host and element keeps to this.
//!
//! | to learn | read |
//! |---|---|
//! | what is permitted | [`gate`](crate), `policy`, `known` |
//! | what is done with roots, pads and shares | `regenerate` |
//! | what is remembered | `agent`, `replay`, `sessions`, `tombstones` |
//! | what is written down | `log`, `sync`, `commit` |
//! | who is listened to | `server`, `observe` |
#![forbid(unsafe_code)]

mod agent;
mod cache;
mod commit;
mod config;
mod disk;
mod events;
mod gate;
mod known;
mod limits;
mod log;
mod metrics;
mod observe;
pub mod policy;
mod rate;
mod regenerate;
mod replay;
mod run;
mod server;
mod sessions;
mod setup;
mod sync;
mod text;
mod tombstones;

pub use config::{
    Commit, Config, ConfigError, ElementSource, IdentitySource, Limits, Source, SourceDescriptor,
    SourceFile, SourceTerminal,
};
pub use run::{AgentError, Handle, run, spawn};
pub use setup::{ElementReport, create, probe};
