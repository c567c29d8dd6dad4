//! The agent's hands: what is done with a root, a pad and a share (PROTOCOL §5). Crucible threads only.
//!
//! A pad or a share exists here for microseconds, on a locked stack that is wiped after the job; a share leaves
//! sealed to the reconstructor's session, as a correction, or not at all. A pad never leaves.

use std::sync::Arc;

use evanesce_element::{Element, ElementError};
use evanesce_secret::ct_eq;
use evanesce_token::{Body, formula};
use evanesce_wire::message::{SeatFault, SeatResult, seat_hash};
use evanesce_wire::session::{SEALED_SHARE, SealingSession};
use evanesce_wire::{Id, Identity};

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
    pub outcome: Outcome,
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

/// What the hands work with.
pub struct Hands {
    /// The roots.
    pub element: Arc<dyn Element>,
    /// Signs rows.
    pub identity: Arc<dyn Identity>,
    /// This agent's id.
    pub me: Id,
}

impl Hands {
    /// Does one task and notes its outcome.
    pub fn perform(&self, task: &mut Task) {
        let session = &*task.session;
        let outcome = match &task.ask {
            Ask::Share {
                epoch,
                correction,
                request,
            } => self.share(task, *epoch, correction, Some((session, request))),
            Ask::Prove { epoch, correction } => self.share(task, *epoch, correction, None),
            Ask::Seat { counter, sealed } => {
                let seated = self.seat(session, task, *counter, *sealed);
                seated.unwrap_or_else(Outcome::NotSeated)
            }
        };
        task.outcome = outcome;
    }

    fn share(
        &self,
        task: &Task,
        epoch: u64,
        correction: &[u8; 32],
        release: Option<(&SealingSession, &[u8; 32])>,
    ) -> Outcome {
        let fault = |fault, why| Outcome::Seat(SeatResult::Fault(fault), why);
        let body = &task.body;
        let mut share = [0; 32];
        match self.pad(&body.id, task.seat, epoch, &mut share) {
            Ok(()) => {}
            Err(e @ ElementError::EpochNotHeld(_)) => {
                return fault(SeatFault::EpochNotHeld, Some(e.to_string()));
            }
            Err(e) => return fault(SeatFault::ElementUnavailable, Some(e.to_string())),
        }
        xor(&mut share, correction);
        let commitment = formula::commitment(&body.deal, task.seat, &share);
        if !ct_eq(&commitment, &body.commitments[task.seat as usize]) {
            return fault(SeatFault::CannotRegenerate, None);
        }
        let Some((session, request)) = release else {
            return Outcome::Seat(SeatResult::Good, None);
        };
        let aad = formula::share_aad(request, &body.id, task.seat, &self.me);
        match session.seal(&aad, &mut share) {
            Ok((counter, tag)) => {
                let mut sealed = [0; SEALED_SHARE];
                sealed[..32].copy_from_slice(&share);
                sealed[32..].copy_from_slice(&tag);
                Outcome::Seat(SeatResult::Share { counter, sealed }, None)
            }
            // What is left in `share` is not sealed and goes nowhere.
            Err(e) => fault(SeatFault::ElementUnavailable, Some(e.to_string())),
        }
    }

    fn seat(
        &self,
        session: &SealingSession,
        task: &Task,
        counter: u64,
        mut sealed: [u8; SEALED_SHARE],
    ) -> Result<Outcome, String> {
        let (body, seat) = (&task.body, task.seat);
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
        let signature = self.identity.sign(&statement).map_err(|e| e.to_string())?;
        Ok(Outcome::Row {
            epoch,
            correction,
            signature,
        })
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

fn xor(to: &mut [u8; 32], with: &[u8; 32]) {
    to.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}
