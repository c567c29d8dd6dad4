//! Operations: begun, planned, handed to the crucible, ended.

use std::cmp::Reverse;
use std::sync::Arc;

use evanesce_wire::Id;

use crate::answers::blame;
use crate::error::{Code, Error};
use crate::fault::Trouble;
use crate::io::opening::Opening;
use crate::io::recent::Recent;
use crate::open::{Bad, Failure, HowFar, OpenTask, Opened, SealedShare};
use crate::operation::{Outcome, Reply};
use crate::outbox::Ask;
use crate::plan::{Next, Outlook, Plan};
use crate::work::Work;

use super::{Driver, HEDGE_EVERY, HEDGES_SAVED, SWEEP_SOON, Seatholder, UNDER_WAY};

impl Driver {
    pub(super) fn begin(&mut self, work: Work, done: Reply<Outcome>) {
        if self.openings.len() >= UNDER_WAY {
            let message = format!("{UNDER_WAY} operations are under way");
            return done.send(Err(Error::new(
                Code::Overloaded,
                message,
                "Wait for some of them.",
            )));
        }
        let holders: Vec<Option<usize>> = work
            .token
            .rows
            .iter()
            .map(|row| self.directory.by_id(&row.holder))
            .collect();
        let Some((work, done)) = self.elsewhere(work, done) else {
            return;
        };
        let budget = work.budget.as_micros().min(1 << 40) as u64;
        let key = self.next_key;
        self.next_key += 1;
        self.hedges = (self.hedges + 1).min(HEDGE_EVERY * HEDGES_SAVED);
        let mut opening = Opening {
            plan: Plan::new(holders, self.now, budget, self.settings.hedge),
            work: Arc::new(work),
            sealed: Vec::new(),
            kept: Vec::new(),
            details: Vec::new(),
            receipts: Vec::new(),
            busy: false,
            timer: u64::MAX,
            deadline: self.now + budget,
            done,
        };
        opening.leave_out_unnamed();
        self.openings.insert(key, opening);
        self.advance(key);
    }

    /// Has an operation done by the reconstructor elsewhere, if there is one; gives it back if there is none.
    fn elsewhere(&mut self, work: Work, done: Reply<Outcome>) -> Option<(Work, Reply<Outcome>)> {
        let Some(remote) = self.remote.clone() else {
            return Some((work, done));
        };
        if self.side_tasks >= UNDER_WAY {
            let message = format!("{UNDER_WAY} operations are under way");
            let hint = "Wait for some of them.";
            done.send(Err(Error::new(Code::Overloaded, message, hint)));
            return None;
        }
        self.aside(async move { done.send(remote.operate(work).await) });
        None
    }

