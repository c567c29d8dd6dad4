//! The agent's hands: what is done with a root, a pad and a share (PROTOCOL §5). Crucible threads only.
//!
//! A pad or a share exists here for microseconds, on a locked stack that is wiped after the job; a share leaves
//! sealed to the reconstructor's session, as a correction, or not at all. A pad never leaves.

use std::sync::Arc;

use evanesce_element::{Element, ElementError};
use evanesce_secret::ct_eq;
use evanesce_threshold::Groups;
use evanesce_token::{Body, formula};
use evanesce_wire::message::{SeatFault, SeatResult, seat_hash};
use evanesce_wire::session::{SEALED_SHARE, SealingSession};
use evanesce_wire::{Id, Identity};

use crate::threshold::Shelf;

/// What is to be done for one seat, permitted and logged.
pub struct Task {
    /// The session that shares are sealed under, either way.
    pub session: Arc<SealingSession>,
    /// The token.
    pub body: Arc<Body>,
    /// The seat's number, below the number of commitments.
    pub seat: u32,
    /// What is asked.
    pub ask: Ask,
    /// What came of it.
    pub done: Done,
}

/// What can be asked for a seat.
pub enum Ask {
    /// The share, sealed under this request hash.
    Share {
        epoch: u64,
        correction: [u8; 32],
        request: [u8; 32],
    },
    /// Whether the share can be regenerated.
    Prove { epoch: u64, correction: [u8; 32] },
    /// A row for the share that is sealed here.
    Seat {
        counter: u64,
        sealed: [u8; SEALED_SHARE],
    },
}

/// What came of a task. Public, as are reasons.
pub enum Outcome {
    /// Nothing yet; where it stays so, the job did not finish.
    None,
    /// Of `Share` and `Prove`; with what the element said, where it failed.
    Seat(SeatResult, Option<String>),
    /// Of `Seat`.
    Row {
        epoch: u64,
        correction: [u8; 32],
        signature: Vec<u8>,
    },
    /// Of `Seat`.
    NotSeated(String),
}

/// An [`Outcome`] as a job leaves it: fields that the task has from the start, filled one by one. An enum would be moved
/// out of the crucible whole, and bring along what lay on its stack where the variant has no bytes.
#[derive(Default)]
pub struct Done {
    kind: Kind,
    /// The counter of a share, the epoch of a row.
    number: u64,
    /// A sealed share, or a correction in its first bytes.
    bytes: Sealed,
    signature: Vec<u8>,
    why: String,
}

struct Sealed([u8; SEALED_SHARE]);

impl Default for Sealed {
    fn default() -> Self {
        Self([0; SEALED_SHARE])
    }
}

/// One byte, none of it padding.
#[derive(Clone, Copy, Default)]
#[repr(u8)]
enum Kind {
    #[default]
    Nothing,
    Share,
    Good,
    EpochNotHeld,
    CannotRegenerate,
    ElementUnavailable,
    Row,
    NotSeated,
}

impl Done {
    /// What it says. For outside of the crucible.
    pub fn outcome(&self) -> Outcome {
        let why = || (!self.why.is_empty()).then(|| self.why.clone());
        let fault = |fault| Outcome::Seat(SeatResult::Fault(fault), why());
        let (number, bytes) = (self.number, &self.bytes.0);
        match self.kind {
            Kind::Nothing => Outcome::None,
            Kind::Share => {
                let (counter, sealed) = (number, *bytes);
                Outcome::Seat(SeatResult::Share { counter, sealed }, None)
            }
            Kind::Good => Outcome::Seat(SeatResult::Good, None),
            Kind::EpochNotHeld => fault(SeatFault::EpochNotHeld),
            Kind::CannotRegenerate => fault(SeatFault::CannotRegenerate),
            Kind::ElementUnavailable => fault(SeatFault::ElementUnavailable),
            Kind::Row => Outcome::Row {
                epoch: number,
                correction: std::array::from_fn(|n| bytes[n]),
                signature: self.signature.clone(),
            },
            Kind::NotSeated => Outcome::NotSeated(self.why.clone()),
        }
    }
}

/// What the hands work with.
pub struct Hands {
    /// The roots.
    pub element: Arc<dyn Element>,
    /// Signs rows.
    pub identity: Arc<dyn Identity>,
    /// This agent's id.
    pub me: Id,
    /// Shares that are kept here.
    pub shelf: Shelf,
    /// Keys of the second kind that were judged lately.
    pub groups: Groups,
}

impl Hands {
    /// Does one task and notes what came of it.
    pub fn perform(&self, task: &mut Task) {
        let Task {
            session,
            body,
            seat,
            ask,
            done,
        } = task;
        done.kind = match ask {
            Ask::Share {
                epoch,
                correction,
                request,
            } => {
                let release = Some((&**session, &*request));
                self.share(body, *seat, *epoch, correction, release, done)
            }
            Ask::Prove { epoch, correction } => {
                self.share(body, *seat, *epoch, correction, None, done)
            }
            Ask::Seat { counter, sealed } => {
                match self.seat(session, body, *seat, *counter, *sealed, done) {
                    Ok(()) => Kind::Row,
                    Err(why) => {
                        done.why = why;
                        Kind::NotSeated
                    }
                }
            }
        };
    }

