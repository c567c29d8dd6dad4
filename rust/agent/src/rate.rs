//! How much of one costly thing each caller may ask for.

use std::collections::HashMap;

use evanesce_wire::Id;

/// An allowance per caller that fills at a steady rate up to `burst`.
///
/// A cost is taken as long as anything is left, so that one large request passes and is paid off later.
pub struct Rate {
    per_second: u64,
    burst: u64,
    /// Per caller: what is left, in thousandths, and when that was reckoned, in Unix milliseconds.
    left: HashMap<Id, (i64, u64)>,
}

impl Rate {
    /// `per_second` units a second, at most `burst` at once.
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second,
            burst,
            left: HashMap::new(),
        }
    }

    /// Takes `cost` units at `now` (Unix milliseconds); false when the caller has none left.
    pub fn take(&mut self, caller: &Id, cost: u64, now: u64) -> bool {
        let full = (self.burst * 1000) as i64;
        let (left, then) = self.left.entry(*caller).or_insert((full, now));
        let gained = now.saturating_sub(*then).saturating_mul(self.per_second);
        *left = left
            .saturating_add(gained.min(i64::MAX as u64) as i64)
            .min(full);
        *then = now;
        if *left <= 0 {
            return false;
        }
        *left -= (cost * 1000) as i64;
        true
    }

    /// Forgets callers that the directory no longer has.
    pub fn keep(&mut self, known: impl Fn(&Id) -> bool) {
        self.left.retain(|caller, _| known(caller));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_request_passes_and_is_paid_off() {
        let mut rate = Rate::new(10, 20);
        assert!(rate.take(&[1; 32], 50, 0));
        assert!(!rate.take(&[1; 32], 1, 2_900), "still owing");
        assert!(rate.take(&[2; 32], 1, 0), "another caller");
        assert!(rate.take(&[1; 32], 1, 3_200));
    }
}
