//! Signing in one round: nonces are prepared beforehand, and what is asked for comes with the commitments of all that sign.
//!
//! What is decided is decided as in the first of two rounds: the same judge, limits, grants and log entry before anything leaves. Nonces are
//! taken out before that, so that whatever becomes of the request they are used up; where they are not there nothing is decided, and
//! two rounds remain.

use evanesce_threshold::Suite;
use evanesce_threshold::sign::Prepared;
use evanesce_token::mpc;
use evanesce_wire::message::threshold::{Committed, Once, Place, Prepare, Reply, Signed};
use evanesce_wire::message::{Code, SeatRow};

use super::errand::{AtOnce, Came};
use super::prepared::{Kept, Owner, Store};
use super::verbs::{Asked, Told, with_receipt};
use super::{Obstacle, with_suite};
use crate::regenerate::Hands;

impl Asked<'_> {
    /// Draws nonces for signatures that nobody has asked for yet. Nothing is decided, and nothing logged.
    pub(super) async fn prepare(&mut self, told: Prepare) -> Told {
        let Prepare {
            context,
            row,
            count,
        } = told;
        let store = self.prepared()?;
        let ready = self.api.agent().shown.prepare(context)?;
        let body = ready.subject().second()?.clone();
        self.is_alive(&body.id)?;
        let owner = self.owner(&body, &row);
        let now = self.api.now();
        let full = || {
            let why = "too many nonces are prepared for this caller";
            Obstacle::new(Code::Overloaded, why)
        };
        if store.room(&owner.caller, now) == 0 {
            return Err(full());
        }
        let refill = Refill { store, owner, now };
        let drawn = self.api.aside(move |hands| {
            with_suite!(
                body.header.suite.as_str(),
                prepare(hands, &body, &row, count, &refill)
            )
        });
        let points = drawn.await??;
        // Others may have taken the room meanwhile.
        if points.is_empty() {
            return Err(full());
        }
        Ok(Reply::done(Committed::Points(points).encode()))
    }

    /// Decides on messages, and signs them.
    pub(super) async fn once(&mut self, told: Once) -> Told {
        let Once {
            commit,
            commitments,
        } = told;
        let decided = self.decided(commit, Some(commitments)).await?;
        match decided.came {
            Ok(Came::Signed(signed)) => Ok(with_receipt(signed.encode(), decided.receipt)),
            Ok(Came::Committed(_)) => Err(Obstacle::refused("nothing was signed")),
            Err(obstacle) => Ok(obstacle.reply_with(decided.receipt)),
        }
    }

    /// The nonces that this agent's places name.
    pub(super) fn at_once(
        &self,
        body: &mpc::Body,
        row: &SeatRow,
        commitments: Vec<Vec<Place>>,
    ) -> Result<AtOnce, Obstacle> {
        let store = self.prepared()?;
        let owner = self.owner(body, row);
        let own = |places: &'_ Vec<Place>| {
            let place = places.iter().find(|place| place.seat == row.seat);
            place.map(|place| place.points.clone())
        };
        let own: Option<Vec<Vec<u8>>> = commitments.iter().map(own).collect();
        let own = own.ok_or_else(|| {
            let why = "this agent's seat is not among those that sign";
            Obstacle::new(Code::Malformed, why)
        })?;
        let points: Vec<&[u8]> = own.iter().map(Vec::as_slice).collect();
        let now = self.api.now();
        let nonces = store.take(&owner, &points, now);
        let nonces = nonces.ok_or_else(|| {
            let why = "these nonces are not kept here: ask in two rounds";
            Obstacle::new(Code::Unprepared, why)
        })?;
        let refill = Refill { store, owner, now };
        Ok(AtOnce {
            nonces,
            commitments,
            refill,
        })
    }

    fn prepared(&self) -> Result<Store, Obstacle> {
        let store = self.api.threshold.prepared.clone();
        store.ok_or_else(|| {
            let why = "this agent keeps no nonces: ask in two rounds";
            Obstacle::new(Code::Unprepared, why)
        })
    }

    fn owner(&self, body: &mpc::Body, row: &SeatRow) -> Owner {
        Owner {
            caller: self.who.id,
            session: self.session.id,
            token: body.id,
            seat: row.seat,
        }
    }
}

/// Where new nonces go, and for whom.
pub struct Refill {
    store: Store,
    owner: Owner,
    /// Unix ms.
    now: u64,
}

impl Refill {
    /// Draws nonces for up to `count` signatures, as far as there is room, and keeps them. The bytes are the commitments to them.
    pub fn draw<S: Suite>(
        &self,
        share: &evanesce_threshold::Share<S>,
        count: usize,
    ) -> Result<Vec<Vec<u8>>, Obstacle> {
        let mut drawn: Vec<(Vec<u8>, Kept)> = Vec::with_capacity(count);
        for _ in 0..count.min(self.store.room(&self.owner.caller, self.now)) {
            // An operator has said so: there is no store otherwise.
            let (nonces, points) = Prepared::<S>::where_no_snapshot_is_restored(share)?;
            drawn.push((points, Box::new(nonces)));
        }
        Ok(self.store.keep(&self.owner, drawn, self.now))
    }
}

fn prepare<S: Suite>(
    hands: &Hands,
    body: &mpc::Body,
    row: &SeatRow,
    count: usize,
    refill: &Refill,
) -> Result<Vec<Vec<u8>>, Obstacle> {
    refill.draw(&hands.have::<S>(body, row)?, count)
}

/// Signs what was decided on, and draws as many new nonces as are used up.
pub fn sign<S: Suite>(
    hands: &Hands,
    body: &mpc::Body,
    row: &SeatRow,
    each: &[([u8; 32], Vec<u8>)],
    at_once: AtOnce,
) -> Result<Signed, Obstacle> {
    let AtOnce {
        nonces,
        commitments,
        refill,
    } = at_once;
    let group = hands.groups.of::<S>(body)?;
    let signings = super::errand::signings(&group, each, &commitments)?;
    let share = hands.have::<S>(body, row)?;
    let mut shares = Vec::with_capacity(each.len());
    for ((nonces, signing), (request, message)) in nonces.into_iter().zip(&signings).zip(each) {
        let nonces = nonces.downcast::<Prepared<S>>();
        let nonces = nonces.map_err(|_| Obstacle::refused("the nonces are of another suite"))?;
        shares.push(
            nonces
                .decided(request, message)
                .sign(signing, &share, request)?,
        );
    }
    // What cannot be prepared takes two rounds.
    let prepared = refill.draw(&share, each.len()).unwrap_or_default();
    Ok(Signed { shares, prepared })
}
