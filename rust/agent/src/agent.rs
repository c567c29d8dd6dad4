//! One agent's memory and judgement: from what a known caller sent to work that may be done, and to its answer.
//!
//! No thread, socket, file or clock is used here: time is handed in, entries and work are handed out. The order
//! for one request is [`Agent::prepare`], the policies that [`missing`] names compiled and [`fill`]ed in,
//! [`Agent::judge`] or [`Agent::judge_seat`] for each item, entries to the log, tasks to
//! [`Hands::perform`](crate::regenerate::Hands::perform), and [`Work::answers`] or [`Work::seated`].

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;

use evanesce_element::Description;
use evanesce_token::{Body, formula};
use evanesce_wire::Id;
use evanesce_wire::merkle::Group;
use evanesce_wire::message::{
    Answers, Code, Context, Entry, EntryOperation, LogProof, Opening, OpeningAnswer, Request,
    SeatAnswer, SeatFault, SeatResult, SeatShare, Seated, SeatedResult, SeatedRow,
};
use evanesce_wire::session::SealingSession;
use sha2::{Digest, Sha256};

use crate::cache::Cache;
use crate::gate::{self, Case, Refusal, Verb};
use crate::known::{Directory, Known};
use crate::limits::{self, Limits};
use crate::policy::Compiled;
use crate::rate::Rate;
use crate::regenerate::{Ask, Outcome, Task};
use crate::replay::Replay;
use crate::sessions::Sessions;
use crate::text::cut;
use crate::tombstones::Tombstones;

/// What an agent says of itself in every entry.
pub struct Me {
    /// Its id.
    pub id: Id,
    /// Its element.
    pub element: Description,
    /// Epochs whose roots the element has.
    pub epochs: Vec<u64>,
}

/// What an agent knows and remembers.
pub struct Agent {
    /// Itself.
    pub me: Me,
    /// Whom it knows.
    pub directory: Directory,
    /// Open sealing sessions.
    pub sessions: Sessions,
    /// What was retired here.
    pub tombstones: Tombstones,
    tokens: Cache<Id, Arc<Subject>>,
    prints: Cache<u64, Id>,
    print_key: RandomState,
    policies: Cache<[u8; 32], Arc<Compiled>>,
    replay: Replay,
    checks: Rate,
    compiles: Rate,
}

/// A token as an agent was shown it.
pub struct Subject {
    body: Arc<Body>,
    /// SHA-256 of the policy; `None` where its length is zero.
    policy: Option<[u8; 32]>,
}

/// A context of a request, made ready to be judged.
#[derive(Clone)]
pub struct Ready {
    subject: Arc<Subject>,
    policy: Option<Arc<Compiled>>,
}

/// One request's share of the agent's work.
pub struct Work {
    /// What is asked.
    pub verb: Verb,
    /// Who asks.
    pub who: Arc<Known>,
    /// The session it came under.
    pub session: Arc<SealingSession>,
    /// One per opening or seat asked for.
    pub decisions: Vec<Decision>,
    /// What is to be done, once the entries are written.
    pub tasks: Vec<Task>,
    /// Log entries, in the order of the decisions that have one.
    pub entries: Vec<Vec<u8>>,
    /// Where the entries are, once they are written.
    pub logged: Option<Logged>,
}

/// A place in the log.
pub struct Logged {
    /// The commit group.
    pub group: Arc<Group>,
    /// Index of the work's first entry.
    pub first: u64,
    /// The group's signed checkpoint.
    pub checkpoint: Arc<str>,
}

/// What was decided about one opening, or one seat.
pub struct Decision {
    /// The code on the wire.
    pub code: Code,
    /// Why it is not done.
    pub reason: String,
    /// The token, where its context is good.
    pub token: Option<Arc<Body>>,
    seat: u32,
    faults: Vec<SeatAnswer>,
    tasks: Range<usize>,
    logged: bool,
}

