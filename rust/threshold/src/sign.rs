//! Signing together: FROST's two rounds (RFC 9591 §5), each agent for one request and one message.
//!
//! 1. Every seat that is to sign [commits](commit) to two nonces. A coordinator, who needs no trust, gathers the commitments of t seats or
//!    more into a [`Signing`], which every one of them is shown.
//! 2. Every one of these makes its share of the signature ([`Nonces::sign`]); [`Signing::aggregate`] adds them up, and names
//!    who sent a wrong one.
//!
//! A nonce that signs twice gives the share away. So [`Nonces`] cannot be copied, are gone once they sign or refuse to, and sign for
//! the request and message they were made for and no other. Where the first round is done beforehand, see [`Prepared`].

mod nonces;
mod prepared;
#[cfg(test)]
mod vectors;

use std::collections::BTreeMap;

use frost_core::round1::{NonceCommitment, SigningCommitments};
use frost_core::round2::SignatureShare;
use frost_core::{CheaterDetection, Identifier, SigningPackage, aggregate_custom};

use crate::error::{Culprit, Error, Wrong};
use crate::group::{Group, identifier};
use crate::suite::Suite;

pub use nonces::{Nonces, commit};
pub use prepared::Prepared;

/// A message and who signs it with which commitments: public, and the same for all who sign.
pub struct Signing<S: Suite> {
    group: Group<S>,
    seats: Vec<u8>,
    package: SigningPackage<S>,
}

impl<S: Suite> Signing<S> {
    /// Takes the commitments of the seats that are to sign, each with its seat: as [`commit`] gave them.
    ///
    /// # Errors
    /// [`Error::Unfit`] for fewer than t, a seat twice, or one that is not there. [`Error::Culprits`] for commitments that cannot
    /// be read: two points, each its one encoding, of prime order.
    pub fn new<B: AsRef<[u8]>>(
        group: &Group<S>,
        message: &[u8],
        commitments: &[(u8, B)],
    ) -> Result<Signing<S>, Error> {
        let mut read = BTreeMap::new();
        let mut seats = Vec::with_capacity(commitments.len());
        let mut culprits = Vec::new();
        for (seat, bytes) in commitments {
            let seat = *seat;
            if usize::from(seat) >= group.seats() || seats.contains(&seat) {
                return Err(Error::Unfit(format!(
                    "seat {seat} does not sign, or signs twice"
                )));
            }
            seats.push(seat);
            match read_commitments::<S>(bytes.as_ref()) {
                Ok(commitments) => drop(read.insert(identifier::<S>(seat), commitments)),
                Err(what) => culprits.push(Culprit {
                    seat,
                    wrong: Wrong::Malformed(format!("commitments: {what}")),
                }),
            }
        }
        if !culprits.is_empty() {
            return Err(Error::Culprits(culprits));
        }
        if seats.len() < group.t() {
            let (is, t) = (seats.len(), group.t());
            return Err(Error::Unfit(format!("{is} seats sign, must be {t}")));
        }
        Ok(Signing {
            group: group.clone(),
            seats,
            package: SigningPackage::new(read, message),
        })
    }

    /// What is signed.
    pub fn message(&self) -> &[u8] {
        self.package.message()
    }

    /// Who signs, from 0.
    pub fn seats(&self) -> &[u8] {
        &self.seats
    }

    /// The signature: 64 bytes, as RFC 8032 or BIP-340 has them, and verified. `shares` are those that each of these seats
    /// made, with its seat.
    ///
    /// # Errors
    /// [`Error::Culprits`] where no good signature comes out: all whose share is wrong. [`Error::Unfit`] unless each has one.
    pub fn aggregate<B: AsRef<[u8]>>(&self, shares: &[(u8, B)]) -> Result<[u8; 64], Error> {
        let mut read = BTreeMap::new();
        let mut culprits = Vec::new();
        for (seat, bytes) in shares {
            match SignatureShare::<S>::deserialize(bytes.as_ref()) {
                Ok(share) => drop(read.insert(identifier::<S>(*seat), share)),
                Err(_) => culprits.push(Culprit {
                    seat: *seat,
                    wrong: Wrong::Malformed("its share of the signature is no scalar".into()),
                }),
            }
        }
        let signed = shares.iter().map(|(seat, _)| *seat);
        let mut signed: Vec<u8> = signed.collect();
        let mut seats = self.seats.clone();
        signed.sort_unstable();
        seats.sort_unstable();
        if signed != seats {
            return Err(Error::Unfit(format!(
                "shares of a signature of seats {signed:?}, must be of {seats:?}"
            )));
        }
        if !culprits.is_empty() {
            return Err(Error::Culprits(culprits));
        }
        let keys = self.group.public_keys(seats)?;
        let signature =
            aggregate_custom(&self.package, &read, &keys, CheaterDetection::AllCheaters)
                .map_err(|error| self.blame(&error))?;
        let bytes = signature.serialize().ok().and_then(|b| b.try_into().ok());
        bytes.ok_or_else(|| Error::Unfit("the signature cannot be written".into()))
    }

    fn blame(&self, error: &frost_core::Error<S>) -> Error {
        let culprits = error.culprits();
        let mut seats: Vec<u8> = self.seats.clone();
        seats.sort_unstable();
        seats.retain(|seat| culprits.contains(&identifier::<S>(*seat)));
        if seats.is_empty() {
            return Error::Unfit(error.to_string());
        }
        let culprit = |seat| Culprit {
            seat,
            wrong: Wrong::SignatureShare,
        };
        Error::Culprits(seats.into_iter().map(culprit).collect())
    }

    fn commitments_of(&self, identifier: &Identifier<S>) -> Option<SigningCommitments<S>> {
        self.package.signing_commitment(identifier)
    }
}

/// The hiding one and the binding one, joined.
fn write_commitments<S: Suite>(commitments: &SigningCommitments<S>) -> Option<Vec<u8>> {
    let hiding = commitments.hiding().serialize().ok()?;
    let binding = commitments.binding().serialize().ok()?;
    Some([hiding, binding].concat())
}

fn read_commitments<S: Suite>(bytes: &[u8]) -> Result<SigningCommitments<S>, String> {
    if bytes.len() != 2 * S::POINT {
        return Err(format!("{} bytes, must be {}", bytes.len(), 2 * S::POINT));
    }
    let (hiding, binding) = bytes.split_at(S::POINT);
    // As `canonical` has it, decoded once: each point costs a multiplication.
    let read = |point: &[u8]| match NonceCommitment::<S>::deserialize(point) {
        Ok(read) if read.serialize().is_ok_and(|own| own == point) => Ok(read),
        Ok(_) => Err("not a point's one encoding".to_owned()),
        Err(error) => Err(format!("no point of prime order ({error})")),
    };
    Ok(SigningCommitments::new(read(hiding)?, read(binding)?))
}
