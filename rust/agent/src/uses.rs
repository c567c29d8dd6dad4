//! How often keys were used here: what limits and policies go by (PROTOCOL §10).
//!
//! A use is counted when it is permitted, before the element is asked, whatever becomes of it: cancelled, hedged or failed. Only
//! tokens whose policy states limits or speaks of uses are counted, and of these only such under which the element has
//! once regenerated a share: a token that somebody made up costs no memory.
//!
//! The durable record is the log: an entry says how often the key was used with it, and is written before anything is
//! released. The file `counts` saves a start from reading all of it: see `counts`.
//!
//! A token that replaces another begins where that one stood when it is first used. `replaces` is anyone's claim, and here
//! it can only make a count higher.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_policy::{Bound, Uses as Before};
use evanesce_wire::Id;
use evanesce_wire::message::Counted;

use crate::delegated::Given;
use crate::recent::Recent;

/// So many tokens may be counted under which no share was regenerated yet; the oldest give way.
const UNPROVEN: usize = 1 << 14;

/// Counted grants are looked through for expired ones when there are so many more than last time.
const GRANTS: usize = 1024;

/// Of so many grants it is remembered that the log has spoken of them, which does not say when they end, nor whether they are
/// counted at all. When there are more, the older half is no longer told apart.
const READ: usize = 1 << 16;

/// The counts, shared between who judges and who writes them down. Clones share them.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Uses>>);

impl Shared {
    /// The counts.
    pub fn lock(&self) -> MutexGuard<'_, Uses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Uses> for Shared {
    fn from(uses: Uses) -> Self {
        Self(Arc::new(Mutex::new(uses)))
    }
}

/// Uses of every key that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    pub(crate) tokens: BTreeMap<Id, Tally>,
    /// Tokens that were counted for the first time, the oldest first.
    newcomers: VecDeque<Id>,
    pub(crate) grants: BTreeMap<Id, Granted>,
    /// When there are so many, it is seen which have expired.
    grants_at_most: usize,
    /// How many of them only the log has spoken of.
    read: usize,
    pub(crate) merged: Merged,
}

/// Grants that are no longer told apart: for each of them it holds that it was spent no more often than this, and was not used
/// after that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    pub count: u64,
    /// Unix seconds.
    pub last: u64,
}

/// Operations under one grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub count: u64,
    /// Unix seconds; 0 where only the log has spoken of it.
    pub expires: u64,
    /// When it was last used, in Unix seconds.
    pub last: u64,
}

/// Uses under one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub all: Spent,
    pub callers: BTreeMap<Id, Spent>,
    /// A share was regenerated under it.
    pub proven: bool,
    /// Openings that were counted, of which it is not known yet whether a share was regenerated.
    pub pending: u64,
}

/// A count, and when it grew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub count: u64,
    pub recent: Recent,
}

/// Whose use of what is counted.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// The token.
    pub token: &'a Id,
    /// The one that it replaces, as its header claims.
    pub replaces: Option<&'a Id>,
    /// The caller, or the first grantor.
    pub of: &'a Id,
}

impl Uses {
    fn replaced(&self, account: Account<'_>) -> Option<&Tally> {
        self.tokens.get(account.replaces?)
    }

    /// How often the key was used so far.
    pub fn before(&self, account: Account<'_>) -> Before {
        let (own, old) = (self.tokens.get(account.token), self.replaced(account));
        let of = |tally: &Tally| tally.callers.get(account.of).map(|spent| spent.count);
        let caller = own.and_then(of).or_else(|| old.and_then(of));
        Before {
            key: own.or(old).map_or(0, |tally| tally.all.count),
            caller: caller.unwrap_or(0),
        }
    }

