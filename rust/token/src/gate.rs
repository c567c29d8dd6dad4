//! The quorum: a tree of gates over named seats (PROTOCOL §3).
//!
//! A gate is satisfied by any t of its children. Seats are numbered from 0 in depth-first order, and
//! wherever a slice has one place per seat, that is its order.

mod cheapest;
mod disjoint;
mod losses;
mod packing;
mod reseat;
mod text;

use crate::limits::{GATE_DEPTH, SEAT_NAME_BYTES, SEATS};
use crate::malformed::{Malformed, quoted};

/// A child of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A gate inside the gate.
    Gate(Gate),
    /// A seat, by its name.
    Seat(String),
}

/// Any `t` of the children in `of`.
///
/// Anyone can build one; whether it is a quorum of the protocol, [`validate`](Self::validate) says. Gates
/// out of [`parse`](Self::parse) or a decoded header are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// How many children suffice.
    pub t: usize,
    /// The children, numbered from 1 where shares are dealt.
    pub of: Vec<Node>,
}

impl Gate {
    /// The names of the seats, depth-first: seat number i is at i.
    pub fn seats(&self) -> Vec<&str> {
        let mut names = Vec::with_capacity(self.seat_count());
        self.collect_seats(&mut names);
        names
    }

    fn collect_seats<'a>(&'a self, names: &mut Vec<&'a str>) {
        for child in &self.of {
            match child {
                Node::Seat(name) => names.push(name),
                Node::Gate(gate) => gate.collect_seats(names),
            }
        }
    }

    /// How many seats there are in all.
    pub fn seat_count(&self) -> usize {
        self.of.iter().map(Node::seat_count).sum()
    }

    /// Whether the seats marked in `have`, one place per seat, are a sufficient set.
    pub fn satisfied(&self, have: &[bool]) -> bool {
        self.satisfied_from(&mut have.iter().copied())
    }

    fn satisfied_from(&self, have: &mut impl Iterator<Item = bool>) -> bool {
        let mut had = 0;
        // every child is visited, so that each takes its own places
        for child in &self.of {
            had += usize::from(match child {
                Node::Seat(_) => have.next().unwrap_or(false),
                Node::Gate(gate) => gate.satisfied_from(have),
            });
        }
        self.t >= 1 && had >= self.t
    }

    /// Refuses what is not a quorum of PROTOCOL §3.
    pub fn validate(&self) -> Result<(), Malformed> {
        self.validate_shape(1)?;
        let mut names = self.seats();
        if names.len() > SEATS {
            return Err(refused(format!("{} seats, at most {SEATS}", names.len())));
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(refused(format!("seat {} is named twice", quoted(pair[0])))),
            None => Ok(()),
        }
    }

    fn validate_shape(&self, depth: usize) -> Result<(), Malformed> {
        if depth > GATE_DEPTH {
            return Err(refused(format!("gates more than {GATE_DEPTH} deep")));
        }
        check_threshold(self.t as u64, self.of.len()).map_err(refused)?;
        for child in &self.of {
            match child {
                Node::Gate(gate) => gate.validate_shape(depth + 1)?,
                Node::Seat(name) => check_seat_name(name).map_err(refused)?,
            }
        }
        Ok(())
    }
}

impl Node {
    /// How many seats there are below, or one.
    pub fn seat_count(&self) -> usize {
        match self {
            Node::Seat(_) => 1,
            Node::Gate(gate) => gate.seat_count(),
        }
    }
}

/// 1 ≤ t ≤ len(of) ≤ 255.
pub(crate) fn check_threshold(t: u64, children: usize) -> Result<(), String> {
    if children == 0 {
        Err("a gate without children".into())
    } else if children > SEATS {
        Err(format!("a gate of {children} children, at most {SEATS}"))
    } else if t == 0 {
        Err("a gate needs at least 1 of its children, not 0".into())
    } else if t > children as u64 {
        Err(format!("a gate needs {t} of its {children} children"))
    } else {
        Ok(())
    }
}

/// 1–64 of `[A-Za-z0-9._@-]`.
pub(crate) fn check_seat_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > SEAT_NAME_BYTES {
        return Err(format!(
            "a seat's name of {} bytes, must be 1 to {SEAT_NAME_BYTES}",
            name.len()
        ));
    }
    if !name.chars().all(may_name_a_seat) {
        return Err(format!(
            "seat {}: its name may hold A-Z a-z 0-9 . _ @ - alone",
            quoted(name)
        ));
    }
    Ok(())
}

fn may_name_a_seat(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._@-".contains(character)
}

fn refused(what: String) -> Malformed {
    Malformed(format!("quorum: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(name: &str) -> Node {
        Node::Seat(name.into())
    }

    #[test]
    fn seats_are_numbered_depth_first() {
        let gate = Gate::parse("2 of (ceo, 1 of (a, 1 of (b)), cfo)").unwrap();
        assert_eq!(gate.seats(), ["ceo", "a", "b", "cfo"]);
    }

    #[test]
    fn a_nested_gate_counts_once() {
        let gate = Gate::parse("2 of (ceo, cfo, 2 of (b1, b2, b3))").unwrap();
        assert!(gate.satisfied(&[true, true, false, false, false]));
        assert!(gate.satisfied(&[true, false, false, true, true]));
        assert!(!gate.satisfied(&[true, false, true, false, false]));
        assert!(!gate.satisfied(&[false, false, true, true, true]));
        assert!(!gate.satisfied(&[true]));
    }

    #[test]
    fn what_is_not_a_quorum_is_refused() {
        let nested = |depth| {
            (1..depth).fold(
                Gate {
                    t: 1,
                    of: vec![seat("a")],
                },
                |gate, _| Gate {
                    t: 1,
                    of: vec![Node::Gate(gate)],
                },
            )
        };
        assert_eq!(nested(8).validate(), Ok(()));
        let wide = |n: usize| Gate {
            t: 1,
            of: (0..n).map(|i| seat(&format!("s{i}"))).collect(),
        };
        assert_eq!(wide(255).validate(), Ok(()));
        let many = Gate {
            t: 1,
            of: (0..2)
                .map(|g| {
                    Node::Gate(Gate {
                        t: 1,
                        of: (0..128).map(|i| seat(&format!("{g}-{i}"))).collect(),
                    })
                })
                .collect(),
        };
        for (gate, why) in [
            (nested(9), "deep"),
            (wide(256), "at most 255"),
            (many, "256 seats"),
            (wide(0), "without children"),
            (
                Gate {
                    t: 0,
                    of: vec![seat("a")],
                },
                "not 0",
            ),
            (
                Gate {
                    t: 2,
                    of: vec![seat("a")],
                },
                "2 of its 1",
            ),
            (
                Gate {
                    t: 1,
                    of: vec![seat("a"), seat("a")],
                },
                "named twice",
            ),
            (
                Gate {
                    t: 1,
                    of: vec![seat("")],
                },
                "0 bytes",
            ),
            (
                Gate {
                    t: 1,
                    of: vec![seat(&"a".repeat(65))],
                },
                "65 bytes",
            ),
            (
                Gate {
                    t: 1,
                    of: vec![seat("a b")],
                },
                "\"a b\"",
            ),
            (
                Gate {
                    t: 1,
                    of: vec![seat("ä")],
                },
                "alone",
            ),
        ] {
            let Malformed(said) = gate.validate().unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
