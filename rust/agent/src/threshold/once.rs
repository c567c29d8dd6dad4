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
use super::prepared::{Owner, Store};
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
        let count = count.min(store.room(&owner.caller, now));
        if count == 0 {
            let why = "too many nonces are prepared for this caller";
            return Err(Obstacle::new(Code::Overloaded, why));
        }
        let drawn = self.api.aside(move |hands| {
            let refill = Refill { store, owner, now };
            with_suite!(
                body.header.suite.as_str(),
                prepare(hands, &body, &row, count, &refill)
            )
        });
        Ok(Reply::done(Committed::Points(drawn.await??).encode()))
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
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            // An operator has said so: there is no store otherwise.
            let (nonces, points) = Prepared::<S>::where_no_snapshot_is_restored(share)?;
            let kept = self
                .store
                .keep(&self.owner, points.clone(), Box::new(nonces), self.now);
            if !kept {
                break;
            }
            all.push(points);
        }
        Ok(all)
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
    let group = evanesce_threshold::Group::<S>::new(body.seats(), &body.vector)?;
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
