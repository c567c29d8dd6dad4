//! How much can still be lost, and how little must be captured: a quorum's margins (PROTOCOL §9, §10).
//!
//! Exact for seats, by one pass up the tree. For groups of seats that stand and fall together (an agent that sits
//! twice, a site, a vendor) the question is a covering problem: sets of groups are tried in the order of their size, up to
//! [`MOST_TRIED`] of them.

use super::{Gate, Node};

/// Sets of groups that are tried before the search is given up: a fraction of a second.
const MOST_TRIED: u64 = 200_000;

impl Gate {
    /// The smallest number of further seats without which nothing can be opened; 0 if nothing can be now.
    ///
    /// `live` has one place per seat.
    pub fn losses_to_block(&self, live: &[bool]) -> usize {
        to_block(self, live)
    }

    /// The smallest number of groups without whose seats nothing can be opened. `groups` says to which group each
    /// seat belongs. `None` where the search was given up.
    pub fn groups_to_block(&self, live: &[bool], groups: &[usize]) -> Option<usize> {
        smallest(groups, |chosen| {
            let left = live
                .iter()
                .zip(groups)
                .map(|(live, group)| *live && !chosen[*group]);
            !self.satisfied(&left.collect::<Vec<_>>())
        })
    }

    /// The smallest number of groups whose live seats alone can open; `None` where none can, or the search was given up.
    pub fn groups_to_open(&self, live: &[bool], groups: &[usize]) -> Option<usize> {
        if !self.satisfied(live) {
            return None;
        }
        smallest(groups, |chosen| {
            let had = live
                .iter()
                .zip(groups)
                .map(|(live, group)| *live && chosen[*group]);
            self.satisfied(&had.collect::<Vec<_>>())
        })
    }
}

fn to_block(gate: &Gate, live: &[bool]) -> usize {
    let mut rest = live;
    let mut losses: Vec<usize> = Vec::with_capacity(gate.of.len());
    for child in &gate.of {
        let (own, others) = rest.split_at(child.seat_count().min(rest.len()));
        rest = others;
        losses.push(match child {
            Node::Seat(_) => usize::from(own.first().copied().unwrap_or(false)),
            Node::Gate(gate) => to_block(gate, own),
        });
    }
    losses.sort_unstable();
    // Children are given up, cheapest first, until fewer than t are left.
    losses
        .iter()
        .take((losses.len() + 1).saturating_sub(gate.t))
        .sum()
}

/// The size of a smallest set of groups for which `works` holds.
fn smallest(groups: &[usize], mut works: impl FnMut(&[bool]) -> bool) -> Option<usize> {
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let mut tried = 0;
    for size in 0..=count {
        let mut chosen = vec![false; count];
        if try_sets(&mut chosen, 0, size, &mut tried, &mut works)? {
            return Some(size);
        }
    }
    None
}

/// Whether some set of `size` groups, none of them before `from`, works with those chosen already; `None` after too many.
fn try_sets(
    chosen: &mut [bool],
    from: usize,
    size: usize,
    tried: &mut u64,
    works: &mut impl FnMut(&[bool]) -> bool,
) -> Option<bool> {
    if size == 0 {
        *tried += 1;
        return (*tried <= MOST_TRIED).then(|| works(chosen));
    }
    for group in from..(chosen.len() + 1).saturating_sub(size) {
        chosen[group] = true;
        let worked = try_sets(chosen, group + 1, size - 1, tried, works)?;
        chosen[group] = false;
        if worked {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(text: &str) -> Gate {
        Gate::parse(text).unwrap()
    }

    #[test]
    fn a_flat_quorum_blocks_with_n_less_t_and_one_losses() {
        let quorum = gate("3 of (a, b, c, d, e)");
        assert_eq!(quorum.losses_to_block(&[true; 5]), 3);
        assert_eq!(quorum.losses_to_block(&[true, true, true, false, true]), 2);
        assert_eq!(quorum.losses_to_block(&[true, true, true, false, false]), 1);
        assert_eq!(
            quorum.losses_to_block(&[true, true, false, false, false]),
            0
        );
    }

    #[test]
    fn the_weakest_way_through_a_tree_counts() {
        let quorum = gate("2 of (ceo, cfo, 2 of (b1, b2, b3))");
        assert_eq!(quorum.losses_to_block(&[true; 5]), 2);
        assert_eq!(quorum.losses_to_block(&[false, true, true, true, true]), 1);
        assert_eq!(
            quorum.losses_to_block(&[true, true, false, false, false]),
            1
        );
        assert_eq!(
            gate("1 of (a, 3 of (b, c, d))").losses_to_block(&[true; 4]),
            2
        );
    }

    #[test]
    fn seats_that_fall_together_are_one_loss() {
        let quorum = gate("3 of (a, b, c, d, e)");
        let live = [true; 5];
        assert_eq!(quorum.groups_to_block(&live, &[0, 1, 2, 3, 4]), Some(3));
        assert_eq!(quorum.groups_to_block(&live, &[0, 0, 0, 1, 2]), Some(1));
        assert_eq!(quorum.groups_to_open(&live, &[0, 0, 1, 1, 2]), Some(2));
        assert_eq!(
            quorum.groups_to_open(&[true, true, false, false, false], &[0; 5]),
            None
        );
    }

    #[test]
    fn a_search_that_would_not_end_is_given_up() {
        let seats: Vec<String> = (0..80).map(|seat| format!("s{seat}")).collect();
        let quorum = gate(&format!("40 of ({})", seats.join(", ")));
        let each: Vec<usize> = (0..80).collect();
        assert_eq!(quorum.groups_to_block(&[true; 80], &each), None);
        assert_eq!(quorum.losses_to_block(&[true; 80]), 41);
    }

    proptest::proptest! {
        /// Against every set of seats, of every size.
        #[test]
        fn no_smaller_set_of_losses_blocks(
            t in 1usize..4, inner in 1usize..3, at in 0usize..4, live in proptest::collection::vec(proptest::bool::ANY, 6),
        ) {
            let mut of: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
            of.insert(at.min(3), format!("{inner} of (x, y, z)"));
            let quorum = gate(&format!("{t} of ({})", of.join(", ")));
            let fewest = (0u32..64)
                .filter(|lost| {
                    let left: Vec<bool> = (0..6).map(|seat| live[seat] && lost >> seat & 1 == 0).collect();
                    !quorum.satisfied(&left)
                })
                .map(u32::count_ones)
                .min();
            let each = [0, 1, 2, 3, 4, 5];
            proptest::prop_assert_eq!(Some(quorum.losses_to_block(&live)), fewest.map(|fewest| fewest as usize));
            proptest::prop_assert_eq!(quorum.groups_to_block(&live, &each), Some(quorum.losses_to_block(&live)));
        }
    }
}
