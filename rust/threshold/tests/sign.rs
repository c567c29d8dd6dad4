//! Signing together, honestly and otherwise.

mod common;

use common::{Outside, made};
use evanesce_threshold::dkg::Made;
use evanesce_threshold::sign::{self, Nonces, Prepared, Signing};
use evanesce_threshold::{Culprit, Ed25519, Error, Suite, Taproot, Wrong};

const REQUEST: [u8; 32] = [8; 32];

type Committed<S> = (Vec<(u8, Nonces<S>)>, Vec<(u8, Vec<u8>)>);

/// The first round of these seats.
fn committed<S: Suite>(made: &[Made<S>], seats: &[u8], message: &[u8]) -> Committed<S> {
    let (mut all, mut commitments) = (Vec::new(), Vec::new());
    for &seat in seats {
        let share = &made[usize::from(seat)].share;
        let (nonces, bytes) = sign::commit(share, &REQUEST, message).unwrap();
        all.push((seat, nonces));
        commitments.push((seat, bytes));
    }
    (all, commitments)
}

/// Both rounds of these seats, up to the shares.
fn signed<S: Suite>(
    made: &[Made<S>],
    seats: &[u8],
    message: &[u8],
) -> (Signing<S>, Vec<(u8, [u8; 32])>) {
    let (nonces, commitments) = committed(made, seats, message);
    let signing = Signing::new(&made[0].group, message, &commitments).unwrap();
    let shares = nonces.into_iter().map(|(seat, nonces)| {
        let share = &made[usize::from(seat)].share;
        (seat, nonces.sign(&signing, share, &REQUEST).unwrap())
    });
    let shares = shares.collect();
    (signing, shares)
}

fn quorums_sign<S: Outside>() {
    let made = made::<S>(3, 5);
    let group = &made[0].group;
    for seats in [&[0, 1, 2][..], &[4, 0, 3], &[1, 2, 3, 4], &[0, 1, 2, 3, 4]] {
        for message in [&b""[..], b"pay 5", &[9; 1000]] {
            let (signing, shares) = signed(&made, seats, message);
            let signature = signing.aggregate(&shares).unwrap();
            assert!(group.verify(message, &signature));
            assert!(S::outside_accepts(group.public_key(), message, &signature));
            assert!(!S::outside_accepts(
                group.public_key(),
                b"pay 6",
                &signature
            ));
        }
    }
}

#[test]
fn every_quorum_signs_and_unrelated_libraries_accept_it() {
    quorums_sign::<Ed25519>();
    quorums_sign::<Taproot>();
}

/// Group keys and sums of nonces come out odd half of the time each; both are negated where they do.
#[test]
fn taproot_signs_whatever_the_parities() {
    for _ in 0..8 {
        let made = made::<Taproot>(2, 3);
        for _ in 0..4 {
            let (signing, shares) = signed(&made, &[0, 2], b"m");
            let signature = signing.aggregate(&shares).unwrap();
            assert!(Taproot::outside_accepts(
                made[0].group.public_key(),
                b"m",
                &signature
            ));
        }
    }
}

fn unfit<T>(result: Result<T, Error>, why: &str) {
    match result {
        Err(Error::Unfit(said)) => assert!(said.contains(why), "{why}: {said}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("must be refused: {why}"),
    }
}

fn culprits<T>(result: Result<T, Error>) -> Vec<Culprit> {
    match result {
        Err(Error::Culprits(culprits)) => culprits,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("went on"),
    }
}

#[test]
fn fewer_than_t_do_not_sign() {
    let made = made::<Ed25519>(3, 4);
    let (_, commitments) = committed(&made, &[0, 1], b"m");
    unfit(
        Signing::new(&made[0].group, b"m", &commitments),
        "must be 3",
    );
    let (_, mut commitments) = committed(&made, &[0, 1, 2], b"m");
    commitments[2].0 = 1;
    unfit(Signing::new(&made[0].group, b"m", &commitments), "seat 1");
    commitments[2].0 = 4;
    unfit(Signing::new(&made[0].group, b"m", &commitments), "seat 4");
}

#[test]
fn nonces_sign_for_their_request_and_message_alone() {
    let made = made::<Ed25519>(2, 3);
    let (group, share) = (&made[0].group, &made[0].share);
    let sign = |request: &[u8; 32], message: &[u8]| {
        let (mut nonces, commitments) = committed(&made, &[0, 1], b"pay 5");
        let signing = Signing::new(group, message, &commitments).unwrap();
        nonces.remove(0).1.sign(&signing, share, request)
    };
    assert!(sign(&REQUEST, b"pay 5").is_ok());
    unfit(sign(&REQUEST, b"pay 6"), "another request or message");
    unfit(sign(&[9; 32], b"pay 5"), "another request or message");
}

#[test]
fn nonces_sign_for_their_seat_and_key_alone() {
    let (made, others) = (made::<Ed25519>(2, 3), made::<Ed25519>(2, 3));
    let fresh = || {
        let (mut nonces, commitments) = committed(&made, &[0, 1], b"m");
        (nonces.remove(0).1, commitments)
    };
    let (nonces, commitments) = fresh();
    let signing = Signing::new(&made[0].group, b"m", &commitments).unwrap();
    unfit(
        nonces.sign(&signing, &made[1].share, &REQUEST),
        "another seat",
    );
    let (nonces, _) = fresh();
    unfit(
        nonces.sign(&signing, &others[0].share, &REQUEST),
        "another quorum",
    );
    let (nonces, commitments) = fresh();
    let foreign = Signing::new(&others[0].group, b"m", &commitments).unwrap();
    unfit(
        nonces.sign(&foreign, &others[0].share, &REQUEST),
        "another quorum",
    );
}

/// A coordinator that pairs a seat with commitments that are not its own: from an earlier signature, or made up.
#[test]
fn a_seat_signs_only_beside_its_own_commitments() {
    let made = made::<Taproot>(2, 3);
    let (_, earlier) = committed(&made, &[0], b"m");
    let (mut nonces, mut commitments) = committed(&made, &[0, 1], b"m");
    commitments[0] = earlier[0].clone();
    let signing = Signing::new(&made[0].group, b"m", &commitments).unwrap();
    let share = &made[0].share;
    unfit(
        nonces.remove(0).1.sign(&signing, share, &REQUEST),
        "not its own",
    );
    let (mut nonces, _) = committed(&made, &[0], b"m");
    let (_, commitments) = committed(&made, &[1, 2], b"m");
    let signing = Signing::new(&made[0].group, b"m", &commitments).unwrap();
    unfit(
        nonces.remove(0).1.sign(&signing, share, &REQUEST),
        "does not sign",
    );
}

#[test]
fn nonces_are_never_the_same() {
    let made = made::<Ed25519>(2, 2);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let (_, commitments) = committed(&made, &[0, 1], b"m");
        for (_, bytes) in commitments {
            assert!(seen.insert(bytes[..32].to_vec()) && seen.insert(bytes[32..].to_vec()));
        }
    }
}

