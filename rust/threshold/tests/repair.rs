//! A lost seat's share, from others that do not learn it.

mod common;

use common::{Outside, delivered, made, sign_together};
use evanesce_secret::Secret;
use evanesce_threshold::dkg::{Made, Parcels};
use evanesce_threshold::{Ed25519, Error, Share, Suite, Taproot, repair};

/// All three steps, with what is summed spoiled on its way.
fn repaired<S: Suite>(
    made: &[Made<S>],
    helpers: &[u8],
    lost: u8,
    spoil: impl FnOnce(&mut Parcels),
) -> Result<Share<S>, Error> {
    let group = &made[0].group;
    let mut sent = Vec::new();
    for helper in helpers {
        let share = &made[usize::from(*helper)].share;
        sent.push((*helper, repair::help(group, share, helpers, lost)?));
    }
    let mut summands = delivered(sent, group.seats());
    let mut sums = Parcels::new();
    for helper in helpers {
        let summands = std::mem::take(&mut summands[usize::from(*helper)]);
        sums.push((*helper, repair::gather::<S>(helpers, summands)?));
    }
    spoil(&mut sums);
    repair::receive(group, helpers, lost, sums)
}

fn every_seat_can_be_repaired<S: Outside>() {
    let made = made::<S>(3, 5);
    for lost in 0..5 {
        let others: Vec<u8> = (0..5).filter(|seat| *seat != lost).collect();
        for helpers in [&others[..3], &others[1..], &others[..]] {
            let share = repaired(&made, helpers, lost, |_| ()).unwrap();
            assert_eq!(share.seat(), lost);
            assert_eq!(share.expose(), made[usize::from(lost)].share.expose());
        }
    }
    let share = repaired(&made, &[4, 2, 3], 0, |_| ()).unwrap();
    sign_together(&made[0].group, &[&share, &made[1].share, &made[4].share]);
}

#[test]
fn t_seats_or_more_repair_any_other() {
    every_seat_can_be_repaired::<Ed25519>();
    every_seat_can_be_repaired::<Taproot>();
}

#[test]
fn what_comes_out_is_a_share_or_nothing() {
    let made = made::<Ed25519>(2, 4);
    let not = Some(Error::NotTheShare { seat: 3 });
    let one_bit = |sums: &mut Parcels| sums[1].1.expose_mut()[0] ^= 1;
    assert_eq!(repaired(&made, &[0, 1, 2], 3, one_bit).err(), not);
    let exchanged = |sums: &mut Parcels| {
        sums[0].1 = Secret::filled(|out| *out = *made[0].share.expose()).unwrap();
    };
    assert_eq!(repaired(&made, &[0, 1, 2], 3, exchanged).err(), not);
    let no_scalar = |sums: &mut Parcels| sums[0].1.expose_mut().fill(0xff);
    let error = repaired(&made, &[0, 1, 2], 3, no_scalar).err();
    assert!(matches!(error, Some(Error::Unfit(_))));
}

/// No helper's summands, nor sums, are the same twice, or anybody's share.
#[test]
fn what_helpers_send_is_masked() {
    let made = made::<Ed25519>(2, 3);
    let mut seen = std::collections::BTreeSet::new();
    for made in &made {
        seen.insert(*made.share.expose());
    }
    for _ in 0..20 {
        let mut sent = Vec::new();
        for helper in [0, 1] {
            let share = &made[usize::from(helper)].share;
            let parcels = repair::help(&made[0].group, share, &[0, 1], 2).unwrap();
            assert!(parcels.iter().all(|(_, part)| seen.insert(*part.expose())));
            sent.push((helper, parcels));
        }
        for summands in delivered(sent, 2) {
            let sum = repair::gather::<Ed25519>(&[0, 1], summands).unwrap();
            assert!(seen.insert(*sum.expose()));
        }
    }
}

#[test]
fn helpers_are_t_different_seats_without_the_lost_one() {
    let made = made::<Ed25519>(3, 5);
    for helpers in [&[0, 1][..], &[0, 1, 1], &[0, 1, 4], &[0, 1, 5], &[]] {
        let refused = repair::help(&made[0].group, &made[0].share, helpers, 4).err();
        assert!(matches!(refused, Some(Error::Unfit(_))), "{helpers:?}");
        let refused = repair::receive(&made[0].group, helpers, 4, Parcels::new()).err();
        assert!(matches!(refused, Some(Error::Unfit(_))), "{helpers:?}");
    }
    let refused = repair::help(&made[0].group, &made[0].share, &[1, 2, 3], 4).err();
    assert!(matches!(refused, Some(Error::Unfit(_))));
    let refused = repair::help(&made[0].group, &made[0].share, &[0, 1, 2], 5).err();
    assert!(matches!(refused, Some(Error::Unfit(_))));
    let refused = repair::gather::<Ed25519>(&[0, 1], Parcels::new()).err();
    assert!(matches!(refused, Some(Error::Unfit(_))));
    let others = self::made::<Ed25519>(3, 5);
    let refused = repair::help(&made[0].group, &others[0].share, &[0, 1, 2], 4).err();
    assert!(matches!(refused, Some(Error::Unfit(_))));
}
