//! Sealing sessions by their id, each of the one caller who offered it (PROTOCOL §6, Transport).

use std::collections::HashMap;
use std::sync::Arc;

use crate::Id;
use crate::session::SealingSession;

/// The sessions that are open, a bounded number: the least recently used gives way.
pub struct Sessions {
    open: HashMap<Id, Held>,
    most: usize,
    most_per_caller: usize,
    uses: u64,
}

struct Held {
    session: Arc<SealingSession>,
    caller: Id,
    used: u64,
}

impl Sessions {
    /// At most `most` in all and `most_per_caller` of one caller.
    pub fn new(most: usize, most_per_caller: usize) -> Self {
        Self {
            open: HashMap::new(),
            most,
            most_per_caller,
            uses: 0,
        }
    }

    /// The session `id` of `caller`, if it has not ended at `now` (Unix seconds).
    pub fn find(&mut self, id: &Id, caller: &Id, now: u64) -> Option<Arc<SealingSession>> {
        let held = self
            .open
            .get_mut(id)
            .filter(|held| held.caller == *caller)?;
        if now >= held.session.not_after {
            self.open.remove(id);
            return None;
        }
        self.uses += 1;
        held.used = self.uses;
        Some(held.session.clone())
    }

    /// Whether an offer with this statement was answered and its session is still here.
    pub fn answered(&self, id: &Id) -> bool {
        self.open.contains_key(id)
    }

    /// Keeps a session of `caller`.
    pub fn keep(&mut self, session: SealingSession, caller: Id, now: u64) {
        self.open.retain(|_, held| now < held.session.not_after);
        let own = self
            .open
            .values()
            .filter(|held| held.caller == caller)
            .count();
        if own >= self.most_per_caller {
            self.drop_oldest(|held| held.caller == caller);
        } else if self.open.len() >= self.most {
            self.drop_oldest(|_| true);
        }
        self.uses += 1;
        let held = Held {
            session: Arc::new(session),
            caller,
            used: self.uses,
        };
        self.open.insert(held.session.id, held);
    }

    fn drop_oldest(&mut self, among: impl Fn(&Held) -> bool) {
        let candidates = self.open.iter().filter(|(_, held)| among(held));
        let oldest = candidates
            .min_by_key(|(_, held)| held.used)
            .map(|(id, _)| *id);
        oldest.and_then(|id| self.open.remove(&id));
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{PendingSession, answer};
    use crate::{FileIdentity, Identity};

    const PER_CALLER: usize = 4;

    #[test]
    fn a_caller_has_so_many_sessions_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name| FileIdentity::create(&folder.path().join(name)).unwrap();
        let (service, caller) = (identity("service"), identity("caller"));
        let session = || {
            let (_, offer) = PendingSession::offer(&caller, service.agent_id(), 1000).unwrap();
            answer(&offer, caller.spki(), &service, 1000).unwrap().1
        };
        let (mut sessions, me) = (Sessions::new(16, PER_CALLER), caller.caller_id());
        let first = session();
        let (id, ends) = (first.id, first.not_after);
        sessions.keep(first, me, 1000);
        assert!(sessions.answered(&id) && sessions.find(&id, &me, ends - 1).is_some());
        assert!(sessions.find(&id, &[1; 32], 1000).is_none(), "another's");
        (0..PER_CALLER).for_each(|_| sessions.keep(session(), me, 1000));
        assert!(!sessions.answered(&id), "the oldest gave way");
        assert_eq!(sessions.len(), PER_CALLER);
        let last = session();
        let (id, ends) = (last.id, last.not_after);
        sessions.keep(last, me, 1000);
        assert!(sessions.find(&id, &me, ends).is_none(), "over");
    }
}
