//! The end of a key generation: shares checked and summed, and the key put into the form that is published.

use std::collections::BTreeMap;

use evanesce_secret::{Secret, on_crucible};
use frost_core::keys::dkg::{part3, round2};
use frost_core::keys::{CoefficientCommitment, SecretShare, SigningShare};
use frost_core::{Element, Field as _, Group as _, Scalar};

use super::{Agreed, Parcels};
use crate::arithmetic;
use crate::error::{Culprit, Error, Wrong};
use crate::group::{Group, identifier};
use crate::lagrange::place_of;
use crate::share::Share;
use crate::suite::Suite;

/// What a key generation comes to.
pub struct Made<S: Suite> {
    /// The quorum's key, which all agents have alike.
    pub group: Group<S>,
    /// This seat's share of it.
    pub share: Share<S>,
    /// What all agents have signed.
    pub transcript: [u8; 32],
}

impl<S: Suite> Agreed<S> {
    /// What every agent has signed.
    pub fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }

    /// Takes the shares that every other seat has sent to this one, each with its sender's seat.
    ///
    /// # Errors
    /// [`Error::Culprits`], with [`Wrong::Share`]: all whose share does not fit what they announced.
    pub fn finish(self, shares: Parcels) -> Result<Made<S>, Error> {
        self.check_senders(&shares)?;
        if self.base.is_some() {
            return Err(Error::Unfit(
                "this is no new key: its shares are refreshed or reshared".into(),
            ));
        }
        let own = identifier::<S>(self.plan.seat);
        let mut scalar = Secret::zeroed()?;
        let summed = on_crucible(|| {
            let mut culprits = Vec::new();
            let mut packages = BTreeMap::new();
            for (seat, share) in &shares {
                let sender = identifier::<S>(*seat);
                let commitment = self.packages[&sender].commitment();
                let fits = SigningShare::deserialize(share.expose())
                    .ok()
                    .filter(|share| {
                        SecretShare::new(own, *share, commitment.clone())
                            .verify()
                            .is_ok()
                    });
                match fits {
                    Some(share) => {
                        packages.insert(sender, round2::Package::new(share));
                    }
                    None => culprits.push(*seat),
                }
            }
            if !culprits.is_empty() {
                return Err(culprits);
            }
            let summed = part3(&self.kept, &self.packages, &packages);
            let (key, public) = summed.map_err(|_| Vec::new())?;
            scalar
                .expose_mut()
                .copy_from_slice(&key.signing_share().serialize());
            Ok(public.verifying_key().serialize().unwrap_or_default())
        });
        let key = summed.map_err(wrong_shares)?;
        let (vector, negated) = self.published(&key)?;
        if negated {
            negate::<S>(&mut scalar);
        }
        let group = Group::new(self.plan.agents.len(), &vector)?;
        // checks the share, and with it what was done to the key's form
        let share = group.admit(self.plan.seat, scalar)?;
        Ok(Made {
            group,
            share,
            transcript: self.transcript,
        })
    }

    /// Adds what this seat was dealt, each share compared with what its sender announced, to its own part and to `more`. `constants`: of
    /// each share's sender, the constant times the generator. The end of a refresh and of a reshare, with the vector that it has.
    pub(super) fn summed(
        &self,
        shares: &Parcels,
        constants: &[Element<S>],
        more: Option<&Secret<32>>,
        vector: &[Vec<u8>],
    ) -> Result<Made<S>, Error> {
        let mut scalar = Secret::zeroed()?;
        let summed = on_crucible(|| {
            let mut sum = self.kept.secret_share();
            let mut culprits = Vec::new();
            for ((seat, share), constant) in shares.iter().zip(constants) {
                match self.checked(*seat, share, *constant) {
                    Some(share) => sum = sum + share,
                    None => culprits.push(*seat),
                }
            }
            if !culprits.is_empty() {
                return Err(culprits);
            }
            if let Some(more) = more {
                sum = sum + arithmetic::decode::<S>(more.expose()).ok_or_else(Vec::new)?;
            }
            arithmetic::encode::<S>(&sum, scalar.expose_mut());
            Ok(())
        });
        summed.map_err(wrong_shares)?;
        let group = Group::new(self.plan.agents.len(), vector)?;
        let share = group.admit(self.plan.seat, scalar)?;
        Ok(Made {
            group,
            share,
            transcript: self.transcript,
        })
    }

    /// The share, if it fits what its sender announced: `share · G = constant + i·C_1 + i²·C_2 + …`, for this seat's identifier i. On
    /// the crucible.
    fn checked(&self, sender: u8, share: &Secret<32>, constant: Element<S>) -> Option<Scalar<S>> {
        let share = arithmetic::decode::<S>(share.expose())?;
        let own = place_of::<S>(self.plan.seat).ok()?;
        let mut must_be = S::Group::identity();
        for point in self.heard[usize::from(sender)].vector.iter().rev() {
            must_be = (must_be + element::<S>(point).ok()?) * own;
        }
        (arithmetic::times_generator::<S>(&share) == constant + must_be).then_some(share)
    }

    pub(super) fn check_senders(&self, shares: &Parcels) -> Result<(), Error> {
        let mut senders: Vec<u8> = shares.iter().map(|(seat, _)| *seat).collect();
        senders.sort_unstable();
        match senders.iter().copied().eq(self.plan.others()) {
            true => Ok(()),
            false => Err(Error::Unfit("not one share of each other seat".into())),
        }
    }

    /// The sums of what all announced, place by place.
    pub(super) fn announced_sums(&self) -> Result<Vec<Element<S>>, Error> {
        let points = self.heard.first().map_or(0, |first| first.vector.len());
        let mut sums: Vec<Element<S>> = vec![S::Group::identity(); points];
        for announcement in &self.heard {
            for (sum, point) in sums.iter_mut().zip(&announcement.vector) {
                *sum = *sum + element::<S>(point)?;
            }
        }
        Ok(sums)
    }

    /// The vector of the key as it is published, and whether the shares have to be negated for it.
    ///
    /// The library has already tweaked a Taproot key (BIP-341: by a hash of the even one of ±P, which all shares move by),
    /// and may have negated it before; of the vector, that moves the first point and negates the others.
    fn published(&self, key: &[u8]) -> Result<(Vec<Vec<u8>>, bool), Error> {
        let mut sum = self.announced_sums()?;
        let key = element::<S>(key)?;
        let negated_before = S::must_be_negated(&sum[0]);
        let negated = S::must_be_negated(&key);
        sum[0] = key;
        let vector = sum.iter().zip(0..).map(|(point, k)| {
            let before = k > 0 && negated_before;
            let point = match before != negated {
                true => S::Group::identity() - *point,
                false => *point,
            };
            written::<S>(&point)
        });
        Ok((vector.collect::<Result<_, _>>()?, negated))
    }
}

