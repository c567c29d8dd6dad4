//! The second kind of token, whose key is never put together ("The second kind of token" in docs/protocol.md), in its two
//! forms: `regen-mpc`, whose shares are regenerated for each use, and `mpc`, whose shares their holders keep.
//!
//! Its agents made a key among themselves (distributed key generation) and sign with it together (FROST), each with a
//! share that is a scalar. The token holds, beside the header, the commitment vector of that generation, its transcript,
//! and a row per seat; from the vector everyone computes what each share, times the generator, must be. This module reads
//! and writes such tokens and computes their hashes. It knows lengths, not points: whether a vector's are points at all,
//! and whether a share fits them, `evanesce-threshold` judges.
//!
//! Nothing of the first kind is of use here and nothing here is of use there: the header says its kind, all labels are this
//! kind's own, and [`Token`](crate::Token), [`Header`](crate::Header) and [`Body`](crate::Body) refuse these bytes.

mod body;
pub mod formula;
mod header;
mod kind;
mod token;

pub use body::Body;
pub use header::Header;
pub use kind::Kind;
pub use token::Token;

use crate::malformed::Malformed;

/// What the token layer must know about a suite of this kind.
#[derive(Debug, PartialEq, Eq)]
pub struct SuiteFacts {
    /// The name that headers use.
    pub name: &'static str,
    /// Bytes of an encoded point.
    pub point: usize,
}

/// Every suite of this kind.
pub const SUITES: [SuiteFacts; 2] = [
    SuiteFacts {
        name: "frost-ed25519",
        point: 32,
    },
    SuiteFacts {
        name: "frost-secp256k1-tr",
        point: 33,
    },
];

/// Says what was the matter with bytes that are no token, or no header, of the first kind: that they are of this one, if
/// so, and otherwise what was found.
pub(crate) fn explain(root: &'static str, bytes: &[u8], found: Malformed) -> Malformed {
    // one reason at a time: what is hostile is not worth the room for three
    let header = Token::decode(bytes).ok().map(|token| token.body.header);
    match header.or_else(|| Header::decode(bytes).ok()) {
        Some(header) => Malformed(format!(
            "{root}: of the second kind, {}, whose key is never put together: nothing here can be done with it",
            header.kind.as_str()
        )),
        None => found,
    }
}