    /// Why `count` more operations at `now` (Unix milliseconds) would be too many, if so.
    pub fn refuses(
        &self,
        account: Account<'_>,
        bounds: &[Bound],
        count: u64,
        now: u64,
    ) -> Option<String> {
        let before = self.before(account);
        bounds.iter().find_map(|bound| {
            let limit = bound.limit;
            let most = bound.most;
            let whose = if limit.per_caller { "this caller's " } else { "" };
            let Some(seconds) = limit.within else {
                let used = if limit.per_caller {
                    before.caller
                } else {
                    before.key
                };
                return (used.saturating_add(count) > most).then(|| {
                    format!("{whose}limit is reached at this agent: {used} of {most} operations are spent ({limit})")
                });
            };
            let span = seconds * 1000;
            let spent = |tally: &Tally| match limit.per_caller {
                true => tally.callers.get(account.of).cloned(),
                false => Some(tally.all.clone()),
            };
            let tallies = [self.tokens.get(account.token), self.replaced(account)];
            let recents: Vec<Recent> = tallies
                .into_iter()
                .flatten()
                .filter_map(spent)
                .map(|spent| spent.recent)
                .collect();
            let used: u64 = recents.iter().map(|recent| recent.within(span, now)).sum();
            (used.saturating_add(count) > most).then(|| {
                let room = most.checked_sub(count);
                let wait = room.map(|room| recents.iter().map(|recent| recent.wait(room, span, now)).max());
                let again = match wait.flatten() {
                    Some(wait) => format!("again in {} s", wait.div_ceil(1000)),
                    None => format!("never {count} at once"),
                };
                format!("{whose}limit is reached at this agent: {used} of {most} operations, {again} ({limit})")
            })
        })
    }

    /// Counts `count` operations at `now`. What was counted, for the log.
    pub fn spend(
        &mut self,
        account: Account<'_>,
        bounds: &[Bound],
        count: u64,
        now: u64,
    ) -> Counted {
        let before = self.before(account);
        let counted = Counted {
            of: *account.of,
            key: before.key.saturating_add(count),
            caller: before.caller.saturating_add(count),
        };
        let longest = |per_caller| {
            let of = bounds
                .iter()
                .filter(|bound| bound.limit.per_caller == per_caller);
            of.filter_map(|bound| bound.limit.within).max()
        };
        if !self.tokens.contains_key(account.token) {
            self.welcome(account.token);
        }
        let tally = self.tokens.entry(*account.token).or_default();
        tally.pending += 1;
        tally.all.set(counted.key);
        tally.all.remember(longest(false), count, now);
        let caller = tally.callers.entry(*account.of).or_default();
        caller.set(counted.caller);
        caller.remember(longest(true), count, now);
        counted
    }

    /// Why `count` more operations under these grants would be too many, if so.
    pub fn refuses_grants(&self, chain: &[Arc<Given>], count: u64) -> Option<String> {
        chain.iter().find_map(|given| {
            let used = self.used(given);
            let most = given.grant.count?;
            (used.saturating_add(count) > most)
                .then(|| format!("the grant's count is reached at this agent: {used} of {most} operations are spent"))
        })
    }

    /// How often a grant was used. One that is not told apart was used at most so often, unless it begins after all that are
    /// not had been used.
    fn used(&self, given: &Given) -> u64 {
        match self.grants.get(&given.id) {
            Some(granted) => granted.count,
            None if given.grant.not_before <= self.merged.last => self.merged.count,
            None => 0,
        }
    }

    /// Counts `count` operations under these grants, at `now` (Unix seconds).
    pub fn spend_grants(&mut self, chain: &[Arc<Given>], count: u64, now: u64) {
        if self.grants.len() >= self.grants_at_most {
            // The agent's clock does not go back: what has expired is never asked for again.
            self.grants
                .retain(|_, granted| granted.expires == 0 || granted.expires > now);
            self.grants_at_most = 2 * self.grants.len() + GRANTS;
        }
        for given in chain {
            let before = self.used(given);
            if self
                .grants
                .get(&given.id)
                .is_some_and(|granted| granted.expires == 0)
            {
                self.read -= 1;
            }
            if given.grant.count.is_none() {
                self.grants.remove(&given.id);
                continue;
            }
            let granted = Granted {
                count: before.saturating_add(count),
                expires: given.grant.expires,
                last: now,
            };
            self.grants.insert(given.id, granted);
        }
    }

