//! Commitments to nonces that agents have prepared for this side, until they are signed under: public, few, and each used once.
//!
//! They hold under the session that they were given under, and end before the agents' own patience does. What is not here any more costs a
//! round more, and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evanesce_wire::Id;
use tokio::time::Instant;

/// So many are asked for at a time.
pub(crate) const BATCH: usize = 16;
/// Most that are kept for one seat of one token.
const MOST: usize = 128;
/// How long they are used, from when they were asked for: less than agents keep the nonces.
const LIFE: Duration = Duration::from_secs(110);
/// Seats of tokens; when there are more, whatever is left of them is forgotten.
const SEATS: usize = 1024;

#[derive(Default)]
pub(crate) struct Prepared(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By token id and the holder's place.
    kept: HashMap<(Id, usize), Kept>,
    /// Holders that keep none, each with the session under which it said so.
    without: HashMap<usize, Id>,
}

#[derive(Default)]
struct Kept {
    session: Id,
    points: VecDeque<(Instant, Vec<u8>)>,
    /// More are being asked for.
    asked: bool,
}

/// One that could sign.
#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    /// The holder's.
    pub place: usize,
    /// Under which it would be asked.
    pub session: Id,
}

impl Prepared {
    /// Chooses the first `t` of those that could sign `count` messages, and takes their commitments out: which, and these. None, and
    /// nothing is taken, where fewer could.
    pub fn choose(
        &self,
        token: &Id,
        all: &[Candidate],
        t: usize,
        count: usize,
        now: Instant,
    ) -> Option<Vec<(usize, Vec<Vec<u8>>)>> {
        let mut inner = self.inner();
        let mut chosen = Vec::with_capacity(t);
        for (n, one) in all.iter().enumerate() {
            if chosen.len() < t
                && let Some(kept) = inner.kept.get_mut(&(*token, one.place))
                && kept.is_of(&one.session, now) >= count
            {
                chosen.push(n);
            }
        }
        if chosen.len() < t {
            return None;
        }
        let take = |n: usize| {
            let kept = inner.kept.get_mut(&(*token, all[n].place))?;
            let points = kept.points.drain(..count).map(|(_, points)| points);
            Some((n, points.collect()))
        };
        chosen.into_iter().map(take).collect()
    }

    /// Keeps what was given by the holder at `place`, asked for at `since`.
    pub fn keep(&self, token: &Id, one: Candidate, points: Vec<Vec<u8>>, since: Instant) {
        let mut inner = self.inner();
        let kept = inner.of(token, one);
        let room = MOST.saturating_sub(kept.points.len());
        let until = since + LIFE;
        kept.points
            .extend(points.into_iter().take(room).map(|points| (until, points)));
    }

    /// Forgets what is kept for one that has failed.
    pub fn forget(&self, token: &Id, one: Candidate) {
        let mut inner = self.inner();
        if let Some(kept) = inner.kept.get_mut(&(*token, one.place))
            && kept.session == one.session
        {
            kept.points.clear();
        }
    }

    /// Whether more are to be asked for: at most once at a time, and not of who keeps none. Then [`Self::asked`] says that it was done.
    pub fn wants(&self, token: &Id, one: Candidate, now: Instant) -> bool {
        let mut inner = self.inner();
        if inner.without.get(&one.place) == Some(&one.session) {
            return false;
        }
        let kept = inner.of(token, one);
        let wants = !kept.asked && kept.is_of(&one.session, now) < BATCH;
        kept.asked |= wants;
        wants
    }

