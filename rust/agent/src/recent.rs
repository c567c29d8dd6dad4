//! When something was used, so that it is used at most so often in any stretch of time.
//!
//! Uses long past are put together, as long as they lie closer to each other than a 64th of their age: what is asked is
//! never answered with too few, and a use is held against nobody for more than a 64th longer than it must be. Over 366 days that makes
//! at most a few thousand stretches, however many uses there were.

use std::collections::VecDeque;

/// Stretches are put together once so many were added.
const TIDY: u32 = 64;
/// What lies closer than this part of its age is one stretch.
const PART: u64 = 64;

/// Uses of one thing, oldest first. Times are Unix milliseconds by a clock that does not go back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    stretches: VecDeque<Stretch>,
    added: u32,
}

/// Some uses, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// How many.
    pub count: u64,
}

impl Recent {
    /// From stretches, oldest first.
    pub fn of(stretches: Vec<Stretch>) -> Self {
        Self {
            stretches: stretches.into(),
            added: 0,
        }
    }

    /// Oldest first.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.iter()
    }

    /// Adds `count` uses at `now`.
    pub fn add(&mut self, count: u64, now: u64) {
        match self.stretches.back_mut() {
            Some(newest) if newest.first >= now => newest.count += count,
            _ => self.stretches.push_back(Stretch {
                first: now,
                last: now,
                count,
            }),
        }
        self.added += 1;
        if self.added >= TIDY {
            self.tidy(now);
        }
    }

    fn tidy(&mut self, now: u64) {
        self.added = 0;
        let mut tidied: VecDeque<Stretch> = VecDeque::with_capacity(self.stretches.len());
        for next in &self.stretches {
            let age = now.saturating_sub(next.last);
            match tidied.back_mut() {
                Some(one) if (next.last - one.first).saturating_mul(PART) <= age => {
                    one.last = next.last;
                    one.count += next.count;
                }
                _ => tidied.push_back(*next),
            }
        }
        self.stretches = tidied;
    }

    /// How many there were in the `span` milliseconds that end now.
    pub fn within(&self, span: u64, now: u64) -> u64 {
        let recent = self.stretches.iter().rev();
        let recent = recent.take_while(|stretch| stretch.last + span > now);
        recent.map(|stretch| stretch.count).sum()
    }

    /// Milliseconds until at most `most` of them are in the `span` that ends then.
    pub fn wait(&self, most: u64, span: u64, now: u64) -> u64 {
        let mut held = self.within(span, now);
        for stretch in &self.stretches {
            if held <= most {
                break;
            }
            if let Some(wait) = (stretch.last + span)
                .checked_sub(now)
                .filter(|wait| *wait > 0)
            {
                held -= stretch.count;
                if held <= most {
                    return wait;
                }
            }
        }
        0
    }

    /// Forgets what is older than `span`.
    pub fn forget(&mut self, span: u64, now: u64) {
        while self
            .stretches
            .front()
            .is_some_and(|oldest| oldest.last + span <= now)
        {
            self.stretches.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list of every use.
        #[test]
        fn none_is_missed_and_none_is_held_long(
            steps in prop::collection::vec((0u64..5_000, 1u64..4), 1..600), span in 1u64..200_000, later in 0u64..100_000,
        ) {
            let (mut recent, mut all, mut now) = (Recent::default(), Vec::new(), 1_800_000_000_000u64);
            for (step, count) in steps {
                now += step;
                recent.add(count, now);
                all.push((now, count));
                let true_count = |span| all.iter().filter(|(at, _)| at + span > now).map(|(_, count)| count).sum::<u64>();
                let told = recent.within(span, now);
                prop_assert!(told >= true_count(span), "one is missed");
                prop_assert!(told <= true_count(span + span / PART + 1), "one is held long");
            }
            now += later;
            let wait = recent.wait(1, span, now);
            prop_assert!(recent.within(span, now + wait) <= 1);
            prop_assert!(wait == 0 || recent.within(span, now + wait - 1) > 1);
            let before = recent.within(span, now);
            recent.forget(span, now);
            prop_assert_eq!(recent.within(span, now), before);
            prop_assert_eq!(recent.stretches().map(|one| one.count).sum::<u64>(), before);
        }
    }

    #[test]
    fn a_year_of_uses_takes_little_room() {
        let mut recent = Recent::default();
        let start = 1_800_000_000_000u64;
        // One every 400 ms for a while, and every minute for a year.
        (0..500_000).for_each(|n| recent.add(1, start + n * 60_000));
        let then = start + 500_000 * 60_000;
        (0..100_000).for_each(|n| recent.add(1, then + n * 400));
        assert_eq!(recent.within(u64::MAX / 2, then + 40_000_000), 600_000);
        assert!(recent.stretches.len() < 4000, "{}", recent.stretches.len());
    }
}
