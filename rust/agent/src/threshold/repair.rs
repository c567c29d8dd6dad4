//! A lost seat's share given to a new holder: this agent's part, as one that helps or as that holder (docs/threshold-api.md, repair).
//!
//! Promised of one that helps: what it sends are summands of its part, each sealed to an agent that has proven to have its seat's share, and one
//! sum, sealed to the holder that its policy decided on; once. Nobody else learns any of it, and no fewer than all of the helpers together with the
//! holder can make of it anything but the lost share. Of the holder: it takes a scalar for the share only if it fits the token's vector.

use std::sync::Arc;

use evanesce_secret::Secret;
use evanesce_threshold::dkg::Parcels;
use evanesce_threshold::repair::{Points, Repair, prove, proves};
use evanesce_threshold::{Share, Suite};
use evanesce_token::formula::agent_id;
use evanesce_token::mpc::{self, Kind};
use evanesce_wire::message::SeatRow;
use evanesce_wire::message::threshold::{
    Await, Awaiting, Dealt, Help, Helping, Parcel, Receive, Received, Split, Sum,
    awaiting_statement, helping_statement, repair_hash, repairing,
};
use evanesce_wire::parcel::BoxKey;
use evanesce_wire::{Id, verify_statement};

use super::ceremony::{Ceremonies, out_of_turn};
use super::parcels::{self, sealed};
use super::share::no_room;
use super::{Obstacle, with_suite};
use crate::regenerate::Hands;

/// Repairs under way.
pub type Repairs = Ceremonies<dyn Part>;

/// This agent's part in one repair.
pub trait Part: Send {
    /// The token.
    fn token(&self) -> &Arc<mpc::Body>;
    /// The second turn of a helper: what all have published.
    fn split(&mut self, _: &Hands, _: &Split) -> Result<Dealt, Obstacle> {
        out_of_turn()
    }
    /// The third: what the others have sent.
    fn sum(&mut self, _: &Hands, _: &Sum) -> Result<Dealt, Obstacle> {
        out_of_turn()
    }
    /// The new holder's: what all have published, and sent. The seat whose share it has then.
    fn receive(&mut self, _: &Receive) -> Result<u32, Obstacle> {
        out_of_turn()
    }
    /// This agent's row.
    fn row(&mut self, _: &Hands) -> Result<Received, Obstacle> {
        out_of_turn()
    }
}

/// Begins to help, permitted and logged: has the share from this agent's row, and splits its part.
pub fn help(
    hands: &Hands,
    body: Arc<mpc::Body>,
    told: &Help,
    row: &SeatRow,
) -> Result<(Box<dyn Part>, Helping), Obstacle> {
    let suite = body.header.suite.clone();
    with_suite!(suite.as_str(), help_in(hands, body, told, row))
}

/// Begins to be the new holder.
pub fn wait(
    hands: &Hands,
    body: Arc<mpc::Body>,
    told: &Await,
) -> Result<(Box<dyn Part>, Awaiting), Obstacle> {
    let suite = body.header.suite.clone();
    with_suite!(suite.as_str(), wait_in(hands, body, told))
}

/// Who helps whom, as all see it.
struct Occasion<S: Suite> {
    body: Arc<mpc::Body>,
    repair: Repair<S>,
    /// The repair's hash.
    hash: [u8; 32],
}

impl<S: Suite> Occasion<S> {
    fn new(
        hands: &Hands,
        body: Arc<mpc::Body>,
        repair: &[u8; 32],
        lost: u32,
        holder: &Id,
        helpers: &[u32],
    ) -> Result<Self, Obstacle> {
        let group = hands.groups.of::<S>(&body)?;
        // every seat was read as one that a token can have
        let seats: Vec<u8> = helpers.iter().map(|seat| *seat as u8).collect();
        Ok(Self {
            repair: Repair::new(&group, &seats, lost as u8)?,
            hash: repair_hash(repair, &body.id, lost, holder, helpers),
            body,
        })
    }