impl Ready {
    /// The compiled policy, `None` where its length is zero or where no policy is asked. Never `None` because
    /// nobody compiled it.
    fn policy(&self, asked: bool) -> Result<Option<&Compiled>, Refusal> {
        match (self.subject.policy, &self.policy) {
            (Some(_), None) if asked => Err(Refusal::new(
                Code::Overloaded,
                "the token's policy is not compiled yet",
            )),
            (_, policy) => Ok(policy.as_deref()),
        }
    }
}

impl Agent {
    /// An agent that has just started.
    pub fn new(me: Me, directory: Directory, tombstones: Tombstones, limits: &Limits) -> Self {
        let mut key = [0; 16];
        evanesce_secret::random(&mut key);
        Self {
            me,
            directory,
            sessions: Sessions::new(limits.sessions, limits.sessions_per_caller),
            tombstones,
            tokens: Cache::new(limits.token_bytes),
            prints: Cache::new(limits.token_bytes / 16),
            print_key: RandomState::new(),
            policies: Cache::new(limits.policy_bytes),
            replay: Replay::new(limits.request_ids, key),
            checks: Rate::new(limits.checks_per_second, 4 * limits.checks_per_second),
            compiles: Rate::new(limits.compile_per_second, 16 * limits.compile_per_second),
        }
    }

    /// Takes a new directory.
    pub fn know(&mut self, directory: Directory) {
        self.checks.keep(|id| directory.find(id).is_some());
        self.compiles.keep(|id| directory.find(id).is_some());
        self.directory = directory;
    }

    /// Whether `who` may have `seats` more seats checked now (Unix milliseconds).
    pub fn may_check(&mut self, who: &Id, seats: usize, now: u64) -> bool {
        self.checks.take(who, seats as u64, now)
    }

    /// Whether `who` may have this much more policy text compiled now (Unix milliseconds).
    pub fn may_compile(&mut self, who: &Id, bytes: usize, now: u64) -> bool {
        self.compiles.take(who, bytes as u64, now)
    }

    /// Keeps a compiled policy.
    pub fn learn(&mut self, hash: [u8; 32], text: usize, policy: Arc<Compiled>) {
        self.policies.insert(hash, policy, compiled_bytes(text));
    }

    /// Bytes of tokens and of compiled policies remembered.
    pub fn remembered(&self) -> (usize, usize) {
        (
            self.tokens.bytes() + self.prints.bytes(),
            self.policies.bytes(),
        )
    }

    /// Decodes and hashes a context, unless it was seen before.
    pub fn prepare(&mut self, context: Context) -> Result<Ready, Refusal> {
        let subject = match context {
            Context::Known(id) => self.tokens.get(&id).ok_or_else(|| {
                Refusal::new(
                    Code::ContextUnknown,
                    "send the token's header and commitments",
                )
            })?,
            Context::Full {
                header,
                anchor,
                commitments,
                public,
                sealed,
            } => {
                let print =
                    self.print_key
                        .hash_one((&header, &anchor, &commitments, &public, &sealed));
                let seen = self.prints.get(&print).and_then(|id| self.tokens.get(&id));
                let same = |seen: &Arc<Subject>| {
                    let body = &seen.body;
                    body.header_bytes == header
                        && body.anchor == anchor
                        && body.commitments == commitments
                        && body.public_hash == public
                        && body.sealed_hash == sealed
                };
                match seen.filter(same) {
                    Some(seen) => seen,
                    None => {
                        let catalogue = evanesce_suite::catalogue();
                        let body =
                            Body::new(header, anchor, commitments, public, sealed, catalogue)
                                .map_err(|e| Refusal::new(Code::Malformed, e.0))?;
                        self.remember(print, body)
                    }
                }
            }
        };
        let policy = subject.policy.and_then(|hash| self.policies.get(&hash));
        Ok(Ready { subject, policy })
    }

    fn remember(&mut self, print: u64, body: Body) -> Arc<Subject> {
        let text = &body.header.policy;
        let policy = (!text.is_empty()).then(|| Sha256::digest(text.as_bytes()).into());
        // The header twice, as bytes and as read, its quorum as a tree.
        let bytes = 1024 + 3 * body.header_bytes.len() + 96 * body.commitments.len();
        let id = body.id;
        let subject = Arc::new(Subject {
            body: Arc::new(body),
            policy,
        });
        self.prints.insert(print, id, 16);
        self.tokens.insert(id, subject.clone(), bytes);
        subject
    }

