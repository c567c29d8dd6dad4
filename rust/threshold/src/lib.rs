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
//! | make a key that nobody ever has | [`dkg`] |
//! | know what a share must be, or verify a signature | [`Group`], remembered by [`Groups`] |
//! | hold a share | [`Share`], which only a [`Group`] that it fits gives |
//! | mask a share for a token, and regenerate it | [`Regen`] |
//! | keep a share instead, sealed under an element | [`Kept`] |
//! | sign together | [`sign`] |
//! | give a lost seat its share again, or all seats new shares of the same key | [`repair`], [`dkg::refresh`] |
//! | give the same key to another quorum | [`dkg::reshare`] |
//!
//! # Where secrets lie
//!
//! Shares and nonces, and the secrets that agents send one another, lie in locked memory ([`evanesce_secret::Secret`]) between
//! calls, and are used on the crucible alone, inside the call. What the Foundation's library leaves there:
//!
//! - Scalars, `SigningShare`, `Nonce`, `Delta` and `Sigma` are `Copy` and are not wiped by it: their copies are on the crucible's stack,
//!   which is wiped when the call ends.
//! - `SecretPackage`, `KeyPackage`, `SigningNonces` and the packages of shares are wiped when dropped, but not what their vectors left behind
//!   in growing, nor the `Vec<u8>`s of serialised scalars. **Where the process has [`evanesce_secret::CrucibleAlloc`] for its allocator**, as
//!   agents have, these are blocks of locked memory, wiped when freed; elsewhere they are ordinary ones, and secrets stay in them.
//! - Between the exchanges of a key generation, the polynomial (until it is evaluated) and this seat's part of its own share are in such
//!   blocks, too.
//!
//! `tests/residue.rs` searches a process for what is left. None of our types that holds a secret has Debug, Clone or comparison.

#![forbid(unsafe_code)]

mod arithmetic;
pub mod dkg;
mod error;
mod group;
mod groups;
mod kept;
mod lagrange;
mod random;
mod regen;
pub mod repair;
mod share;
pub mod sign;
mod suite;

pub use error::{Culprit, Error, Wrong};
pub use group::Group;
pub use groups::Groups;
pub use kept::{Kept, SealedShare};
pub use regen::Regen;
pub use share::Share;
pub use suite::{Ed25519, Suite, Taproot};
