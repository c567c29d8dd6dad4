//! The same key for another quorum: t seats of the old one deal their parts of the key to all of the new.
//!
//! Who gives deals `f` with `f(0) = λ·share`, λ being what its share counts for in the key; every other new seat deals a sharing of 0, so
//! that no fewer than t′ of the new seats together know what anyone has given. What a seat of the new quorum is dealt, added up, is its share: nothing
//! old is added to it. The key stays, and the vector is a new one, and with it the token. Members that held no share take part with what everyone may
//! know of the key; those that are left out need not be asked.
//!
//! Announced are the points after the constant's, as in a refresh: the constant's follows from the old vector (`λ·Y`, or the identity), so that who has no
//! such share can deal what fits to t′−1 others at most, which it chooses, and is named where t′ or more honest ones receive. Where fewer do, as in t′ of t′, it
//! may end up without a share of its own: key and secrecy hold, and a member of such a quorum can always deny.

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::cbor::Writer;
use frost_core::{Element, Field, Group as _, Scalar};

use super::finish::{Made, element, written};
use super::refresh::drawn;
use super::{Agreed, Announced, Base, Heard, Parcels, Plan};
use crate::arithmetic::{self, FieldOf};
use crate::error::Error;
use crate::group::Group;
use crate::lagrange::weight;
use crate::share::Share;
use crate::suite::Suite;

/// Who gives: each one's seat in the new quorum, and the one whose share it has, in the order of the new seats.
pub type Givers = Vec<(u8, u8)>;

/// Begins to give the key of this group to the plan's quorum; as [`begin`](super::begin). The plan's header is that of the new token. Who gives goes on
/// with [`Heard::compare_giving`]; it ends with [`Agreed::finish_reshare`].
///
/// # Errors
/// [`Error::Unfit`] unless t different seats of the group give, each at another seat of the plan's, in the order of these.
pub fn reshare<S: Suite>(
    plan: Plan,
    group: &Group<S>,
    givers: &[(u8, u8)],
) -> Result<(Announced<S>, Vec<u8>), Error> {
    let (seats, old_seats, t) = (plan.agents.len(), group.seats(), group.t());
    let good = |(i, (new, old)): (usize, &(u8, u8))| {
        let before = &givers[..i];
        usize::from(*new) < seats
            && usize::from(*old) < old_seats
            && before.last().is_none_or(|(last, _)| last < new)
            && before.iter().all(|(_, other)| other != old)
    };
    if givers.len() != t || !givers.iter().enumerate().all(good) {
        return Err(Error::Unfit(format!(
            "{givers:?} (new seat, old seat) cannot give the key to {seats} seats: must be {t} of its {old_seats}, all different, in the order of the new ones"
        )));
    }
    let drawn = drawn(&plan)?;
    let base = Base {
        group: group.clone(),
        givers: Some(givers.to_vec()),
    };
    Announced::with(plan, drawn, Some(base))
}

/// `CBOR([[new seat, old seat]…])`.
pub(super) fn written_out(givers: &[(u8, u8)]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(givers.len());
    for (new, old) in givers {
        writer.array(2).uint((*new).into()).uint((*old).into());
    }
    writer.into_bytes()
}

impl<S: Suite> Base<S> {
    /// The old seat that gives at `seat` of the new quorum, if one does.
    fn gives(&self, seat: u8) -> Option<u8> {
        let mut givers = self.givers.iter().flatten();
        givers.find(|(new, _)| *new == seat).map(|(_, old)| *old)
    }

    /// λ of an old seat that gives.
    fn weight(&self, old: u8) -> Result<Scalar<S>, Error> {
        let seats: Vec<u8> = self.givers.iter().flatten().map(|(_, old)| *old).collect();
        weight::<S>(&seats, old, FieldOf::<S>::zero())
    }

    /// The constant, times the generator, of what is dealt at `seat` of the new quorum.
    fn constant(&self, seat: u8) -> Result<Element<S>, Error> {
        match self.gives(seat) {
            None => Ok(S::Group::identity()),
            Some(old) => {
                let share = element::<S>(&self.group.verifying_share(old)?)?;
                Ok(share * self.weight(old)?)
            }
        }
    }
}

impl<S: Suite> Heard<S> {
    /// The old seat whose share this one gives, if it gives in a reshare.
    pub fn gives(&self) -> Option<u8> {
        self.base.as_ref()?.gives(self.plan.seat)
    }

    /// As [`compare`](Self::compare), of a seat that gives; `share` is the one that it has of the key.
    ///
    /// # Errors
    /// As there; [`Error::Unfit`] for a share of another seat or key, or where this seat does not give.
    pub fn compare_giving<D: AsRef<[[u8; 32]]>>(
        self,
        echoes: &[D],
        share: &Share<S>,
    ) -> Result<(Agreed<S>, Parcels), Error> {
        let (Some(base), Some(old)) = (&self.base, self.gives()) else {
            return Err(Error::Unfit("this seat does not give".into()));
        };
        base.group.check_own(share)?;
        if share.seat() != old {
            return Err(Error::Unfit("the share is of another seat".into()));
        }
        let weight = base.weight(old)?;
        let mut gives = Secret::zeroed()?;
        let (mut agreed, mut sent) = self.compared(echoes)?;
        let done = on_crucible(|| {
            let part = arithmetic::decode::<S>(share.expose())? * weight;
            arithmetic::encode::<S>(&part, gives.expose_mut());
            for (_, dealt) in &mut sent {
                let with = arithmetic::decode::<S>(dealt.expose())? + part;
                arithmetic::encode::<S>(&with, dealt.expose_mut());
            }
            Some(())
        });
        done.ok_or_else(|| Error::Unfit("the share could not be given".into()))?;
        agreed.gives = Some(gives);
        Ok((agreed, sent))
    }
}

impl<S: Suite> Agreed<S> {
    /// As [`finish`](Agreed::finish), at the end of a reshare.
    ///
    /// # Errors
    /// As there. Of one that gives, a share that does not fit is also one that was dealt without the old share.
    pub fn finish_reshare(self, shares: Parcels) -> Result<Made<S>, Error> {
        self.check_senders(&shares)?;
        let base = match &self.base {
            Some(base) if base.givers.is_some() => base,
            _ => return Err(Error::Unfit("this is no reshare".into())),
        };
        let mut vector = vec![base.group.vector()[0].clone()];
        for sum in self.announced_sums()? {
            vector.push(written::<S>(&sum)?);
        }
        let mut constants = Vec::with_capacity(shares.len());
        for (seat, _) in &shares {
            constants.push(base.constant(*seat)?);
        }
        self.summed(&shares, &constants, self.gives.as_ref(), &vector)
    }
}