/// Those whose shares are wrong; nobody, where the library has another reason.
fn wrong_shares(mut seats: Vec<u8>) -> Error {
    seats.sort_unstable();
    let culprit = |seat| Culprit {
        seat,
        wrong: Wrong::Share,
    };
    match seats.is_empty() {
        true => Error::Unfit("what was dealt makes no key; begin anew".into()),
        false => Error::Culprits(seats.into_iter().map(culprit).collect()),
    }
}

pub(super) fn written<S: Suite>(point: &Element<S>) -> Result<Vec<u8>, Error> {
    S::Group::serialize(point)
        .map(|bytes| bytes.as_ref().to_vec())
        .map_err(|_| Error::Unfit("what was dealt cancels out; begin anew".into()))
}

pub(crate) fn element<S: Suite>(bytes: &[u8]) -> Result<Element<S>, Error> {
    CoefficientCommitment::<S>::deserialize(bytes)
        .map(|point| point.value())
        .map_err(|error| Error::Unfit(error.to_string()))
}

fn negate<S: Suite>(scalar: &mut Secret<32>) {
    type FieldOf<S> = <<S as frost_core::Ciphersuite>::Group as frost_core::Group>::Field;
    on_crucible(|| {
        if let Some(value) = arithmetic::decode::<S>(scalar.expose()) {
            let negative = FieldOf::<S>::zero() - value;
            arithmetic::encode::<S>(&negative, scalar.expose_mut());
        }
    });
}
