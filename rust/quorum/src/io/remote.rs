//! Operations that a reconstructor elsewhere does: composed and proven here, done there (docs/reconstructor-api.md).
//!
//! This side holds no share, no seed and no key at any moment; secret results come sealed to its session. It believes
//! the reconstructor's word for what cannot be seen from here (whose fault it was, whether a MAC is right), judges its
//! form, and can verify signatures and receipts itself.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_secret::{SecretVec, on_crucible};
use evanesce_suite::{Input, Output};
use evanesce_wire::message::{
    Evidence, Operate, OperateJob, OperateOutput, OperateProblem, Operated, Proof, Serving,
    Sessions, result_aad,
};
use evanesce_wire::session::TAG;
use evanesce_wire::{Identity, World};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroize;

use crate::carry::{Carried, prove};
use crate::compose::Ids;
use crate::error::{Code, Error};
use crate::fault::{Fault, FaultKind, Trouble, remark};
use crate::holder::Directory;
use crate::io::link::{Down, Link, Live, Unheard};
use crate::operation::Outcome;
use crate::work::{Purpose, Work};

/// The other reconstructor, and what is known of it.
pub(crate) struct Remote {
    link: Arc<Link>,
    identity: Arc<dyn Identity>,
    directory: Arc<Directory>,
    world: Arc<dyn World>,
    verify: bool,
    memory: Mutex<Memory>,
}

struct Memory {
    ids: Ids,
    /// Its sessions with the agents, as it last told of them.
    sessions: Option<Arc<Sessions>>,
}

impl Remote {
    pub fn new(
        link: Arc<Link>,
        identity: Arc<dyn Identity>,
        directory: Arc<Directory>,
        world: Arc<dyn World>,
        verify: bool,
    ) -> Self {
        let ids = Ids::new(world.clone());
        Self {
            link,
            identity,
            directory,
            world,
            verify,
            memory: Mutex::new(Memory {
                ids,
                sessions: None,
            }),
        }
    }

    /// Has an operation done. Composed once more where the reconstructor's sessions with the agents have changed, and it
    /// costs nothing that an agent may have permitted the first one.
    pub async fn operate(&self, work: Work) -> Result<Outcome, Error> {
        if !matches!(work.purpose, Purpose::Use) {
            let message = "a token is reshared and repaired by whoever regenerates it, and here that is another";
            let hint = "Do it as a minter that is a reconstructor itself: from a home without [reconstructor].";
            return Err(Error::new(Code::Role, message, hint));
        }
        let until = Instant::now() + work.budget;
        let mut again = true;
        loop {
            let (operated, sent) = self.ask(&work, until).await?;
            let news = operated.sessions.clone().map(Arc::new);
            if let Some(news) = &news {
                self.memory().sessions = Some(news.clone());
            }
            let Some(problem) = &operated.problem else {
                return self.done(&work, operated, &sent);
            };
            let sessions = news.unwrap_or_else(|| sent.sessions.clone());
            let changed = sent.carried.is_not_of(&work, &sessions);
            let problem = || self.problem(&work, problem, &operated);
            if !(again && changed && Instant::now() < until) {
                return Err(problem());
            }
            if is_spent(&work) && !sent.carried.is_all_over(&work, &sessions) {
                return Err(counted(problem()));
            }
            again = false;
        }
    }

    async fn ask(&self, work: &Work, until: Instant) -> Result<(Operated, Sent), Error> {
        let sessions = self.sessions(work, until).await?;
        let mut proven = None;
        let compose = |_: &Live| {
            let (carried, proof) = self.prove(work, &sessions)?;
            let body = self.body(work, &carried, sessions.version, until);
            proven = Some((carried, proof));
            Ok(body)
        };
        let answer = self.link.once("operate", until, compose, Operated::decode);
        let (operated, live) = answer.await.map_err(|unheard| self.unheard(&unheard))?;
        let (carried, proof) = proven.ok_or_else(|| Error::internal("nothing was composed"))?;
        let sent = Sent {
            carried,
            proof,
            live,
            sessions,
        };
        Ok((operated, sent))
    }

    fn prove(&self, work: &Work, sessions: &Sessions) -> Result<(Carried, Proof), Down> {
        let now = self.world.unix_seconds();
        let mut memory = self.memory();
        prove(work, &*self.identity, sessions, &mut memory.ids, now)
            .map_err(|e| Down::new(Trouble::OwnIdentity, e.to_string()))
    }