fn everyone_who_signs_wrongly_is_named<S: Suite>() {
    let made = made::<S>(3, 5);
    let (signing, mut shares) = signed(&made, &[0, 1, 3, 4], b"m");
    // still scalars; by different amounts, since wrong shares that make up for each other make a good signature
    for (at, bit) in [(1, 1), (3, 4)] {
        shares[at].1[if S::LITTLE_ENDIAN { 0 } else { 31 }] ^= bit;
    }
    let wrong = |seat| Culprit {
        seat,
        wrong: Wrong::SignatureShare,
    };
    assert_eq!(culprits(signing.aggregate(&shares)), [wrong(1), wrong(4)]);
    shares[0].1 = [0xff; 32];
    assert!(matches!(
        &culprits(signing.aggregate(&shares))[..],
        [Culprit {
            seat: 0,
            wrong: Wrong::Malformed(_)
        }]
    ));
    unfit(signing.aggregate(&shares[1..]), "must be of [0, 1, 3, 4]");
}

#[test]
fn everyone_whose_share_of_a_signature_is_wrong_is_named() {
    everyone_who_signs_wrongly_is_named::<Ed25519>();
    everyone_who_signs_wrongly_is_named::<Taproot>();
}

#[test]
fn who_commits_to_what_cannot_be_read_is_named() {
    let made = made::<Ed25519>(2, 3);
    let identity = [1].into_iter().chain([0; 31]).collect::<Vec<u8>>();
    for bad in [vec![], vec![0; 64], vec![7; 63], identity.repeat(2)] {
        let (_, mut commitments) = committed(&made, &[0, 2], b"m");
        commitments[1].1 = bad;
        let found = culprits(Signing::new(&made[0].group, b"m", &commitments));
        assert!(matches!(
            &found[..],
            [Culprit {
                seat: 2,
                wrong: Wrong::Malformed(_)
            }]
        ));
    }
}

fn prepared<S: Suite>(made: &[Made<S>], seat: u8) -> (Prepared<S>, (u8, Vec<u8>)) {
    let share = &made[usize::from(seat)].share;
    let (nonces, commitments) = Prepared::where_no_snapshot_is_restored(share).unwrap();
    (nonces, (seat, commitments))
}

fn nonces_that_were_prepared_sign<S: Outside>() {
    let made = made::<S>(2, 3);
    let group = &made[0].group;
    let (first, second) = (prepared(&made, 0), prepared(&made, 2));
    assert!(first.1 != prepared(&made, 0).1);
    let commitments = [first.1, second.1];
    let signing = Signing::new(group, b"m", &commitments).unwrap();
    let mut shares = Vec::new();
    for (seat, nonces) in [(0, first.0), (2, second.0)] {
        let nonces = nonces.decided(&REQUEST, b"m");
        let share = &made[usize::from(seat)].share;
        shares.push((seat, nonces.sign(&signing, share, &REQUEST).unwrap()));
    }
    let signature = signing.aggregate(&shares).unwrap();
    assert!(S::outside_accepts(group.public_key(), b"m", &signature));
}

#[test]
fn nonces_that_were_prepared_sign_as_others_do() {
    nonces_that_were_prepared_sign::<Ed25519>();
    nonces_that_were_prepared_sign::<Taproot>();
}

#[test]
fn nonces_that_were_prepared_are_for_what_they_were_decided_on() {
    let made = made::<Ed25519>(2, 2);
    let group = &made[0].group;
    let (_, others) = committed(&made, &[1], b"pay 6");
    for (decided, request, why) in [
        (&b"pay 5"[..], REQUEST, "another request or message"),
        (b"pay 6", [9; 32], "another request or message"),
    ] {
        let (nonces, own) = prepared(&made, 0);
        let signing = Signing::new(group, b"pay 6", &[own, others[0].clone()]).unwrap();
        let nonces = nonces.decided(&REQUEST, decided);
        unfit(nonces.sign(&signing, &made[0].share, &request), why);
    }
    // and under its own commitments
    let ((nonces, _), (_, other)) = (prepared(&made, 0), prepared(&made, 0));
    let signing = Signing::new(group, b"pay 6", &[other, others[0].clone()]).unwrap();
    let nonces = nonces.decided(&REQUEST, b"pay 6");
    let signed = nonces.sign(&signing, &made[0].share, &REQUEST);
    unfit(signed, "not its own");
}
