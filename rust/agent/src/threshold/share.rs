//! This agent's share of a key, had for one use: regenerated from its row, or opened from where it is kept.

use std::io;

use evanesce_secret::on_crucible;
use evanesce_threshold::{Kept, Regen, Share, Suite};
use evanesce_token::mpc::{self, Kind, formula};
use evanesce_wire::message::{Code, SeatFault, SeatRow};

use super::Obstacle;
use super::shelf::Volume;
use crate::regenerate::Hands;

/// A row that was made of a share.
pub struct Row {
    /// Of the root.
    pub epoch: u64,
    /// None where the share is kept.
    pub correction: Option<[u8; 32]>,
    /// The agent's.
    pub signature: Vec<u8>,
}

/// A share that cannot be kept.
pub(super) fn no_room(why: &io::Error) -> Obstacle {
    let code = match why.kind() {
        io::ErrorKind::AlreadyExists => Code::Refused,
        _ => Code::Unavailable,
    };
    Obstacle::new(code, format!("the share cannot be kept: {why}"))
}

impl Hands {
    /// The share behind a row of this agent's.
    pub(super) fn have<S: Suite>(
        &self,
        body: &mpc::Body,
        row: &SeatRow,
    ) -> Result<Share<S>, Obstacle> {
        if row.holder != self.me {
            return Err(Obstacle::fault(SeatFault::NotMine, ""));
        }
        let seat = row.seat as u8;
        match body.header.kind {
            Kind::Regenerated => {
                let regen = Regen::<S>::in_group(body, self.groups.of(body)?)?;
                regen.regenerate(seat, &row.correction, self.element(row.epoch))
            }
            Kind::Kept => {
                let kept = Kept::<S>::in_group(body, self.groups.of(body)?)?;
                let lost = |why: String| Obstacle::fault(SeatFault::CannotRegenerate, why);
                let volume = self.shelf.get(&body.id);
                let volume = volume.map_err(|e| lost(format!("the share cannot be read: {e}")))?;
                let volume =
                    volume.ok_or_else(|| lost("no share of this token is kept here".into()))?;
                if volume.seat != seat {
                    return Err(lost("the share that is kept is another seat's".into()));
                }
                kept.open(
                    seat,
                    volume.epoch,
                    &volume.share,
                    self.element(volume.epoch),
                )
            }
        }
    }

    /// Makes a row of a share: masks it, or keeps it.
    pub(super) fn seat_share<S: Suite>(
        &self,
        body: &mpc::Body,
        share: &Share<S>,
    ) -> Result<Row, Obstacle> {
        let epoch = self.element.current();
        let correction = match body.header.kind {
            Kind::Regenerated => {
                let regen = Regen::<S>::in_group(body, self.groups.of(body)?)?;
                Some(regen.correct(share, self.element(epoch))?)
            }
            Kind::Kept => {
                let kept = Kept::<S>::in_group(body, self.groups.of(body)?)?;
                let share_sealed = kept.seal(share, epoch, self.element(epoch))?;
                let volume = Volume {
                    seat: share.seat(),
                    epoch,
                    share: share_sealed,
                };
                self.shelf.put(&body.id, &volume).map_err(|e| no_room(&e))?;
                None
            }
        };
        let statement = formula::row_statement(
            body.header.kind,
            &body.id,
            share.seat().into(),
            epoch,
            &correction.unwrap_or_default(),
        );
        Ok(Row {
            epoch,
            correction,
            signature: self.identity.sign(&statement)?,
        })
    }

    /// Asks the element under the root of that epoch.
    fn element(
        &self,
        epoch: u64,
    ) -> impl FnOnce(&[u8; 32], &mut [u8; 32]) -> Result<(), Obstacle> + use<'_> {
        move |message, y| {
            let asked = on_crucible(|| self.element.evaluate(epoch, message, y));
            asked.map_err(Obstacle::from)
        }
    }
}
