//! Whom to ask, and when to stop: the state of one opening (PROTOCOL §6.2 to §6.4).
//!
//! Pure: what happened is [noted](Plan::note), then [`Plan::advance`] says what to do next. It knows no
//! share, no connection and no clock but the microseconds it is given.
//!
//! Promised: no seat is asked twice; [`Next::Open`] only with a sufficient set; an answer by the deadline;
//! before giving up, every seat that could still help has been asked. The fastest sufficient set is asked
//! first. One answer that is later than usual for its holder costs one hedge; a refusal or a fault is made
//! up for at once; one that stays away much longer counts as missing and is made up for as well; when half
//! the time has gone, everybody left is asked. A late answer is still welcome.

use evanesce_token::Gate;

use crate::fault::Trouble;

/// What is known of the holders, injected.
pub trait Outlook {
    /// How soon an answer is expected of this holder, in µs; `None` if it never answered.
    fn expected(&self, holder: usize) -> Option<u64>;
    /// How long after asking this holder an answer is late, in µs.
    fn patience(&self, holder: usize) -> u64;
    /// Whether this seat is better not asked while others suffice: it or its holder failed lately.
    fn avoided(&self, seat: usize, holder: usize) -> bool;
    /// Whether one more hedge is within what hedges may cost; counts it if so.
    fn may_hedge(&mut self) -> bool;
}

/// What is asked for: which sets of seats suffice, and which of them is best.
pub trait Goal {
    /// Whether the seats marked in `have` suffice.
    fn satisfied(&self, have: &[bool]) -> bool;
    /// A best sufficient set, ascending; `None` in `cost` is a seat that cannot be had.
    fn cheapest(&self, cost: &[Option<u64>]) -> Option<Vec<usize>>;
}

/// To open: the seed.
impl Goal for Gate {
    fn satisfied(&self, have: &[bool]) -> bool {
        self.satisfied(have)
    }

    fn cheapest(&self, cost: &[Option<u64>]) -> Option<Vec<usize>> {
        self.cheapest(cost)
    }
}

/// To repair: the seed, and the share of a seat that is lost.
pub struct Reseat<'a> {
    /// The quorum.
    pub quorum: &'a Gate,
    /// The lost seat.
    pub seat: usize,
}

impl Goal for Reseat<'_> {
    fn satisfied(&self, have: &[bool]) -> bool {
        let cost: Vec<Option<u64>> = have.iter().map(|have| have.then_some(0)).collect();
        self.cheapest(&cost).is_some()
    }

    fn cheapest(&self, cost: &[Option<u64>]) -> Option<Vec<usize>> {
        self.quorum.cheapest_to_reseat(self.seat, cost)
    }
}

/// One seat's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Idle,
    Asked {
        /// From here on it is later than usual.
        late: u64,
        /// From here on it counts as missing.
        missing: u64,
    },
    /// A share came; whether it is good, its commitment tells when it is opened.
    Had,
    Failed(Trouble),
}

/// Ask this holder for these seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Place in the directory.
    pub holder: usize,
    /// Seat numbers.
    pub seats: Vec<u32>,
}

/// What comes after the asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for answers; call again at this time at the latest.
    Wait(u64),
    /// These seats suffice: open their shares. Should one be bad, note it and advance again.
    Open(Vec<u32>),
    /// It cannot be done; [`Plan::troubles`] says why.
    Fail,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// First ask these.
    pub asks: Vec<Ask>,
    /// Then do this.
    pub next: Next,
}

// Costs by which a sufficient set is chosen, each dearer than any sum of those before it.
const ASKED: u64 = 1;
const UNKNOWN: u64 = 2;
/// Answer times are capped here: about a minute.
const LONGEST: u64 = 1 << 26;
const LATE: u64 = 1 << 40;
const AVOIDED: u64 = 1 << 44;
const MISSING: u64 = 1 << 50;

/// An answer counts as missing after this many times its patience, and not before [`MISSING_LEAST`] µs.
const MISSING_AFTER: u64 = 3;
const MISSING_LEAST: u64 = 100_000;

/// One opening.
pub struct Plan {
    seats: Vec<Seat>,
    holders: Vec<Option<usize>>,
    started: u64,
    deadline: u64,
    may_hedge: bool,
    last_call: bool,
    /// Something happened that may call for asking someone.
    changed: bool,
    wake: u64,
}