    /// Takes up what an entry of the log says was done under grants, at `time` (Unix milliseconds).
    pub fn take_up_grants(&mut self, grants: &[Id], count: u64, time: u64) {
        for id in grants {
            let before = self.grants.get(id).copied();
            let granted = before.unwrap_or_default();
            let granted = Granted {
                count: granted.count.saturating_add(count),
                last: granted.last.max(time / 1000),
                ..granted
            };
            self.grant(*id, granted);
        }
    }

    /// Remembers a grant, as the log or the file `counts` has it.
    pub(crate) fn grant(&mut self, id: Id, granted: Granted) {
        let before = self.grants.insert(id, granted);
        let was_read = before.is_some_and(|before| before.expires == 0);
        self.read += usize::from(granted.expires == 0);
        self.read -= usize::from(was_read);
        if self.read <= READ {
            return;
        }
        let read = || {
            self.grants
                .iter()
                .filter(|(_, granted)| granted.expires == 0)
        };
        let mut times: Vec<u64> = read().map(|(_, granted)| granted.last).collect();
        let half = times.len() / 2;
        let (_, last, _) = times.select_nth_unstable(half);
        let last = *last;
        let most = read().filter(|(_, granted)| granted.last <= last);
        let most = most.map(|(_, granted)| granted.count).max().unwrap_or(0);
        self.merged = Merged {
            count: self.merged.count.max(most),
            last: self.merged.last.max(last),
        };
        self.grants
            .retain(|_, granted| granted.expires != 0 || granted.last > last);
        self.read = self
            .grants
            .values()
            .filter(|granted| granted.expires == 0)
            .count();
    }

    /// Takes up what an entry of the log says was counted; when, whatever its limits may be.
    pub fn take_up(&mut self, token: &Id, counted: &Counted, count: u64, time: u64) {
        let tally = self.tokens.entry(*token).or_default();
        tally.proven = true;
        tally.all.set(counted.key);
        tally.all.recent.add(count, time);
        let caller = tally.callers.entry(counted.of).or_default();
        caller.set(counted.caller);
        caller.recent.add(count, time);
    }

    /// Makes room for one more token of which it is not known whether it is any.
    fn welcome(&mut self, token: &Id) {
        if self.newcomers.len() >= UNPROVEN
            && let Some(oldest) = self.newcomers.pop_front()
        {
            self.forget(&oldest, 0);
        }
        self.newcomers.push_back(*token);
    }

    /// A share was regenerated for the use that was `counted`, or none was. Where none ever was, nothing is remembered.
    pub fn settle(&mut self, token: &Id, counted: Option<&Counted>) {
        if let Some(counted) = counted {
            let tally = self.tokens.entry(*token).or_default();
            tally.pending = tally.pending.saturating_sub(1);
            tally.proven = true;
            tally.all.set(counted.key);
            tally
                .callers
                .entry(counted.of)
                .or_default()
                .set(counted.caller);
        } else {
            self.forget(token, 1);
        }
    }

    /// So many openings that are counted have come to nothing: a token of which that is so for all of them is not
    /// remembered. What others under way have counted is.
    fn forget(&mut self, token: &Id, settled: u64) {
        let Some(tally) = self.tokens.get_mut(token) else {
            return;
        };
        tally.pending = tally.pending.saturating_sub(settled);
        if !tally.proven && (tally.pending == 0 || settled == 0) {
            self.tokens.remove(token);
        }
    }
}

impl Spent {
    fn set(&mut self, count: u64) {
        self.count = self.count.max(count);
    }

