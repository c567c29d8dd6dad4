//! What everyone may know of a quorum's key: the commitment vector, and all that follows from it.
//!
//! The key is the value at 0 of a polynomial of degree t−1 that nobody has. The vector is the polynomial's coefficients
//! times the generator, lowest first: so its first point is the public key, and from all of them anyone computes what the
//! share of any seat, times the generator, must be.

use std::collections::BTreeSet;

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::hash::TaggedHash;
use evanesce_token::limits::SEATS;
use frost_core::keys::{
    KeyPackage, PublicKeyPackage, SigningShare, VerifiableSecretSharingCommitment as Vector,
    VerifyingShare,
};
use frost_core::{Identifier, Signature, VerifyingKey};

use crate::arithmetic;
use crate::error::Error;
use crate::share::Share;
use crate::suite::Suite;

/// A flat quorum and its commitment vector, judged.
#[derive(Clone)]
pub struct Group<S: Suite> {
    seats: u8,
    commitment: Vector<S>,
    vector: Vec<Vec<u8>>,
    fingerprint: [u8; 32],
    public_key: [u8; 32],
}

impl<S: Suite> Group<S> {
    /// Judges a vector of t points for a quorum of `seats` seats, 2 ≤ t ≤ seats ≤ 255.
    ///
    /// # Errors
    /// [`Error::Unfit`] unless every point is the one encoding of a point of prime order, and the key one that its
    /// suite may have (of [`Taproot`](crate::Taproot): one with an even y coordinate).
    pub fn new<P: AsRef<[u8]>>(seats: usize, vector: &[P]) -> Result<Group<S>, Error> {
        check_size(vector.len(), seats)?;
        let (commitment, points) = read::<S, P>(vector)?;
        let public_key = S::public_key(&points[0]).ok_or_else(|| {
            Error::Unfit(format!(
                "commitment vector[0]: no public key of {}, whose y coordinates are even",
                S::NAME
            ))
        })?;
        Ok(Group {
            seats: seats as u8,
            fingerprint: fingerprint(S::NAME, seats, &points),
            commitment,
            vector: points,
            public_key,
        })
    }

    /// How many seats sign together.
    pub fn t(&self) -> usize {
        self.vector.len()
    }

    /// How many seats there are.
    pub fn seats(&self) -> usize {
        self.seats.into()
    }

    /// The points of the vector, encoded: t of [`Suite::POINT`] bytes.
    pub fn vector(&self) -> &[Vec<u8>] {
        &self.vector
    }

    /// The public key as verifiers know it: RFC 8032's 32 bytes, or BIP-340's.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The encoding of what the share of `seat`, times the generator, must be.
    pub fn verifying_share(&self, seat: u8) -> Result<Vec<u8>, Error> {
        self.share_commitment(seat)?
            .serialize()
            .map_err(|_| Error::Unfit(format!("commitment vector: the share of seat {seat} is 0")))
    }

    /// Takes a scalar for the share of `seat`, if it is that: this is the one way to a [`Share`].
    ///
    /// # Errors
    /// [`Error::NotTheShare`]; the scalar is then wiped.
    pub fn admit(&self, seat: u8, scalar: Secret<32>) -> Result<Share<S>, Error> {
        let must_be = self.verifying_share(seat)?;
        let is = on_crucible(|| {
            let scalar = arithmetic::decode::<S>(scalar.expose())?;
            let point = arithmetic::times_generator::<S>(&scalar);
            let point = <S::Group as frost_core::Group>::serialize(&point).ok()?;
            Some(point.as_ref().to_vec())
        });
        match is {
            Some(is) if is == must_be => Ok(Share::checked(seat, self.fingerprint, scalar)),
            _ => Err(Error::NotTheShare { seat }),
        }
    }

