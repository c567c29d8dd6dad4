//! Regen tokens: what they are made of, and nothing else.
//!
//! A regen token is a public description from which a quorum of agents can regenerate one key
//! (PROTOCOL). This crate decodes tokens strictly and encodes them, deals a seed into shares and
//! combines shares again, and computes every formula of PROTOCOL §2–§5.
//!
//! It guarantees that bytes accepted here are the only encoding of what they mean, that no length is
//! believed before it is compared with what is there, and that arithmetic on shares takes the same time
//! whatever they are. It does not judge the values of public keys, parse policies, check signatures, know
//! the time, or talk to anyone. **Nothing in a token proves that it is yours**: whoever decodes one
//! compares its [id](Token::id) with one from a trusted place.
//!
//! | to | use |
//! |---|---|
//! | read or write a token | [`Token`], [`armor`] |
//! | judge what an agent is shown | [`Body`] |
//! | speak of quorums | [`Gate`] |
//! | deal and combine shares | [`sharing`], on a crucible thread |
//! | compute an id, a pad, a key | [`formula`], over [`hash`] |
//! | read or write a token of the second kind, whose key is never put together | [`mpc`] |
//! | encode any other message | [`cbor`] |

#![forbid(unsafe_code)]

pub mod armor;
mod body;
mod catalogue;
pub mod cbor;
pub mod formula;
mod gate;
mod gf256;
pub mod hash;
mod header;
pub mod limits;
mod malformed;
pub mod mpc;
pub mod sharing;
pub mod text;
mod token;

pub use body::Body;
pub use catalogue::{Catalogue, SuiteFacts};
pub use gate::{Gate, Node};
pub use header::Header;
pub use malformed::{Malformed, quoted};
pub use token::{Row, Token};
