//! Whom to ask for one seat's share: the sets from which the seed *and* that share can be computed.
//!
//! A sufficient set need not do. Where the seat lies in an inner gate, that gate's value follows from the gate above,
//! but its polynomial takes t−1 more of its own children. And the seat itself, being lost, counts for nothing.

use super::{Gate, Node};

/// What a set costs, and its seats; `None` where there is none.
type Way = Option<(u64, Vec<usize>)>;

impl Gate {
    /// The seats of a cheapest set, by the sum of costs, from which the share of `seat` can be regenerated together
    /// with the value that this gate shares out; ascending, and never `seat` itself.
    ///
    /// `cost` as in [`cheapest`](Self::cheapest). `None` when there is no such set, or no such seat.
    pub fn cheapest_to_reseat(&self, seat: usize, cost: &[Option<u64>]) -> Option<Vec<usize>> {
        if cost.len() != self.seat_count() || seat >= cost.len() {
            return None;
        }
        let (_, mut seats) = toward(self, seat, cost, 0).from_below?;
        seats.sort_unstable();
        Some(seats)
    }
}

/// Ways to a seat's share, starting at a gate above it.
struct Toward {
    /// The gate's own value comes from the gate above.
    from_above: Way,
    /// It is computed here as well.
    from_below: Way,
}

/// `seat` counts from the first seat below `gate`, whose number in the whole is `first`.
fn toward(gate: &Gate, seat: usize, cost: &[Option<u64>], first: usize) -> Toward {
    let (mut others, mut inner) = (Vec::with_capacity(gate.of.len()), None);
    let mut place = 0;
    for child in &gate.of {
        let end = place + child.seat_count();
        let (own, number) = (&cost[place..end], first + place);
        match (child, (place..end).contains(&seat)) {
            (Node::Seat(_), true) => {}
            (Node::Gate(gate), true) => inner = Some(toward(gate, seat - place, own, number)),
            (Node::Seat(_), false) => others.extend(own[0].map(|cost| (cost, vec![number]))),
            (Node::Gate(gate), false) => others.extend(gate.cheapest(own).map(|seats| {
                let total = seats
                    .iter()
                    .filter_map(|&seat| own[seat])
                    .fold(0, u64::saturating_add);
                (total, seats.into_iter().map(|seat| number + seat).collect())
            })),
        }
        place = end;
    }
    others.sort_by_key(|(cost, _)| *cost);
    let fewer = gate.t.checked_sub(1).and_then(|fewer| sum(&others, fewer));
    let all = sum(&others, gate.t);
    match inner {
        None => Toward {
            from_above: fewer,
            from_below: all,
        },
        Some(Toward {
            from_above,
            from_below,
        }) => Toward {
            from_above: cheaper(both(&fewer, &from_above), from_below.clone()),
            from_below: cheaper(both(&all, &from_above), both(&fewer, &from_below)),
        },
    }
}

/// The first `count`, if there are as many.
fn sum(ways: &[(u64, Vec<usize>)], count: usize) -> Way {
    let mut total = (0u64, Vec::new());
    for (cost, seats) in ways.get(..count)? {
        total.0 = total.0.saturating_add(*cost);
        total.1.extend(seats);
    }
    Some(total)
}

fn both(one: &Way, other: &Way) -> Way {
    let ((a, one), (b, other)) = (one.as_ref()?, other.as_ref()?);
    Some((a.saturating_add(*b), [&one[..], other].concat()))
}

fn cheaper(one: Way, other: Way) -> Way {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reseat(gate: &str, seat: usize, had: &[u64]) -> Option<Vec<usize>> {
        let cost: Vec<_> = had.iter().map(|&cost| (cost > 0).then_some(cost)).collect();
        Gate::parse(gate).unwrap().cheapest_to_reseat(seat, &cost)
    }

    #[test]
    fn in_a_flat_quorum_any_t_others_do() {
        assert_eq!(reseat("2 of (a, b, c)", 1, &[1, 1, 1]), Some(vec![0, 2]));
        assert_eq!(
            reseat("2 of (a, b, c)", 1, &[1, 9, 0]),
            None,
            "the seat itself is no help"
        );
        assert_eq!(reseat("2 of (a, b, c)", 3, &[1, 1, 1]), None);
    }

    #[test]
    fn an_inner_gate_takes_its_value_from_above_and_t_less_one_of_its_own() {
        let gate = "2 of (ceo, cfo, 2 of (b1, b2))";
        assert_eq!(reseat(gate, 3, &[1, 1, 1, 0]), Some(vec![0, 1, 2]));
        assert_eq!(
            reseat(gate, 3, &[1, 1, 0, 0]),
            None,
            "it opens, and b2 is out of reach"
        );
        assert_eq!(reseat(gate, 3, &[1, 0, 1, 0]), None, "it does not open");
    }

    #[test]
    fn or_computes_its_value_itself_where_that_is_cheaper() {
        let gate = "2 of (ceo, cfo, 2 of (b1, b2, b3))";
        assert_eq!(reseat(gate, 4, &[1, 9, 1, 1, 0]), Some(vec![0, 2, 3]));
        assert_eq!(reseat(gate, 4, &[1, 1, 1, 9, 0]), Some(vec![0, 1, 2]));
    }
}
