//! Whether two sets of seats that share none can both open: what each agent allows once may then be had twice.

use super::{Gate, Node};

impl Gate {
    /// Whether there are two sufficient sets without a seat in common.
    pub fn splits(&self) -> bool {
        sets(self) == 2
    }
}

/// How many disjoint sufficient sets there are, as far as two.
fn sets(gate: &Gate) -> usize {
    let each = gate.of.iter().map(|child| match child {
        Node::Seat(_) => 1,
        Node::Gate(gate) => sets(gate),
    });
    let (mut one, mut two) = (0, 0);
    for sets in each {
        match sets {
            2 => two += 1,
            _ => one += sets,
        }
    }
    // A child with two sets of its own serves both, one with a single set either of them.
    match gate.t {
        t if t <= two || 2 * (t - two) <= one => 2,
        t if t <= two + one => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_splits_where_two_sets_share_no_seat() {
        for (text, splits) in [
            ("1 of (a)", false),
            ("1 of (a, b)", true),
            ("2 of (a, b, c)", false),
            ("2 of (a, b, c, d)", true),
            ("3 of (a, b, c, d, e)", false),
            ("2 of (cfo, ceo)", false),
            ("3 of (cfo, ceo, 2 of (b1, b2, b3))", false),
            ("2 of (1 of (a, b), 1 of (c, d))", true),
            ("2 of (1 of (a, b), c, d)", true),
            ("2 of (1 of (a, b), c)", false),
            ("1 of (2 of (a, b, c), d)", true),
            ("2 of (2 of (a, b, c), 1 of (d, e), f)", true),
            ("2 of (2 of (a, b, c), 2 of (d, e), f)", false),
        ] {
            let gate = Gate::parse(text).unwrap();
            assert_eq!(gate.splits(), splits, "{text}");
            // Every set of seats and the rest of them.
            let count = gate.seat_count();
            let halves = (0..1u32 << count).any(|chosen| {
                let seats = |side: bool| {
                    (0..count)
                        .map(|n| (chosen >> n & 1 == 1) == side)
                        .collect::<Vec<_>>()
                };
                gate.satisfied(&seats(true)) && gate.satisfied(&seats(false))
            });
            assert_eq!(halves, splits, "{text}: by trying");
        }
    }
}
