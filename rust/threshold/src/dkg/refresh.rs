//! New shares of the same key: every agent deals a sharing of 0, and each adds what it gets to the share that it has.
//!
//! Old shares and new ones do not add up: who has t−1 old ones needs t new ones all the same, once every seat has destroyed its old
//! one. The key, t and the seats stay; the vector is a new one, and with it the token.
//!
//! There is no proof of possession, for there is no constant to prove: whoever commits to points whose scalars it does not know can deal shares
//! that fit to t−2 others at most (with one more, and the constant 0, it would know them), and is named where t−1 or more honest ones receive.

use evanesce_secret::on_crucible;
use frost_core::Group as _;
use frost_core::keys::refresh::refresh_dkg_part1;

use super::finish::{Made, element, written};
use super::{Agreed, Announced, Base, Drawn, Parcels, Plan};
use crate::error::Error;
use crate::group::{Group, identifier};
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;

/// Begins to refresh the shares of this group; as [`begin`](super::begin). The plan's header is that of the new token, and the plan's quorum
/// must be as large as the group's. It ends with [`Agreed::finish_refresh`].
pub fn refresh<S: Suite>(plan: Plan, group: &Group<S>) -> Result<(Announced<S>, Vec<u8>), Error> {
    let (t, seats) = (plan.t, plan.agents.len());
    if (t, seats) != (group.t(), group.seats()) {
        return Err(Error::Unfit(format!(
            "a refresh of {t} of {seats} for {} of {}: it changes neither",
            group.t(),
            group.seats()
        )));
    }
    let drawn = drawn(&plan)?;
    let base = Base {
        group: group.clone(),
        givers: None,
    };
    Announced::with(plan, drawn, Some(base))
}

/// A polynomial whose constant is 0.
pub(super) fn drawn<S: Suite>(plan: &Plan) -> Result<Box<Drawn<S>>, Error> {
    let own = identifier::<S>(plan.seat);
    let (t, seats) = (plan.t as u16, plan.agents.len() as u16);
    let drawn = on_crucible(|| {
        refresh_dkg_part1(own, seats, t, &mut Kernel)
            .ok()
            .map(|(secret, package)| Box::new((secret, package)))
    });
    drawn.ok_or_else(|| Error::Unfit("no polynomial could be drawn".into()))
}

impl<S: Suite> Agreed<S> {
    /// As [`finish`](Agreed::finish), at the end of a refresh; `old` is this seat's share so far.
    ///
    /// # Errors
    /// As there; [`Error::Unfit`] for a share of another seat or key.
    pub fn finish_refresh(self, shares: Parcels, old: &Share<S>) -> Result<Made<S>, Error> {
        self.check_senders(&shares)?;
        let Some(Base {
            group: base,
            givers: None,
        }) = &self.base
        else {
            return Err(Error::Unfit("this is no refresh".into()));
        };
        base.check_own(old)?;
        if old.seat() != self.plan.seat {
            return Err(Error::Unfit("the share is of another seat".into()));
        }
        let vector = self.refreshed(base)?;
        let constants = vec![S::Group::identity(); shares.len()];
        self.summed(&shares, &constants, Some(old.secret()), &vector)
    }

    /// The old vector, moved by what all announced: all of it but the key.
    fn refreshed(&self, base: &Group<S>) -> Result<Vec<Vec<u8>>, Error> {
        let mut vector = vec![base.vector()[0].clone()];
        for (old, sum) in base.vector()[1..].iter().zip(self.announced_sums()?) {
            vector.push(written::<S>(&(element::<S>(old)? + sum))?);
        }
        Ok(vector)
    }
}
