//! What was seen from outside: what left each agent, and what callers were told. Invariants are judged by this, never by
//! what an agent or a reconstructor believes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use evanesce_wire::Id;
use evanesce_wire::message::{Answers, Code, Entry, SeatResult};
use tokio::time::Instant;

/// Where an agent's memory stands: which process, and which history of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Counts its starts.
    pub start: u64,
    /// Counts how often its disk went back to an earlier day.
    pub history: u64,
}

/// One opening's answer, as an honest agent gave it.
pub struct Opening {
    /// ms since the schedule's begin.
    pub at: u64,
    /// When the request had reached it, likewise.
    pub asked: u64,
    /// The agent.
    pub agent: usize,
    /// Its life.
    pub life: Life,
    /// What it decided.
    pub code: Code,
    /// Seats with a share, or with a good word.
    pub good: Vec<u32>,
    /// The verb.
    pub verb: Verb,
    /// Its log entry and the entry's place.
    pub entry: Option<(Entry, Vec<u8>, u64)>,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Shares.
    Contribute,
    /// A word.
    Check,
    /// A tombstone.
    Retire,
}

/// Power was lost.
pub struct Loss {
    /// ms since the begin.
    pub at: u64,
    /// Whose.
    pub agent: usize,
    /// Since when its log had entries that were not synced, if it had.
    pub unsynced: Option<u64>,
    /// Whether there was nothing else that kept it from syncing.
    pub was_well: bool,
}

/// An agent was answered by one of its peers.
pub struct Heard {
    /// ms since the begin.
    pub at: u64,
    /// Who was answered, and in which life.
    pub agent: usize,
    /// The same.
    pub life: Life,
    /// Who has answered.
    pub peer: usize,
    /// Whether it showed, and is honest, a head of the agent's log that the log on its disk does not have.
    pub other_log: bool,
}

/// An agent has said that it refuses a grant.
pub struct Refused {
    /// ms since the begin.
    pub at: u64,
    /// Which agent, and in which life.
    pub agent: usize,
    /// The same.
    pub life: Life,
    /// The grant's id.
    pub grant: Id,
}

/// What was seen.
pub struct Ledger {
    begin: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub struct Inner {
    /// Answers that left agents, in order.
    pub openings: Vec<Opening>,
    /// Losses of power.
    pub losses: Vec<Loss>,
    /// Exchanges between agents.
    pub heard: Vec<Heard>,
    /// Grants that an agent has said it refuses from now on.
    pub refused: Vec<Refused>,
    /// Agents whose disk went back to an earlier day, and when.
    pub rollbacks: Vec<(usize, u64)>,
    /// Invariants that were seen broken on the spot.
    pub broken: Vec<String>,
    /// The trace, if it is kept.
    pub trace: Option<Vec<String>>,
    /// A hash of the trace, kept or not.
    pub print: u64,
}

impl Ledger {
    /// Empty.
    pub fn new(begin: Instant, trace: bool) -> Self {
        let inner = Inner {
            trace: trace.then(Vec::new),
            print: 0xcbf2_9ce4_8422_2325,
            ..Inner::default()
        };
        Self {
            begin,
            inner: Mutex::new(inner),
        }
    }

    /// ms since the begin.
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// That moment in ms since the begin.
    pub fn at(&self, moment: Instant) -> u64 {
        (moment - self.begin).as_millis() as u64
    }

    /// What is in it.
    pub fn read(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line of the trace: what happened, to whom, and a number of its own.
    pub fn trace(&self, what: &'static str, who: usize, number: u64, more: impl Fn() -> String) {
        let now = self.now();
        let mut inner = self.read();
        for byte in what
            .bytes()
            .chain([who as u8])
            .map(u64::from)
            .chain([now, number])
        {
            inner.print = (inner.print ^ byte).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(trace) = &mut inner.trace {
            trace.push(format!("{now:>6} ms  {what} {who} {}", more()));
        }
    }

    /// An invariant was broken.
    pub fn broken(&self, what: String) {
        self.read().broken.push(what);
    }

    /// An honest agent's answer has left it.
    pub fn answered(&self, agent: usize, life: Life, verb: Verb, asked: u64, body: &[u8]) {
        let Ok(answers) = Answers::decode(body) else {
            return self.broken(format!("agent {agent} answered with what is no answer"));
        };
        for opening in answers.openings {
            let of = |wanted: fn(&SeatResult) -> bool| -> Vec<u32> {
                let good = opening.seats.iter().filter(|seat| wanted(&seat.result));
                good.map(|seat| seat.seat).collect()
            };
            let shares = of(|result| matches!(result, SeatResult::Share { .. }));
            let words = of(|result| matches!(result, SeatResult::Good));
            if !shares.is_empty() && (verb != Verb::Contribute || opening.receipt.is_none()) {
                self.broken(format!(
                    "agent {agent} released a share without a log entry"
                ));
            }
            let entry = opening.receipt.map(|proof| {
                let entry = Entry::decode(&proof.entry);
                (
                    entry.expect("an honest agent's entry"),
                    proof.entry,
                    proof.index,
                )
            });
            let good = if verb == Verb::Contribute {
                shares
            } else {
                words
            };
            let number = entry.as_ref().map_or(0, |(.., index)| index + 1);
            self.trace("answer of agent", agent, number, || {
                let code = opening.code.as_str();
                format!("{verb:?} {code} {good:?} {} entry {number}", opening.reason)
            });
            let at = self.now();
            self.read().openings.push(Opening {
                at,
                asked,
                agent,
                life,
                code: opening.code,
                good,
                verb,
                entry,
            });
        }
    }
}

/// The start of an id, for the trace.
pub fn short(id: &Id) -> String {
    hex::encode(&id[..4])
}