    /// It was asked for more; `keeps` unless it keeps none.
    pub fn asked(&self, token: &Id, one: Candidate, keeps: bool) {
        let mut inner = self.inner();
        if let Some(kept) = inner.kept.get_mut(&(*token, one.place)) {
            kept.asked = false;
        }
        if !keeps {
            inner.without.insert(one.place, one.session);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What is kept for a seat under that session. What was given under another is of no use.
    fn of(&mut self, token: &Id, one: Candidate) -> &mut Kept {
        let key = (*token, one.place);
        if self.kept.len() >= SEATS && !self.kept.contains_key(&key) {
            self.kept.clear();
        }
        let kept = self.kept.entry(key).or_default();
        if kept.session != one.session {
            *kept = Kept {
                session: one.session,
                ..Kept::default()
            };
        }
        kept
    }
}

impl Kept {
    /// How many there are of that session, once what has ended is gone.
    fn is_of(&mut self, session: &Id, now: Instant) -> usize {
        while self.points.front().is_some_and(|(until, _)| *until <= now) {
            self.points.pop_front();
        }
        match self.session == *session {
            true => self.points.len(),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Id = [1; 32];

    fn at(place: usize, session: u8) -> Candidate {
        let session = [session; 32];
        Candidate { place, session }
    }

    fn points(from: u8, count: u8) -> Vec<Vec<u8>> {
        (from..from + count).map(|n| vec![n]).collect()
    }

    #[test]
    fn each_is_used_once_by_whoever_has_enough_under_the_session_that_stands() {
        let (store, now) = (Prepared::default(), Instant::now());
        for place in 0..3 {
            store.keep(&TOKEN, at(place, 1), points(place as u8 * 10, 3), now);
        }
        let all = [at(0, 1), at(1, 1), at(2, 1)];
        let chosen = store.choose(&TOKEN, &all, 2, 2, now).unwrap();
        assert_eq!(chosen, [(0, points(0, 2)), (1, points(10, 2))]);
        // only one has two more, and nothing is taken
        assert!(store.choose(&TOKEN, &all, 2, 2, now).is_none());
        let chosen = store.choose(&TOKEN, &all, 3, 1, now).unwrap();
        assert_eq!(chosen[2], (2, points(20, 1)));
        assert!(store.choose(&[2; 32], &all, 1, 1, now).is_none());
        // of another session, and what has ended
        assert!(store.choose(&TOKEN, &[at(2, 2)], 1, 1, now).is_none());
        assert!(
            store
                .choose(&TOKEN, &[at(2, 1)], 1, 1, now + LIFE)
                .is_none()
        );
        store.keep(&TOKEN, at(2, 2), points(30, 1), now);
        assert!(store.choose(&TOKEN, &[at(2, 1)], 1, 1, now).is_none());
        assert!(store.choose(&TOKEN, &[at(2, 2)], 1, 1, now).is_some());
    }

    #[test]
    fn what_one_has_committed_to_is_forgotten_and_nothing_of_another_or_of_another_session() {
        let (store, now) = (Prepared::default(), Instant::now());
        for place in 0..2 {
            store.keep(&TOKEN, at(place, 1), points(0, 2), now);
        }
        let stands = |place| store.choose(&TOKEN, &[at(place, 1)], 1, 1, now).is_some();
        store.forget(&TOKEN, at(0, 2));
        assert!(stands(0));
        store.forget(&TOKEN, at(0, 1));
        assert!(!stands(0) && stands(1));
    }

    #[test]
    fn more_are_asked_for_once_at_a_time_and_not_of_who_keeps_none() {
        let (store, now) = (Prepared::default(), Instant::now());
        let one = at(0, 1);
        assert!(store.wants(&TOKEN, one, now) && !store.wants(&TOKEN, one, now));
        store.asked(&TOKEN, one, true);
        assert!(store.wants(&TOKEN, one, now));
        store.keep(&TOKEN, one, points(0, BATCH as u8), now);
        store.asked(&TOKEN, one, true);
        assert!(!store.wants(&TOKEN, one, now));
        assert!(store.wants(&TOKEN, one, now + LIFE));
        store.asked(&TOKEN, one, false);
        assert!(!store.wants(&TOKEN, one, now + LIFE));
        assert!(!store.wants(&[2; 32], one, now));
        assert!(store.wants(&TOKEN, at(0, 2), now), "under another session");
    }
}
