//! The share of a lost seat, for its new holder, from t seats or more that learn nothing of it: the repairable scheme of Stinson
//! and Wei (eprint 2017/1155), as the Foundation's library has it, with every part checked against what its sender has published.
//!
//! 1. Every helper splits its part, λ·share, into random summands, one for each helper ([`Repair::split`]), and publishes these times G. Whether
//!    they add up to λ·Y, everyone can see ([`Repair::check`]); and that it has the share at all it [proves](prove), so that nobody is sent
//!    anything for a seat that is not its own.
//! 2. Every summand goes to its helper, sealed, which compares it with what was published, and adds what it got ([`Repair::gather`]).
//! 3. The sums go to the lost seat's new holder, sealed. It compares each with what was published, adds them, and has a share if the result fits
//!    the commitment vector ([`Repair::receive`]).
//!
//! So who sends something wrong is known to whom it was sent, and that by name. Summands are random, and so are their points, but for
//! their sum: fewer helpers than all, with the new holder, learn of another's share nothing that they could not compute from the shares that they have
//! by then.

mod proof;

use evanesce_secret::{Secret, on_crucible};
use frost_core::keys::repairable::{
    Delta, Sigma, repair_share_part1, repair_share_part2, repair_share_part3,
};
use frost_core::{Element, Group as _, Scalar};

use crate::arithmetic;
use crate::dkg::{Parcels, element};
use crate::error::{Culprit, Error, Wrong};
use crate::group::{Group, canonical, identifier};
use crate::lagrange::{place_of, weight};
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;
pub use proof::{prove, proves};

/// What a helper publishes: its summands times G, encoded, in the order of the helpers.
pub type Points = Vec<Vec<u8>>;

/// Who helps whom, judged.
#[derive(Clone)]
pub struct Repair<S: Suite> {
    group: Group<S>,
    helpers: Vec<u8>,
    lost: u8,
}

impl<S: Suite> Repair<S> {
    /// # Errors
    /// [`Error::Unfit`] unless `helpers` are t seats or more, all different, and the lost one not among them.
    pub fn new(group: &Group<S>, helpers: &[u8], lost: u8) -> Result<Self, Error> {
        let seats = group.seats();
        let good = |(i, seat): (usize, &u8)| {
            usize::from(*seat) < seats && *seat != lost && !helpers[..i].contains(seat)
        };
        if usize::from(lost) >= seats || !helpers.iter().enumerate().all(good) {
            return Err(Error::Unfit(format!(
                "seats {helpers:?} cannot repair seat {lost}: all must be different, and of {seats}"
            )));
        }
        if helpers.len() < group.t() {
            let (is, t) = (helpers.len(), group.t());
            return Err(Error::Unfit(format!("{is} seats help, must be {t}")));
        }
        Ok(Self {
            group: group.clone(),
            helpers: helpers.to_vec(),
            lost,
        })
    }

    /// The quorum's key.
    pub fn group(&self) -> &Group<S> {
        &self.group
    }

    /// Who helps, in their order.
    pub fn helpers(&self) -> &[u8] {
        &self.helpers
    }

    /// The seat that is repaired.
    pub fn lost(&self) -> u8 {
        self.lost
    }

    /// This helper's summands, one for each helper, itself among them; and what it publishes of them.
    ///
    /// # Errors
    /// [`Error::Unfit`] for a share of another group, or of a seat that does not help.
    pub fn split(&self, share: &Share<S>) -> Result<(Parcels, Points), Error> {
        self.group.check_own(share)?;
        self.place(share.seat())?;
        let mut out = Parcels::new();
        for helper in &self.helpers {
            out.push((*helper, Secret::zeroed()?));
        }
        let identifiers: Vec<_> = self.helpers.iter().map(|s| identifier::<S>(*s)).collect();
        let lost = identifier::<S>(self.lost);
        let points = on_crucible(|| {
            let key = self.group.key_package(share)?;
            let deltas = repair_share_part1(&identifiers, &key, &mut Kernel, lost).ok()?;
            let mut points = Points::with_capacity(out.len());
            for (seat, out) in &mut out {
                let delta = deltas.get(&identifier::<S>(*seat))?;
                out.expose_mut().copy_from_slice(&delta.serialize());
                let summand = arithmetic::decode::<S>(out.expose())?;
                let point = arithmetic::times_generator::<S>(&summand);
                points.push(S::Group::serialize(&point).ok()?.as_ref().to_vec());
            }
            Some(points)
        });
        let points = points.ok_or_else(|| Error::Unfit("the share could not be split".into()))?;
        Ok((out, points))
    }

    /// Whether what a helper has published are summands of its part.
    ///
    /// # Errors
    /// [`Error::Culprits`], with that helper; [`Error::Unfit`] for a seat that does not help.
    pub fn check(&self, seat: u8, points: &Points) -> Result<(), Error> {
        self.place(seat)?;
        let culprit = |wrong| Error::Culprits(vec![Culprit { seat, wrong }]);
        let (is, all) = (points.len(), self.helpers.len());
        if is != all {
            let what = format!("{is} points of {all} helpers");
            return Err(culprit(Wrong::Malformed(what)));
        }
        let mut sum = S::Group::identity();
        for point in points {
            let point = canonical::<S>(point).map_err(|why| culprit(Wrong::Malformed(why)))?;
            sum = sum + element::<S>(&point)?;
        }
        let share = element::<S>(&self.group.verifying_share(seat)?)?;
        match sum == share * self.weight(seat)? {
            true => Ok(()),
            false => Err(culprit(Wrong::Summands)),
        }
    }