    fn remember(&mut self, longest: Option<u64>, count: u64, now: u64) {
        match longest {
            None => self.recent = Recent::default(),
            Some(seconds) => {
                self.recent.forget(seconds * 1000, now);
                self.recent.add(count, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evanesce_policy::Compiled;
    use evanesce_token::Gate;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;

    fn bounds(limits: &str) -> Vec<Bound> {
        let policy = format!("@limits(\"{limits}\") permit(principal, action, resource);");
        let quorum = Gate::parse("3 of (a, b, c, d, e)").unwrap();
        Compiled::new(&policy).bounds(&quorum).unwrap()
    }

    fn account<'a>(token: &'a Id, of: &'a Id) -> Account<'a> {
        Account {
            token,
            replaces: None,
            of,
        }
    }

    /// Spends one use if it may.
    fn ask(
        uses: &mut Uses,
        account: Account<'_>,
        bounds: &[Bound],
        now: u64,
    ) -> Result<(), String> {
        match uses.refuses(account, bounds, 1, now) {
            Some(why) => Err(why),
            None => {
                uses.spend(account, bounds, 1, now);
                Ok(())
            }
        }
    }

    #[test]
    fn a_key_and_each_of_its_callers_have_so_many_uses() {
        let mut uses = Uses::default();
        let bounds = bounds("agent 3; caller agent 2");
        let (ops, eve) = (account(&[1; 32], &[7; 32]), account(&[1; 32], &[8; 32]));
        assert_eq!(ask(&mut uses, ops, &bounds, NOW), Ok(()));
        assert_eq!(ask(&mut uses, ops, &bounds, NOW), Ok(()));
        let why = ask(&mut uses, ops, &bounds, NOW).unwrap_err();
        assert_eq!(
            why,
            "this caller's limit is reached at this agent: 2 of 2 operations are spent (caller agent 2)"
        );
        assert_eq!(ask(&mut uses, eve, &bounds, NOW), Ok(()));
        let why = ask(&mut uses, eve, &bounds, NOW).unwrap_err();
        assert!(
            why.starts_with("limit is reached at this agent: 3 of 3"),
            "{why}"
        );
        let other = account(&[2; 32], &[7; 32]);
        assert_eq!(ask(&mut uses, other, &bounds, NOW), Ok(()), "another token");
        assert!(
            uses.refuses(other, &bounds, 3, NOW).is_some(),
            "a batch counts each"
        );
    }

    #[test]
    fn an_opening_that_comes_to_nothing_takes_along_nothing_that_others_have_counted() {
        let mut uses = Uses::default();
        let bounds = bounds("agent 3 per 10s");
        let (ops, token) = (account(&[1; 32], &[7; 32]), [1; 32]);
        let counted: Vec<Counted> = (0..3).map(|_| uses.spend(ops, &bounds, 1, NOW)).collect();
        uses.settle(&token, None);
        assert!(
            uses.refuses(ops, &bounds, 1, NOW).is_some(),
            "while others are under way"
        );
        uses.settle(&token, Some(&counted[1]));
        uses.settle(&token, Some(&counted[2]));
        assert!(
            uses.refuses(ops, &bounds, 1, NOW + 9_000).is_some(),
            "within the stretch too"
        );
        let other = account(&[2; 32], &[7; 32]);
        uses.spend(other, &bounds, 1, NOW);
        uses.settle(&[2; 32], None);
        assert_eq!(uses.before(other).key, 0, "where all came to nothing");
    }

    #[test]
    fn a_rate_gives_room_again_and_says_when() {
        let mut uses = Uses::default();
        let bounds = bounds("agent 2 per 10s");
        let ops = account(&[1; 32], &[7; 32]);
        assert_eq!(ask(&mut uses, ops, &bounds, NOW), Ok(()));
        assert_eq!(ask(&mut uses, ops, &bounds, NOW + 4_000), Ok(()));
        let why = ask(&mut uses, ops, &bounds, NOW + 5_000).unwrap_err();
        assert!(
            why.contains("2 of 2 operations, again in 5 s (agent 2 per 10s)"),
            "{why}"
        );
        assert_eq!(ask(&mut uses, ops, &bounds, NOW + 10_000), Ok(()));
        assert!(ask(&mut uses, ops, &bounds, NOW + 13_999).is_err());
        let why = uses.refuses(ops, &bounds, 3, NOW + 99_000).unwrap();
        assert!(why.contains("never 3 at once"), "{why}");
        assert_eq!(ask(&mut uses, ops, &bounds, NOW + 99_000), Ok(()));
        let kept = uses.tokens[&[1; 32]].all.recent.stretches().count();
        assert_eq!(kept, 1, "what is long past is forgotten");
    }

    #[test]
    fn a_token_that_replaces_another_begins_where_it_stood() {
        let mut uses = Uses::default();
        let bounds = bounds("agent 5; caller agent 3; agent 4 per 1h");
        let (old, new) = ([1; 32], [2; 32]);
        let (ops, eve) = ([7; 32], [8; 32]);
        let of = |of| Account {
            token: &new,
            replaces: Some(&old),
            of,
        };
        for _ in 0..2 {
            ask(&mut uses, account(&old, &ops), &bounds, NOW).unwrap();
        }
        ask(&mut uses, account(&old, &eve), &bounds, NOW).unwrap();
        assert_eq!(uses.before(of(&ops)), Before { key: 3, caller: 2 });
        ask(&mut uses, of(&eve), &bounds, NOW).unwrap();
        assert_eq!(uses.before(of(&eve)), Before { key: 4, caller: 2 });
        assert_eq!(
            uses.before(of(&ops)),
            Before { key: 4, caller: 2 },
            "not used the new one yet"
        );
        assert!(
            ask(&mut uses, of(&ops), &bounds, NOW)
                .unwrap_err()
                .contains("4 of 4"),
            "the rate too"
        );
        let later = NOW + 3_600_000;
        ask(&mut uses, of(&ops), &bounds, later).unwrap();
        assert!(
            ask(&mut uses, of(&eve), &bounds, later)
                .unwrap_err()
                .contains("5 of 5")
        );
        // Somebody else's claim to replace it takes nothing from it.
        let claim = Account {
            token: &[9; 32],
            replaces: Some(&old),
            of: &eve,
        };
        ask(&mut uses, claim, &bounds, later).unwrap();
        assert_eq!(
            uses.before(account(&old, &eve)),
            Before { key: 3, caller: 1 }
        );
    }

    #[test]
    fn a_token_that_somebody_made_up_is_not_remembered() {
        let mut uses = Uses::default();
        let bounds = bounds("agent 5");
        let (made_up, real) = ([1; 32], [2; 32]);
        uses.spend(account(&made_up, &[7; 32]), &bounds, 1, NOW);
        let counted = uses.spend(account(&real, &[7; 32]), &bounds, 1, NOW);
        uses.settle(&made_up, None);
        uses.settle(&real, Some(&counted));
        assert!(!uses.tokens.contains_key(&made_up));
        uses.spend(account(&real, &[7; 32]), &bounds, 1, NOW);
        uses.settle(&real, None);
        assert_eq!(
            uses.before(account(&real, &[7; 32])).key,
            2,
            "spent all the same"
        );
        // Nor are many of which it was never heard what came of them.
        let late = ([3; 32], [7; 32]);
        let counted = uses.spend(account(&late.0, &late.1), &bounds, 2, NOW);
        for n in 0..3 * UNPROVEN as u32 {
            let mut token = [9; 32];
            token[..4].copy_from_slice(&n.to_be_bytes());
            uses.spend(account(&token, &[7; 32]), &bounds, 1, NOW);
        }
        assert!(uses.tokens.len() <= UNPROVEN + 2);
        uses.settle(&late.0, Some(&counted));
        assert_eq!(
            uses.before(account(&late.0, &late.1)),
            Before { key: 2, caller: 2 }
        );
    }

    #[test]
    fn counts_of_grants_are_kept_until_they_have_expired() {
        use crate::delegated::plain_grant;
        use evanesce_wire::grant::Grant;
        let given = |n: u32, expires| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let grant = Grant {
                count: Some(3),
                expires,
                ..plain_grant()
            };
            [Arc::new(Given { grant, id })]
        };
        let mut uses = Uses::default();
        let lasting = given(0, 900_000);
        uses.spend_grants(&lasting, 2, 0);
        assert_eq!(uses.refuses_grants(&lasting, 1), None);
        let why = uses.refuses_grants(&lasting, 2).unwrap();
        assert!(why.contains("2 of 3 operations are spent"), "{why}");
        for n in 1..100_000 {
            uses.spend_grants(&given(n, u64::from(n) + 50), 1, u64::from(n));
            assert!(uses.grants.len() <= 2 * 51 + 2 * GRANTS);
        }
        assert!(uses.refuses_grants(&lasting, 2).is_some());
    }

    #[test]
    fn grants_that_only_the_log_speaks_of_are_bounded_and_none_is_used_more_often_for_it() {
        use crate::delegated::plain_grant;
        use evanesce_wire::grant::Grant;
        let name = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            id
        };
        let given = |n, not_before, count| {
            let grant = Grant {
                count,
                not_before,
                expires: 1 << 40,
                ..plain_grant()
            };
            let id = name(n);
            [Arc::new(Given { grant, id })]
        };
        let mut uses = Uses::default();
        uses.take_up_grants(&[name(0)], 3, 1000);
        for n in 1..=3 * READ as u32 {
            uses.take_up_grants(&[name(n)], 1, 1000 * u64::from(n));
            assert!(uses.grants.len() <= READ && uses.grants.len() == uses.read);
        }
        let newest = 3 * READ as u32;
        assert_eq!(uses.refuses_grants(&given(newest, 0, Some(2)), 1), None);
        assert!(
            uses.refuses_grants(&given(newest, 0, Some(1)), 1).is_some(),
            "told apart"
        );
        // Of those that are not, each counts as the one that was used most.
        assert!(uses.refuses_grants(&given(0, 1, Some(3)), 1).is_some());
        assert!(uses.refuses_grants(&given(1, 1, Some(3)), 1).is_some());
        assert_eq!(uses.refuses_grants(&given(0, 1, Some(4)), 1), None);
        assert!(uses.merged.last < u64::from(newest));
        let later = given(newest + 1, uses.merged.last + 1, Some(1));
        assert_eq!(uses.refuses_grants(&later, 1), None, "it was not there yet");
        // What is counted on is counted from there, and what is not counted is forgotten.
        let old = given(1, 1, Some(5));
        uses.spend_grants(&old, 2, 9);
        assert!(uses.refuses_grants(&old, 1).is_some());
        let before = uses.grants.len();
        uses.spend_grants(&given(newest, 0, None), 1, 9);
        assert_eq!((uses.grants.len(), uses.read), (before - 1, before - 2));
    }

    proptest! {
        /// Racing coordinators, each choosing agents as it likes: with two corrupt agents who answer always, there
        /// are never more operations than the total.
        #[test]
        fn the_total_is_kept_whoever_is_asked(
            total in 2u64..40, corrupt in 0usize..3, asks in prop::collection::vec((any::<u8>(), any::<bool>()), 1..400),
        ) {
            let quorum = Gate::parse("3 of (a, b, c, d, e)").unwrap();
            let policy = format!("@limits(\"total {total} surviving {corrupt}\") permit(principal, action, resource);");
            let Ok(bounds) = Compiled::new(&policy).bounds(&quorum) else { return Ok(()) };
            let mut agents = vec![Uses::default(); 5];
            // Operations under way, each with the agents that have answered it.
            let mut open: Vec<Vec<bool>> = Vec::new();
            let mut done = 0u64;
            for (choice, fresh) in asks {
                if fresh || open.is_empty() {
                    let answered = (0..5).map(|agent| agent < corrupt).collect();
                    open.push(answered);
                }
                let place = usize::from(choice) % open.len();
                let agent = usize::from(choice) / 7 % 5;
                if !open[place][agent] && ask(&mut agents[agent], account(&[1; 32], &[7; 32]), &bounds, NOW).is_ok() {
                    open[place][agent] = true;
                }
                if quorum.satisfied(&open[place]) {
                    open.swap_remove(place);
                    done += 1;
                }
            }
            prop_assert!(done <= total, "{} of {}", done, total);
        }
    }
}
