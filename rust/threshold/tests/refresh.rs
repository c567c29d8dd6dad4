//! New shares of the same key.

mod common;

use common::{Outside, agents, delivered, made, plan, put_together, sign_together};
use evanesce_threshold::dkg::{self, Agreed, Announced, Made, Parcels, Plan};
use evanesce_threshold::{Culprit, Ed25519, Error, Group, Suite, Taproot, Wrong};

fn begun<S: Suite>(group: &Group<S>) -> (Vec<Announced<S>>, Vec<Vec<u8>>) {
    let plan = |seat: usize| Plan::new(b"new", group.t(), &agents(group.seats()), seat as u8);
    (0..group.seats())
        .map(|seat| dkg::refresh(plan(seat).unwrap(), group).unwrap())
        .unzip()
}

/// Everything but the last exchange.
fn agreed<S: Suite>(group: &Group<S>) -> (Vec<Agreed<S>>, Vec<Parcels>) {
    let (announced, announcements) = begun(group);
    let heard: Vec<_> = announced
        .into_iter()
        .map(|announced| announced.hear(&announcements).unwrap())
        .collect();
    let echoes: Vec<_> = heard.iter().map(|heard| heard.digests().to_vec()).collect();
    let compared = heard
        .into_iter()
        .map(|heard| heard.compare(&echoes).unwrap());
    let (agreed, sent): (Vec<_>, Vec<_>) = compared.unzip();
    (agreed, delivered((0..).zip(sent).collect(), group.seats()))
}

fn refreshed<S: Suite>(made: &[Made<S>]) -> Vec<Made<S>> {
    let (agreed, received) = agreed(&made[0].group);
    let finish = |((agreed, shares), made): ((Agreed<S>, _), &Made<S>)| {
        agreed.finish_refresh(shares, &made.share).unwrap()
    };
    agreed
        .into_iter()
        .zip(received)
        .zip(made)
        .map(finish)
        .collect()
}

fn the_key_stays<S: Outside>(t: usize, seats: usize) {
    let mut made = made::<S>(t, seats);
    let first = made[0].group.vector().to_vec();
    for _ in 0..2 {
        let new = refreshed(&made);
        assert_eq!(new[0].group.public_key(), made[0].group.public_key());
        assert_eq!(new[0].group.vector()[0], first[0]);
        for (new, old) in new.iter().zip(&made) {
            assert_ne!(new.share.expose(), old.share.expose());
            assert_ne!(new.group.vector()[1..], old.group.vector()[1..]);
            assert_ne!(new.transcript, old.transcript);
            assert!(!old.group.has(&new.share) && !new.group.has(&old.share));
        }
        let shares: Vec<_> = new.iter().map(|new| &new.share).collect();
        sign_together(&new[0].group, &shares[..t]);
        sign_together(&new[0].group, &shares[seats - t..]);
        // an old share beside new ones makes another key
        let mut mixed: Vec<_> = new[..t].iter().collect();
        assert_eq!(put_together(&mixed), *new[0].group.vector()[0]);
        mixed[0] = &made[0];
        assert_ne!(put_together(&mixed), *new[0].group.vector()[0]);
        made = new;
    }
}

#[test]
fn a_refresh_changes_every_share_and_not_the_key() {
    for (t, seats) in [(2, 2), (2, 3), (3, 5)] {
        the_key_stays::<Ed25519>(t, seats);
        the_key_stays::<Taproot>(t, seats);
    }
}

#[test]
fn all_seats_have_the_same_new_vector() {
    let new = refreshed(&made::<Taproot>(3, 4));
    assert!(
        new.iter()
            .all(|one| one.group.vector() == new[0].group.vector())
    );
    assert!(new.iter().all(|one| one.transcript == new[0].transcript));
}

fn culprits<T>(result: Result<T, Error>) -> Vec<Culprit> {
    match result {
        Err(Error::Culprits(culprits)) => culprits,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("went on"),
    }
}

/// The attack on a refresh: a sharing of something other than 0 would move the key to where its author wants it.
#[test]
fn who_deals_anything_but_a_sharing_of_0_is_named() {
    let made = made::<Ed25519>(2, 3);
    // t points, and a proof of the first: an announcement for a new key
    let (mut announced, mut announcements) = begun(&made[0].group);
    announcements[1] = dkg::begin::<Ed25519>(plan(2, 3, 1)).unwrap().1;
    let found = culprits(announced.remove(0).hear(&announcements));
    assert!(matches!(
        &found[..],
        [Culprit {
            seat: 1,
            wrong: Wrong::Malformed(_)
        }]
    ));
    // and the other way: nothing without a proof passes where a key is made
    let (mut fresh, mut all) = common::begun::<Ed25519>(2, 3);
    all[2] = announcements[2].clone();
    let found = culprits(fresh.remove(0).hear(&all));
    assert!(matches!(
        &found[..],
        [Culprit {
            seat: 2,
            wrong: Wrong::Malformed(_)
        }]
    ));
    // a right announcement, and a share with a constant
    let (mut agreed, mut received) = agreed(&made[0].group);
    for (from, share) in &mut received[0] {
        if *from == 2 {
            share.expose_mut()[0] ^= 1;
        }
    }
    let finished = agreed
        .remove(0)
        .finish_refresh(received.remove(0), &made[0].share);
    let wrong = Wrong::Share;
    assert_eq!(culprits(finished), [Culprit { seat: 2, wrong }]);
}

#[test]
fn what_is_refreshed_is_this_seats_share_of_this_key() {
    let (made, others) = (made::<Ed25519>(2, 3), self::made::<Ed25519>(2, 3));
    for old in [&made[1].share, &others[0].share] {
        let (mut agreed, mut received) = agreed(&made[0].group);
        let finished = agreed.remove(0).finish_refresh(received.remove(0), old);
        assert!(matches!(finished.err(), Some(Error::Unfit(_))));
    }
    let (mut agreed, mut received) = agreed(&made[0].group);
    let finished = agreed.remove(0).finish(received.remove(0));
    assert!(matches!(finished.err(), Some(Error::Unfit(_))));
    let (mut fresh, mut sent) = common::agreed(common::heard::<Ed25519>(2, 3));
    let finished = fresh
        .remove(0)
        .finish_refresh(sent.remove(0), &made[0].share);
    assert!(matches!(finished.err(), Some(Error::Unfit(_))));
}

#[test]
fn a_refresh_changes_neither_t_nor_the_number_of_seats() {
    let made = made::<Ed25519>(2, 3);
    for (t, seats) in [(3, 3), (2, 4), (2, 2)] {
        let refused = dkg::refresh(plan(t, seats, 0), &made[0].group).err();
        assert!(matches!(refused, Some(Error::Unfit(_))));
    }
}
