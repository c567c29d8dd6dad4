//! Threshold signatures with FROST (RFC 9591), and the shares behind them: pure, without I/O.
//!
//! A quorum of agents makes a key that none of them ever holds, and signs with it. Each agent has one *share*, a scalar;
//! everything that is said between them goes through the caller, as bytes. Nothing here opens a socket, a file or a log,
//! knows the time, or asks a policy: callers seal what is secret to its receiver, say who sent what, and decide what may
//! be signed. The arithmetic is the Zcash Foundation's; here are the rules around it.
//!
//! | to | use |
//! |---|---|
//! | name a ciphersuite | [`Suite`], by [`Ed25519`] or [`Taproot`] |
//! | know what a share must be, or verify a signature | [`Group`] |
//!

#![forbid(unsafe_code)]

mod error;
mod group;
mod suite;

pub use error::Error;
pub use group::Group;
pub use suite::{Ed25519, Suite, Taproot};
