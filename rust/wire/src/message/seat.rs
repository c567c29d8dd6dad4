//! `seat`: shares dealt to an agent, and the rows it makes of them.

use evanesce_token::cbor::Writer;

use super::contribute::read_context;
use super::{CHECKPOINT, Context, LogProof, SEATS, SIGNATURE, TEXT, decode, read_seat};
use crate::session::SEALED_SHARE;
use crate::{WireError, limits};

/// Shares for seats of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seating {
    /// The tokens concerned, whole.
    pub contexts: Vec<Context>,
    /// The seats.
    pub seats: Vec<SeatShare>,
}

/// One share, sealed to the agent under `share_aad(seat_hash(token id, seat), token id, seat, agent id)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatShare {
    /// Index into [`Seating::contexts`].
    pub context: usize,
    /// Seat number.
    pub seat: u32,
    /// The counter it was sealed under.
    pub counter: u64,
    /// Ciphertext and tag.
    pub sealed: [u8; SEALED_SHARE],
}

impl Seating {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("seats").array(self.seats.len());
        for seat in &self.seats {
            w.map(4);
            w.key("seat").uint(seat.seat.into());
            w.key("sealed").bytes(&seat.sealed);
            w.key("context").uint(seat.context as u64);
            w.key("counter").uint(seat.counter);
        }
        w.key("contexts").array(self.contexts.len());
        for context in &self.contexts {
            context.write(&mut w);
        }
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("seating", bytes, |r| {
            let mut m = r.map(&["seats", "contexts"])?;
            // The contexts follow, so their number is checked behind them.
            let seats = m.field("seats")?.list(1..=limits::OPENINGS, |r| {
                let mut m = r.map(&["seat", "sealed", "context", "counter"])?;
                Ok(SeatShare {
                    seat: read_seat(m.field("seat")?)?,
                    sealed: m.field("sealed")?.bytes_n()?,
                    context: read_context(m.field("context")?, limits::OPENINGS)?,
                    counter: m.field("counter")?.uint()?,
                })
            })?;
            let last = m.field("contexts")?;
            let contexts = last.list(1..=limits::OPENINGS, Context::read)?;
            if seats.iter().any(|seat| seat.context >= contexts.len()) {
                return Err(last.malformed("a seat names a context that is not there"));
            }
            Ok(Self { contexts, seats })
        })
    }
}

/// An agent's answer to a [`Seating`], in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seated {
    /// The signed checkpoint that covers the log entries; empty when none was written.
    pub checkpoint: String,
    /// One per seat.
    pub seats: Vec<SeatedRow>,
}

/// What came of one seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatedRow {
    /// Seat number.
    pub seat: u32,
    /// The row, or why there is none.
    pub result: SeatedResult,
    /// Its log entry, where one was written.
    pub receipt: Option<LogProof>,
}

/// A new row, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatedResult {
    /// The row's epoch, correction and the holder's signature (PROTOCOL §4).
    Row {
        /// The agent's current epoch.
        epoch: u64,
        /// `share XOR pad`.
        correction: [u8; 32],
        /// Over `TH("row", …)`.
        signature: Vec<u8>,
    },
    /// Nothing was made.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl Seated {
    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.map(2);
        w.key("seats").array(self.seats.len());
        for seat in &self.seats {
            match &seat.result {
                SeatedResult::Row {
                    epoch,
                    correction,
                    signature,
                } => {
                    w.map(5);
                    w.key("seat").uint(seat.seat.into());
                    w.key("epoch").uint(*epoch);
                    w.key("receipt");
                    LogProof::write(seat.receipt.as_ref(), &mut w);
                    w.key("signature").bytes(signature);
                    w.key("correction").bytes(correction);
                }
                SeatedResult::Refused { reason } => {
                    w.map(3);
                    w.key("seat").uint(seat.seat.into());
                    w.key("reason").text(reason);
                    w.key("receipt");
                    LogProof::write(seat.receipt.as_ref(), &mut w);
                }
            }
        }
        w.key("checkpoint").text(&self.checkpoint);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        const ROW: &[&str] = &["seat", "epoch", "receipt", "signature", "correction"];
        const REFUSED: &[&str] = &["seat", "reason", "receipt"];
        decode("seated", bytes, |r| {
            let mut m = r.map(&["seats", "checkpoint"])?;
            let seats = m
                .field("seats")?
                .list(0..=SEATS.max(limits::OPENINGS), |r| {
                    let (which, mut m) = r.map_of_either(&[REFUSED, ROW])?;
                    let seat = read_seat(m.field("seat")?)?;
                    if which == 0 {
                        let reason = m.field("reason")?.text(TEXT)?.to_owned();
                        let receipt = m.field("receipt")?.or_null(LogProof::read)?;
                        return Ok(SeatedRow {
                            seat,
                            result: SeatedResult::Refused { reason },
                            receipt,
                        });
                    }
                    let epoch = m.field("epoch")?.uint()?;
                    let receipt = m.field("receipt")?.or_null(LogProof::read)?;
                    let signature = m.field("signature")?.bytes(SIGNATURE)?.to_vec();
                    let correction = m.field("correction")?.bytes_n()?;
                    Ok(SeatedRow {
                        seat,
                        result: SeatedResult::Row {
                            epoch,
                            correction,
                            signature,
                        },
                        receipt,
                    })
                })?;
            let checkpoint = m.field("checkpoint")?.text(CHECKPOINT)?.to_owned();
            Ok(Self { checkpoint, seats })
        })
    }
}
