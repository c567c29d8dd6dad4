//! How many operations a quorum lets through when each seat answers only so often (PROTOCOL §10, limits).
//!
//! Exact, for trees as for flat gates. A seat that answers q times takes part in at most q of M operations; a corrupt one
//! in all of them. Seats below different children are different seats, so what is asked below one child takes nothing
//! from another. A gate whose children can each take part in up to m₁ … mₙ operations is satisfied in M of them exactly
//! if Σ min(mᵢ, M) ≥ t·M: the demand is met by filling M places, t deep, child after child, none of which comes twice to a
//! place. That holds for every M up to a largest one, which is what the gate itself can take part in. Which seats are
//! corrupt is the adversary's to choose: for a given M the choice only has to make the sum large, child by child.

use super::{Gate, Node};
use crate::limits::UINT;

/// Without bound.
const NEVER_ENDS: u64 = 1 << 62;

impl Gate {
    /// The most operations that can be had in all when every seat answers `each` times, at most 2^53−1, but for
    /// `corrupt` seats, the worst for it, that answer always. `None`: without bound, since these suffice.
    ///
    /// In a flat quorum ⌊(n−c)·q/(t−c)⌋. Takes time in the square of `corrupt` for each gate.
    pub fn operations(&self, each: u64, corrupt: usize) -> Option<u64> {
        let most = most(self, each.min(UINT), corrupt).last().copied()?;
        (most < NEVER_ENDS).then_some(most)
    }

    /// How often each seat may answer so that there are never more than `total` operations in all, whatever `corrupt`
    /// seats do: the largest such number, 0 where even 1 is too many. `None` where no number would do, since the
    /// corrupt seats suffice.
    pub fn each_within(&self, total: u64, corrupt: usize) -> Option<u64> {
        const SAMPLE: u64 = 1 << 32;
        let sampled = self.operations(SAMPLE, corrupt)?;
        let fits = |each| {
            self.operations(each, corrupt)
                .is_some_and(|all| all <= total)
        };
        // All but linear, so that the answer is near. There are never fewer operations than each seat has answers.
        let near = u128::from(total) * u128::from(SAMPLE) / u128::from(sampled.max(1));
        let (mut low, mut high) = (0, total.min(UINT) + 1);
        let (mut at, mut step) = ((near as u64).clamp(low, high - 1), 1);
        while low + 1 < high {
            match fits(at) {
                true => low = at,
                false => high = at,
            }
            // Away from the first guess in growing steps, then between what fits and what does not.
            let further = match low == at {
                true => at.saturating_add(step),
                false => at.saturating_sub(step),
            };
            at = match low < further && further < high && step < SAMPLE {
                true => further,
                false => low + (high - low) / 2,
            };
            step *= 2;
        }
        Some(low)
    }

    /// How many gates there are, this one among them.
    pub fn gate_count(&self) -> usize {
        let inner = self.of.iter().filter_map(|child| match child {
            Node::Gate(gate) => Some(gate.gate_count()),
            Node::Seat(_) => None,
        });
        1 + inner.sum::<usize>()
    }
}

