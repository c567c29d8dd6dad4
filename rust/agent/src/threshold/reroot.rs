//! A seat of the second kind moved to another root (PROTOCOL §9 and §11, re-root): its share masked anew, or sealed anew where it is kept.
//!
//! Promised: what takes the old one's place was shown to give the same share, `share·G = Y_i`, and until it was, the old one is there. A share that
//! is kept is sealed under the new root before the row says so: whatever stops it in between, the row routes to this agent and the share
//! is opened under the epoch that its own file names.

use evanesce_element::{Element, ElementError};
use evanesce_secret::on_crucible;
use evanesce_threshold::{Error, Kept, Regen, Suite};
use evanesce_token::mpc::{self, Kind};

use super::shelf::{Shelf, Volume};
use super::with_suite;
use crate::regenerate::Rerooted;

impl From<Error> for Rerooted {
    fn from(error: Error) -> Self {
        match error {
            Error::Memory(_) => Self::ElementUnavailable,
            Error::NotTheShare { .. } | Error::Unfit(_) | Error::Culprits(_) => {
                Self::CannotRegenerate
            }
        }
    }
}

/// Moves the share of `seat` from the root of epoch `from` to that of `to`; `correction` is replaced, if all is good and the token has corrections.
/// Where it is there already, it is only proven. Not on the crucible: what is secret goes there by itself.
pub fn reroot_share(
    element: &dyn Element,
    shelf: &Shelf,
    body: &mpc::Body,
    seat: u32,
    epochs: (u64, u64),
    correction: &mut [u8; 32],
) -> Rerooted {
    let seat = seat as u8;
    let moved = match body.header.kind {
        Kind::Regenerated => with_suite!(
            body.header.suite.as_str(),
            mask_anew(element, body, seat, epochs, correction)
        ),
        Kind::Kept => with_suite!(
            body.header.suite.as_str(),
            seal_anew(element, shelf, body, seat, epochs.1)
        ),
    };
    moved.err().unwrap_or(Rerooted::Good)
}

fn mask_anew<S: Suite>(
    element: &dyn Element,
    body: &mpc::Body,
    seat: u8,
    (from, to): (u64, u64),
    correction: &mut [u8; 32],
) -> Result<(), Rerooted> {
    let regen = Regen::<S>::new(body)?;
    let share = regen.regenerate(seat, correction, ask(element, from))?;
    if from == to {
        return Ok(());
    }
    let new = regen.correct(&share, ask(element, to))?;
    drop(share);
    let again = regen.regenerate::<Rerooted>(seat, &new, ask(element, to));
    again.map_err(unsteady)?;
    *correction = new;
    Ok(())
}

fn seal_anew<S: Suite>(
    element: &dyn Element,
    shelf: &Shelf,
    body: &mpc::Body,
    seat: u8,
    to: u64,
) -> Result<(), Rerooted> {
    let kept = Kept::<S>::new(body)?;
    // Two files may be copies of one token, and be worked on at once: both put the same share there.
    let volume = shelf.get(&body.id).map_err(|_| Rerooted::NotKept)?;
    let volume = volume.filter(|volume| volume.seat == seat);
    let Volume { epoch, share, .. } = volume.ok_or(Rerooted::NotKept)?;
    let share = kept.open(seat, epoch, &share, ask(element, epoch))?;
    if epoch == to {
        return Ok(());
    }
    let sealed = kept.seal(&share, to, ask(element, to))?;
    drop(share);
    let again = kept.open::<Rerooted>(seat, to, &sealed, ask(element, to));
    again.map_err(unsteady)?;
    let volume = Volume {
        seat,
        epoch: to,
        share: sealed,
    };
    shelf
        .put(&body.id, &volume)
        .map_err(|_| Rerooted::NotWritten)
}

fn unsteady(why: Rerooted) -> Rerooted {
    match why {
        Rerooted::CannotRegenerate => Rerooted::Unsteady,
        other => other,
    }
}

/// Asks the element under the root of that epoch.
fn ask(
    element: &dyn Element,
    epoch: u64,
) -> impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), Rerooted> {
    move |message, y| {
        let asked: Result<(), ElementError> = on_crucible(|| element.evaluate(epoch, message, y));
        asked.map_err(Rerooted::from)
    }
}
