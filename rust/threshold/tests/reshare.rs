//! The same key for another quorum.

mod common;

use common::{Outside, Sent, agents, agreed_giving, made, put_together, sign_together};
use evanesce_threshold::dkg::{self, Agreed, Announced, Heard, Made, Plan};
use evanesce_threshold::{Culprit, Ed25519, Error, Group, Suite, Taproot, Wrong};
use proptest::prelude::*;

fn plan(t: usize, seats: usize, seat: usize) -> Plan {
    Plan::new(b"new", t, &agents(seats), seat as u8).unwrap()
}

fn begun<S: Suite>(
    group: &Group<S>,
    (t, seats): (usize, usize),
    givers: &[(u8, u8)],
) -> (Vec<Announced<S>>, Vec<Vec<u8>>) {
    (0..seats)
        .map(|seat| dkg::reshare(plan(t, seats, seat), group, givers).unwrap())
        .unzip()
}

fn heard<S: Suite>(announced: Vec<Announced<S>>, announcements: &[Vec<u8>]) -> Vec<Heard<S>> {
    let hear = |one: Announced<S>| one.hear(announcements).unwrap();
    announced.into_iter().map(hear).collect()
}

/// Everything but the last exchange.
fn agreed<S: Suite>(
    old: &[Made<S>],
    new: (usize, usize),
    givers: &[(u8, u8)],
) -> (Vec<Agreed<S>>, Sent) {
    let (announced, announcements) = begun(&old[0].group, new, givers);
    let heard = heard(announced, &announcements);
    agreed_giving(heard, |seat| &old[usize::from(seat)].share)
}

fn reshared<S: Suite>(old: &[Made<S>], new: (usize, usize), givers: &[(u8, u8)]) -> Vec<Made<S>> {
    let (agreed, received) = agreed(old, new, givers);
    let finish = |(agreed, shares): (Agreed<S>, _)| agreed.finish_reshare(shares).unwrap();
    agreed.into_iter().zip(received).map(finish).collect()
}

fn the_key_is_anothers<S: Outside>(old: &[Made<S>], new: &[Made<S>], t: usize) {
    let key = &old[0].group.vector()[0];
    for one in new {
        assert_eq!(one.group.vector(), new[0].group.vector());
        assert_eq!(one.transcript, new[0].transcript);
        assert_eq!(one.group.vector()[0], *key);
        assert_eq!((one.group.t(), one.group.seats()), (t, new.len()));
        for other in old {
            assert_ne!(one.share.expose(), other.share.expose());
            assert!(!other.group.has(&one.share) && !one.group.has(&other.share));
        }
    }
    let shares: Vec<_> = new.iter().map(|new| &new.share).collect();
    sign_together(&new[0].group, &shares[..t]);
    sign_together(&new[0].group, &shares[new.len() - t..]);
    // enough of them are the key, and fewer are not
    let mut some: Vec<_> = new[..t].iter().collect();
    assert_eq!(put_together(&some), *key);
    assert_ne!(put_together(&some[1..]), *key);
    // nor with an old one among them, in the place of any
    for at in 0..t {
        let beside = |one: &&Made<S>| {
            let mut others = some.iter().enumerate().filter(|(other, _)| *other != at);
            others.all(|(_, other)| other.share.seat() != one.share.seat())
        };
        if let Some(one) = old.iter().find(beside) {
            let right = std::mem::replace(&mut some[at], one);
            assert_ne!(put_together(&some), *key);
            some[at] = right;
        }
    }
}

fn another_quorum_has_the_key<S: Outside>() {
    // a member is removed, with more to spare or less; others come, and none of the old ones is left out
    for (from, to, givers) in [
        ((2, 3), (2, 2), &[(0, 2), (1, 0)][..]),
        ((3, 5), (2, 4), &[(0, 0), (1, 4), (3, 2)]),
        ((2, 3), (3, 5), &[(1, 2), (4, 1)]),
        ((2, 3), (2, 3), &[(0, 0), (2, 2)]),
        ((2, 2), (4, 4), &[(0, 1), (3, 0)]),
    ] {
        let old = made::<S>(from.0, from.1);
        let new = reshared(&old, to, givers);
        the_key_is_anothers(&old, &new, to.0);
        // and it lives on: all of them can give it again
        let givers: Vec<_> = (0..to.0 as u8).map(|seat| (seat, seat)).collect();
        let again = reshared(&new, (2, 3.max(to.0)), &givers);
        the_key_is_anothers(&new, &again, 2);
    }
}