    /// Refuses what anyone has published that is not so. What all helpers have, in their order.
    fn published(&self, helpers: &[Helping]) -> Result<Vec<Points>, Obstacle> {
        let seats = self.repair.helpers();
        if helpers.len() != seats.len() {
            let why = format!("{} parts of {} helpers", helpers.len(), seats.len());
            return Err(Obstacle::refused(why));
        }
        for (seat, said) in seats.iter().zip(helpers) {
            let number = u32::from(*seat);
            let statement =
                helping_statement(&self.hash, number, &said.spki, &said.key, &said.points);
            if !proves(self.repair.group(), *seat, &statement, &said.proof) {
                let why = "it has not proven to have that seat's share";
                return Err(Obstacle::culprit(number, why));
            }
            self.repair.check(*seat, &said.points)?;
        }
        Ok(helpers.iter().map(|said| said.points.clone()).collect())
    }

    /// Opens what helpers have sent to this agent, which sits or is to sit at `to`.
    fn opened(
        &self,
        key: &BoxKey,
        for_all: &[u8; 32],
        helpers: &[Helping],
        to: u8,
        parcels: &[Parcel],
    ) -> Result<Parcels, Obstacle> {
        let mut opened = Parcels::with_capacity(parcels.len());
        for parcel in parcels {
            let from = parcel.seat;
            let seats = self.repair.helpers().iter();
            let mut both = seats.zip(helpers);
            let Some((seat, said)) = both.find(|(seat, _)| u32::from(**seat) == from) else {
                return Err(Obstacle::refused(format!("seat {from} does not help")));
            };
            let secret = parcels::opened(key, for_all, to.into(), parcel, &said.spki, "part")?;
            opened.push((*seat, secret));
        }
        Ok(opened)
    }
}

struct Helper<S: Suite> {
    occasion: Occasion<S>,
    seat: u8,
    /// Whom the policy has decided on.
    holder: Id,
    key: BoxKey,
    said: Helping,
    stage: Stage,
}

enum Stage {
    Over,
    /// The summands, one for each helper.
    Split(Parcels),
    /// What was sent, and all that was published; this agent's own summand.
    Sent {
        own: Secret<32>,
        for_all: [u8; 32],
        helpers: Vec<Helping>,
        holder: [u8; 32],
    },
}

fn help_in<S: Suite>(
    hands: &Hands,
    body: Arc<mpc::Body>,
    told: &Help,
    row: &SeatRow,
) -> Result<(Box<dyn Part>, Helping), Obstacle> {
    let occasion = Occasion::<S>::new(
        hands,
        body,
        &told.repair,
        told.lost,
        &told.holder,
        &told.helpers,
    )?;
    let share = hands.have::<S>(&occasion.body, row)?;
    let (summands, points) = occasion.repair.split(&share)?;
    let (key, public) = BoxKey::draw()?;
    let spki = hands.identity.spki().to_vec();
    let statement = helping_statement(&occasion.hash, row.seat, &spki, &public, &points);
    let said = Helping {
        proof: prove(occasion.repair.group(), &share, &statement)?,
        key: public,
        spki,
        points,
    };
    let part = Helper {
        occasion,
        seat: share.seat(),
        holder: told.holder,
        key,
        said: said.clone(),
        stage: Stage::Split(summands),
    };
    Ok((Box::new(part), said))
}

impl<S: Suite> Part for Helper<S> {
    fn token(&self) -> &Arc<mpc::Body> {
        &self.occasion.body
    }

