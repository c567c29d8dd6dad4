//! Nonces that were committed to, until they sign: a few, for a short time, each for the caller and session that asked.

use std::collections::HashMap;

use evanesce_wire::Id;

use super::errand::Signer;

/// Most signatures that are waited for, in all; a quarter of them one caller's.
const MOST: usize = 2048;
/// How long the second round may take to come, in ms.
const PATIENCE: u64 = 10_000;

/// What waits for its second round, by the request hash, each with when it is given up.
#[derive(Default)]
pub struct Pending(HashMap<Id, (u64, Waiting)>);

/// What one request waits with.
pub struct Waiting {
    /// Who asked.
    pub caller: Id,
    /// Under which session.
    pub session: Id,
    /// The token.
    pub token: Id,
    /// The grants that it was asked under.
    pub grants: Vec<Id>,
    /// How many signatures.
    pub count: usize,
    /// The nonces.
    pub signer: Box<dyn Signer>,
}

impl Pending {
    /// Whether there is no room for `count` more of `caller`. Times are in Unix milliseconds.
    pub fn is_full(&mut self, caller: &Id, count: usize, now: u64) -> bool {
        self.0.retain(|_, (until, _)| *until >= now);
        let (mut all, mut own) = (count, count);
        for (_, waiting) in self.0.values() {
            all += waiting.count;
            if waiting.caller == *caller {
                own += waiting.count;
            }
        }
        all > MOST || own > MOST / 4
    }

    /// Keeps what was committed to under that request.
    pub fn keep(&mut self, request: Id, waiting: Waiting, now: u64) {
        self.0.insert(request, (now + PATIENCE, waiting));
    }

    /// What was committed to; it is not here any more.
    pub fn take(&mut self, request: &Id, caller: &Id, session: &Id, now: u64) -> Option<Waiting> {
        let (until, waiting) = self.0.get(request)?;
        let over = *until < now;
        // Others can neither have it nor end it.
        if !over && (waiting.caller != *caller || waiting.session != *session) {
            return None;
        }
        let (_, waiting) = self.0.remove(request)?;
        (!over).then_some(waiting)
    }
}
