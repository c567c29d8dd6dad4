//! Making a key among agents, honest ones and others.

mod common;

use common::{Outside, agents, agreed, begun, heard, made};
use evanesce_secret::Secret;
use evanesce_threshold::dkg::{self, Made, Parcels, Plan};
use evanesce_threshold::{Culprit, Ed25519, Error, Suite, Taproot, Wrong};
use frost_core::keys::{KeyPackage, SigningShare, VerifyingShare, reconstruct};
use frost_core::{Identifier, VerifyingKey};
use frost_ed25519::rand_core::{CryptoRng, RngCore};

/// Enough randomness for a nonce of a test.
struct Random;
impl CryptoRng for Random {}
impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        unimplemented!("bytes are all that is asked for")
    }
    fn next_u64(&mut self) -> u64 {
        unimplemented!("bytes are all that is asked for")
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        evanesce_secret::random(out);
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), frost_ed25519::rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

/// Whether these shares are enough: the key that they make, put together as nobody ever should, signs as the group's.
fn make_the_key<S: Outside>(made: &[&Made<S>], t: u16) -> bool {
    let packages: Vec<_> = made.iter().map(|made| package(made, t)).collect();
    let key = reconstruct(&packages).unwrap();
    let signature = key.sign(Random, b"put together").serialize().unwrap();
    let public_key = made[0].group.public_key();
    S::outside_accepts(public_key, b"put together", &signature.try_into().unwrap())
}

fn package<S: Suite>(made: &Made<S>, t: u16) -> KeyPackage<S> {
    let seat = made.share.seat();
    let verifying_share = made.group.verifying_share(seat).unwrap();
    KeyPackage::new(
        Identifier::try_from(u16::from(seat) + 1).unwrap(),
        SigningShare::deserialize(made.share.expose()).unwrap(),
        VerifyingShare::deserialize(&verifying_share).unwrap(),
        VerifyingKey::deserialize(&made.group.vector()[0]).unwrap(),
        t,
    )
}

fn agents_make_a_key<S: Outside>(t: usize, seats: usize) {
    let made = made::<S>(t, seats);
    for (seat, one) in made.iter().enumerate() {
        assert_eq!(usize::from(one.share.seat()), seat);
        assert_eq!((one.group.t(), one.group.seats()), (t, seats));
        assert_eq!(one.group.vector(), made[0].group.vector());
        assert_eq!(one.transcript, made[0].transcript);
        assert!(made[0].group.has(&one.share));
    }
    let all: Vec<_> = made.iter().collect();
    assert!(make_the_key(&all[..t], t as u16));
    assert!(make_the_key(&all[seats - t..], t as u16));
    assert!(!make_the_key(&all[..t - 1], t as u16 - 1));
}

#[test]
fn any_t_shares_are_of_the_key_that_all_agents_know_and_fewer_are_not() {
    for (t, seats) in [(2, 2), (2, 3), (3, 5), (5, 5), (3, 9)] {
        agents_make_a_key::<Ed25519>(t, seats);
        agents_make_a_key::<Taproot>(t, seats);
    }
}

/// A key comes out with an odd y coordinate half of the time, before it is tweaked and after.
#[test]
fn taproot_keys_are_even_however_they_came_out() {
    for _ in 0..16 {
        let made = made::<Taproot>(2, 3);
        assert_eq!(made[0].group.vector()[0][0], 2);
        assert!(make_the_key(&[&made[0], &made[2]], 2));
    }
}

#[test]
fn two_ceremonies_make_two_keys() {
    let (one, other) = (made::<Ed25519>(2, 2), made::<Ed25519>(2, 2));
    assert_ne!(one[0].group.public_key(), other[0].group.public_key());
    assert!(!one[0].group.has(&other[0].share));
}

fn culprits<T>(result: Result<T, Error>) -> Vec<Culprit> {
    match result {
        Err(Error::Culprits(culprits)) => culprits,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("went on"),
    }
}

fn who_announces_nonsense_is_named<S: Suite>() {
    let bad: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.clear(),
        |bytes| bytes.push(0),
        |bytes| bytes.truncate(bytes.len() - 1),
        // beyond the field, as the last point's coordinate
        |bytes| {
            let at = bytes.len() - 32;
            bytes[at..].fill(0xff);
        },
    ];
    for spoil in bad {
        let (mut announced, mut announcements) = begun::<S>(2, 3);
        spoil(&mut announcements[1]);
        let error = announced.remove(0).hear(&announcements).err().unwrap();
        assert!(error.to_string().starts_with("seat 1: "), "{error}");
    }
}

#[test]
fn who_announces_what_cannot_be_read_is_named() {
    who_announces_nonsense_is_named::<Ed25519>();
    who_announces_nonsense_is_named::<Taproot>();
}

