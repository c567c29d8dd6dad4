//! Judging openings and seatings, each as a whole, and what follows: a decision, its log entry, tasks.

use evanesce_token::text::cut;
use std::sync::Arc;

use evanesce_token::{Body, formula};
use evanesce_wire::message::{
    Basis, Code, Entry, EntryOperation, Opening, Request, SeatAnswer, SeatResult, SeatShare,
};

use crate::agent::Agent;
use crate::gate::{self, Case, Refusal, Verb};
use crate::limits;
use crate::regenerate::{Ask, Done, Task};
use crate::shown::Ready;
use crate::work::{Decision, Work};
use evanesce_policy::Compiled;

impl Agent {
    /// Judges one opening of a request, the system's clock saying `now` (Unix milliseconds), and adds what follows to `work`.
    pub fn judge(
        &mut self,
        work: &mut Work,
        ready: &Result<Ready, Refusal>,
        opening: Opening,
        now: u64,
    ) {
        let now = self.clock.read(now);
        let judged_by_policy = work.verb != Verb::Check;
        let ready = ready.as_ref().map_err(Refusal::clone);
        let (ready, policy) =
            match ready.and_then(|ready| Ok((ready, ready.policy(judged_by_policy)?))) {
                Ok(ready) => ready,
                Err(refusal) => return work.refuse(refusal, 0),
            };
        let body = ready.body();
        let decoded = opening.requests.iter().map(|bytes| Request::decode(bytes));
        let requests = match decoded.collect::<Result<Vec<_>, _>>() {
            Ok(requests) => requests,
            Err(e) => return work.refuse(Refusal::new(Code::Malformed, e.to_string()), 0),
        };
        if let Some(row) = opening
            .rows
            .iter()
            .find(|r| r.seat as usize >= body.commitments.len())
        {
            let why = format!("seat {} of {}", row.seat, body.commitments.len());
            return work.refuse(Refusal::new(Code::Malformed, why), 0);
        }
        let (mut faults, mut mine) = (Vec::new(), Vec::with_capacity(opening.rows.len()));
        for row in opening.rows {
            match gate::route(&row, &self.me.id, &self.me.epochs) {
                Ok(()) => mine.push(row),
                Err(fault) => {
                    faults.push(SeatAnswer {
                        seat: row.seat,
                        result: SeatResult::Fault(fault),
                    });
                }
            }
        }
        let case = Case {
            verb: work.verb,
            who: &work.who,
            session: &work.session.id,
            body,
            policy,
            requests: &requests,
            salts: &opening.salts,
            evidence: &opening.evidence,
            directory: &self.directory,
            used: &self.used,
            retired: self.tombstones.contains(&body.id),
            now: now / 1000,
        };
        let mut basis = Basis::default();
        let verdict = case.decide(&mut self.replay).map(|found| {
            basis = found;
            match mine.is_empty() {
                true => Code::Unrouted,
                false => Code::Done,
            }
        });
        match verdict {
            Ok(Code::Done) => self.used.spend(&basis.approvals, now / 1000),
            // Nothing follows from it, so that nothing was used up either.
            _ => basis.approvals.clear(),
        }
        let parts: Vec<&[u8]> = opening.requests.iter().map(Vec::as_slice).collect();
        let request = formula::request_hash(&parts);
        let first = work.tasks.len();
        if verdict.is_ok() {
            work.tasks.extend(mine.iter().map(|row| {
                let (epoch, correction) = (row.epoch, row.correction);
                let ask = match work.verb {
                    Verb::Contribute => Ask::Share {
                        epoch,
                        correction,
                        request,
                    },
                    _ => Ask::Prove { epoch, correction },
                };
                let session = work.session.clone();
                Task {
                    session,
                    body: body.clone(),
                    seat: row.seat,
                    ask,
                    done: Done::default(),
                }
            }));
        }
        let seats = mine.iter().map(|row| row.seat).collect();
        let operations = || {
            let hash = |bytes: &[u8]| match parts.len() {
                1 => request,
                _ => formula::request_hash(&[bytes]),
            };
            let both = requests.into_iter().zip(&parts);
            both.map(|(asked, bytes)| EntryOperation {
                request: hash(bytes),
                action: asked.action,
                suite: asked.suite,
                input: asked.input,
            })
            .collect()
        };
        self.note(work, body, verdict, seats, operations, basis, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.faults = match decision.code {
                Code::Done | Code::Unrouted => faults,
                _ => Vec::new(),
            };
            decision.tasks = first..work.tasks.len();
        }
    }