#[test]
fn another_quorum_has_the_same_key_with_other_shares() {
    another_quorum_has_the_key::<Ed25519>();
    another_quorum_has_the_key::<Taproot>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_gives_to_whatever_quorum_the_key_is_the_same_and_liars_are_named(
        (t, old) in (2usize..6).prop_flat_map(|seats| {
            (2..=seats, Just((0..seats as u8).collect::<Vec<u8>>()).prop_shuffle())
        }),
        (new_t, new) in (2usize..7).prop_flat_map(|seats| {
            (2..=seats, Just((0..seats as u8).collect::<Vec<u8>>()).prop_shuffle())
        }),
        liar in 0usize..7,
        bit: u8,
        taproot: bool,
    ) {
        let t = t.min(new.len());
        let mut givers: Vec<_> = new.iter().copied().zip(old.iter().copied()).take(t).collect();
        givers.sort_unstable();
        match taproot {
            true => any_reshare::<Taproot>((t, old.len()), (new_t, new.len()), &givers, liar, bit),
            false => any_reshare::<Ed25519>((t, old.len()), (new_t, new.len()), &givers, liar, bit),
        }
    }
}

fn any_reshare<S: Outside>(
    (t, old_seats): (usize, usize),
    (new_t, seats): (usize, usize),
    givers: &[(u8, u8)],
    liar: usize,
    bit: u8,
) {
    let old = made::<S>(t, old_seats);
    let new = reshared(&old, (new_t, seats), givers);
    the_key_is_anothers(&old, &new, new_t);
    // one bit of what one of them has dealt is enough to name it, and nobody else
    let (mut agreed, mut received) = agreed(&old, (new_t, seats), givers);
    let to = liar % seats;
    let one = usize::from(bit) % (seats - 1);
    let (seat, share) = &mut received[to][one];
    let seat = *seat;
    share.expose_mut()[usize::from(bit / 8)] ^= 1 << (bit % 8);
    let finished = agreed.remove(to).finish_reshare(received.remove(to));
    let wrong = Wrong::Share;
    assert_eq!(culprits(finished), [Culprit { seat, wrong }]);
}

fn culprits<T>(result: Result<T, Error>) -> Vec<Culprit> {
    match result {
        Err(Error::Culprits(culprits)) => culprits,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("went on"),
    }
}

fn unfit<T>(result: Result<T, Error>) {
    assert!(matches!(result.err(), Some(Error::Unfit(_))));
}

/// The attack on a reshare: a seat that is listed to give and has no share, or gives another one than its own, would move the key.
#[test]
fn who_gives_what_is_not_that_seats_share_is_named() {
    let (old, foreign) = (made::<Ed25519>(2, 3), made::<Ed25519>(2, 3));
    let givers = [(0, 0), (1, 2)];
    let wrong = Wrong::Share;
    // seat 1 of the new quorum has no share; or the one of seat 1, or of another key, and believes that it is to give that
    for (group, believed, share) in [
        (&old[0].group, vec![(0, 0), (2, 1)], None),
        (&old[0].group, vec![(0, 0), (1, 1)], Some(&old[1].share)),
        (&foreign[0].group, givers.to_vec(), Some(&foreign[2].share)),
    ] {
        let (mut announced, mut announcements) = begun(&old[0].group, (2, 3), &givers);
        let (liar, said) = dkg::reshare(plan(2, 3, 1), group, &believed).unwrap();
        (announced[1], announcements[1]) = (liar, said);
        let heard = heard(announced, &announcements);
        // had it told what it believes, all would have known; it says what the others say
        assert_ne!(heard[1].transcript(), heard[0].transcript());
        let share = |seat| match (seat, share) {
            (0, _) => &old[0].share,
            (_, share) => share.unwrap(),
        };
        let (mut agreed, mut received) = agreed_giving(heard, share);
        for seat in [2, 0] {
            let finished = agreed.remove(seat).finish_reshare(received.remove(seat));
            let wrong = wrong.clone();
            assert_eq!(culprits(finished), [Culprit { seat: 1, wrong }]);
        }
    }
}

/// And the other way: one that is not to give anything.
#[test]
fn who_gives_without_being_listed_is_named() {
    let old = made::<Taproot>(2, 3);
    let givers = [(0, 0), (1, 2)];
    let (mut announced, mut announcements) = begun(&old[0].group, (2, 3), &givers);
    let (liar, said) = dkg::reshare(plan(2, 3, 2), &old[0].group, &[(0, 0), (2, 1)]).unwrap();
    (announced[2], announcements[2]) = (liar, said);
    let heard = heard(announced, &announcements);
    let (mut agreed, mut received) = agreed_giving(heard, |seat| &old[usize::from(seat)].share);
    let finished = agreed.remove(0).finish_reshare(received.remove(0));
    let wrong = Wrong::Share;
    assert_eq!(culprits(finished), [Culprit { seat: 2, wrong }]);
}

