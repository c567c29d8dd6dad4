//! Whom to ask: the sufficient set of seats that answers soonest.
//!
//! The first cost to be minimised is the largest, since an opening waits for its slowest seat; among sets
//! equal in that, the sum. Exact, in two passes up the tree, because the two do not mix in one: the set
//! with the smallest sum may use a child that is slower than it need be, as long as it is no slower than
//! the slowest.

use super::{Gate, Node};

impl Gate {
    /// A sufficient set of seat numbers, ascending, minimising the largest cost and then the sum.
    ///
    /// `cost` has one place per seat, in any unit; `None` is a seat that cannot be had. `None` when no
    /// sufficient set can be had. Among equals, seats that come first are taken.
    pub fn cheapest(&self, cost: &[Option<u64>]) -> Option<Vec<usize>> {
        if cost.len() != self.seat_count() {
            return None;
        }
        let slowest = slowest_needed(self, cost)?;
        let mut chosen = Vec::new();
        least_sum(self, cost, 0, slowest, &mut chosen)?;
        Some(chosen)
    }
}

/// The smallest bound under which the seats no dearer than it suffice.
fn slowest_needed(gate: &Gate, cost: &[Option<u64>]) -> Option<u64> {
    let mut rest = cost;
    let mut bounds = Vec::with_capacity(gate.of.len());
    for child in &gate.of {
        let (own, others) = rest.split_at(child.seat_count());
        rest = others;
        bounds.extend(match child {
            Node::Seat(_) => own[0],
            Node::Gate(gate) => slowest_needed(gate, own),
        });
    }
    bounds.sort_unstable();
    bounds.get(gate.t.checked_sub(1)?).copied()
}

/// The sum of the cheapest sufficient set of seats no dearer than `bound`, which is added to `chosen`.
fn least_sum(
    gate: &Gate,
    cost: &[Option<u64>],
    first: usize,
    bound: u64,
    chosen: &mut Vec<usize>,
) -> Option<u64> {
    let mut seat = first;
    let mut ways = Vec::with_capacity(gate.of.len());
    for child in &gate.of {
        let mut seats = Vec::new();
        let sum = match child {
            Node::Seat(_) => {
                seats.push(seat);
                cost[seat].filter(|&cost| cost <= bound)
            }
            Node::Gate(gate) => least_sum(gate, cost, seat, bound, &mut seats),
        };
        ways.extend(sum.map(|sum| (sum, seats)));
        seat += child.seat_count();
    }
    if gate.t == 0 || ways.len() < gate.t {
        return None;
    }
    ways.sort_by_key(|(sum, _)| *sum);
    ways.truncate(gate.t);
    ways.sort_unstable_by_key(|(_, seats)| seats[0]);
    let mut total = 0u64;
    for (sum, seats) in ways {
        total = total.saturating_add(sum);
        chosen.extend(seats);
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheapest(gate: &str, cost: &[Option<u64>]) -> Option<Vec<usize>> {
        Gate::parse(gate).unwrap().cheapest(cost)
    }

    #[test]
    fn the_fastest_t_of_a_flat_gate() {
        let cost = [Some(9), Some(1), None, Some(5), Some(5)];
        assert_eq!(cheapest("3 of (a, b, c, d, e)", &cost), Some(vec![1, 3, 4]));
        assert_eq!(cheapest("2 of (a, b, c, d, e)", &cost), Some(vec![1, 3]));
        assert_eq!(cheapest("5 of (a, b, c, d, e)", &cost), None);
    }

    #[test]
    fn a_faster_child_is_passed_over_where_the_set_is_no_faster_for_it() {
        // the inner gate answers within 5, sooner than any seat, but asks two for it
        let cost = [Some(5), Some(5), Some(6), Some(6)];
        let chosen = cheapest("2 of (2 of (a, b), c, d)", &cost);
        assert_eq!(chosen, Some(vec![2, 3]));
    }

    #[test]
    fn an_inner_gate_too_may_use_a_slower_way() {
        let cost = [Some(5), Some(5), Some(8), Some(9)];
        let chosen = cheapest("2 of (1 of (2 of (a, b), c), d)", &cost);
        assert_eq!(chosen, Some(vec![2, 3]));
    }

    #[test]
    fn huge_costs_do_not_overflow() {
        assert_eq!(
            cheapest("2 of (a, b)", &[Some(u64::MAX); 2]),
            Some(vec![0, 1])
        );
        assert_eq!(cheapest("2 of (a, b)", &[Some(1)]), None);
    }
}
