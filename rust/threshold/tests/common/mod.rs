//! What the tests of this crate share.

#![allow(dead_code)] // each test file uses its part

use evanesce_threshold::dkg::{self, Agreed, Announced, Heard, Made, Parcels, Plan};
use evanesce_threshold::sign::{self, Signing};
use evanesce_threshold::{Ed25519, Group, Share, Suite, Taproot};
use frost_core::keys::{KeyPackage, SigningShare, VerifyingShare, reconstruct};
use frost_core::{Field, Group as _, Identifier, Scalar};

/// A suite whose signatures another library, which shares no code with FROST's, can judge.
pub trait Outside: Suite {
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

impl Outside for Ed25519 {
    /// AWS-LC.
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(message, signature)
            .is_ok()
    }
}

impl Outside for Taproot {
    /// Bitcoin Core's libsecp256k1.
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        use secp256k1::{XOnlyPublicKey, schnorr};
        let key = XOnlyPublicKey::from_byte_array(*public_key).unwrap();
        schnorr::verify(
            &schnorr::Signature::from_byte_array(*signature),
            message,
            &key,
        )
        .is_ok()
    }
}

/// The encoding of the point of an encoded scalar.
pub fn point<S: Suite>(scalar: &[u8]) -> Vec<u8> {
    type F<S> = <<S as frost_core::Ciphersuite>::Group as frost_core::Group>::Field;
    let scalar = <F<S> as Field>::Serialization::try_from(scalar)
        .ok()
        .unwrap();
    let scalar: Scalar<S> = F::<S>::deserialize(&scalar).unwrap();
    let point = S::Group::generator() * scalar;
    S::Group::serialize(&point).unwrap().as_ref().to_vec()
}

/// The agents of a test, by seat.
pub fn agents(seats: usize) -> Vec<[u8; 32]> {
    (0..seats).map(|seat| [seat as u8 + 1; 32]).collect()
}

pub fn plan(t: usize, seats: usize, seat: u8) -> Plan {
    Plan::new(b"header", t, &agents(seats), seat).unwrap()
}

/// Every seat's polynomial, and what it announces.
pub fn begun<S: Suite>(t: usize, seats: usize) -> (Vec<Announced<S>>, Vec<Vec<u8>>) {
    (0..seats)
        .map(|seat| dkg::begin(plan(t, seats, seat as u8)).unwrap())
        .unzip()
}

/// All seats after the first exchange, in which nobody lied.
pub fn heard<S: Suite>(t: usize, seats: usize) -> Vec<Heard<S>> {
    let (announced, announcements) = begun(t, seats);
    let hear = |announced: Announced<S>| announced.hear(&announcements).unwrap();
    announced.into_iter().map(hear).collect()
}

/// Shares, by their receivers.
pub type Sent = Vec<Parcels>;

/// All seats after the second exchange, in which nobody lied.
pub fn agreed<S: Suite>(heard: Vec<Heard<S>>) -> (Vec<Agreed<S>>, Sent) {
    agreed_giving(heard, |seat| unreachable!("seat {seat} gives"))
}

/// The same in a reshare; `share` is that of an old seat.
pub fn agreed_giving<'s, S: Suite>(
    heard: Vec<Heard<S>>,
    share: impl Fn(u8) -> &'s Share<S>,
) -> (Vec<Agreed<S>>, Sent) {
    let echoes: Vec<_> = heard.iter().map(|heard| heard.digests().to_vec()).collect();
    let mut sent: Sent = heard.iter().map(|_| Vec::new()).collect();
    let mut agreed = Vec::new();
    for (from, heard) in (0..).zip(heard) {
        let compared = match heard.gives() {
            None => heard.compare(&echoes),
            Some(old) => heard.compare_giving(&echoes, share(old)),
        };
        let (next, shares) = compared.unwrap();
        for (to, share) in shares {
            sent[usize::from(to)].push((from, share));
        }
        agreed.push(next);
    }
    (agreed, sent)
}

/// A key among that many agents.
pub fn made<S: Suite>(t: usize, seats: usize) -> Vec<Made<S>> {
    let (agreed, sent) = agreed(heard(t, seats));
    let finish = |(agreed, shares): (Agreed<S>, _)| agreed.finish(shares).unwrap();
    agreed.into_iter().zip(sent).map(finish).collect()
}

/// A signature of these seats together, verified by another library.
pub fn sign_together<S: Outside>(group: &Group<S>, shares: &[&Share<S>]) {
    let request = [8; 32];
    let committed = shares
        .iter()
        .map(|share| sign::commit(share, &request, b"m").unwrap());
    let (nonces, commitments): (Vec<_>, Vec<_>) = committed.unzip();
    let seats = shares.iter().map(|share| share.seat());
    let commitments: Vec<_> = seats.clone().zip(commitments).collect();
    let signing = Signing::new(group, b"m", &commitments).unwrap();
    let signed = nonces
        .into_iter()
        .zip(shares)
        .map(|(nonces, share)| nonces.sign(&signing, share, &request).unwrap());
    let signed: Vec<_> = seats.zip(signed).collect();
    let signature = signing.aggregate(&signed).unwrap();
    assert!(S::outside_accepts(group.public_key(), b"m", &signature));
}

/// What these shares make, were they put together: times the generator, which is the group's key if there are enough of them, and all are of
/// one sharing.
pub fn put_together<S: Suite>(shares: &[&Made<S>]) -> Vec<u8> {
    let package = |of: &&Made<S>| {
        let seat = of.share.seat();
        KeyPackage::<S>::new(
            Identifier::try_from(u16::from(seat) + 1).unwrap(),
            SigningShare::deserialize(of.share.expose()).unwrap(),
            VerifyingShare::deserialize(&of.group.verifying_share(seat).unwrap()).unwrap(),
            frost_core::VerifyingKey::deserialize(&of.group.vector()[0]).unwrap(),
            shares.len() as u16,
        )
    };
    let packages: Vec<_> = shares.iter().map(package).collect();
    point::<S>(&reconstruct(&packages).unwrap().serialize())
}

/// Secrets by their receivers, from secrets by their senders.
pub fn delivered(sent: Vec<(u8, Parcels)>, seats: usize) -> Vec<Parcels> {
    let mut received: Vec<Parcels> = (0..seats).map(|_| Parcels::new()).collect();
    for (from, parcels) in sent {
        for (to, secret) in parcels {
            received[usize::from(to)].push((from, secret));
        }
    }
    received
}