    fn split(&mut self, hands: &Hands, told: &Split) -> Result<Dealt, Obstacle> {
        let Stage::Split(summands) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return out_of_turn();
        };
        self.occasion.published(&told.helpers)?;
        let seats = self.occasion.repair.helpers();
        let own = seats.iter().position(|seat| *seat == self.seat);
        if own.and_then(|own| told.helpers.get(own)) != Some(&self.said) {
            return Err(Obstacle::refused("what this agent has said is another's"));
        }
        let holder = &told.holder;
        let statement = awaiting_statement(&self.occasion.hash, &holder.key);
        if agent_id(&holder.spki) != self.holder
            || !verify_statement(&holder.spki, &statement, &holder.signature)
        {
            let why = "the new holder has not signed that it awaits the share";
            return Err(Obstacle::refused(why));
        }
        let for_all = repairing(&self.occasion.hash, &told.helpers, holder);
        let mut parcels = Vec::with_capacity(summands.len());
        let mut kept = None;
        for ((to, summand), said) in summands.into_iter().zip(&told.helpers) {
            if to == self.seat {
                kept = Some(summand);
                continue;
            }
            let seats = (self.seat.into(), to.into());
            parcels.push(sealed(hands, &for_all, seats, &said.key, &summand)?);
        }
        self.stage = Stage::Sent {
            own: kept.ok_or_else(|| Obstacle::refused("this agent does not help"))?,
            for_all,
            helpers: told.helpers.clone(),
            holder: holder.key,
        };
        Ok(Dealt { parcels })
    }

    fn sum(&mut self, hands: &Hands, told: &Sum) -> Result<Dealt, Obstacle> {
        let Stage::Sent {
            own,
            for_all,
            helpers,
            holder,
        } = std::mem::replace(&mut self.stage, Stage::Over)
        else {
            return out_of_turn();
        };
        let occasion = &self.occasion;
        let mut summands =
            occasion.opened(&self.key, &for_all, &helpers, self.seat, &told.parcels)?;
        summands.push((self.seat, own));
        let points: Vec<_> = helpers.iter().map(|said| said.points.clone()).collect();
        let sum = occasion.repair.gather(self.seat, &points, summands)?;
        let lost = occasion.repair.lost();
        let seats = (self.seat.into(), lost.into());
        let parcel = sealed(hands, &for_all, seats, &holder, &sum)?;
        Ok(Dealt {
            parcels: vec![parcel],
        })
    }
}

struct Holder<S: Suite> {
    occasion: Occasion<S>,
    key: BoxKey,
    said: Awaiting,
    share: Option<Share<S>>,
}

fn wait_in<S: Suite>(
    hands: &Hands,
    body: Arc<mpc::Body>,
    told: &Await,
) -> Result<(Box<dyn Part>, Awaiting), Obstacle> {
    if body.header.kind == Kind::Kept {
        // Here already, so that nobody helps for nothing.
        let room = hands.shelf.has_room(&body.id, told.lost as u8);
        room.map_err(|e| no_room(&e))?;
    }
    let occasion = Occasion::<S>::new(
        hands,
        body,
        &told.repair,
        told.lost,
        &hands.me,
        &told.helpers,
    )?;
    let (key, public) = BoxKey::draw()?;
    let statement = awaiting_statement(&occasion.hash, &public);
    let said = Awaiting {
        key: public,
        spki: hands.identity.spki().to_vec(),
        signature: hands.identity.sign(&statement)?,
    };
    let part = Holder {
        occasion,
        key,
        said: said.clone(),
        share: None,
    };
    Ok((Box::new(part), said))
}

impl<S: Suite> Part for Holder<S> {
    fn token(&self) -> &Arc<mpc::Body> {
        &self.occasion.body
    }

    fn receive(&mut self, told: &Receive) -> Result<u32, Obstacle> {
        if self.share.is_some() {
            return out_of_turn();
        }
        let occasion = &self.occasion;
        let points = occasion.published(&told.helpers)?;
        let for_all = repairing(&occasion.hash, &told.helpers, &self.said);
        let lost = occasion.repair.lost();
        let sums = occasion.opened(&self.key, &for_all, &told.helpers, lost, &told.parcels)?;
        self.share = Some(occasion.repair.receive(&points, sums)?);
        Ok(lost.into())
    }

    fn row(&mut self, hands: &Hands) -> Result<Received, Obstacle> {
        let Some(share) = self.share.take() else {
            return out_of_turn();
        };
        let row = hands.seat_share(&self.occasion.body, &share)?;
        Ok(Received {
            epoch: row.epoch,
            signature: row.signature,
            correction: row.correction,
        })
    }
}
