//! A lost seat's share, from others that do not learn it.

mod common;

use common::{Outside, delivered, made, sign_together};
use evanesce_secret::Secret;
use evanesce_threshold::dkg::{Made, Parcels};
use evanesce_threshold::repair::{Points, Repair, prove, proves};
use evanesce_threshold::{Culprit, Ed25519, Error, Share, Suite, Taproot, Wrong};
use proptest::prelude::*;

/// What the helpers send, and what they publish of it.
fn split<S: Suite>(made: &[Made<S>], repair: &Repair<S>) -> (Vec<(u8, Parcels)>, Vec<Points>) {
    let split = |helper: &u8| {
        let (parcels, points) = repair.split(&made[usize::from(*helper)].share).unwrap();
        repair.check(*helper, &points).unwrap();
        ((*helper, parcels), points)
    };
    repair.helpers().iter().map(split).unzip()
}

/// All three steps, with what is sent spoiled on its way.
fn repaired<S: Suite>(
    made: &[Made<S>],
    helpers: &[u8],
    lost: u8,
    spoil_summands: impl FnOnce(&mut [(u8, Parcels)]),
    spoil_sums: impl FnOnce(&mut Parcels),
) -> Result<Share<S>, Error> {
    let group = &made[0].group;
    let repair = Repair::new(group, helpers, lost)?;
    let (mut sent, points) = split(made, &repair);
    spoil_summands(&mut sent);
    let mut summands = delivered(sent, group.seats());
    let mut sums = Parcels::new();
    for helper in helpers {
        let summands = std::mem::take(&mut summands[usize::from(*helper)]);
        sums.push((*helper, repair.gather(*helper, &points, summands)?));
    }
    spoil_sums(&mut sums);
    repair.receive(&points, sums)
}

fn honestly<S: Suite>(made: &[Made<S>], helpers: &[u8], lost: u8) -> Share<S> {
    repaired(made, helpers, lost, |_| (), |_| ()).unwrap()
}

fn every_seat_can_be_repaired<S: Outside>() {
    let made = made::<S>(3, 5);
    for lost in 0..5 {
        let others: Vec<u8> = (0..5).filter(|seat| *seat != lost).collect();
        for helpers in [&others[..3], &others[1..], &others[..]] {
            let share = honestly(&made, helpers, lost);
            assert_eq!(share.seat(), lost);
            assert_eq!(share.expose(), made[usize::from(lost)].share.expose());
        }
    }
    let share = honestly(&made, &[4, 2, 3], 0);
    sign_together(&made[0].group, &[&share, &made[1].share, &made[4].share]);
}

#[test]
fn t_seats_or_more_repair_any_other() {
    every_seat_can_be_repaired::<Ed25519>();
    every_seat_can_be_repaired::<Taproot>();
}

fn any_repair<S: Suite>(t: usize, seats: usize, order: &[u8], count: usize, liar: usize, bit: u8) {
    let made = made::<S>(t, seats);
    let lost = order[0];
    let helpers = &order[1..1 + count.clamp(t, seats - 1)];
    let share = honestly(&made, helpers, lost);
    assert_eq!(share.expose(), made[usize::from(lost)].share.expose());
    // one bit of one part of one helper's is enough to name it, and nobody else
    let liar = liar % helpers.len();
    let seat = helpers[liar];
    let named = Some(Error::Culprits(vec![Culprit {
        seat,
        wrong: Wrong::Share,
    }]));
    let spoil =
        |secret: &mut Secret<32>| secret.expose_mut()[usize::from(bit / 8)] ^= 1 << (bit % 8);
    let receiver = usize::from(bit) % helpers.len();
    let in_summands = |sent: &mut [(u8, Parcels)]| spoil(&mut sent[liar].1[receiver].1);
    let error = repaired(&made, helpers, lost, in_summands, |_| ()).err();
    assert_eq!(error, named);
    let in_sums = |sums: &mut Parcels| spoil(&mut sums[liar].1);
    let error = repaired(&made, helpers, lost, |_| (), in_sums).err();
    assert_eq!(error, named);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_helps_whom_the_share_is_the_one_that_was_lost_and_liars_are_named(
        (t, order) in (3usize..7).prop_flat_map(|seats| {
            (2..seats, Just((0..seats as u8).collect::<Vec<u8>>()).prop_shuffle())
        }),
        count in 2usize..7,
        liar in 0usize..7,
        bit: u8,
        taproot: bool,
    ) {
        let seats = order.len();
        match taproot {
            true => any_repair::<Taproot>(t, seats, &order, count, liar, bit),
            false => any_repair::<Ed25519>(t, seats, &order, count, liar, bit),
        }
    }
}

