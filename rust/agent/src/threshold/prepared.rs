//! Nonces that were prepared, until they sign: few, for a short time, each for the caller, the session, the token and the seat that it was
//! drawn for. Kept only where an operator has said that this is safe (`declaration`), in locked memory, and gone with the process.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_wire::Id;

/// Most signatures that are prepared for, in all; a quarter of them one caller's.
const MOST: usize = 2048;
/// How long nonces are kept, in ms: so long after a snapshot of this memory was taken, at most, would they still sign in it. Peers hold
/// an agent whose clock has stood still meanwhile for wrong after a fraction of that.
const LIFE: u64 = 120_000;
/// What has expired is wiped this soon, in ms, where the agent is asked anything about prepared nonces.
const SWEEP: u64 = 1000;

/// Clones share it.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// By the commitments to them.
    kept: HashMap<Vec<u8>, Entry>,
    swept: u64,
}

struct Entry {
    owner: Owner,
    /// Unix ms.
    until: u64,
    nonces: Kept,
}

/// One `Prepared` of the token's suite.
pub type Kept = Box<dyn Any + Send>;

/// Whom nonces were drawn for, and what with.
#[derive(Clone, PartialEq, Eq)]
pub struct Owner {
    /// Who asked.
    pub caller: Id,
    /// Under which session.
    pub session: Id,
    /// The token.
    pub token: Id,
    /// This agent's seat in it.
    pub seat: u32,
}

impl Store {
    /// For how many signatures more `caller` may have nonces prepared, at `now` (Unix ms).
    pub fn room(&self, caller: &Id, now: u64) -> usize {
        self.inner().room(caller, now)
    }

    /// Keeps nonces, each by the commitments to them, as far as there is room; the commitments to those that are kept.
    pub fn keep(&self, owner: &Owner, drawn: Vec<(Vec<u8>, Kept)>, now: u64) -> Vec<Vec<u8>> {
        let mut inner = self.inner();
        let room = inner.room(&owner.caller, now);
        let kept = drawn.into_iter().take(room).map(|(points, nonces)| {
            let entry = Entry {
                owner: owner.clone(),
                until: now + LIFE,
                nonces,
            };
            inner.kept.insert(points.clone(), entry);
            points
        });
        kept.collect()
    }

    /// Takes out the nonces behind all of these commitments; none if any is not there, or is another's. What was there is gone then, but
    /// for what is another's, which nobody else can end.
    pub fn take(&self, owner: &Owner, points: &[&[u8]], now: u64) -> Option<Vec<Kept>> {
        let mut inner = self.inner();
        inner.sweep(now);
        let mut taken = Vec::with_capacity(points.len());
        for points in points {
            let of = inner.kept.get(*points).map(|entry| &entry.owner);
            if of == Some(owner) {
                taken.extend(inner.kept.remove(*points));
            }
        }
        drop(inner);
        let whole = taken.len() == points.len() && taken.iter().all(|one| one.until >= now);
        whole.then(|| taken.into_iter().map(|one| one.nonces).collect())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn room(&mut self, caller: &Id, now: u64) -> usize {
        self.sweep(now);
        let own = self.kept.values().filter(|one| one.owner.caller == *caller);
        let own = (MOST / 4).saturating_sub(own.count());
        own.min(MOST - self.kept.len())
    }

    fn sweep(&mut self, now: u64) {
        if now >= self.swept + SWEEP || self.kept.len() >= MOST {
            self.kept.retain(|_, one| one.until >= now);
            self.swept = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn owner(caller: u8, session: u8) -> Owner {
        Owner {
            caller: [caller; 32],
            session: [session; 32],
            token: [3; 32],
            seat: 1,
        }
    }

    fn points(n: usize) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    fn kept(store: &Store, owner: &Owner, n: usize) -> bool {
        let kept: Kept = Box::new(n);
        !store.keep(owner, vec![(points(n), kept)], NOW).is_empty()
    }

    #[test]
    fn nonces_are_taken_once_by_whom_they_were_drawn_for_and_end_by_themselves() {
        let (store, own) = (Store::default(), owner(1, 2));
        assert!((0..5).all(|n| kept(&store, &own, n)));
        for other in [
            owner(2, 2),
            owner(1, 3),
            Owner {
                token: [4; 32],
                ..own.clone()
            },
            Owner {
                seat: 2,
                ..own.clone()
            },
        ] {
            assert!(store.take(&other, &[&points(0)], NOW).is_none());
        }
        let taken = store.take(&own, &[&points(0)], NOW).unwrap();
        assert_eq!(*taken[0].downcast_ref::<usize>().unwrap(), 0);
        assert!(store.take(&own, &[&points(0)], NOW).is_none(), "once");
        // not twice in one list either, and with one that is missing the others are gone too
        assert!(store.take(&own, &[&points(1), &points(1)], NOW).is_none());
        assert!(store.take(&own, &[&points(1)], NOW).is_none());
        assert!(store.take(&own, &[&points(2), &points(9)], NOW).is_none());
        assert!(store.take(&own, &[&points(2)], NOW).is_none());
        assert!(store.take(&own, &[&points(3)], NOW + LIFE).is_some());
        assert!(store.take(&own, &[&points(4)], NOW + LIFE + 1).is_none());
    }

    #[test]
    fn nobody_has_more_than_a_part_prepared() {
        let store = Store::default();
        for caller in 0..4 {
            let own = owner(caller, 2);
            let first = usize::from(caller) * MOST;
            assert!((0..MOST / 4).all(|n| kept(&store, &own, first + n)));
            assert!(!kept(&store, &own, first + MOST));
        }
        assert_eq!(store.room(&[9; 32], NOW), 0);
        assert_eq!(store.room(&[9; 32], NOW + LIFE + 1), MOST / 4);
    }
}