    /// The request's body. No other copy of a plaintext is left behind.
    fn body(&self, work: &Work, carried: &Carried, version: u64, until: Instant) -> Vec<u8> {
        let left = until.saturating_duration_since(Instant::now());
        let job = |job: &crate::work::ReadyJob| {
            let input = job.input.as_input();
            OperateJob {
                suite: job.suite.facts().name.to_owned(),
                action: input.action().to_owned(),
                inputs: input.parts().into_iter().map(Into::into).collect(),
                payload: job.input.payload().is_some(),
            }
        };
        let mut asked = Operate {
            token: work.token.encode(),
            jobs: work.jobs.iter().map(job).collect(),
            salts: carried.salts.clone(),
            holders: carried.holders.clone(),
            version,
            // What remains is for the way there and back.
            deadline: (left - left / 10).as_millis() as u64,
            evidence: carried.evidence.clone(),
            not_after: carried.not_after,
        };
        let body = asked.encode();
        let inputs = asked.jobs.iter_mut().flat_map(|job| &mut job.inputs);
        inputs.for_each(Zeroize::zeroize);
        body
    }

    /// Its sessions with the agents, asked for where it is not known to have one with any holder.
    async fn sessions(&self, work: &Work, until: Instant) -> Result<Arc<Sessions>, Error> {
        let rows = &work.token.rows;
        let of_use = |s: &Arc<Sessions>| rows.iter().any(|row| s.with(&row.holder).is_some());
        let known = self.memory().sessions.clone().filter(of_use);
        if let Some(known) = known {
            return Ok(known);
        }
        let answer = timeout_at(until, self.link.get("/v1/sessions")).await;
        let answer = answer.unwrap_or_else(|_| Err(Down::slow()));
        let answer = answer.map_err(|down| self.down(&down))?;
        let sessions = Sessions::decode(&answer)
            .map_err(|e| self.down(&Down::new(Trouble::Lied, remark(&e.to_string()))))?;
        let sessions = Arc::new(sessions);
        self.memory().sessions = Some(sessions.clone());
        if !of_use(&sessions) {
            let why = "it has a session with none of the token's holders";
            return Err(self.down(&Down::new(Trouble::Unreachable, why)));
        }
        Ok(sessions)
    }

    /// What it says of itself.
    pub async fn serving(&self, until: Instant) -> Result<Serving, Error> {
        let answer = timeout_at(until, self.link.get("/v1/status")).await;
        let answer = answer.unwrap_or_else(|_| Err(Down::slow()));
        let answer = answer.map_err(|down| self.down(&down))?;
        Serving::decode(&answer)
            .map_err(|e| self.down(&Down::new(Trouble::Lied, remark(&e.to_string()))))
    }

    fn done(&self, work: &Work, mut operated: Operated, sent: &Sent) -> Result<Outcome, Error> {
        let wrong = |why: &str| self.down(&Down::new(Trouble::Lied, why));
        if operated.outputs.len() != work.jobs.len() {
            return Err(wrong("it answered for another number of jobs"));
        }
        let mut outputs = Vec::with_capacity(work.jobs.len());
        for (place, output) in (0..).zip(take(&mut operated.outputs)) {
            let job = &work.jobs[place as usize];
            let input = job.input.as_input();
            let output = sent.open(output, place, self.link.holder.id)?;
            let fits = match (&input, &output) {
                (Input::Sign { .. } | Input::Mac { .. } | Input::Encrypt { .. }, made) => {
                    matches!(made, Output::Public(_))
                }
                (Input::VerifyMac { .. }, made) => matches!(made, Output::Verified),
                (_, made) => matches!(made, Output::Secret(_)),
            };
            if !fits {
                return Err(wrong("it answered with something else than was asked for"));
            }
            let public = work.token.public.get(job.suite.facts().name);
            if let (true, Some(spki), Input::Sign { message }, Output::Public(signature)) =
                (self.verify, public, input, &output)
            {
                job.suite.verify(spki, message, signature).map_err(|_| {
                    let hint = "Do not use it, and have its machine examined.";
                    let message = "the reconstructor's signature does not verify";
                    Error::new(Code::InvalidSignature, message, hint)
                })?;
            }
            outputs.push(output);
        }
        Ok(Outcome {
            faults: self.faults(work, &operated),
            outputs,
            receipts: operated.receipts,
            salts: work.salts.clone(),
        })
    }

    fn problem(&self, work: &Work, problem: &OperateProblem, operated: &Operated) -> Error {
        let code = Code::of(&problem.code).unwrap_or(Code::Reconstructor);
        let (message, hint) = (remark(&problem.message), remark(&problem.hint));
        Error::new(code, message, hint).with_faults(self.faults(work, operated))
    }