    /// The sum of the summands that every helper sent to `own`, its own among them; each with its sender's seat. `points` is what each helper has
    /// published, in their order.
    ///
    /// # Errors
    /// [`Error::Unfit`] unless they are one of each helper; [`Error::Culprits`], with [`Wrong::Share`].
    pub fn gather(
        &self,
        own: u8,
        points: &[Points],
        summands: Parcels,
    ) -> Result<Secret<32>, Error> {
        self.check_senders(&summands)?;
        let column = self.place(own)?;
        let must_be = |sender: u8| {
            let row = points.get(self.place(sender)?);
            element::<S>(row.and_then(|row| row.get(column)).ok_or_else(none_such)?)
        };
        self.check_sent(&summands, must_be)?;
        let mut sum = Secret::zeroed()?;
        let done = on_crucible(|| {
            let summands = summands
                .iter()
                .map(|(_, summand)| Delta::<S>::deserialize(summand.expose()));
            let summands = summands.collect::<Result<Vec<_>, _>>().ok()?;
            let sigma = repair_share_part2(&summands);
            sum.expose_mut().copy_from_slice(&sigma.serialize());
            Some(())
        });
        done.ok_or_else(|| Error::Unfit("a summand that is no scalar".into()))?;
        Ok(sum)
    }

    /// The lost seat's share, from the sums of all helpers, each with its sender's seat. `points` as in [`gather`](Self::gather), each
    /// [checked](Self::check).
    ///
    /// # Errors
    /// [`Error::Culprits`], with [`Wrong::Share`]; [`Error::NotTheShare`] where what comes out does not fit the vector. [`Error::Unfit`] as
    /// above.
    pub fn receive(&self, points: &[Points], sums: Parcels) -> Result<Share<S>, Error> {
        self.check_senders(&sums)?;
        let must_be = |sender: u8| {
            let column = self.place(sender)?;
            let mut sum = S::Group::identity();
            for row in points {
                sum = sum + element::<S>(row.get(column).ok_or_else(none_such)?)?;
            }
            Ok(sum)
        };
        self.check_sent(&sums, must_be)?;
        let keys = self.group.public_keys([self.lost])?;
        let mut scalar = Secret::zeroed()?;
        let done = on_crucible(|| {
            let sums = sums
                .iter()
                .map(|(_, sum)| Sigma::<S>::deserialize(sum.expose()));
            let sums = sums.collect::<Result<Vec<_>, _>>().ok()?;
            let key = repair_share_part3(&sums, identifier::<S>(self.lost), &keys).ok()?;
            let share = key.signing_share().serialize();
            scalar.expose_mut().copy_from_slice(&share);
            Some(())
        });
        done.ok_or_else(|| Error::Unfit("a sum that is no scalar".into()))?;
        self.group.admit(self.lost, scalar)
    }

    /// Names all senders whose secret, times the generator, is not what it must be.
    fn check_sent(
        &self,
        sent: &Parcels,
        must_be: impl Fn(u8) -> Result<Element<S>, Error>,
    ) -> Result<(), Error> {
        let mut culprits = Vec::new();
        for (seat, secret) in sent {
            let must_be = must_be(*seat)?;
            let fits = on_crucible(|| {
                arithmetic::decode::<S>(secret.expose())
                    .is_some_and(|scalar| arithmetic::times_generator::<S>(&scalar) == must_be)
            });
            if !fits {
                let wrong = Wrong::Share;
                culprits.push(Culprit { seat: *seat, wrong });
            }
        }
        match culprits.is_empty() {
            true => Ok(()),
            false => Err(Error::Culprits(culprits)),
        }
    }

    /// λ of a helper: what its share counts for in the lost one.
    fn weight(&self, seat: u8) -> Result<Scalar<S>, Error> {
        weight::<S>(&self.helpers, seat, place_of::<S>(self.lost)?)
    }

    fn place(&self, seat: u8) -> Result<usize, Error> {
        let place = self.helpers.iter().position(|helper| *helper == seat);
        place.ok_or_else(|| Error::Unfit(format!("seat {seat} is not among the helpers")))
    }

    fn check_senders(&self, parcels: &Parcels) -> Result<(), Error> {
        let mut senders: Vec<u8> = parcels.iter().map(|(seat, _)| *seat).collect();
        let mut helpers = self.helpers.clone();
        senders.sort_unstable();
        helpers.sort_unstable();
        match senders == helpers {
            true => Ok(()),
            false => Err(Error::Unfit("not one part of each helper".into())),
        }
    }
}

fn none_such() -> Error {
    Error::Unfit("not all that the helpers have published is there".into())
}