/// In how many operations the gate can take part at most, with 0, 1 … `corrupt` corrupt seats below it.
fn most(gate: &Gate, each: u64, corrupt: usize) -> Vec<u64> {
    let below = corrupt.min(gate.of.iter().map(Node::seat_count).sum());
    let seats = gate
        .of
        .iter()
        .filter(|child| matches!(child, Node::Seat(_)));
    let seats = seats.count();
    let gates: Vec<Vec<u64>> = gate
        .of
        .iter()
        .filter_map(|child| match child {
            Node::Gate(gate) => Some(most(gate, each, corrupt)),
            Node::Seat(_) => None,
        })
        .collect();
    // The most that children take part in M operations, with up to so many corrupt seats.
    let supply = |operations: u64, allowed: usize| {
        let m = u128::from(operations);
        let honest = u128::from(each.min(operations));
        let mut sums: Vec<u128> = (0..=allowed)
            .map(|bad| {
                let bad = bad.min(seats) as u128;
                bad * m + (seats as u128 - bad) * honest
            })
            .collect();
        for child in &gates {
            for bad in (0..=allowed).rev() {
                let ways = (0..=bad.min(child.len() - 1))
                    .map(|own| sums[bad - own] + u128::from(child[own].min(operations)));
                sums[bad] = ways.max().unwrap_or(0);
            }
        }
        sums[allowed]
    };
    let largest = |allowed: usize| {
        let enough = |m: u64| supply(m, allowed) >= u128::from(m) * gate.t as u128 && gate.t > 0;
        if enough(NEVER_ENDS) {
            return NEVER_ENDS;
        }
        let (mut low, mut high) = (0, NEVER_ENDS);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            match enough(middle) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    };
    (0..=below).map(largest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn gate(text: &str) -> Gate {
        Gate::parse(text).unwrap()
    }

    #[test]
    fn a_flat_quorum_is_as_the_protocol_says() {
        for n in 1..8usize {
            for t in 1..=n {
                let seats: Vec<String> = (0..n).map(|seat| format!("s{seat}")).collect();
                let quorum = gate(&format!("{t} of ({})", seats.join(", ")));
                for c in 0..=n {
                    for q in [1, 2, 3, 10, 1000, UINT] {
                        let expected = (c < t)
                            .then(|| (n - c) as u128 * u128::from(q) / (t - c) as u128)
                            .map(|all| all as u64);
                        assert_eq!(quorum.operations(q, c), expected, "{t} of {n}, {c}, {q}");
                    }
                    let once = quorum.each_within(1, c);
                    let single = 2 * t > n + c;
                    assert_eq!(once == Some(1), c < t && single, "{t} of {n} with {c}");
                }
            }
        }
        assert_eq!(gate("3 of (a, b, c, d, e)").each_within(1000, 1), Some(500));
        assert_eq!(gate("3 of (a, b, c, d, e)").each_within(1000, 3), None);
        assert_eq!(gate("2 of (a, b, c, d, e)").each_within(1, 0), Some(0));
        assert_eq!(gate("1 of (a)").each_within(UINT, 0), Some(UINT));
    }

    #[test]
    fn a_tree_is_as_strong_as_the_worst_choice_of_corrupt_seats() {
        let quorum = gate("2 of (ceo, 2 of (b1, b2, b3))");
        // The ceo is in every operation.
        assert_eq!(quorum.operations(10, 0), Some(10));
        // If the ceo is corrupt, the board decides; if one of the board is, still the ceo.
        assert_eq!(quorum.operations(10, 1), Some(15));
        assert_eq!(quorum.each_within(15, 1), Some(10));
        assert_eq!(quorum.each_within(14, 1), Some(9));
        assert_eq!(quorum.operations(10, 2), Some(20));
        assert_eq!(quorum.operations(10, 3), None);
    }

    #[test]
    fn the_largest_trees_take_no_time_to_speak_of() {
        let leaf = |n: usize| {
            let seats: Vec<String> = (0..8).map(|seat| format!("s{n}-{seat}")).collect();
            format!("5 of ({})", seats.join(", "))
        };
        let leaves: Vec<String> = (0..31).map(leaf).collect();
        let quorum = gate(&format!("20 of ({})", leaves.join(", ")));
        let started = std::time::Instant::now();
        let each = quorum.each_within(1_000_000_007, 8).unwrap();
        assert!(quorum.operations(each, 8).unwrap() <= 1_000_000_007);
        assert!(quorum.operations(each + 1, 8).unwrap() > 1_000_000_007);
        println!("{:?}", started.elapsed());
    }

    /// A tree of at most six seats.
    fn small() -> impl Strategy<Value = Gate> {
        let inner = (1usize..=3, 0usize..3);
        (prop::collection::vec(inner, 1..4), 0usize..4).prop_map(|(children, t)| {
            let mut next = 0;
            let mut name = || {
                next += 1;
                format!("s{next}")
            };
            let of: Vec<String> = children
                .iter()
                .map(|(seats, t)| match seats {
                    1 => name(),
                    n => {
                        let seats: Vec<String> = (0..(*n).min(2)).map(|_| name()).collect();
                        format!("{} of ({})", 1 + t % seats.len(), seats.join(", "))
                    }
                })
                .collect();
            gate(&format!("{} of ({})", 1 + t % of.len(), of.join(", ")))
        })
    }

    /// By trying every sufficient set for each operation in turn.
    fn by_trial(sets: &[u32], left: Vec<u64>, known: &mut HashMap<Vec<u64>, u64>) -> u64 {
        if let Some(most) = known.get(&left) {
            return *most;
        }
        let mut most = 0;
        for set in sets {
            let mut after = left.clone();
            let takes = |seat: &usize| set >> seat & 1 == 1;
            if (0..after.len()).filter(takes).all(|seat| after[seat] > 0) {
                (0..after.len())
                    .filter(takes)
                    .for_each(|seat| after[seat] -= 1);
                most = most.max(1 + by_trial(sets, after, known));
            }
        }
        known.insert(left, most);
        most
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Against every choice of corrupt seats and every way to spend what the others have.
        #[test]
        fn no_packing_of_sufficient_sets_is_larger(quorum in small(), each in 1u64..4, corrupt in 0usize..3) {
            let seats = quorum.seat_count();
            let marks = |set: u32| (0..seats).map(|seat| set >> seat & 1 == 1).collect::<Vec<_>>();
            let mut largest = Some(0);
            for bad in 0u32..1 << seats {
                if bad.count_ones() as usize > corrupt {
                    continue;
                }
                if quorum.satisfied(&marks(bad)) {
                    largest = None;
                    break;
                }
                // What is asked of honest seats, besides all the corrupt ones: minimal sets suffice.
                let sets: Vec<u32> = (1u32..1 << seats)
                    .filter(|set| set & bad == 0 && quorum.satisfied(&marks(set | bad)))
                    .filter(|set| (0..seats).all(|seat| set >> seat & 1 == 0 || !quorum.satisfied(&marks((set | bad) & !(1 << seat)))))
                    .collect();
                let found = by_trial(&sets, vec![each; seats], &mut HashMap::new());
                largest = largest.map(|largest| largest.max(found));
            }
            prop_assert_eq!(quorum.operations(each, corrupt), largest, "{:?}", quorum);
        }

        #[test]
        fn the_bound_of_each_is_the_largest_that_keeps_the_total(quorum in small(), total in 0u64..5000, corrupt in 0usize..3) {
            match quorum.each_within(total, corrupt) {
                None => prop_assert_eq!(quorum.operations(1, corrupt), None),
                Some(each) => {
                    prop_assert!(each == 0 || quorum.operations(each, corrupt).unwrap() <= total);
                    prop_assert!(quorum.operations(each + 1, corrupt).unwrap() > total);
                }
            }
        }
    }
}
