//! An operation made ready: judged by the token, its inputs digested. Done on the caller's thread.

use std::sync::Arc;
use std::time::Duration;

use evanesce_suite::Suite;
use evanesce_token::{Token, formula, quoted};
use evanesce_wire::limits::{PAYLOADS, REQUESTS_PER_OPENING};
use evanesce_wire::message::Evidence;
use evanesce_wire::{Id, World};

use crate::carry::Carried;
use crate::error::{Code, Error};
use crate::heal::{Remint, Repair};
use crate::operation::{Operation, OwnedInput};
use crate::plan::{Goal, Reseat};
use crate::settled::Settled;

/// What is asked of the agents for one use of a key (PROTOCOL §6, Request), the same at every agent.
pub(crate) struct Statement {
    pub action: &'static str,
    pub suite: &'static str,
    /// The input digest.
    pub input: [u8; 32],
}

/// What is done once the seed is there.
pub(crate) struct ReadyJob {
    pub suite: &'static dyn Suite,
    pub input: OwnedInput,
}

/// What is done with the seed beside, or instead of, jobs.
pub(crate) enum Purpose {
    /// Jobs; none for `open` and `retire`.
    Use,
    /// It is minted anew.
    Remint(Box<Remint>),
    /// The share of a lost seat is regenerated.
    Repair(Repair),
}

/// An opening's purpose, shared between the planner and the crucible.
pub(crate) struct Work {
    pub token: Arc<Token>,
    /// One per job; for `open` and `retire` one without a job.
    pub statements: Vec<Statement>,
    pub jobs: Vec<ReadyJob>,
    pub salts: Vec<[u8; 32]>,
    pub budget: Duration,
    pub purpose: Purpose,
    /// Where the operation is another's: what that caller has composed and proven.
    pub carried: Option<Carried>,
    /// Goes along with the statements.
    pub evidence: Evidence,
}

impl Work {
    /// Refuses what no agent need be asked about; otherwise digests the inputs under fresh salts.
    pub fn prepare(
        operation: Operation,
        usual: Duration,
        world: &dyn World,
    ) -> Result<Self, Error> {
        let mut salts = vec![[0; 32]; operation.jobs.len()];
        world.random(salts.as_flattened_mut());
        for (job, salt) in operation.jobs.iter().zip(&mut salts) {
            *salt = job.salt.unwrap_or(*salt);
        }
        Self::salted(operation, salts, usual, world)
    }

    /// An operation of a caller's, who has composed and proven its requests; without jobs, `open`.
    pub fn carried(
        operation: Operation,
        carried: Carried,
        usual: Duration,
        world: &dyn World,
    ) -> Result<Self, Error> {
        let salts = carried.salts.clone();
        if salts.len() != operation.jobs.len().max(1) {
            let message = format!("{} salts, and one salt for each job is needed", salts.len());
            return Err(Error::new(Code::BadInput, message, ""));
        }
        let mut work = match operation.jobs.is_empty() {
            false => Self::salted(operation, salts, usual, world)?,
            true => {
                refuse_expired(&operation.token, world)?;
                let budget = operation.deadline.unwrap_or(usual);
                let settled = Settled {
                    salt: Some(salts[0]),
                    ..Settled::default()
                };
                Self::bare(operation.token, "open", settled, budget, world)
            }
        };
        carried.check(&work)?;
        work.evidence = carried.evidence.clone();
        work.carried = Some(carried);
        Ok(work)
    }

    fn salted(
        operation: Operation,
        salts: Vec<[u8; 32]>,
        usual: Duration,
        world: &dyn World,
    ) -> Result<Self, Error> {
        let Operation {
            token,
            jobs,
            deadline,
            evidence,
        } = operation;
        refuse_expired(&token, world)?;
        if jobs.is_empty() || jobs.len() > REQUESTS_PER_OPENING {
            let message = format!(
                "an operation has between 1 and {REQUESTS_PER_OPENING} jobs, not {}",
                jobs.len()
            );
            return Err(Error::new(Code::BadInput, message, "Split it."));
        }
        let payloads = jobs.iter().filter_map(|job| job.input.payload());
        let payloads: usize = payloads.map(<[u8]>::len).sum();
        if payloads > PAYLOADS {
            let message =
                format!("an operation has at most {PAYLOADS} bytes of payloads, not {payloads}");
            return Err(Error::new(Code::BadInput, message, "Split it."));
        }
        let mut statements = Vec::with_capacity(jobs.len());
        let mut ready = Vec::with_capacity(jobs.len());
        for (job, salt) in jobs.into_iter().zip(&salts) {
            let suite = admit(&token, &job.suite, job.input.as_input().action())?;
            let parts = job.input.as_input();
            let (action, parts) = (parts.action(), parts.parts());
            let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
            let name = suite.facts().name;
            statements.push(Statement {
                action,
                suite: name,
                input: formula::input_digest(salt, action, name, &parts),
            });
            ready.push(ReadyJob {
                suite,
                input: job.input,
            });
        }
        Ok(Self {
            token,
            statements,
            jobs: ready,
            salts,
            budget: deadline.unwrap_or(usual),
            purpose: Purpose::Use,
            carried: None,
            evidence,
        })
    }