impl Plan {
    /// An opening begun `now`, to be answered within `budget` µs. `holders` names who sits where, in seat
    /// order; `None` is a holder that is not in the directory and cannot be asked.
    pub fn new(holders: Vec<Option<usize>>, now: u64, budget: u64, hedge: bool) -> Self {
        let seat = |holder: &Option<usize>| match holder {
            Some(_) => Seat::Idle,
            None => Seat::Failed(Trouble::UnknownHolder),
        };
        Self {
            seats: holders.iter().map(seat).collect(),
            holders,
            started: now,
            deadline: now.saturating_add(budget),
            may_hedge: hedge,
            last_call: false,
            changed: true,
            wake: now,
        }
    }

    /// A share of `seat` came, or why there is none. What was not asked, and what is settled, stays as it is.
    pub fn note(&mut self, seat: u32, outcome: Result<(), Trouble>) {
        let Some(state) = self.seats.get_mut(seat as usize) else {
            return;
        };
        match (*state, outcome) {
            (Seat::Asked { .. }, Ok(())) => *state = Seat::Had,
            (Seat::Asked { .. } | Seat::Had, Err(trouble)) => {
                *state = Seat::Failed(trouble);
                self.changed = true;
            }
            _ => return,
        }
        if let (Err(trouble), Some(holder)) = (outcome, self.holders[seat as usize])
            && trouble.is_of_holder()
        {
            self.give_up_on(holder, trouble);
        }
    }

    /// `holder` was never reached: what looked slow at the end was not even asked.
    pub fn unreached(&mut self, holder: usize) {
        for (state, sits) in self.seats.iter_mut().zip(&self.holders) {
            if *sits == Some(holder) && *state == Seat::Failed(Trouble::Slow) {
                *state = Seat::Failed(Trouble::Unreachable);
            }
        }
    }

    /// Nothing is to be had of `holder`, at any seat.
    pub fn give_up_on(&mut self, holder: usize, trouble: Trouble) {
        for (state, sits) in self.seats.iter_mut().zip(&self.holders) {
            if *sits == Some(holder) && matches!(state, Seat::Idle | Seat::Asked { .. }) {
                *state = Seat::Failed(trouble);
                self.changed = true;
            }
        }
    }

    /// What to do next. `gate` is the quorum whose seats these are, or what is wanted of it.
    pub fn advance(&mut self, now: u64, gate: &dyn Goal, outlook: &mut dyn Outlook) -> Step {
        if let Some(seats) = self.sufficient(gate) {
            return Step {
                asks: Vec::new(),
                next: Next::Open(seats),
            };
        }
        if now >= self.deadline {
            return self.fail();
        }
        if !self.changed && now < self.wake {
            return Step {
                asks: Vec::new(),
                next: Next::Wait(self.wake),
            };
        }
        self.changed = false;
        let mut asks = Vec::new();
        match gate.cheapest(&self.costs(now, outlook, ASKED)) {
            Some(set) => {
                self.ask(set.into_iter(), now, outlook, &mut asks);
                if self.may_hedge && self.anyone_late(now) {
                    self.hedge(now, gate, outlook, &mut asks);
                }
                if !self.last_call && now >= self.half_time() {
                    self.last_call = true;
                    self.ask(0..self.seats.len(), now, outlook, &mut asks);
                }
            }
            None => {
                // It cannot succeed any more. Answers on their way still tell whose fault it is, and "the token
                // was altered" is only said when nobody at all can regenerate a share of it.
                let waiting = self
                    .seats
                    .iter()
                    .any(|s| matches!(s, Seat::Asked { missing, .. } if now < *missing));
                if !waiting {
                    if !self.seats.contains(&Seat::Idle) || !self.nobody_was_able() {
                        return self.fail();
                    }
                    self.ask(0..self.seats.len(), now, outlook, &mut asks);
                }
            }
        }
        self.wake = self.next_change(now);
        Step {
            asks,
            next: Next::Wait(self.wake),
        }
    }

