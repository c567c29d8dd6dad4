//! What an agent answers to any of these verbs.

use evanesce_token::cbor::Writer;

use super::super::{CHECKPOINT, Code, LogProof, SEATS, SeatFault, TEXT, decode, read_seat};
use crate::{WireError, limits};

/// What an agent says of another, whose fault it is that it cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Seat number.
    pub seat: u32,
    /// What was wrong with what it sent.
    pub reason: String,
}

/// An answer: the verb's own value when done, and otherwise why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What was decided.
    pub code: Code,
    /// Permitted, but the agent's share is not to be had.
    pub fault: Option<SeatFault>,
    /// The value, CBOR; none unless done, without a fault.
    pub value: Option<Vec<u8>>,
    /// Why not; empty when done, without a fault.
    pub reason: String,
    /// Its log entry, where one was written.
    pub receipt: Option<LogProof>,
    /// Whose fault it is, where it is another seat's.
    pub culprits: Vec<Blame>,
    /// The signed checkpoint that covers the entry, or empty.
    pub checkpoint: String,
}

impl Reply {
    /// Done, without an entry.
    pub fn done(value: Vec<u8>) -> Self {
        Self {
            code: Code::Done,
            fault: None,
            value: Some(value),
            reason: String::new(),
            receipt: None,
            culprits: Vec::new(),
            checkpoint: String::new(),
        }
    }

    /// CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(2048);
        w.map(7);
        w.key("code").text(self.code.as_str());
        w.key("fault")
            .text_or_null(self.fault.map(SeatFault::as_str));
        w.key("value").bytes_or_null(self.value.as_deref());
        w.key("reason").text(&self.reason);
        w.key("receipt");
        LogProof::write(self.receipt.as_ref(), &mut w);
        w.key("culprits").array(self.culprits.len());
        for one in &self.culprits {
            w.map(2);
            w.key("seat").uint(one.seat.into());
            w.key("reason").text(&one.reason);
        }
        w.key("checkpoint").text(&self.checkpoint);
        w.into_bytes()
    }

    /// Strictly from CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode("reply", bytes, |r| {
            let mut m = r.map(&[
                "code",
                "fault",
                "value",
                "reason",
                "receipt",
                "culprits",
                "checkpoint",
            ])?;
            let code = Code::read(m.field("code")?)?;
            let fault = m.field("fault")?.or_null(SeatFault::read)?;
            let last = m.field("value")?;
            let value = last.or_null(|r| Ok(r.bytes(limits::BODY)?.to_vec()))?;
            if value.is_some() != (code == Code::Done && fault.is_none()) {
                return Err(last.malformed("a value comes when done, and not otherwise"));
            }
            Ok(Self {
                code,
                fault,
                value,
                reason: m.field("reason")?.text(TEXT)?.to_owned(),
                receipt: m.field("receipt")?.or_null(LogProof::read)?,
                culprits: m.field("culprits")?.list(0..=SEATS, |r| {
                    let mut m = r.map(&["seat", "reason"])?;
                    let seat = read_seat(m.field("seat")?)?;
                    let reason = m.field("reason")?.text(TEXT)?.to_owned();
                    Ok(Blame { seat, reason })
                })?,
                checkpoint: m.field("checkpoint")?.text(CHECKPOINT)?.to_owned(),
            })
        })
    }
}