#[test]
fn what_is_given_is_that_seats_share_of_this_key() {
    let (old, others) = (made::<Ed25519>(2, 3), made::<Ed25519>(2, 3));
    let givers = [(0, 0), (1, 2)];
    let of_seat = |seat: usize| {
        let (announced, announcements) = begun(&old[0].group, (2, 3), &givers);
        let mut heard = heard(announced, &announcements);
        let echoes = vec![heard[0].digests().to_vec(); 3];
        (heard.remove(seat), echoes)
    };
    for share in [&old[1].share, &others[2].share] {
        let (heard, echoes) = of_seat(1);
        unfit(heard.compare_giving(&echoes, share));
    }
    // not without one, where one is to be given; nor where none is
    let (heard, echoes) = of_seat(1);
    unfit(heard.compare(&echoes));
    let (heard, echoes) = of_seat(2);
    unfit(heard.compare_giving(&echoes, &old[2].share));
    // and who has not heard what the others have gives nothing
    let (heard, mut echoes) = of_seat(0);
    echoes[2][1][0] ^= 1;
    let differs = Wrong::Differs { other: 2 };
    let compared = heard.compare_giving(&echoes, &old[0].share);
    assert_eq!(
        culprits(compared),
        [Culprit {
            seat: 1,
            wrong: differs
        }]
    );
}

#[test]
fn t_of_the_old_seats_give_each_once() {
    let old = made::<Ed25519>(2, 3);
    let refused = |givers: &[(u8, u8)]| {
        unfit(dkg::reshare(plan(2, 4, 0), &old[0].group, givers));
    };
    refused(&[]);
    refused(&[(0, 0)]);
    refused(&[(0, 0), (1, 1), (2, 2)]);
    refused(&[(0, 1), (1, 1)]);
    refused(&[(1, 0), (1, 1)]);
    refused(&[(1, 0), (0, 1)]);
    refused(&[(0, 0), (1, 3)]);
    refused(&[(0, 0), (4, 1)]);
    assert!(dkg::reshare(plan(2, 4, 0), &old[0].group, &[(0, 2), (3, 0)]).is_ok());
}

/// Whoever signs a transcript signs who gives, and what.
#[test]
fn the_transcript_covers_the_old_vector_and_who_gives() {
    let (old, other) = (made::<Ed25519>(2, 3), made::<Ed25519>(2, 3));
    let givers = [(0, 0), (1, 2)];
    let (announced, announcements) = begun(&old[0].group, (2, 3), &givers);
    let all = heard(announced, &announcements);
    let transcript = all[0].transcript();
    assert!(all.iter().all(|one| one.transcript() == transcript));
    // as two hear it that were told different things, and of the third the same
    let told = |group: &Group<Ed25519>, others: &[(u8, u8)]| {
        let (one, said) = dkg::reshare(plan(2, 3, 0), group, others).unwrap();
        let (two, also) = dkg::reshare(plan(2, 3, 1), &old[0].group, &givers).unwrap();
        let all = [said, also, announcements[2].clone()];
        one.hear(&all).unwrap().transcript() == two.hear(&all).unwrap().transcript()
    };
    assert!(told(&old[0].group, &givers));
    assert!(!told(&old[0].group, &[(0, 0), (1, 1)]));
    assert!(!told(&old[0].group, &[(0, 0), (2, 2)]));
    assert!(!told(&old[0].group, &[(0, 2), (1, 0)]));
    assert!(!told(&other[0].group, &givers));
}

#[test]
fn a_reshare_is_neither_a_refresh_nor_a_new_key() {
    let old = made::<Ed25519>(2, 3);
    let givers = [(0, 0), (1, 1)];
    let (mut agreed, mut received) = agreed(&old, (2, 3), &givers);
    let (one, shares) = (agreed.remove(0), received.remove(0));
    unfit(one.finish_refresh(shares, &old[0].share));
    unfit(agreed.remove(0).finish(received.remove(0)));
    let (mut fresh, mut sent) = common::agreed(common::heard::<Ed25519>(2, 3));
    unfit(fresh.remove(0).finish_reshare(sent.remove(0)));
    // what is announced for a new key proves a constant, which nobody has here
    let (mut announced, mut announcements) = begun(&old[0].group, (2, 3), &givers);
    announcements[1] = dkg::begin::<Ed25519>(plan(2, 3, 1)).unwrap().1;
    let found = culprits(announced.remove(0).hear(&announcements));
    let malformed = |one: &Culprit| matches!(one.wrong, Wrong::Malformed(_)) && one.seat == 1;
    assert!(found.len() == 1 && found.iter().all(malformed));
}