#[test]
fn what_a_helper_publishes_are_summands_of_its_part_or_it_is_named() {
    let made = made::<Ed25519>(2, 4);
    let repair = Repair::new(&made[0].group, &[0, 2, 3], 1).unwrap();
    let (_, points) = split(&made, &repair);
    let named = |wrong| Some(Error::Culprits(vec![Culprit { seat: 0, wrong }]));
    // another's, or its own for other helpers
    assert_eq!(repair.check(0, &points[1]).err(), named(Wrong::Summands));
    let others = Repair::new(&made[0].group, &[0, 3], 1).unwrap();
    let (_, fewer) = others.split(&made[0].share).unwrap();
    let error = repair.check(0, &fewer).err();
    assert!(matches!(error, Some(Error::Culprits(_))), "{error:?}");
    let padded = [fewer.clone(), fewer[..1].to_vec()].concat();
    assert_eq!(repair.check(0, &padded).err(), named(Wrong::Summands));
    let mut broken = points[0].clone();
    broken[1] = vec![0xff; 32];
    let error = repair.check(0, &broken).err();
    assert!(matches!(error, Some(Error::Culprits(_))), "{error:?}");
    assert!(matches!(repair.check(1, &points[0]), Err(Error::Unfit(_))));
}

fn proofs_hold_for_what_they_were_made_for<S: Suite>() {
    let (made, others) = (made::<S>(2, 3), made::<S>(2, 3));
    let group = &made[0].group;
    let proof = prove(group, &made[1].share, &[1; 32]).unwrap();
    assert_eq!(proof.len(), S::POINT + 32);
    assert!(proves(group, 1, &[1; 32], &proof));
    assert!(!proves(group, 1, &[2; 32], &proof), "another statement");
    assert!(!proves(group, 0, &[1; 32], &proof), "another seat");
    assert!(!proves(group, 9, &[1; 32], &proof), "no seat");
    assert!(
        !proves(&others[0].group, 1, &[1; 32], &proof),
        "another key"
    );
    for length in [0, S::POINT, S::POINT + 31] {
        assert!(!proves(group, 1, &[1; 32], &proof[..length]));
    }
    assert!(!proves(group, 1, &[1; 32], &[&proof[..], &[0]].concat()));
    for bit in 0..8 * proof.len() {
        let mut altered = proof.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(!proves(group, 1, &[1; 32], &altered), "bit {bit}");
    }
    assert_ne!(prove(group, &made[1].share, &[1; 32]).unwrap(), proof);
    let refused = prove(group, &others[1].share, &[1; 32]).err();
    assert!(matches!(refused, Some(Error::Unfit(_))));
}

#[test]
fn a_proof_is_of_whoever_has_the_share_and_of_nobody_else() {
    proofs_hold_for_what_they_were_made_for::<Ed25519>();
    proofs_hold_for_what_they_were_made_for::<Taproot>();
}

/// No helper's summands, nor sums, are the same twice, or anybody's share.
#[test]
fn what_helpers_send_is_masked() {
    let made = made::<Ed25519>(2, 3);
    let mut seen = std::collections::BTreeSet::new();
    for made in &made {
        seen.insert(*made.share.expose());
    }
    let repair = Repair::new(&made[0].group, &[0, 1], 2).unwrap();
    for _ in 0..20 {
        let (sent, points) = split(&made, &repair);
        let parts = sent.iter().flat_map(|(_, parcels)| parcels);
        assert!(
            parts
                .into_iter()
                .all(|(_, part)| seen.insert(*part.expose()))
        );
        for (helper, summands) in (0..).zip(delivered(sent, 2)) {
            let sum = repair.gather(helper, &points, summands).unwrap();
            assert!(seen.insert(*sum.expose()));
        }
    }
}

#[test]
fn helpers_are_t_different_seats_without_the_lost_one() {
    let made = made::<Ed25519>(3, 5);
    let group = &made[0].group;
    let unfit = |refused: Option<Error>| assert!(matches!(refused, Some(Error::Unfit(_))));
    for helpers in [&[0, 1][..], &[0, 1, 1], &[0, 1, 4], &[0, 1, 5], &[]] {
        unfit(Repair::new(group, helpers, 4).err());
    }
    unfit(Repair::new(group, &[0, 1, 2], 5).err());
    let repair = Repair::new(group, &[1, 2, 3], 4).unwrap();
    unfit(repair.split(&made[0].share).err());
    let others = self::made::<Ed25519>(3, 5);
    unfit(repair.split(&others[1].share).err());
    unfit(repair.gather(1, &[], Parcels::new()).err());
    unfit(repair.receive(&[], Parcels::new()).err());
    let (sent, points) = split(&made, &repair);
    let summands = delivered(sent, 4).remove(1);
    unfit(repair.gather(1, &points[..2], summands).err());
}
