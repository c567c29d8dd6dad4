//! Signing in one round, under nonces that were prepared: for agents whose operators let them keep such.

use evanesce_token::Malformed;
use evanesce_token::cbor::{Reader, Writer};

use super::super::{Context, SeatRow, decode};
use super::sign::{Commit, Place, read_places, write_places};
use super::{POINT, read_whole};
use crate::{WireError, limits};

/// `mpc-prepare`: nonces are to be drawn for signatures that nobody has asked for yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The token, whole.
    pub context: Context,
    /// The agent's row.
    pub row: SeatRow,
    /// For how many signatures, at most [`limits::SIGNATURES`].
    pub count: usize,
}

impl Prepare {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(3);
        self.row.write(w.key("row"));
        w.key("count").uint(self.count as u64);
        w.key("context");
        self.context.write(&mut w);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("prepare", bytes, |r| {
            let mut m = r.map(&["row", "count", "context"])?;
            let row = SeatRow::read(m.field("row")?)?;
            let field = m.field("count")?;
            let count = match usize::try_from(field.uint()?) {
                Ok(count) if (1..=limits::SIGNATURES).contains(&count) => count,
                _ => return Err(field.malformed("for that many nothing is prepared")),
            };
            let context = read_whole(m.field("context")?)?;
            Ok(Self {
                context,
                row,
                count,
            })
        })
    }
}

/// `mpc-once`: what [`Commit`] asks, and the commitments of all that sign, this agent's being to nonces that it has prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// What the agent is to decide on.
    pub commit: Commit,
    /// One list per request.
    pub commitments: Vec<Vec<Place>>,
}

impl Once {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(2048);
        w.map(4);
        self.commit.write(&mut w);
        write_places(w.key("commitments"), &self.commitments);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("once", bytes, |r| {
            let mut m = r.map(&["context", "opening", "messages", "commitments"])?;
            let commit = Commit::read(&mut m)?;
            let field = m.field("commitments")?;
            let commitments = read_places(field)?;
            if commitments.len() != commit.messages.len() {
                return Err(field.malformed("not one list for each request"));
            }
            Ok(Self {
                commit,
                commitments,
            })
        })
    }
}

/// The answer to [`Once`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Shares of the signatures, scalars in the suite's encoding.
    pub shares: Vec<[u8; 32]>,
    /// Commitments to nonces that were prepared in the place of those that are gone; as many, or fewer.
    pub prepared: Vec<Vec<u8>>,
}

impl Signed {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        super::super::hashes(w.key("shares"), &self.shares);
        super::signatures(w.key("prepared"), &self.prepared);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("signed", bytes, |r| {
            let mut m = r.map(&["shares", "prepared"])?;
            let shares = m
                .field("shares")?
                .list(1..=limits::SIGNATURES, |r| r.bytes_n())?;
            let prepared = m.field("prepared")?.list(0..=limits::SIGNATURES, points)?;
            Ok(Self { shares, prepared })
        })
    }
}

fn points(r: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    Ok(r.bytes(2 * POINT)?.to_vec())
}
