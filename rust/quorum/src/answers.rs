//! What an agent answered about one opening, judged. Everything in an answer is hostile until it is judged here.
//!
//! An answer speaks for exactly the seats that were asked, each once; one that does not is a lie at all of
//! them. What an agent says about itself is believed to its own disadvantage only.

use evanesce_token::{Row, Token, formula};
use evanesce_wire::message::{Code, LogProof, OpeningAnswer, Receipt, SeatFault, SeatResult};
use evanesce_wire::session::SEALED_SHARE;
use evanesce_wire::{Id, verify_statement};

use crate::fault::{Trouble, remark};

/// What is known of the agent at the other end of a session.
pub(crate) struct Peer {
    pub id: Id,
    /// The key that TLS has proven.
    pub spki: Vec<u8>,
    pub log_key: [u8; 32],
    pub endorsement: Vec<u8>,
}

impl Peer {
    /// Puts a receipt together; nothing of it is verified here.
    pub fn receipt(&self, proof: LogProof, checkpoint: &str) -> Receipt {
        Receipt {
            agent: self.id,
            agent_spki: self.spki.clone(),
            log_key: self.log_key,
            endorsement: self.endorsement.clone(),
            entry: proof.entry,
            index: proof.index,
            path: proof.path,
            checkpoint: checkpoint.to_owned(),
        }
    }
}

/// What a verb's answer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `contribute`: sealed shares.
    Shares,
    /// `check` and `retire`: a word.
    Word,
}

/// What one seat's answer comes to.
pub(crate) enum Heard {
    Share {
        counter: u64,
        sealed: [u8; SEALED_SHARE],
    },
    Good,
    Trouble(Trouble, String),
}

/// What an opening's answer comes to.
pub(crate) enum Judged {
    /// One per seat asked.
    Seats(Vec<(u32, Heard)>),
    /// The agent does not hold the token's context: send it whole.
    ContextUnknown,
}

/// Judges the answer of `peer` about `asked` seats of `token`.
pub(crate) fn judge(
    answer: &OpeningAnswer,
    expected: Expected,
    token: &Token,
    asked: &[u32],
    peer: &Peer,
    by_id: bool,
) -> Judged {
    let all = |trouble: Trouble, detail: String| {
        Judged::Seats(
            asked
                .iter()
                .map(|seat| (*seat, Heard::Trouble(trouble, detail.clone())))
                .collect(),
        )
    };
    let trouble = match answer.code {
        Code::Done | Code::Unrouted => {
            return seats(answer, expected, token, asked, peer)
                .unwrap_or_else(|why| all(Trouble::Lied, why));
        }
        Code::ContextUnknown if by_id => return Judged::ContextUnknown,
        Code::ContextUnknown => {
            return all(Trouble::Lied, "asks for a context that it was given".into());
        }
        code => trouble_of(code),
    };
    let mut detail = answer.code.as_str().to_owned();
    if !answer.reason.is_empty() {
        detail = format!("{detail}: {}", remark(&answer.reason));
    }
    all(trouble, detail)
}

/// What a code other than `done` means of the agent; one that is no answer to what was asked is a lie.
pub(crate) fn trouble_of(code: Code) -> Trouble {
    match code {
        Code::Refused => Trouble::Refused,
        Code::Expired => Trouble::Expired,
        Code::Retired => Trouble::Retired,
        Code::Unfit => Trouble::Unfit,
        Code::Malformed => Trouble::Malformed,
        Code::Replayed => Trouble::Replayed,
        Code::Overloaded => Trouble::Overloaded,
        Code::Unavailable => Trouble::Unavailable,
        Code::Unprepared => Trouble::Unprepared,
        Code::Done | Code::Unrouted | Code::ContextUnknown => Trouble::Lied,
    }
}

fn seats(
    answer: &OpeningAnswer,
    expected: Expected,
    token: &Token,
    asked: &[u32],
    peer: &Peer,
) -> Result<Judged, String> {
    if answer.seats.len() != asked.len() {
        return Err(format!(
            "answered for {} seats of {}",
            answer.seats.len(),
            asked.len()
        ));
    }
    let mut heard: Vec<(u32, Heard)> = Vec::with_capacity(asked.len());
    for seat in &answer.seats {
        let number = seat.seat;
        if !asked.contains(&number) || heard.iter().any(|(known, _)| *known == number) {
            return Err(format!(
                "answered for seat {number}, which it was not asked for, or twice"
            ));
        }
        let what = match (&seat.result, expected) {
            (SeatResult::Share { counter, sealed }, Expected::Shares) => Heard::Share {
                counter: *counter,
                sealed: *sealed,
            },
            (SeatResult::Good, Expected::Word) => Heard::Good,
            (SeatResult::Fault(fault), _) => unable(*fault, token, number, peer),
            _ => return Err("answered with something else than was asked for".into()),
        };
        heard.push((number, what));
    }
    Ok(Judged::Seats(heard))
}

/// The holder says that it cannot: PROTOCOL §6.3 asks first whether someone changed its row.
fn unable(fault: SeatFault, token: &Token, seat: u32, peer: &Peer) -> Heard {
    let row = &token.rows[seat as usize];
    let said = |what: &str| {
        let altered = row_altered(token, seat, row, &peer.spki);
        let signed = if altered {
            "its row's signature fails"
        } else {
            "its row's signature is right"
        };
        (altered, format!("{what}, and {signed}"))
    };
    let (trouble, detail) = match fault {
        SeatFault::ElementUnavailable => (
            Trouble::ElementUnavailable,
            "its secure element does not answer".into(),
        ),
        SeatFault::EpochNotHeld => {
            let (altered, detail) = said(&format!("it has no root of epoch {}", row.epoch));
            (
                if altered {
                    Trouble::RowAltered
                } else {
                    Trouble::EpochNotHeld
                },
                detail,
            )
        }
        SeatFault::CannotRegenerate => {
            let (altered, detail) = said("what it regenerates is not the share that was dealt");
            (
                if altered {
                    Trouble::RowAltered
                } else {
                    Trouble::CannotRegenerate
                },
                detail,
            )
        }
        // It was asked because the row names it, so this is never true.
        SeatFault::NotMine => {
            let (altered, detail) = said("it disowns a row that names it");
            (
                if altered {
                    Trouble::RowAltered
                } else {
                    Trouble::Lied
                },
                detail,
            )
        }
    };
    Heard::Trouble(trouble, detail)
}

/// A released share that is not good: whose fault it is.
pub(crate) fn blame(token: &Token, seat: u32, peer: &Peer) -> (Trouble, String) {
    let altered = row_altered(token, seat, &token.rows[seat as usize], &peer.spki);
    if altered {
        (
            Trouble::RowAltered,
            "its share is not the one committed to, and its row's signature fails".into(),
        )
    } else {
        (
            Trouble::Lied,
            "it released something else than the share it was dealt".into(),
        )
    }
}

fn row_altered(token: &Token, seat: u32, row: &Row, spki: &[u8]) -> bool {
    let statement = formula::row_statement(token.id(), seat, row.epoch, &row.correction);
    !verify_statement(spki, &statement, &row.signature)
}