    /// Holders by the names of this side's own directory.
    fn faults(&self, work: &Work, operated: &Operated) -> Vec<Fault> {
        let names = work.token.body.header.quorum.seats();
        let fault = |fault: &evanesce_wire::message::OperateFault| {
            let seat = fault.seat.and_then(|seat| names.get(seat as usize));
            Fault {
                seat: seat.map(|name| (*name).to_owned()),
                seat_number: seat.and(fault.seat),
                holder: self.directory.name_of(&fault.holder),
                holder_id: fault.holder,
                kind: FaultKind::of(&fault.kind).unwrap_or(FaultKind::Unreachable),
                detail: remark(&fault.detail),
            }
        };
        operated.faults.iter().map(fault).collect()
    }

    /// Why the reconstructor itself cannot be had.
    fn down(&self, down: &Down) -> Error {
        let name = &self.link.holder.name;
        let (code, hint) = match down.trouble {
            Trouble::Stranger | Trouble::Role => (
                Code::Identity,
                "Have the reconstructor's operator allow this caller: evanesce reconstructor allow.",
            ),
            Trouble::Overloaded => (
                Code::Overloaded,
                "Try again later, or ask for less at once.",
            ),
            Trouble::OwnIdentity => (Code::Identity, ""),
            Trouble::OwnMemory => (
                Code::Memory,
                "Raise the locked-memory limit (ulimit -l) or lower the load.",
            ),
            _ => (
                Code::Reconstructor,
                "Start or reach the reconstructor: this side does no operation itself.",
            ),
        };
        let message = format!("the reconstructor {name}: {}", down.detail);
        Error::new(code, message, hint)
    }

    /// Why there is no answer, and whether it may have been done all the same.
    fn unheard(&self, unheard: &Unheard) -> Error {
        let error = self.down(&unheard.down);
        match unheard.begun {
            true => counted(error),
            false => error,
        }
    }

    /// Never held while waiting.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that asking again is not for this side to decide.
fn counted(error: Error) -> Error {
    let message = format!(
        "{}; it was not asked for again, since agents may have permitted and counted it",
        error.message
    );
    let hint = "What the agents' logs say (evanesce audit search) is what was spent. Ask again if one more use is \
                all right; where people approve, they approve again.";
    Error {
        message,
        hint: hint.into(),
        ..error
    }
}

/// Whether an agent that permits this spends something: an approval, a use under a grant, or one that the policy counts.
fn is_spent(work: &Work) -> bool {
    let Evidence {
        grants, approvals, ..
    } = &work.evidence;
    // A policy is not read here; one that could speak of counts in any way does so with one of these.
    let policy = &work.token.body.header.policy;
    let counts = ["limits", "uses", "\\"];
    !grants.is_empty() || !approvals.is_empty() || counts.iter().any(|word| policy.contains(word))
}

/// What was asked, and over which way.
struct Sent {
    carried: Carried,
    proof: Proof,
    live: Arc<Live>,
    /// What it was composed for.
    sessions: Arc<Sessions>,
}

impl Sent {
    /// A result; a secret one straight into locked memory.
    fn open(
        &self,
        output: OperateOutput,
        place: u32,
        reconstructor: evanesce_wire::Id,
    ) -> Result<Output, Error> {
        let (counter, sealed) = match output {
            OperateOutput::Verified => return Ok(Output::Verified),
            OperateOutput::Public(bytes) => return Ok(Output::Public(bytes)),
            OperateOutput::Sealed { counter, sealed } => (counter, sealed),
        };
        let aad = result_aad(&Proof::statement(&self.proof.hashes), place, &reconstructor);
        let mut secret = SecretVec::from_slice(&sealed)?;
        let session = &self.live.session;
        let opened = on_crucible(|| session.open(counter, &aad, secret.expose_mut()).is_ok());
        if !opened {
            let message = "the reconstructor's result does not open under the session with it";
            return Err(Error::new(Code::Reconstructor, message, "Try again."));
        }
        secret.truncate(secret.len() - TAG);
        Ok(Output::Secret(secret))
    }
}

impl Carried {
    /// Whether it was composed for other sessions than these.
    fn is_not_of(&self, work: &Work, sessions: &Sessions) -> bool {
        work.token.rows.iter().any(|row| {
            let now = sessions.with(&row.holder).map(|standing| standing.session);
            let then = self.holders.iter().find(|to| to.agent == row.holder);
            now.is_some() && now != then.map(|to| to.session)
        })
    }

    /// Whether no holder that it names can be asked under the session that it names: then none has permitted it.
    fn is_all_over(&self, work: &Work, sessions: &Sessions) -> bool {
        work.token.rows.iter().all(|row| {
            let then = self.holders.iter().find(|to| to.agent == row.holder);
            let now = sessions.with(&row.holder).map(|standing| standing.session);
            then.is_none_or(|to| now != Some(to.session))
        })
    }
}

#[cfg(test)]
mod tests;