    /// The trouble at each seat that had one, holders that were never asked for want of knowing them included.
    pub fn troubles(&self) -> impl Iterator<Item = (u32, Trouble)> + '_ {
        self.seats
            .iter()
            .zip(0..)
            .filter_map(|(state, seat)| match state {
                Seat::Failed(trouble) => Some((seat, *trouble)),
                _ => None,
            })
    }

    /// Whether a share was had from any seat.
    pub fn had_any(&self) -> bool {
        self.seats.contains(&Seat::Had)
    }

    /// Seats that owe an answer which is late by now.
    pub fn late(&self, now: u64) -> impl Iterator<Item = u32> + '_ {
        self.seats
            .iter()
            .zip(0..)
            .filter_map(move |(state, seat)| match state {
                Seat::Asked { late, .. } if now >= *late => Some(seat),
                _ => None,
            })
    }

    /// Whether an answer may still be under way: fewer seats answered than were asked.
    pub fn owed(&self) -> bool {
        let owes = |s: &Seat| matches!(s, Seat::Asked { .. } | Seat::Failed(Trouble::Slow));
        self.seats.iter().any(owes)
    }

    /// Who sits at `seat`, by place in the directory.
    pub fn holder(&self, seat: u32) -> Option<usize> {
        self.holders.get(seat as usize).copied().flatten()
    }

    fn sufficient(&self, gate: &dyn Goal) -> Option<Vec<u32>> {
        let had: Vec<bool> = self.seats.iter().map(|s| *s == Seat::Had).collect();
        if !gate.satisfied(&had) {
            return None;
        }
        let costs: Vec<Option<u64>> = had.into_iter().map(|had| had.then_some(0)).collect();
        Some(
            gate.cheapest(&costs)?
                .into_iter()
                .map(|seat| seat as u32)
                .collect(),
        )
    }

    fn costs(&self, now: u64, outlook: &dyn Outlook, late_cost: u64) -> Vec<Option<u64>> {
        let cost = |(seat, state): (usize, &Seat)| match *state {
            Seat::Had => Some(0),
            Seat::Asked { missing, .. } if now >= missing => Some(MISSING),
            Seat::Asked { late, .. } if now >= late => Some(late_cost),
            Seat::Asked { .. } => Some(ASKED),
            Seat::Failed(_) => None,
            Seat::Idle => {
                let holder = self.holders[seat]?;
                let expected = outlook
                    .expected(holder)
                    .map_or(UNKNOWN, |us| UNKNOWN + 1 + us.min(LONGEST));
                Some(if outlook.avoided(seat, holder) {
                    AVOIDED + expected
                } else {
                    expected
                })
            }
        };
        self.seats.iter().enumerate().map(cost).collect()
    }

    /// Asks those of `seats` that were not asked yet.
    fn ask(
        &mut self,
        seats: impl Iterator<Item = usize>,
        now: u64,
        outlook: &dyn Outlook,
        asks: &mut Vec<Ask>,
    ) {
        for seat in seats {
            let (Seat::Idle, Some(holder)) = (self.seats[seat], self.holders[seat]) else {
                continue;
            };
            let patience = outlook.patience(holder);
            let missing = now + (MISSING_AFTER * patience).max(MISSING_LEAST);
            self.seats[seat] = Seat::Asked {
                late: now + patience,
                missing,
            };
            match asks.iter_mut().find(|ask| ask.holder == holder) {
                Some(ask) => ask.seats.push(seat as u32),
                None => asks.push(Ask {
                    holder,
                    seats: vec![seat as u32],
                }),
            }
        }
    }

    /// The one hedge: whoever would do in place of all that are late.
    fn hedge(&mut self, now: u64, gate: &dyn Goal, outlook: &mut dyn Outlook, asks: &mut Vec<Ask>) {
        let Some(set) = gate.cheapest(&self.costs(now, outlook, LATE)) else {
            return;
        };
        if !set
            .iter()
            .any(|&seat| self.seats[seat] == Seat::Idle && !self.avoids(seat, outlook))
        {
            return;
        }
        self.may_hedge = false;
        if outlook.may_hedge() {
            self.ask(set.into_iter(), now, outlook, asks);
        }
    }

    fn avoids(&self, seat: usize, outlook: &dyn Outlook) -> bool {
        self.holders[seat].is_none_or(|holder| outlook.avoided(seat, holder))
    }

    fn anyone_late(&self, now: u64) -> bool {
        self.seats
            .iter()
            .any(|s| matches!(s, Seat::Asked { late, missing } if (*late..*missing).contains(&now)))
    }

    /// Whether all that answered were unable to regenerate a share, and someone answered.
    fn nobody_was_able(&self) -> bool {
        let mut asked = self
            .seats
            .iter()
            .filter(|s| !matches!(s, Seat::Idle | Seat::Failed(Trouble::UnknownHolder)));
        asked.clone().next().is_some()
            && asked.all(|s| matches!(s, Seat::Failed(trouble) if trouble.is_unable()))
    }

    fn half_time(&self) -> u64 {
        self.started + (self.deadline - self.started) / 2
    }

    fn next_change(&self, now: u64) -> u64 {
        let mut next = self.deadline;
        if !self.last_call && now < self.half_time() {
            next = next.min(self.half_time());
        }
        for state in &self.seats {
            if let Seat::Asked { late, missing } = *state {
                let change = if now < late { late } else { missing };
                if now < change {
                    next = next.min(change);
                }
            }
        }
        next
    }

    fn fail(&mut self) -> Step {
        for state in &mut self.seats {
            if let Seat::Asked { .. } = state {
                *state = Seat::Failed(Trouble::Slow);
            }
        }
        Step {
            asks: Vec::new(),
            next: Next::Fail,
        }
    }
}
