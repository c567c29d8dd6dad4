//! Which commitment vectors are refused.

mod common;

use common::point;
use evanesce_threshold::{Ed25519, Error, Group, Suite, Taproot};

/// Small scalars, encoded.
fn scalar<S: Suite>(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[if S::LITTLE_ENDIAN { 0 } else { 31 }] = value;
    bytes
}

/// The first small multiple of the generator that may be a key, and the next one.
fn good<S: Suite>() -> Vec<Vec<u8>> {
    let points = (1..).map(|value| point::<S>(&scalar::<S>(value)));
    let keys = points.filter(|point| S::POINT == 32 || point[0] == 2);
    keys.take(2).collect()
}

fn refused<S: Suite>(seats: usize, vector: &[Vec<u8>], why: &str) {
    match Group::<S>::new(seats, vector) {
        Err(Error::Unfit(said)) => assert!(said.contains(why), "{why}: {said}"),
        _ => panic!("accepted, must be refused: {why}"),
    }
}

fn sizes_are_judged<S: Suite>() {
    let good = good::<S>();
    assert!(Group::<S>::new(2, &good).is_ok());
    assert!(Group::<S>::new(255, &good).is_ok());
    refused::<S>(1, &good, "2 of 1");
    refused::<S>(256, &good, "2 of 256");
    refused::<S>(3, &good[..1], "1 of 3");
    refused::<S>(3, &[], "0 of 3");
    refused::<S>(3, &[good[0].clone(), good[1][1..].to_vec()], "vector[1]");
    let group = Group::<S>::new(3, &good).unwrap();
    assert!(group.verifying_share(2).is_ok());
    assert!(group.verifying_share(3).is_err());
}

#[test]
fn a_quorum_is_2_or_more_of_at_most_255() {
    sizes_are_judged::<Ed25519>();
    sizes_are_judged::<Taproot>();
}

/// Of Ed25519: the identity, the point of order 2, one of order 8, and a good point plus one of those.
#[test]
fn points_outside_the_group_of_prime_order_are_refused() {
    let good = good::<Ed25519>();
    for bad in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        // the generator plus the point of order 2: both coordinates negated
        "95999999999999999999999999999999999999999999999999999999999999 99",
    ] {
        let bad = hex::decode(bad.replace(' ', "")).unwrap();
        for vector in [[bad.clone(), good[0].clone()], [good[0].clone(), bad]] {
            refused::<Ed25519>(3, &vector, "no point of prime order");
        }
    }
}

/// The identity again, with its y coordinate and its sign written in other ways, and y = 3 + p, which is on the curve.
#[test]
fn points_that_are_written_in_another_way_are_refused() {
    let good = good::<Ed25519>();
    for bad in [
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let bad = hex::decode(bad).unwrap();
        refused::<Ed25519>(3, &[good[0].clone(), bad], "vector[1]");
    }
    let good = crate::good::<Taproot>();
    // compact (5), hybrid (6) and uncompressed (4) forms of SEC 1, and its identity
    for tag in [0, 1, 4, 5, 6, 7] {
        let mut bad = good[1].clone();
        bad[0] = tag;
        refused::<Taproot>(3, &[good[0].clone(), bad], "vector[1]");
    }
    refused::<Taproot>(3, &[good[0].clone(), vec![0; 33]], "vector[1]");
}

#[test]
fn a_taproot_key_has_an_even_y_coordinate() {
    let good = good::<Taproot>();
    let mut odd = good[0].clone();
    odd[0] = 3;
    refused::<Taproot>(3, &[odd.clone(), good[1].clone()], "even");
    assert!(Group::<Taproot>::new(3, &[good[0].clone(), odd]).is_ok());
}

/// A vector whose polynomial is 0 at a seat: its first points are of the scalars a and −a, so f(1) = 0.
#[test]
fn a_seat_whose_share_is_nothing_has_none() {
    let good = good::<Taproot>();
    let mut negative = good[0].clone();
    negative[0] = 3;
    let group = Group::<Taproot>::new(3, &[good[0].clone(), negative]).unwrap();
    assert!(group.verifying_share(0).is_err());
    assert!(group.verifying_share(1).is_ok());
}