    fn share(
        &self,
        body: &Body,
        seat: u32,
        epoch: u64,
        correction: &[u8; 32],
        release: Option<(&SealingSession, &[u8; 32])>,
        done: &mut Done,
    ) -> Kind {
        let mut share = [0; 32];
        if let Err(e) = self.pad(&body.id, seat, epoch, &mut share) {
            done.why = e.to_string();
            return match e {
                ElementError::EpochNotHeld(_) => Kind::EpochNotHeld,
                _ => Kind::ElementUnavailable,
            };
        }
        xor(&mut share, correction);
        let commitment = formula::commitment(&body.deal, seat, &share);
        if !ct_eq(&commitment, &body.commitments[seat as usize]) {
            return Kind::CannotRegenerate;
        }
        let Some((session, request)) = release else {
            return Kind::Good;
        };
        let aad = formula::share_aad(request, &body.id, seat, &self.me);
        match session.seal(&aad, &mut share) {
            Ok((counter, tag)) => {
                done.number = counter;
                done.bytes.0[..32].copy_from_slice(&share);
                done.bytes.0[32..].copy_from_slice(&tag);
                Kind::Share
            }
            // What is left in `share` is not sealed and goes nowhere.
            Err(e) => {
                done.why = e.to_string();
                Kind::ElementUnavailable
            }
        }
    }

    fn seat(
        &self,
        session: &SealingSession,
        body: &Body,
        seat: u32,
        counter: u64,
        mut sealed: [u8; SEALED_SHARE],
        done: &mut Done,
    ) -> Result<(), String> {
        let aad = formula::share_aad(&seat_hash(&body.id, seat), &body.id, seat, &self.me);
        let share = session
            .open(counter, &aad, &mut sealed)
            .map_err(|e| e.to_string())?;
        let share = share
            .first_chunk::<32>()
            .ok_or("the share has another length")?;
        if !ct_eq(
            &formula::commitment(&body.deal, seat, share),
            &body.commitments[seat as usize],
        ) {
            return Err("the share does not match its commitment".into());
        }
        let epoch = self.element.current();
        let mut correction = [0; 32];
        self.pad(&body.id, seat, epoch, &mut correction)
            .map_err(|e| e.to_string())?;
        xor(&mut correction, share);
        let statement = formula::row_statement(&body.id, seat, epoch, &correction);
        done.signature = self.identity.sign(&statement).map_err(|e| e.to_string())?;
        done.number = epoch;
        done.bytes.0[..32].copy_from_slice(&correction);
        Ok(())
    }

    fn pad(
        &self,
        token: &Id,
        seat: u32,
        epoch: u64,
        out: &mut [u8; 32],
    ) -> Result<(), ElementError> {
        debug_assert!(evanesce_secret::is_crucible_thread());
        let mut y = [0; 32];
        self.element
            .evaluate(epoch, &formula::contribution(token, seat), &mut y)?;
        formula::pad(&y, out);
        Ok(())
    }
}

/// What came of re-rooting one seat. One byte, none of it padding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Rerooted {
    /// Nothing yet.
    #[default]
    Not,
    /// The share was regenerated, matches its commitment, and is regenerated from the new correction as well.
    Good,
    /// There is no root of the row's epoch.
    EpochNotHeld,
    /// What is regenerated does not match the commitment.
    CannotRegenerate,
    /// The element does not answer.
    ElementUnavailable,
    /// Under the new root the element answered differently the second time.
    Unsteady,
    /// No share of the token is kept here, of a kind whose shares are (or what is kept cannot be read).
    NotKept,
    /// The share could not be written, sealed under the new root.
    NotWritten,
}

impl From<ElementError> for Rerooted {
    fn from(error: ElementError) -> Self {
        match error {
            ElementError::EpochNotHeld(_) => Self::EpochNotHeld,
            _ => Self::ElementUnavailable,
        }
    }
}

/// Masks a seat's share with the pad of epoch `to` in place of that of `from` (PROTOCOL §9, re-root): `correction` is
/// replaced, if all is good, and proven to give the same share. Where `to` is `from`, it is only proven.
pub fn reroot(
    element: &dyn Element,
    body: &Body,
    seat: u32,
    (from, to): (u64, u64),
    correction: &mut [u8; 32],
) -> Rerooted {
    debug_assert!(evanesce_secret::is_crucible_thread());
    let input = formula::contribution(&body.id, seat);
    let committed = &body.commitments[seat as usize];
    let pad = |epoch: u64, out: &mut [u8; 32]| {
        let mut y = [0; 32];
        element
            .evaluate(epoch, &input, &mut y)
            .map_err(Rerooted::from)?;
        formula::pad(&y, out);
        Ok(())
    };
    let matches =
        |share: &[u8; 32]| ct_eq(&formula::commitment(&body.deal, seat, share), committed);
    let mut share = [0; 32];
    if let Err(why) = pad(from, &mut share) {
        return why;
    }
    xor(&mut share, correction);
    if !matches(&share) {
        return Rerooted::CannotRegenerate;
    }
    if from == to {
        return Rerooted::Good;
    }
    let (mut new, mut again) = ([0; 32], [0; 32]);
    if let Err(why) = pad(to, &mut new).and_then(|()| pad(to, &mut again)) {
        return why;
    }
    xor(&mut new, &share);
    xor(&mut again, &new);
    if !matches(&again) {
        return Rerooted::Unsteady;
    }
    *correction = new;
    Rerooted::Good
}

fn xor(to: &mut [u8; 32], with: &[u8; 32]) {
    to.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}

#[cfg(test)]
mod tests;