    /// An opening that operates on nothing: `open` or `retire`.
    pub fn bare(
        token: Arc<Token>,
        action: &'static str,
        settled: Settled,
        budget: Duration,
        world: &dyn World,
    ) -> Self {
        Self::of(token, action, &[], Purpose::Use, settled, budget, world)
    }

    /// An opening to mint the seed anew: its input is the new `deal`.
    pub fn remint(
        token: Arc<Token>,
        remint: Remint,
        settled: Settled,
        budget: Duration,
        world: &dyn World,
    ) -> Self {
        let deal = remint.deal();
        let purpose = Purpose::Remint(Box::new(remint));
        Self::of(token, "reshare", &[&deal], purpose, settled, budget, world)
    }

    /// An opening to regenerate a lost seat's share for `holder`: its inputs are the two.
    pub fn repair(
        token: Arc<Token>,
        repair: Repair,
        holder: &Id,
        settled: Settled,
        budget: Duration,
        world: &dyn World,
    ) -> Self {
        let seat = repair.seat.to_be_bytes();
        let purpose = Purpose::Repair(repair);
        let inputs: [&[u8]; 2] = [&seat, holder];
        Self::of(token, "repair", &inputs, purpose, settled, budget, world)
    }

    fn of(
        token: Arc<Token>,
        action: &'static str,
        inputs: &[&[u8]],
        purpose: Purpose,
        settled: Settled,
        budget: Duration,
        world: &dyn World,
    ) -> Self {
        let salt = settled.salt(world);
        let input = formula::input_digest(&salt, action, "", inputs);
        let statements = vec![Statement {
            action,
            suite: "",
            input,
        }];
        Self {
            token,
            statements,
            jobs: Vec::new(),
            salts: vec![salt],
            budget,
            purpose,
            carried: None,
            evidence: settled.evidence,
        }
    }

    /// What its shares must suffice for, given to `f`.
    pub fn with_goal<R>(&self, f: impl FnOnce(&dyn Goal) -> R) -> R {
        let quorum = &self.token.body.header.quorum;
        match &self.purpose {
            Purpose::Repair(Repair { seat, .. }) => f(&Reseat {
                quorum,
                seat: *seat as usize,
            }),
            _ => f(quorum),
        }
    }

    /// A statement's payload, and the salt of its input digest, which goes along with it.
    pub fn payload(&self, statement: usize) -> Option<(&[u8], [u8; 32])> {
        let payload = self.jobs.get(statement)?.input.payload()?;
        Some((payload, self.salts[statement]))
    }

    /// Whether there are requests for this session: those of this side's own are made for any.
    pub fn may_go_under(&self, session: &Id) -> bool {
        let carried = self.carried.as_ref();
        carried.is_none_or(|carried| carried.under(session).is_some())
    }

    /// Bytes that its requests come to on the wire, about.
    pub fn wire_size(&self) -> usize {
        let payloads = self.jobs.iter().filter_map(|job| job.input.payload());
        let payloads: usize = payloads.map(|payload| payload.len() + 40).sum();
        256 * self.statements.len() + payloads + self.evidence.size()
    }
}

/// The suite, if the token lists it and it does that.
fn admit(token: &Token, suite: &str, action: &'static str) -> Result<&'static dyn Suite, Error> {
    let listed = &token.body.header.suites;
    let known = evanesce_suite::find(suite).filter(|_| listed.iter().any(|name| name == suite));
    let Some(known) = known else {
        let message = format!("this token has no suite {}", quoted(suite));
        return Err(Error::new(
            Code::SuiteNotInToken,
            message,
            format!("It has: {}.", listed.join(", ")),
        ));
    };
    let facts = known.facts();
    if !facts.operations.contains(&action) {
        let message = format!("{} does not {action}", facts.name);
        return Err(Error::new(
            Code::UnfitOperation,
            message,
            format!("It does: {}.", facts.operations.join(", ")),
        ));
    }
    Ok(known)
}

pub(crate) fn refuse_expired(token: &Token, world: &dyn World) -> Result<(), Error> {
    if token.expired_at(world.unix_seconds()) {
        return Err(Error::new(
            Code::Expired,
            "the token has expired",
            "Use a token minted later.",
        ));
    }
    Ok(())
}