    /// Judges one opening of a request at `now` (Unix milliseconds) and adds what follows to `work`.
    pub fn judge(
        &mut self,
        work: &mut Work,
        ready: &Result<Ready, Refusal>,
        opening: Opening,
        now: u64,
    ) {
        let judged_by_policy = work.verb != Verb::Check;
        let ready = ready.as_ref().map_err(Refusal::clone);
        let (ready, policy) =
            match ready.and_then(|ready| Ok((ready, ready.policy(judged_by_policy)?))) {
                Ok(ready) => ready,
                Err(refusal) => return work.refuse(refusal, 0),
            };
        let body = &ready.subject.body;
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
            routed: !mine.is_empty(),
            retired: self.tombstones.contains(&body.id),
            now: now / 1000,
        };
        let verdict = case.decide(&mut self.replay);
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
                    outcome: Outcome::None,
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
        self.note(work, body, verdict, seats, operations, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.faults = if decision.code == Code::Done {
                faults
            } else {
                Vec::new()
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
        let ready = ready.as_ref().map_err(Refusal::clone);
        let (ready, policy) = match ready.and_then(|ready| Ok((ready, ready.policy(true)?))) {
            Ok(ready) => ready,
            Err(refusal) => return work.refuse(refusal, share.seat),
        };
        let body = &ready.subject.body;
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
            None => Ok(()),
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
                outcome: Outcome::None,
            });
        }
        self.note(work, body, verdict, vec![share.seat], Vec::new, now);
        if let Some(decision) = work.decisions.last_mut() {
            decision.seat = share.seat;
            decision.tasks = first..work.tasks.len();
        }
    }

    /// Adds a decision and its log entry. What says nothing about a token's use is not logged: a check, a
    /// malformed opening, and one that was turned away for want of room.
    fn note(
        &self,
        work: &mut Work,
        body: &Arc<Body>,
        verdict: Result<(), Refusal>,
        seats: Vec<u32>,
        operations: impl FnOnce() -> Vec<EntryOperation>,
        now: u64,
    ) {
        let (code, reason) = match verdict {
            Ok(()) => (Code::Done, String::new()),
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

/// The policies that must be compiled before `ready` can be judged, by hash, each once.
pub fn missing(ready: &[Result<Ready, Refusal>]) -> Vec<([u8; 32], Arc<Body>)> {
    let mut missing: Vec<([u8; 32], Arc<Body>)> = Vec::new();
    for ready in ready.iter().flatten() {
        if let (Some(hash), None) = (ready.subject.policy, &ready.policy)
            && !missing.iter().any(|(other, _)| *other == hash)
        {
            missing.push((hash, ready.subject.body.clone()));
        }
    }
    missing
}

/// Gives what waits for the policy `hash` the compiled policy, or the refusal in its place.
pub fn fill(
    ready: &mut [Result<Ready, Refusal>],
    hash: &[u8; 32],
    policy: &Result<Arc<Compiled>, Refusal>,
) {
    for one in ready.iter_mut() {
        let Ok(waiting) = one else { continue };
        if waiting.subject.policy != Some(*hash) {
            continue;
        }
        match policy {
            Ok(policy) => waiting.policy = Some(policy.clone()),
            Err(refusal) => *one = Err(refusal.clone()),
        }
    }
}

/// Bytes reckoned for a compiled policy of `text` bytes, measured on Cedar 4.14 and rounded up.
fn compiled_bytes(text: usize) -> usize {
    8 * 1024 + 64 * text
}

impl Default for Decision {
    fn default() -> Self {
        Self {
            code: Code::Done,
            reason: String::new(),
            token: None,
            seat: 0,
            faults: Vec::new(),
            tasks: 0..0,
            logged: false,
        }
    }
}

impl Work {
    /// Nothing yet.
    pub fn new(verb: Verb, who: Arc<Known>, session: Arc<SealingSession>, items: usize) -> Self {
        Self {
            verb,
            who,
            session,
            decisions: Vec::with_capacity(items),
            tasks: Vec::with_capacity(items),
            entries: Vec::with_capacity(items),
            logged: None,
        }
    }

    fn refuse(&mut self, refusal: Refusal, seat: u32) {
        let reason = cut(&refusal.reason, limits::REASON);
        self.decisions.push(Decision {
            code: refusal.code,
            reason,
            seat,
            ..Decision::default()
        });
    }

    /// Takes back everything that was permitted, since it could not be logged.
    pub fn withdraw(&mut self, why: &str) {
        self.tasks.clear();
        for decision in &mut self.decisions {
            decision.tasks = 0..0;
            decision.faults.clear();
            if decision.code == Code::Done {
                decision.code = Code::Refused;
                decision.reason = cut(why, limits::REASON);
            }
        }
    }

    /// Tokens that `retire` is to tombstone: those of which a share was regenerated.
    pub fn retired(&self) -> Vec<Id> {
        let good = |decision: &&Decision| {
            self.tasks[decision.tasks.clone()]
                .iter()
                .any(|task| matches!(task.outcome, Outcome::Seat(SeatResult::Good, _)))
        };
        self.decisions
            .iter()
            .filter(good)
            .filter_map(|d| Some(d.token.as_ref()?.id))
            .collect()
    }

    fn proofs(&mut self) -> (String, impl FnMut(bool) -> Option<LogProof> + use<>) {
        let logged = self.logged.take();
        let checkpoint = logged
            .as_ref()
            .map_or_else(String::new, |l| l.checkpoint.to_string());
        let mut entries = std::mem::take(&mut self.entries).into_iter();
        let mut index = logged.as_ref().map_or(0, |l| l.first);
        let next = move |wanted: bool| {
            let group = &logged.as_ref().filter(|_| wanted)?.group;
            let proof = LogProof {
                entry: entries.next()?,
                index,
                path: group.path(index),
            };
            index += 1;
            Some(proof)
        };
        (checkpoint, next)
    }

    /// The answer to `contribute`, `check` or `retire`.
    pub fn answers(mut self) -> Answers {
        let (checkpoint, mut proof) = self.proofs();
        let mut tasks = self.tasks.into_iter();
        let openings =
            self.decisions
                .into_iter()
                .map(|decision| {
                    let mut seats = decision.faults;
                    seats.extend(tasks.by_ref().take(decision.tasks.len()).map(|task| {
                        SeatAnswer {
                            seat: task.seat,
                            result: match task.outcome {
                                Outcome::Seat(result, _) => result,
                                _ => SeatResult::Fault(SeatFault::ElementUnavailable),
                            },
                        }
                    }));
                    let receipt = proof(decision.logged);
                    OpeningAnswer {
                        code: decision.code,
                        reason: decision.reason,
                        seats,
                        receipt,
                    }
                })
                .collect();
        Answers {
            checkpoint,
            openings,
        }
    }

    /// The answer to `seat`.
    pub fn seated(mut self) -> Seated {
        let (checkpoint, mut proof) = self.proofs();
        let mut tasks = self.tasks.into_iter();
        let seats = self
            .decisions
            .into_iter()
            .map(|decision| {
                let done = tasks
                    .by_ref()
                    .take(decision.tasks.len())
                    .last()
                    .map(|task| task.outcome);
                let result = match done {
                    Some(Outcome::Row {
                        epoch,
                        correction,
                        signature,
                    }) => SeatedResult::Row {
                        epoch,
                        correction,
                        signature,
                    },
                    Some(Outcome::NotSeated(reason)) => SeatedResult::Refused { reason },
                    Some(_) => SeatedResult::Refused {
                        reason: "the agent did not finish".into(),
                    },
                    None => SeatedResult::Refused {
                        reason: decision.reason,
                    },
                };
                SeatedRow {
                    seat: decision.seat,
                    result,
                    receipt: proof(decision.logged),
                }
            })
            .collect();
        Seated { checkpoint, seats }
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