    /// Lets the plan say what is next for an opening, and does it.
    pub(super) fn advance(&mut self, key: u64) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if opening.busy {
            return;
        }
        let work = opening.work.clone();
        let holders = &self.holders;
        let mut view = View {
            holders,
            recent: &self.recent,
            token: work.token.id(),
            now: self.now,
            hedges: &mut self.hedges,
        };
        let plan = &mut opening.plan;
        let step = work.with_goal(|goal| plan.advance(self.now, goal, &mut view));
        match step.next {
            Next::Wait(until) if until < opening.timer => {
                opening.timer = until;
                self.timers.push(Reverse((until, key)));
            }
            Next::Wait(_) => {}
            Next::Open(seats) => {
                opening.busy = true;
                let needed = |share: &SealedShare| seats.contains(&share.seat);
                let (sealed, spare) = std::mem::take(&mut opening.sealed)
                    .into_iter()
                    .partition(needed);
                opening.sealed = spare;
                let task = OpenTask {
                    sealed,
                    kept: std::mem::take(&mut opening.kept),
                    finish: true,
                    verify_before_release: self.settings.verify_before_release,
                    runtime: self.settings.runtime.clone(),
                    work: work.clone(),
                };
                self.tasks.push((key, task));
            }
            Next::Fail => {
                if let Some(mut opening) = self.openings.remove(&key) {
                    self.note_late(&opening);
                    for (place, holder) in self.holders.iter().enumerate() {
                        if holder.outbox.holds(key) && holder.link.live().is_none() {
                            opening.plan.unreached(place);
                        }
                    }
                    self.note_owed(&opening);
                    let directory = self.directory.clone();
                    opening.fail(&directory);
                }
                return;
            }
        }
        for ask in step.asks {
            let holder = &mut self.holders[ask.holder];
            let cold = holder.link.live().is_none();
            holder.outbox.push(Ask {
                key,
                work: work.clone(),
                seats: ask.seats,
                at: self.now,
                cold,
                again: false,
            });
            self.mark(ask.holder);
        }
    }

    /// When something is due next.
    pub(super) fn next_alarm(&mut self) -> Option<u64> {
        // Most timers are those of openings that have ended in good time.
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if self
                .openings
                .get(&key)
                .is_some_and(|opening| opening.timer == at)
            {
                return Some(at.min(self.next_sweep));
            }
            self.timers.pop();
        }
        (self.next_sweep != u64::MAX).then_some(self.next_sweep)
    }

    /// Timers that have gone off.
    pub(super) fn ring(&mut self) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            let Some(opening) = self.openings.get_mut(&key) else {
                continue;
            };
            if opening.timer != at {
                continue;
            }
            opening.timer = u64::MAX;
            self.advance(key);
            self.keep_early(key);
        }
        if self.now >= self.next_sweep {
            self.sweep();
        }
    }

    /// An opening that waits for someone late has its shares checked and kept meanwhile: a sealed one can only be
    /// opened while the session's counter has not gone far beyond it.
    pub(super) fn keep_early(&mut self, key: u64) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if opening.busy || opening.sealed.is_empty() {
            return;
        }
        opening.busy = true;
        let task = OpenTask {
            work: opening.work.clone(),
            sealed: std::mem::take(&mut opening.sealed),
            kept: std::mem::take(&mut opening.kept),
            finish: false,
            verify_before_release: false,
            runtime: None,
        };
        self.tasks.push((key, task));
    }

    /// What the crucible made of openings.
    pub(super) fn opened(&mut self, results: Vec<(u64, Opened)>) {
        for (key, opened) in results {
            match opened.how_far {
                HowFar::Finished | HowFar::BrokeOff => {
                    let Some(opening) = self.openings.remove(&key) else {
                        continue;
                    };
                    let result = match opened.failure {
                        Some(failure) => Err(failure),
                        None if opened.how_far == HowFar::BrokeOff => {
                            Err(Box::new(Failure::Panicked))
                        }
                        None => Ok(opened.outputs),
                    };
                    self.note_late(&opening);
                    self.note_owed(&opening);
                    let (directory, now) = (self.directory.clone(), self.now);
                    opening.finish(now, result, &directory);
                }
                HowFar::Partly => {
                    let Some(opening) = self.openings.get_mut(&key) else {
                        continue;
                    };
                    opening.busy = false;
                    opening.kept.extend(opened.kept);
                    for (seat, why) in opened.bad {
                        self.bad_share(key, seat, why);
                    }
                    self.touched.push(key);
                }
            }
        }
    }

    pub(super) fn bad_share(&mut self, key: u64, seat: u32, why: Bad) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        let token = opening.work.token.clone();
        let Some(place) = opening.plan.holder(seat) else {
            return;
        };
        let (trouble, detail) = match (why, self.holders[place].link.live()) {
            (Bad::Mismatch, Some(live)) => blame(&token, seat, &live.peer),
            (Bad::Mismatch, None) => (
                Trouble::Lied,
                "its share is not the one committed to".into(),
            ),
            (Bad::Unsealable, _) => (
                Trouble::Lied,
                "its share does not open under its session".into(),
            ),
        };
        self.trouble(key, place, seat, trouble, detail);
    }

    /// Something is wrong at a seat of an opening.
    pub(super) fn trouble(
        &mut self,
        key: u64,
        place: usize,
        seat: u32,
        trouble: Trouble,
        detail: String,
    ) {
        if trouble.is_of_holder()
            || matches!(
                trouble,
                Trouble::Lied | Trouble::ElementUnavailable | Trouble::Slow
            )
        {
            self.holders[place].latency.failed(self.now);
        }
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if !trouble.is_of_holder() && trouble != Trouble::Slow {
            self.recent.note(opening.work.token.id(), seat, self.now);
        }
        opening.plan.note(seat, Err(trouble));
        opening.details.push((seat, detail));
    }

    /// Holders that owe an answer still, though it is late, are avoided for a while.
    pub(super) fn note_late(&mut self, opening: &Opening) {
        let slow = opening
            .plan
            .troubles()
            .filter(|(_, trouble)| *trouble == Trouble::Slow)
            .map(|(seat, _)| seat);
        for seat in slow.chain(opening.plan.late(self.now)) {
            if let Some(place) = opening.plan.holder(seat) {
                self.holders[place].latency.failed(self.now);
            }
        }
    }

    /// Requests may be under way that nobody waits for any more. Most openings end with every answer in, and
    /// then this costs nothing.
    fn note_owed(&mut self, opening: &Opening) {
        if opening.plan.owed() {
            self.next_sweep = self.next_sweep.min(self.now + SWEEP_SOON);
        }
    }
}

/// The holders as one opening's plan sees them.
struct View<'a> {
    holders: &'a [Seatholder],
    recent: &'a Recent,
    token: &'a Id,
    now: u64,
    hedges: &'a mut u32,
}

impl Outlook for View<'_> {
    fn expected(&self, holder: usize) -> Option<u64> {
        self.holders[holder].latency.expected(self.now)
    }

    fn patience(&self, holder: usize) -> u64 {
        let holder = &self.holders[holder];
        holder
            .latency
            .patience(self.now, holder.link.live().is_some())
    }

    fn avoided(&self, seat: usize, holder: usize) -> bool {
        self.holders[holder].latency.avoided(self.now)
            || self.recent.failed(self.token, seat as u32, self.now)
    }

    fn may_hedge(&mut self) -> bool {
        let enough = *self.hedges >= HEDGE_EVERY;
        if enough {
            *self.hedges -= HEDGE_EVERY;
        }
        enough
    }
}