    /// Judges one seat of a seating. The commitment is checked with the share, by the hands.
    pub fn judge_seat(
        &mut self,
        work: &mut Work,
        ready: &Result<Ready, Refusal>,
        share: &SeatShare,
        now: u64,
    ) {
        let now = self.clock.read(now);
        let ready = ready.as_ref().map_err(Refusal::clone);
        let (ready, policy) = match ready.and_then(|ready| Ok((ready, ready.policy(true)?))) {
            Ok(ready) => ready,
            Err(refusal) => return work.refuse(refusal, share.seat),
        };
        let body = ready.body();
        if share.seat as usize >= body.commitments.len() {
            let why = format!("seat {} of {}", share.seat, body.commitments.len());
            return work.refuse(Refusal::new(Code::Malformed, why), share.seat);
        }
        let refused = |why: String| Err(Refusal::new(Code::Refused, why));
        let verdict = match policy.and_then(Compiled::invalid) {
            Some(why) => refused(format!("the policy cannot be enforced: {why}")),
            None if self.tombstones.contains(&body.id) => {
                refused("the token was retired here".into())
            }
            None => Ok(Code::Done),
        };
        let first = work.tasks.len();
        if verdict.is_ok() {
            let ask = Ask::Seat {
                counter: share.counter,
                sealed: share.sealed,
            };
            let (session, body) = (work.session.clone(), body.clone());
            work.tasks.push(Task {
                session,
                body,
                seat: share.seat,
                ask,
                done: Done::default(),
            });
        }
        let basis = Basis::default();
        self.note(work, body, verdict, vec![share.seat], Vec::new, basis, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.seat = share.seat;
            decision.tasks = first..work.tasks.len();
        }
    }

    /// Adds a decision and its log entry. What says nothing about a token's use is not logged: a check, a
    /// malformed opening, and one that was turned away for want of room.
    #[allow(clippy::too_many_arguments)] // an entry has as many fields
    fn note(
        &self,
        work: &mut Work,
        body: &Arc<Body>,
        verdict: Result<Code, Refusal>,
        seats: Vec<u32>,
        operations: impl FnOnce() -> Vec<EntryOperation>,
        basis: Basis,
        now: u64,
    ) {
        let (code, reason) = match verdict {
            Ok(code) => (code, String::new()),
            Err(refusal) => (refusal.code, cut(&refusal.reason, limits::REASON)),
        };
        let logged =
            work.verb != Verb::Check && !matches!(code, Code::Malformed | Code::Overloaded);
        if logged {
            let element = &self.me.element;
            let entry = Entry {
                agent: self.me.id,
                time: now,
                verb: work.verb.as_str().into(),
                token: body.id,
                key_name: body.header.name.clone(),
                seats,
                caller: work.who.id,
                caller_name: work.who.name.clone(),
                operations: operations(),
                code: code.as_str().into(),
                reason: reason.clone(),
                element: element.label.clone(),
                weaknesses: element.weaknesses.clone(),
                basis,
            };
            work.entries.push(entry.encode());
        }
        let token = Some(body.clone());
        work.decisions.push(Decision {
            code,
            reason,
            token,
            logged,
            ..Decision::default()
        });
    }
}

/// Whether a request asks for more than [`limits::WORK`].
pub fn too_much(openings: &[Opening]) -> bool {
    openings
        .iter()
        .map(|opening| opening.requests.len())
        .sum::<usize>()
        > limits::WORK
        || openings
            .iter()
            .map(|opening| opening.rows.len())
            .sum::<usize>()
            > limits::WORK
}
