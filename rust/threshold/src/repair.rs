//! The share of a lost seat, for its new holder, from t seats or more that learn nothing of it: the repairable scheme of Stinson
//! and Wei (eprint 2017/1155), as the Foundation's library has it.
//!
//! 1. Every helper splits its part into random summands, one for each helper ([`help`]); each goes to its seat, sealed.
//! 2. Every helper adds what it got ([`gather`]); the sum goes to the lost seat's new holder, sealed.
//! 3. That adds the sums, and has a share if the result fits the commitment vector ([`receive`]): the only thing that is believed.
//!
//! Where it does not fit, some helper sent something wrong, and nobody can know who: repeat it with other helpers.

use evanesce_secret::{Secret, on_crucible};
use frost_core::keys::repairable::{
    Delta, Sigma, repair_share_part1, repair_share_part2, repair_share_part3,
};

use crate::dkg::Parcels;
use crate::error::Error;
use crate::group::{Group, identifier};
use crate::random::Kernel;
use crate::share::Share;
use crate::suite::Suite;

/// This helper's summands, one for each helper, itself among them.
///
/// # Errors
/// [`Error::Unfit`] unless `helpers` are t seats or more, all different, this one among them and the lost one not.
pub fn help<S: Suite>(
    group: &Group<S>,
    share: &Share<S>,
    helpers: &[u8],
    lost: u8,
) -> Result<Parcels, Error> {
    group.check_own(share)?;
    check_helpers(group, helpers, lost)?;
    if !helpers.contains(&share.seat()) {
        let seat = share.seat();
        return Err(Error::Unfit(format!(
            "seat {seat} is not among the helpers"
        )));
    }
    let mut out = Parcels::new();
    for helper in helpers {
        out.push((*helper, Secret::zeroed()?));
    }
    let identifiers: Vec<_> = helpers.iter().map(|seat| identifier::<S>(*seat)).collect();
    let lost = identifier::<S>(lost);
    let done = on_crucible(|| {
        let key = group.key_package(share)?;
        let deltas = repair_share_part1(&identifiers, &key, &mut Kernel, lost).ok()?;
        for (seat, out) in &mut out {
            let delta = deltas.get(&identifier::<S>(*seat))?;
            out.expose_mut().copy_from_slice(&delta.serialize());
        }
        Some(())
    });
    done.ok_or_else(|| Error::Unfit("these seats cannot repair that one".into()))?;
    Ok(out)
}

/// The sum of the summands that every helper sent to this one, its own among them; each with its sender's seat.
///
/// # Errors
/// [`Error::Unfit`] unless they are one of each helper, and scalars.
pub fn gather<S: Suite>(helpers: &[u8], summands: Parcels) -> Result<Secret<32>, Error> {
    check_senders(helpers, &summands)?;
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

/// The lost seat's share, from the sums of all helpers, each with its sender's seat.
///
/// # Errors
/// [`Error::NotTheShare`] where what comes out does not fit the vector. [`Error::Unfit`] as above.
pub fn receive<S: Suite>(
    group: &Group<S>,
    helpers: &[u8],
    lost: u8,
    sums: Parcels,
) -> Result<Share<S>, Error> {
    check_helpers(group, helpers, lost)?;
    check_senders(helpers, &sums)?;
    let keys = group.public_keys([lost])?;
    let mut scalar = Secret::zeroed()?;
    let done = on_crucible(|| {
        let sums = sums
            .iter()
            .map(|(_, sum)| Sigma::<S>::deserialize(sum.expose()));
        let sums = sums.collect::<Result<Vec<_>, _>>().ok()?;
        let key = repair_share_part3(&sums, identifier::<S>(lost), &keys).ok()?;
        let share = key.signing_share().serialize();
        scalar.expose_mut().copy_from_slice(&share);
        Some(())
    });
    done.ok_or_else(|| Error::Unfit("a sum that is no scalar".into()))?;
    group.admit(lost, scalar)
}

fn check_helpers<S: Suite>(group: &Group<S>, helpers: &[u8], lost: u8) -> Result<(), Error> {
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
    Ok(())
}

fn check_senders(helpers: &[u8], parcels: &Parcels) -> Result<(), Error> {
    let mut senders: Vec<u8> = parcels.iter().map(|(seat, _)| *seat).collect();
    let mut helpers = helpers.to_vec();
    senders.sort_unstable();
    helpers.sort_unstable();
    match senders == helpers {
        true => Ok(()),
        false => Err(Error::Unfit("not one part of each helper".into())),
    }
}
