//! Byte-wise Shamir sharing of 32 bytes down a tree of gates (PROTOCOL §2, §4).
//!
//! Each gate splits its value with a polynomial of its own, of degree t−1; child number x, from 1, gets
//! its value at x. Shares go straight into locked memory. What is computed on the way stays on the stack:
//! call these functions on a crucible thread, whose stack is locked and wiped.
//!
//! Time depends on the tree and on which shares there are, both public, never on a value.

use evanesce_secret::{Error, Secret};
use zeroize::Zeroizing;

use crate::gate::{Gate, Node};
use crate::gf256::{add_multiple, inverse, mul, scale};
use crate::limits::SEATS;

/// Deals `value` to the seats of `gate`: one share per seat, in depth-first order.
///
/// `random` fills what it is given with uniform bytes: the coefficients, zero included. Fails if locked
/// memory runs out, or as [`Error::Unavailable`] if the gate is not a well-formed quorum.
pub fn split(
    value: &[u8; 32],
    gate: &Gate,
    random: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<Secret<32>>, Error> {
    gate.validate()
        .map_err(|malformed| Error::Unavailable(malformed.0))?;
    let mut shares = Vec::with_capacity(gate.seat_count());
    // Along any path, the gates' t−1 add up to less than the number of seats.
    let mut coefficients = Zeroizing::new([[0; 32]; SEATS - 1]);
    deal(value, gate, random, &mut coefficients[..], &mut shares)?;
    Ok(shares)
}

fn deal(
    value: &[u8; 32],
    gate: &Gate,
    random: &mut dyn FnMut(&mut [u8]),
    free: &mut [[u8; 32]],
    shares: &mut Vec<Secret<32>>,
) -> Result<(), Error> {
    let (coefficients, free) = free.split_at_mut(gate.t - 1);
    for coefficient in coefficients.iter_mut() {
        random(coefficient);
    }
    for (child, x) in gate.of.iter().zip(1..=u8::MAX) {
        match child {
            Node::Seat(_) => shares.push(Secret::filled(|at_x| {
                evaluate(value, coefficients, x, at_x);
            })?),
            Node::Gate(gate) => {
                let mut at_x = Zeroizing::new([0; 32]);
                evaluate(value, coefficients, x, &mut at_x);
                deal(&at_x, gate, random, free, shares)?;
            }
        }
    }
    Ok(())
}

/// The polynomial with `value` at 0, at `x`.
fn evaluate(value: &[u8; 32], coefficients: &[[u8; 32]], x: u8, at_x: &mut [u8; 32]) {
    *at_x = [0; 32];
    for coefficient in coefficients.iter().rev() {
        add_multiple(at_x, coefficient, 1);
        scale(at_x, x);
    }
    add_multiple(at_x, value, 1);
}

/// Regenerates the value from `shares`, one place per seat in depth-first order.
///
/// False, with `out` untouched, where the shares at hand are not sufficient or their number is not that
/// of the seats. Each gate uses its first t children that can be had. Whether the shares are the ones
/// dealt, only the token's commitments and anchor can tell.
pub fn combine(gate: &Gate, shares: &[Option<&[u8; 32]>], out: &mut [u8; 32]) -> bool {
    if shares.len() != gate.seat_count() || !sufficient(gate, shares) {
        return false;
    }
    interpolate(gate, shares, out);
    true
}

/// Regenerates the share of `seat` from the value that `gate` shares out and from `shares` of other seats.
///
/// False, with `out` undefined, where these are not enough: at each gate on the way down to the seat, its value and t−1 of
/// its other children must be had ([`Gate::cheapest_to_reseat`] finds whom to ask). What is at `seat` in `shares`
/// is not used. Whether it is the share that was dealt, its commitment tells.
pub fn regenerate(
    gate: &Gate,
    shares: &[Option<&[u8; 32]>],
    value: &[u8; 32],
    seat: usize,
    out: &mut [u8; 32],
) -> bool {
    if shares.len() != gate.seat_count() || seat >= shares.len() || gate.of.len() > SEATS {
        return false;
    }
    // The polynomial at 0 is the value itself; other points are children that can be had.
    let (mut xs, mut chosen) = ([0; SEATS], 1);
    let (mut first, mut toward) = (0, None);
    for ((child, own), x) in with_shares(gate, shares).zip(1..=u8::MAX) {
        if (first..first + own.len()).contains(&seat) {
            toward = Some((child, own, x, seat - first));
        } else if chosen < gate.t && can_be_had(child, own) {
            xs[chosen] = x;
            chosen += 1;
        }
        first += own.len();
    }
    let Some((child, own, at, seat)) = toward else {
        return false;
    };
    let mut result = Zeroizing::new([0; 32]);
    if chosen == gate.t {
        let xs = &xs[..chosen];
        add_multiple(&mut result, value, lagrange(xs, 0, at));
        for ((child, own), x) in with_shares(gate, shares).zip(1..=u8::MAX) {
            if xs.contains(&x) {
                add_child(child, own, lagrange(xs, x, at), &mut result);
            }
        }
    } else {
        // Too few beside it, but the child that the seat is below may do without its gate.
        let Node::Gate(inner) = child else {
            return false;
        };
        let mut others: [Option<&[u8; 32]>; SEATS] = [None; SEATS];
        others[..own.len()].copy_from_slice(own);
        others[seat] = None;
        if !combine(inner, &others[..own.len()], &mut result) {
            return false;
        }
    }
    match child {
        Node::Seat(_) => {
            *out = *result;
            true
        }
        Node::Gate(gate) => regenerate(gate, own, &result, seat, out),
    }
}

fn sufficient(gate: &Gate, shares: &[Option<&[u8; 32]>]) -> bool {
    gate.t >= 1 && gate.of.len() <= SEATS && {
        let had = with_shares(gate, shares)
            .filter(|(child, own)| can_be_had(child, own))
            .count();
        had >= gate.t
    }
}

fn can_be_had(child: &Node, shares: &[Option<&[u8; 32]>]) -> bool {
    match child {
        Node::Seat(_) => shares[0].is_some(),
        Node::Gate(gate) => sufficient(gate, shares),
    }
}

/// Each child with the shares of its own seats.
fn with_shares<'a, 's>(
    gate: &'a Gate,
    shares: &'s [Option<&'s [u8; 32]>],
) -> impl Iterator<Item = (&'a Node, &'s [Option<&'s [u8; 32]>])> {
    let mut rest = shares;
    gate.of.iter().map(move |child| {
        let (own, others) = rest.split_at(child.seat_count());
        rest = others;
        (child, own)
    })
}

/// The value at 0 of the polynomial through the first t children that can be had.
fn interpolate(gate: &Gate, shares: &[Option<&[u8; 32]>], out: &mut [u8; 32]) {
    let mut xs = [0; SEATS];
    let mut chosen = 0;
    for ((child, own), x) in with_shares(gate, shares).zip(1..=u8::MAX) {
        if chosen < gate.t && can_be_had(child, own) {
            xs[chosen] = x;
            chosen += 1;
        }
    }
    let xs = &xs[..chosen];

    *out = [0; 32];
    for ((child, own), x) in with_shares(gate, shares).zip(1..=u8::MAX) {
        if !xs.contains(&x) {
            continue;
        }
        add_child(child, own, lagrange(xs, x, 0), out);
    }
}

/// Adds the value of a child that can be had, times `factor`.
fn add_child(child: &Node, own: &[Option<&[u8; 32]>], factor: u8, out: &mut [u8; 32]) {
    match child {
        Node::Seat(_) => add_multiple(out, own[0].expect("can be had"), factor),
        Node::Gate(gate) => {
            let mut value = Zeroizing::new([0; 32]);
            interpolate(gate, own, &mut value);
            add_multiple(out, &value, factor);
        }
    }
}

/// The factor of the value at `x` in the value at `at`, of a polynomial through `xs`; in this field, minus is plus.
fn lagrange(xs: &[u8], x: u8, at: u8) -> u8 {
    let (mut above, mut below) = (1, 1);
    for &other in xs.iter().filter(|&&other| other != x) {
        above = mul(above, other ^ at);
        below = mul(below, other ^ x);
    }
    mul(above, inverse(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(gate: &Gate, coefficient: u8) -> Vec<[u8; 32]> {
        let shares = split(&[7; 32], gate, &mut |out| out.fill(coefficient)).unwrap();
        shares.iter().map(|share| *share.expose()).collect()
    }

    #[test]
    fn one_of_n_deals_the_value_itself() {
        let gate = Gate::parse("1 of (a, b)").unwrap();
        assert_eq!(dealt(&gate, 0xff), [[7; 32], [7; 32]]);
    }

    #[test]
    fn child_x_gets_the_value_at_x() {
        let gate = Gate::parse("3 of (a, b, c, d)").unwrap();
        for (share, x) in dealt(&gate, 5).iter().zip(1..) {
            assert_eq!(*share, [7 ^ mul(5, x) ^ mul(5, mul(x, x)); 32]);
        }
    }

    #[test]
    fn coefficients_of_zero_are_dealt_as_they_come() {
        let gate = Gate::parse("2 of (a, b)").unwrap();
        assert_eq!(dealt(&gate, 0), [[7; 32], [7; 32]]);
    }

    #[test]
    fn the_widest_gate_is_dealt_and_combined() {
        let seats = (0..255).map(|i| Node::Seat(format!("s{i}"))).collect();
        let gate = Gate { t: 255, of: seats };
        let mut drawn = 0u32;
        let shares = split(&[9; 32], &gate, &mut |out| {
            drawn += 1;
            out.fill_with(|| (drawn % 251) as u8);
        });
        let shares = shares.unwrap();
        assert_eq!(drawn, 254);
        let all: Vec<_> = shares.iter().map(|share| Some(share.expose())).collect();
        let mut out = [0; 32];
        assert!(combine(&gate, &all, &mut out));
        assert_eq!(out, [9; 32]);
    }

    #[test]
    fn what_is_not_a_quorum_is_neither_dealt_nor_combined() {
        for t in [0, 2] {
            let gate = Gate {
                t,
                of: vec![Node::Seat("a".into())],
            };
            assert!(matches!(
                split(&[0; 32], &gate, &mut |_| ()),
                Err(Error::Unavailable(_))
            ));
            assert!(!combine(&gate, &[Some(&[0; 32])], &mut [0; 32]));
        }
        let gate = Gate::parse("1 of (a, b)").unwrap();
        assert!(!combine(&gate, &[Some(&[0; 32])], &mut [0; 32]));
    }
}
