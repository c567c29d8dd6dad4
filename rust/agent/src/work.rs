//! One request's work on its way: decided, logged, done, answered.
//!
//! Decisions, tasks and entries are in the request's order, and keep it.

use evanesce_token::text::cut;
use std::ops::Range;
use std::sync::Arc;

use evanesce_wire::Id;
use evanesce_wire::merkle::Group;
use evanesce_wire::message::{
    Answers, Code, Counted, Entry, LogProof, OpeningAnswer, SeatAnswer, SeatFault, SeatResult,
    Seated, SeatedResult, SeatedRow,
};
use evanesce_wire::session::SealingSession;

use crate::gate::{FROZEN, REVOKED, Refusal, Verb};
use crate::known::Known;
use crate::limits;
use crate::orders::Book;
use crate::regenerate::{Outcome, Task};
use crate::room::Room;
use crate::subject::Subject;
use crate::threshold::Errand;
use crate::tombstones::Retired;

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
    /// The same for a token of the second kind, of the work's one decision.
    pub errand: Option<Box<Errand>>,
    /// Log entries, in the order of the decisions that have one.
    pub entries: Vec<Vec<u8>>,
    /// Where the entries are, once they are written.
    pub logged: Option<Logged>,
    /// What the request takes up until it is answered.
    pub room: Option<Room>,
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
    pub token: Option<Subject>,
    /// The seat, of a seating.
    pub seat: u32,
    /// Seats that are answered without asking the element.
    pub faults: Vec<SeatAnswer>,
    /// What is to be done for it, of [`Work::tasks`].
    pub tasks: Range<usize>,
    /// Whether something else is done in consequence: for a token of the second kind.
    pub follows: bool,
    /// Whether it has an entry.
    pub logged: bool,
    /// What was counted as a use of the key.
    pub counted: Option<Counted>,
    /// The grants that it was asked under.
    pub grants: Vec<Id>,
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
            follows: false,
            logged: false,
            counted: None,
            grants: Vec::new(),
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
            errand: None,
            entries: Vec::with_capacity(items),
            logged: None,
            room: None,
        }
    }

    /// Adds a decision that nothing follows from, and that is not logged.
    pub fn refuse(&mut self, refusal: Refusal, seat: u32) {
        let reason = cut(&refusal.reason, limits::REASON);
        self.decisions.push(Decision {
            code: refusal.code,
            reason,
            seat,
            ..Decision::default()
        });
    }

    /// Takes back everything that was permitted, since it could not be logged.
    pub fn withdraw(&mut self, code: Code, why: &str) {
        self.tasks.clear();
        self.errand = None;
        for decision in &mut self.decisions {
            decision.tasks = 0..0;
            decision.faults.clear();
            if matches!(decision.code, Code::Done | Code::Unrouted) {
                decision.code = code;
                decision.reason = cut(why, limits::REASON);
            }
        }
    }

    /// Whether a share was regenerated for this decision: what `retire` demands of whoever would have a token
    /// tombstoned.
    pub fn proven(&self, decision: &Decision) -> bool {
        self.tasks[decision.tasks.clone()]
            .iter()
            .any(|task| matches!(task.done.outcome(), Outcome::Seat(SeatResult::Good, _)))
    }

    /// Takes back what was permitted for tokens that were `retired` or frozen since, or under grants that were revoked:
    /// decisions, entries and tasks.
    pub fn bar(&mut self, retired: &Retired, orders: &Book) {
        let verb = self.verb;
        let barred = |decision: &Decision| {
            // Where there is no task, nothing would be released either way.
            let something = !decision.tasks.is_empty() || decision.follows;
            let token = decision.token.as_ref().filter(|_| something)?.judged();
            if retired.contains(token.id()) {
                let code = match verb {
                    Verb::Seat => Code::Refused,
                    _ => Code::Retired,
                };
                return Some((code, "the token was retired here"));
            }
            if verb != Verb::Retire && orders.is_frozen(token.id()) {
                return Some((Code::Refused, FROZEN));
            }
            let mut grants = decision.grants.iter();
            let ended = grants.any(|grant| orders.ended().contains(grant));
            ended.then_some((Code::Refused, REVOKED))
        };
        if !self.decisions.iter().any(|one| barred(one).is_some()) {
            return;
        }
        let mut tasks = std::mem::take(&mut self.tasks).into_iter();
        let mut entries = self.entries.iter_mut();
        for decision in &mut self.decisions {
            let entry = decision.logged.then(|| entries.next()).flatten();
            let own = tasks.by_ref().take(decision.tasks.len());
            let first = self.tasks.len();
            if let Some((refusal, why)) = barred(decision) {
                own.for_each(drop);
                self.errand = None;
                decision.faults.clear();
                decision.code = refusal;
                decision.reason = why.into();
                // It was encoded here and decodes; one that did not would record what was decided first.
                if let Some(entry) = entry
                    && let Ok(decided) = Entry::decode(entry)
                {
                    let (code, reason) = (refusal.as_str().into(), decision.reason.clone());
                    *entry = Entry {
                        code,
                        reason,
                        ..decided
                    }
                    .encode();
                }
            } else {
                self.tasks.extend(own);
            }
            decision.tasks = first..self.tasks.len();
        }
    }

    /// Tokens under which uses were counted, and what was, where a share was regenerated for it.
    pub fn counted(&self) -> impl Iterator<Item = (&Id, Option<&Counted>)> {
        self.decisions.iter().filter_map(|decision| {
            let counted = decision.counted.as_ref()?;
            let regenerated = self.tasks[decision.tasks.clone()].iter().any(|task| {
                let outcome = task.done.outcome();
                matches!(outcome, Outcome::Seat(SeatResult::Share { .. }, _))
            });
            let regenerated = regenerated || self.errand.as_ref().is_some_and(|e| e.is_done());
            Some((
                decision.token.as_ref()?.judged().id(),
                regenerated.then_some(counted),
            ))
        })
    }

    /// Tokens that `retire` is to tombstone.
    pub fn retired(&self) -> Vec<Id> {
        self.decisions
            .iter()
            .filter(|decision| self.proven(decision))
            .filter_map(|d| Some(*d.token.as_ref()?.judged().id()))
            .collect()
    }

    /// The checkpoint and the receipt of the work's one decision.
    pub fn receipt(&mut self) -> (String, Option<LogProof>) {
        let logged = self.decisions.first().is_some_and(|one| one.logged);
        let (checkpoint, mut proof) = self.proofs();
        (checkpoint, proof(logged))
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
                            result: match task.done.outcome() {
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
                    .map(|task| task.done.outcome());
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
