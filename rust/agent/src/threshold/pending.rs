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

    /// Keeps what was committed to under that request; whether there was room.
    pub fn keep(&mut self, request: Id, waiting: Waiting, now: u64) -> bool {
        if self.is_full(&waiting.caller, waiting.count, now) {
            return false;
        }
        self.0.insert(request, (now + PATIENCE, waiting));
        true
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

#[cfg(test)]
mod tests {
    use evanesce_wire::message::threshold::Place;

    use super::super::Obstacle;
    use super::*;
    use crate::regenerate::Hands;

    struct None;

    impl Signer for None {
        fn sign(self: Box<Self>, _: &Hands, _: &[Vec<Place>]) -> Result<Vec<[u8; 32]>, Obstacle> {
            Ok(Vec::new())
        }
    }

    fn waiting(caller: u8) -> Waiting {
        Waiting {
            caller: [caller; 32],
            session: [1; 32],
            token: [2; 32],
            grants: Vec::new(),
            count: 64,
            signer: Box::new(None),
        }
    }

    fn id(n: usize) -> Id {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id
    }

    #[test]
    fn no_more_wait_than_may_however_many_were_let_in_at_once() {
        let mut pending = Pending::default();
        let now = 1_000_000;
        assert!(!pending.is_full(&[0; 32], 64, now));
        for n in 0..MOST / 64 {
            let caller = (n / (MOST / 4 / 64)) as u8;
            assert!(pending.keep(id(n), waiting(caller), now), "{n}");
        }
        assert!(!pending.keep(id(64), waiting(9), now), "there is no room");
        assert!(pending.take(&id(0), &[0; 32], &[1; 32], now).is_some());
        assert!(
            !pending.keep(id(65), waiting(1), now),
            "its part is taken up"
        );
        assert!(pending.keep(id(66), waiting(0), now));
        assert!(pending.keep(id(67), waiting(1), now + PATIENCE + 1));
        assert_eq!(pending.0.len(), 1, "what was given up makes room");
    }
}