    /// Whether the 64 bytes are this key's signature of `message` (of [`Taproot`](crate::Taproot): as BIP-340 has it, for
    /// messages of any length).
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Signature::<S>::deserialize(signature).is_ok_and(|signature| {
            self.verifying_key()
                .is_ok_and(|key| key.verify(message, &signature).is_ok())
        })
    }

    /// Whether the share is of this group: the same suite, vector and number of seats.
    pub fn has(&self, share: &Share<S>) -> bool {
        share.group == self.fingerprint
    }

    /// What the library calls a share with all that belongs to it. On the crucible.
    pub(crate) fn key_package(&self, share: &Share<S>) -> Option<KeyPackage<S>> {
        Some(KeyPackage::new(
            identifier::<S>(share.seat()),
            SigningShare::deserialize(share.expose()).ok()?,
            self.share_commitment(share.seat()).ok()?,
            self.verifying_key().ok()?,
            self.t() as u16,
        ))
    }

    pub(crate) fn check_own(&self, share: &Share<S>) -> Result<(), Error> {
        match self.has(share) {
            true => Ok(()),
            false => Err(Error::Unfit("the share is of another quorum's key".into())),
        }
    }

    pub(crate) fn verifying_key(&self) -> Result<VerifyingKey<S>, Error> {
        // Of no seats: the key is in the vector already, and decoding it again would cost a multiplication.
        self.public_keys([]).map(|package| *package.verifying_key())
    }

    pub(crate) fn share_commitment(&self, seat: u8) -> Result<VerifyingShare<S>, Error> {
        let package = self.public_keys([seat])?;
        let share = package.verifying_shares().values().next();
        share.copied().ok_or_else(|| no_such_seat(seat, self.seats))
    }

    /// What the library wants to know of these seats.
    pub(crate) fn public_keys(
        &self,
        seats: impl IntoIterator<Item = u8>,
    ) -> Result<PublicKeyPackage<S>, Error> {
        let mut identifiers = BTreeSet::new();
        for seat in seats {
            if seat >= self.seats {
                return Err(no_such_seat(seat, self.seats));
            }
            identifiers.insert(identifier::<S>(seat));
        }
        PublicKeyPackage::from_commitment(&identifiers, &self.commitment)
            .map_err(|error| Error::Unfit(error.to_string()))
    }
}

/// Where a seat's share lies on the polynomial: at its number plus one, since the key is at 0.
pub(crate) fn identifier<S: Suite>(seat: u8) -> Identifier<S> {
    Identifier::try_from(u16::from(seat) + 1).expect("not 0")
}

/// Refuses what is no quorum for threshold signing.
pub(crate) fn check_size(t: usize, seats: usize) -> Result<(), Error> {
    if t < 2 || t > seats || seats > SEATS {
        return Err(Error::Unfit(format!(
            "{t} of {seats}: threshold signing needs 2 of them or more, at most all, of at most {SEATS}"
        )));
    }
    Ok(())
}

/// The points, judged. Each costs a multiplication, so that they are decoded once; which one is at fault is looked for only if
/// one is.
fn read<S: Suite, P: AsRef<[u8]>>(vector: &[P]) -> Result<(Vector<S>, Vec<Vec<u8>>), Error> {
    if let Ok(commitment) = Vector::<S>::deserialize(vector)
        && let Ok(points) = commitment.serialize()
        && points
            .iter()
            .zip(vector)
            .all(|(own, given)| own == given.as_ref())
    {
        return Ok((commitment, points));
    }
    let why = vector.iter().enumerate().find_map(|(i, point)| {
        let why = canonical::<S>(point.as_ref()).err()?;
        Some(format!("commitment vector[{i}]: {why}"))
    });
    Err(Error::Unfit(why.unwrap_or_else(|| {
        "commitment vector: no points of prime order".into()
    })))
}

/// A point's bytes, if they are its one encoding, and it neither the identity nor outside the group of prime order.
pub(crate) fn canonical<S: Suite>(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.len() != S::POINT {
        return Err(format!("{} bytes, must be {}", bytes.len(), S::POINT));
    }
    let point = frost_core::keys::CoefficientCommitment::<S>::deserialize(bytes)
        .map_err(|error| format!("no point of prime order ({error})"))?;
    // Libraries also read what they would never write, as SEC 1's compact points.
    match point.serialize() {
        Ok(own) if own == bytes => Ok(own),
        _ => Err("not a point's one encoding".into()),
    }
}

fn no_such_seat(seat: u8, seats: u8) -> Error {
    Error::Unfit(format!("there is no seat {seat} among {seats}"))
}

fn fingerprint(suite: &str, seats: usize, vector: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = TaggedHash::new("mpc-group");
    hash.part(suite.as_bytes());
    hash.part(&(seats as u32).to_be_bytes());
    for point in vector {
        hash.part(point);
    }
    hash.finish()
}