/// Whatever is changed on its way: nobody else is named for it, and what passes is another point that only the shares can tell from the
/// right one; everyone else's digest of it tells at once.
#[test]
fn every_flipped_bit_of_an_announcement_is_its_seats_or_changes_its_digest() {
    let own = dkg::begin::<Ed25519>(common::plan(2, 3, 1)).unwrap().1;
    let third = dkg::begin::<Ed25519>(common::plan(2, 3, 2)).unwrap().1;
    let later_points = own.len() - 32;
    let mut passed = 0;
    for bit in 0..own.len() * 8 {
        let mut flipped = own.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (announced, first) = dkg::begin::<Ed25519>(common::plan(2, 3, 0)).unwrap();
        match announced.hear(&[first.clone(), flipped, third.clone()]) {
            Ok(heard) => {
                assert!(bit / 8 >= later_points, "bit {bit}");
                let (again, first) = dkg::begin::<Ed25519>(common::plan(2, 3, 0)).unwrap();
                let right = again.hear(&[first, own.clone(), third.clone()]).unwrap();
                assert_ne!(heard.digests()[1], right.digests()[1]);
                passed += 1;
            }
            Err(Error::Culprits(culprits)) => {
                assert!(
                    culprits.iter().all(|culprit| culprit.seat == 1),
                    "bit {bit}"
                );
            }
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    // one point in sixteen or so is one of prime order
    assert!(passed < 64, "{passed}");
}

/// The first point belongs to the proof, so that a key chosen to cancel the others' cannot be announced.
#[test]
fn who_cannot_prove_that_it_knows_its_constant_is_named() {
    let (mut announced, announcements) = begun::<Ed25519>(2, 3);
    let (_, foreign) = begun::<Ed25519>(2, 3);
    // seat 1 says what seat 0 says; seat 2 has the proof of one announcement and the vector of another
    let copied = vec![
        announcements[0].clone(),
        announcements[0].clone(),
        announcements[2].clone(),
    ];
    let wrong = |seat| {
        vec![Culprit {
            seat,
            wrong: Wrong::Proof,
        }]
    };
    assert_eq!(culprits(announced.remove(0).hear(&copied)), wrong(1));
    let (mut announced, mut announcements) = begun::<Ed25519>(2, 3);
    let vector = announcements[2].len() - 2 * 34;
    announcements[2][vector..].copy_from_slice(&foreign[2][vector..]);
    assert_eq!(culprits(announced.remove(0).hear(&announcements)), wrong(2));
}

#[test]
fn a_vector_of_another_length_than_t_is_refused() {
    let (mut announced, mut announcements) = begun::<Ed25519>(2, 3);
    announcements[2] = begun::<Ed25519>(3, 3).1.remove(2);
    let error = announced.remove(0).hear(&announcements).err().unwrap();
    assert!(
        error.to_string().starts_with("seat 2: announcement.vector"),
        "{error}"
    );
}

/// The attack that needs the second exchange: different commitments to different agents.
#[test]
fn who_announces_different_things_to_different_agents_is_named_before_any_share_is_sent() {
    let (announced, announcements) = begun::<Taproot>(2, 3);
    let other = dkg::begin::<Taproot>(common::plan(2, 3, 1)).unwrap().1;
    let mut to_seat_2 = announcements.clone();
    to_seat_2[1] = other;
    let mut seats = announced.into_iter();
    let seat_0 = seats.next().unwrap().hear(&announcements).unwrap();
    let seat_1 = seats.next().unwrap().hear(&announcements).unwrap();
    let seat_2 = seats.next().unwrap().hear(&to_seat_2).unwrap();
    assert_ne!(seat_0.transcript(), seat_2.transcript());
    let echoes: Vec<_> = [&seat_0, &seat_1, &seat_2]
        .map(|seat| seat.digests().to_vec())
        .into();
    let differs = |other| Culprit {
        seat: 1,
        wrong: Wrong::Differs { other },
    };
    assert_eq!(culprits(seat_0.compare(&echoes)), [differs(2)]);
    assert_eq!(culprits(seat_2.compare(&echoes)), [differs(0), differs(1)]);
}

#[test]
fn an_echo_of_too_few_digests_does_not_pass() {
    let mut seats = heard::<Ed25519>(2, 3);
    let mut echoes: Vec<_> = seats.iter().map(|seat| seat.digests().to_vec()).collect();
    echoes[2].pop();
    let found = culprits(seats.remove(0).compare(&echoes));
    assert!(matches!(
        &found[..],
        [Culprit {
            seat: 2,
            wrong: Wrong::Malformed(_)
        }]
    ));
}

#[test]
fn everyone_whose_share_does_not_fit_is_named() {
    let (mut agreed, mut sent) = agreed(heard::<Ed25519>(3, 5));
    for (from, share) in &mut sent[0] {
        match from {
            // another seat's share, one that is no scalar, and one bit
            1 => *share = Secret::filled(|bytes| bytes[0] = 7).unwrap(),
            2 => share.expose_mut().fill(0xff),
            4 => share.expose_mut()[0] ^= 1,
            _ => (),
        }
    }
    let found = culprits(agreed.remove(0).finish(sent.remove(0)));
    let share = |seat| Culprit {
        seat,
        wrong: Wrong::Share,
    };
    assert_eq!(found, [share(1), share(2), share(4)]);
}

#[test]
fn one_share_of_each_other_seat_is_needed() {
    let spoils: [fn(&mut Parcels); 3] = [
        |shares| drop(shares.pop()),
        |shares| shares[0].0 = shares[1].0,
        |shares| shares[0].0 = 0,
    ];
    for spoil in spoils {
        let (mut agreed, mut sent) = agreed(heard::<Ed25519>(2, 3));
        spoil(&mut sent[0]);
        let finished = agreed.remove(0).finish(sent.remove(0));
        assert!(matches!(finished.err(), Some(Error::Unfit(_))));
    }
}

#[test]
fn an_announcement_in_this_seats_name_that_it_did_not_make_is_refused() {
    let (mut announced, mut announcements) = begun::<Ed25519>(2, 2);
    announcements[0] = begun::<Ed25519>(2, 2).1.remove(0);
    let heard = announced.remove(0).hear(&announcements);
    assert!(matches!(heard.err(), Some(Error::Unfit(_))));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let agents = agents(3);
    for (t, agents, seat) in [
        (1, &agents[..], 0),
        (4, &agents[..], 0),
        (2, &agents[..1], 0),
        (2, &agents[..], 3),
        (2, &[[1; 32], [2; 32], [1; 32]][..], 0),
        (2, &vec![[0; 32]; 256][..], 0),
    ] {
        assert!(matches!(
            Plan::new(b"h", t, agents, seat).err(),
            Some(Error::Unfit(_))
        ));
    }
}
