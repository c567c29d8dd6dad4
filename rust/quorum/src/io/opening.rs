//! One operation under way: what has come of it so far, and what it comes to.

use std::sync::Arc;

use evanesce_wire::message::Receipt;

use crate::error::{Code, Error};
use crate::fault::{Fault, FaultKind, Trouble};
use crate::holder::Directory;
use crate::open::{Failure, KeptShare, Made, SealedShare};
use crate::operation::{Outcome, Reply};
use crate::plan::Plan;
use crate::runtime::Refusal;
use crate::verdict;
use crate::work::Work;

/// One operation under way.
pub(super) struct Opening {
    pub work: Arc<Work>,
    pub plan: Plan,
    /// Shares as they came.
    pub sealed: Vec<SealedShare>,
    /// Shares that the crucible found good.
    pub kept: Vec<KeptShare>,
    /// What is known of each trouble, for people.
    pub details: Vec<(u32, String)>,
    pub receipts: Vec<Receipt>,
    /// Whether the crucible is at work on it.
    pub busy: bool,
    /// When its timer goes off; `u64::MAX` when none is set.
    pub timer: u64,
    pub deadline: u64,
    pub done: Reply<Outcome>,
}

impl Opening {
    /// Holders that the caller could not name, or would not, are not asked on its behalf.
    pub fn leave_out_unnamed(&mut self) {
        let Some(carried) = &self.work.carried else {
            return;
        };
        for (row, seat) in self.work.token.rows.iter().zip(0..) {
            if let Some(holder) = self.plan.holder(seat)
                && !carried.names(&row.holder)
            {
                self.plan.give_up_on(holder, Trouble::Unreachable);
                let detail = "the reconstructor had no session with it when this was proven";
                self.details.push((seat, detail.to_owned()));
            }
        }
    }

    /// Ends it for want of a quorum.
    pub fn fail(self, directory: &Directory) {
        let troubles: Vec<(u32, Trouble)> = self.plan.troubles().collect();
        let code = verdict::code(
            troubles.iter().map(|(_, trouble)| *trouble),
            self.plan.had_any(),
        );
        let faults = self.faults(&troubles, directory);
        let error = verdict::explain(code, &self.work.token.body.header.quorum, faults);
        self.done.send(Err(error));
    }

    /// Ends it with what the crucible made.
    pub fn finish(self, now: u64, result: Result<Vec<Made>, Box<Failure>>, directory: &Directory) {
        let mut troubles: Vec<(u32, Trouble)> = self
            .plan
            .troubles()
            .filter(|(_, trouble)| *trouble != Trouble::UnknownHolder)
            .collect();
        troubles.extend(self.plan.late(now).map(|seat| (seat, Trouble::Slow)));
        let faults = self.faults(&troubles, directory);
        let result = match result {
            Ok(outputs) => Ok(Outcome {
                outputs: outputs.into_iter().map(Made::out_of_the_arena).collect(),
                receipts: self.receipts,
                faults,
                salts: self.work.salts.clone(),
            }),
            Err(failure) => Err(explain(&failure, &self.work).with_faults(faults)),
        };
        self.done.send(result);
    }

    fn faults(&self, troubles: &[(u32, Trouble)], directory: &Directory) -> Vec<Fault> {
        if troubles.is_empty() {
            return Vec::new();
        }
        let token = &self.work.token;
        let names = token.body.header.quorum.seats();
        let fault = |&(seat, trouble): &(u32, Trouble)| {
            let holder_id = token.rows[seat as usize].holder;
            let known = self
                .details
                .iter()
                .find(|(s, _)| *s == seat)
                .map(|(_, detail)| detail.clone());
            let detail = known.unwrap_or_else(|| match trouble.kind() {
                FaultKind::Slow => "it had not answered by then".into(),
                FaultKind::Unreachable => "it does not complete a connection".into(),
                FaultKind::UnknownHolder => "its id is not in your quorum file".into(),
                _ => String::new(),
            });
            Fault {
                seat: Some(names[seat as usize].to_owned()),
                seat_number: Some(seat),
                holder: directory.name_of(&holder_id),
                holder_id,
                kind: trouble.kind(),
                detail,
            }
        };
        let mut faults: Vec<Fault> = troubles.iter().map(fault).collect();
        faults.sort_by_key(|fault| fault.seat_number);
        faults
    }
}

fn explain(failure: &Failure, work: &Work) -> Error {
    let dishonest = "Whoever minted the token dealt it so; use another token of this key.";
    let which = |number: usize| match work.jobs.len() {
        1 => String::new(),
        _ => format!("job {number}: "),
    };
    match failure {
        Failure::Anchor => Error::new(
            Code::Inconsistent,
            "every share is the one committed to, and yet they do not make the seed of the anchor",
            dishonest,
        ),
        Failure::Import => Error::new(
            Code::Inconsistent,
            "the imported key in the token is not sealed under its seed",
            dishonest,
        ),
        Failure::Share => Error::new(
            Code::Inconsistent,
            "the shares make the seed of the anchor, but not the lost seat's share that was committed to",
            "Whoever minted the token dealt it so: no holder can be given that seat. Reshare it.",
        ),
        Failure::Deal(error) => error.clone(),
        Failure::Insufficient => Error::internal("shares that were counted as sufficient are not"),
        Failure::Panicked => Error::internal("the operation broke off"),
        Failure::Memory(e) => e.clone().into(),
        Failure::Faulty(number) => Error::new(
            Code::InvalidSignature,
            format!(
                "{}the signature that was made does not verify, and was not released",
                which(*number)
            ),
            "Have this machine's memory and processor examined.",
        ),
        Failure::Job(number, error) => job_error(which(*number), error),
        Failure::Runtime(number, Refusal::Suite(error)) => job_error(which(*number), error),
        Failure::Runtime(number, Refusal::Unsupported(why)) => Error::new(
            Code::Unsupported,
            format!("{}the runtime does not do this: {why}", which(*number)),
            "Leave `runtime` out of the quorum file for this key, or use another module.",
        ),
        Failure::Runtime(number, Refusal::Unavailable(why)) => Error::new(
            Code::Element,
            format!("{}the runtime: {why}", which(*number)),
            "Check its token and PIN.",
        ),
    }
}

fn job_error(which: String, error: &evanesce_suite::Error) -> Error {
    use evanesce_suite::Error as Suite;
    let message = format!("{which}{error}");
    let (code, hint) = match error {
        Suite::UnfitOperation { .. } => (Code::UnfitOperation, ""),
        Suite::BadInput(_) => (Code::BadInput, ""),
        Suite::InvalidSignature => (
            Code::InvalidSignature,
            "The message, the MAC or the key is another one.",
        ),
        Suite::DecryptionFailed => (
            Code::DecryptionFailed,
            "The ciphertext, its additional data or the key is another one.",
        ),
        Suite::BadKey(_) | Suite::WrongPublicKey => (
            Code::Inconsistent,
            "Whoever minted the token dealt it so; use another token of this key.",
        ),
        Suite::Secret(e) => return e.clone().into(),
        Suite::Internal(_) => (
            Code::Internal,
            "This is a fault of the software: please report it.",
        ),
    };
    Error::new(code, message, hint)
}
