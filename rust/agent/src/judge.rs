//! Judging openings and seatings, each as a whole, and what follows: a decision, its log entry, tasks.

use evanesce_token::formula;
use evanesce_token::text::cut;
use evanesce_wire::message::{
    Basis, Code, Entry, EntryOperation, Opening, Request, SeatAnswer, SeatResult, SeatShare,
};

use crate::agent::Agent;
use crate::gate::{self, Case, Inputs, Refusal, Verb};
use crate::known::Known;
use crate::limits;
use crate::proven;
use crate::regenerate::{Ask, Done, Task};
use crate::shown::Ready;
use crate::subject::Subject;
use crate::uses::Account;
use crate::work::{Decision, Work};
use evanesce_policy::{Bound, Compiled, Uses};

impl Agent {
    /// Judges one opening of a request, the system's clock saying `now` (Unix milliseconds), and adds what follows to `work`.
    pub fn judge(
        &mut self,
        work: &mut Work,
        ready: &Result<Ready, Refusal>,
        opening: Opening,
        now: u64,
    ) {
        self.judge_of(work, ready, opening, &[], now);
    }

    /// The same, with what the requests' input digests are of, which verbs of the second kind are given.
    pub fn judge_of(
        &mut self,
        work: &mut Work,
        ready: &Result<Ready, Refusal>,
        opening: Opening,
        inputs: &[Option<Inputs<'_>>],
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
        let what = ready.subject();
        let kind = match work.verb.second() {
            true => what.second().map(|_| None),
            false => what.first().map(Some),
        };
        let first_kind = match kind {
            Ok(first) => first,
            Err(refusal) => return work.refuse(refusal, 0),
        };
        let body = what.judged();
        let decoded = opening.requests.iter().map(|bytes| Request::decode(bytes));
        let requests = match decoded.collect::<Result<Vec<_>, _>>() {
            Ok(requests) => requests,
            Err(e) => return work.refuse(Refusal::new(Code::Malformed, e.to_string()), 0),
        };
        if let Some(row) = opening
            .rows
            .iter()
            .find(|r| r.seat as usize >= body.seats())
        {
            let why = format!("seat {} of {}", row.seat, body.seats());
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
        let parts: Vec<&[u8]> = opening.requests.iter().map(Vec::as_slice).collect();
        let request = formula::request_hash(&parts);
        let (verb, evidence) = (work.verb, &opening.evidence);
        let asker = proven::asker(verb, &work.who, evidence, &request, &self.directory);
        // What is not proven is the carrier's own doing.
        let (who, unproven) = match asker {
            Ok(who) => (who, None),
            Err(why) => (work.who.clone(), Some(why)),
        };
        // Whatever releases a share is a use; for other verbs the policy sees how many there were.
        let counted = policy.is_some_and(Compiled::counts);
        let counts = verb.operates() && counted;
        // Other verbs take none, and say so.
        let shown = match verb {
            _ if verb.operates() => &evidence.grants[..],
            _ => &[],
        };
        let delegated = self
            .grants
            .read(shown, &self.directory, self.orders.ended());
        let chain = match &delegated {
            Ok(Some(delegated)) => &delegated.chain[..],
            _ => &[],
        };
        // What is done under a grant is the first grantor's use.
        let of = chain.first().map_or(who.id, |first| first.grant.grantor);
        let account = Account {
            token: body.id(),
            replaces: body.replaces(),
            of: &of,
        };
        let (count, mut over) = (requests.len() as u64, None);
        let mut bounds: &[Bound] = &[];
        if counts {
            match ready.bounds() {
                Ok(found) => bounds = found,
                Err(why) => over = Some(why.to_owned()),
            }
        }
        let mut before = Uses::default();
        if counted || !chain.is_empty() {
            let uses = self.uses.lock();
            if counted {
                before = uses.before(account);
            }
            over = over
                .or_else(|| uses.refuses(account, bounds, count, now))
                .or_else(|| uses.refuses_grants(chain, count));
        }
        let case = Case {
            verb,
            who: &who,
            unproven: unproven.as_ref(),
            session: &work.session.id,
            body,
            policy,
            requests: &requests,
            salts: &opening.salts,
            inputs,
            evidence,
            directory: &self.directory,
            used: &self.used,
            retired: self.tombstones.contains(body.id()),
            frozen: self.orders.is_frozen(body.id()),
            delegated: delegated.as_ref().map(Option::as_ref),
            uses: before,
            over: over.as_deref(),
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
        let grants: Vec<_> = chain.iter().map(|given| given.id).collect();
        basis.grants.clone_from(&grants);
        basis.reconstructor = (who.id != work.who.id).then_some(work.who.id);
        if matches!(verdict, Ok(Code::Done)) {
            self.used.spend(&who.id, &basis.approvals, now / 1000);
            let mut uses = self.uses.lock();
            uses.spend_grants(chain, count, now / 1000);
            basis.uses = counts.then(|| uses.spend(account, bounds, count, now));
        } else {
            // Nothing follows from it, so that nothing was used up either.
            basis.approvals.clear();
        }
        let counted = basis.uses.clone();
        let first = work.tasks.len();
        if let (Ok(_), Some(body)) = (&verdict, first_kind) {
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
        self.note(work, &who, basis, what, verdict, seats, operations, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.counted = counted;
            decision.grants = grants;
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
        let what = ready.subject();
        let body = match what.first() {
            Ok(body) => body,
            Err(refusal) => return work.refuse(refusal, share.seat),
        };
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
            None if self.orders.is_frozen(&body.id) => refused(gate::FROZEN.into()),
            None => match ready.bounds() {
                Ok(_) => Ok(Code::Done),
                Err(why) => refused(format!("the policy cannot be enforced: {why}")),
            },
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
        let (who, basis, seats) = (work.who.clone(), Basis::default(), vec![share.seat]);
        self.note(work, &who, basis, what, verdict, seats, Vec::new, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.seat = share.seat;
            decision.tasks = first..work.tasks.len();
        }
    }

    /// Adds a decision and its log entry. What says nothing about a token's use is not logged: a check, a
    /// malformed opening, and one that was turned away for want of room.
    #[allow(clippy::too_many_arguments)] // what an entry says
    pub fn note(
        &self,
        work: &mut Work,
        who: &Known,
        basis: Basis,
        what: &Subject,
        verdict: Result<Code, Refusal>,
        seats: Vec<u32>,
        operations: impl FnOnce() -> Vec<EntryOperation>,
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
                token: *what.judged().id(),
                key_name: what.judged().name().into(),
                seats,
                caller: who.id,
                caller_name: who.name.clone(),
                operations: operations(),
                code: code.as_str().into(),
                reason: reason.clone(),
                element: element.label.clone(),
                weaknesses: element.weaknesses.clone(),
                basis,
            };
            work.entries.push(entry.encode());
        }
        let token = Some(what.clone());
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
