//! What passes between a reconstructor and an agent, and how it is protected.
//!
//! * [`identity`]: the long-lived signing key behind every peer, and statements signed by it.
//! * [`tls`]: mutual TLS 1.3 over X25519MLKEM768 alone, peers pinned by key.
//! * [`session`]: the end-to-end sealing of requests and shares inside TLS (PROTOCOL §6).
//! * [`sessions`]: those that one side has open, a bounded number.
//! * [`parcel`]: secrets from agent to agent, over a coordinator that learns nothing of them.
//! * [`message`]: every body as a CBOR type with strict decoding.
//! * [`grant`]: what one caller lets another ask for, and its end.
//! * [`merkle`] and [`note`]: the agent log's RFC 6962 hashes and signed checkpoints, as receipts carry them, proofs
//!   between them, and witnesses' cosignatures.
//! * [`disk`]: what an agent keeps of its log and its tombstones, as bytes.
//! * [`tiles`] and [`exported`]: a log as static files (C2SP tlog-tiles), and its examination.
//! * [`live`]: the same examination of an agent's own folder.
//! * [`client`]: one HTTP/2 connection to one agent; [`alive`]: whether the peer of one is still there.
//!
//! [`tls`], [`client`] and [`alive`] come with the feature `transport`, which is on by default; decoders need neither.
//!
//! No share and no pad is ever a plain value here: they enter and leave `session` through locked memory.
#![forbid(unsafe_code)]

#[cfg(feature = "transport")]
pub mod alive;
#[cfg(feature = "transport")]
pub mod client;
pub mod disk;
pub mod error;
pub mod exported;
pub mod grant;
pub mod identity;
mod kem;
pub mod limits;
pub mod live;
#[cfg(feature = "memo")]
mod memo;
pub mod merkle;
pub mod message;
pub mod note;
pub mod parcel;
pub mod session;
pub mod sessions;
pub mod tiles;
#[cfg(feature = "transport")]
pub mod tls;
pub mod world;

pub use error::WireError;
pub use identity::{FileIdentity, Identity, verify_message, verify_statement};
pub use world::{System, World};

/// The id of an agent or a caller: `TH("agent" | "caller", SubjectPublicKeyInfo)` (PROTOCOL §1).
pub type Id = [u8; 32];
