//! Signing in one round, under commitments that agents have given beforehand. Where that comes to nothing, two rounds remain.

use std::sync::Arc;
use std::time::Duration;

use evanesce_suite::Output;
use evanesce_threshold::{Group, Suite};
use evanesce_wire::message::Receipt;
use evanesce_wire::message::threshold::{Committed, Once, Place, Prepare, Signed};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::prepared::{BATCH, Candidate};
use super::sign::{
    Shares, Work, compose, gathered, liars, outputs, patience, signings, something_else,
};
use super::{ask, ask_over, row_of, whole};
use crate::fault::Trouble;
use crate::io::link::{Down, Live};
use crate::io::side::Side;

/// How long an agent may take to prepare nonces, which nobody waits for.
const PREPARE: Duration = Duration::from_secs(10);

/// What came of one round.
pub(super) enum Came {
    /// Signatures.
    Signed(Vec<Output>),
    /// Two rounds remain; with who sent what is wrong.
    Nothing(Vec<(u32, Down)>),
}

/// A seat that is to sign, and what it has committed to.
struct Chosen {
    seat: u32,
    live: Arc<Live>,
    one: Candidate,
    points: Vec<Vec<u8>>,
}

/// Tries it, with those of `seats` (the nearest first) that have nonces prepared.
pub(super) async fn once<S: Suite>(
    side: &Arc<Side>,
    work: &Arc<Work>,
    group: &Group<S>,
    seats: impl Iterator<Item = u32>,
    receipts: &mut Vec<Receipt>,
) -> Came {
    // What one agent has spent on a round that came to nothing it would refuse in the next.
    if !work.evidence.approvals.is_empty() {
        return Came::Nothing(Vec::new());
    }
    let Some(chosen) = choose(side, work, group.t(), seats) else {
        return Came::Nothing(Vec::new());
    };
    let places: Vec<Vec<Place>> = (0..work.asked.len())
        .map(|n| {
            let place = |one: &Chosen| Place {
                seat: one.seat,
                points: one.points[n].clone(),
            };
            chosen.iter().map(place).collect()
        })
        .collect();
    let failed = match sign(side, work, group, &chosen, &places, receipts).await {
        Ok(outputs) => return Came::Signed(outputs),
        Err(failed) => failed,
    };
    // Whoever has failed once is not chosen again for what it had committed to before.
    for one in &chosen {
        if failed.iter().any(|(seat, _)| *seat == one.seat) {
            side.prepared.forget(work.token.id(), one.one);
        }
    }
    Came::Nothing(
        failed
            .into_iter()
            .filter(|(_, down)| stands(down))
            .collect(),
    )
}

/// The round itself; who has failed where one has.
async fn sign<S: Suite>(
    side: &Arc<Side>,
    work: &Arc<Work>,
    group: &Group<S>,
    chosen: &[Chosen],
    places: &[Vec<Place>],
    receipts: &mut Vec<Receipt>,
) -> Result<Vec<Output>, Vec<(u32, Down)>> {
    let of_liars = |error| liars(error).unwrap_or_default();
    let signings = signings(group, &work.asked, places).map_err(of_liars)?;
    let shares = shares(side, work, chosen, places, receipts).await?;
    outputs(&signings, &shares).map_err(of_liars)
}

/// Whether two rounds would come to the same there. Not where it broke off or is short of something, and not where it would not read
/// this, which is longer than what either of two rounds sends.
fn stands(down: &Down) -> bool {
    let trouble = down.trouble;
    matches!(trouble, Trouble::Lied | Trouble::Slow)
        || trouble.is_unable()
        || trouble.is_refusal() && trouble != Trouble::Malformed
}

fn choose(
    side: &Side,
    work: &Work,
    t: usize,
    seats: impl Iterator<Item = u32>,
) -> Option<Vec<Chosen>> {
    let candidates: Vec<_> = seats
        .filter_map(|seat| candidate(side, work, seat))
        .collect();
    let all: Vec<_> = candidates.iter().map(|(_, _, one)| *one).collect();
    let (token, count) = (work.token.id(), work.asked.len());
    let chosen = side
        .prepared
        .choose(token, &all, t, count, Instant::now())?;
    let chosen = chosen.into_iter().map(|(n, points)| {
        let (seat, live, one) = candidates[n].clone();
        Chosen {
            seat,
            live,
            one,
            points,
        }
    });
    Some(chosen.collect())
}

fn candidate(side: &Side, work: &Work, seat: u32) -> Option<(u32, Arc<Live>, Candidate)> {
    let holder = &work.token.rows[seat as usize].holder;
    let place = side.directory.by_id(holder)?;
    let live = side.links[place].live()?;
    let session = live.session.id;
    Some((seat, live, Candidate { place, session }))
}

/// What all have signed; who has not where one has not.
async fn shares(
    side: &Arc<Side>,
    work: &Arc<Work>,
    chosen: &[Chosen],
    places: &[Vec<Place>],
    receipts: &mut Vec<Receipt>,
) -> Result<Shares, Vec<(u32, Down)>> {
    let ways = chosen.iter().map(|one| one.live.round_trip);
    let spare = work.token.rows.len() > chosen.len();
    let until = patience(ways.max().unwrap_or_default(), spare, work.until);
    let mut running = JoinSet::new();
    for Chosen {
        seat, live, one, ..
    } in chosen
    {
        let once = Once {
            commit: compose(side, work, *seat, live),
            commitments: places.to_vec(),
        };
        let (side, work) = (side.clone(), work.clone());
        let (seat, live, one) = (*seat, live.clone(), *one);
        running.spawn(async move {
            let (since, body) = (Instant::now(), once.encode());
            let asked = ask_over(
                &side,
                one.place,
                "mpc-once",
                until,
                &live,
                body,
                Signed::decode,
            );
            let signed = asked.await.and_then(|(signed, receipt)| {
                let Signed { shares, prepared } = signed;
                if shares.len() != work.asked.len() {
                    return Err(something_else());
                }
                side.prepared.keep(work.token.id(), one, prepared, since);
                Ok((shares, receipt))
            });
            (seat, signed)
        });
    }
    let seats = chosen.iter().map(|one| one.seat);
    gathered(running, seats, until, receipts).await
}

/// Has nonces prepared at these seats, which nobody waits for, where few are left.
pub(super) fn prepare_more(side: &Arc<Side>, work: &Arc<Work>, seats: impl Iterator<Item = u32>) {
    if !work.evidence.approvals.is_empty() {
        return;
    }
    for seat in seats {
        let Some((_, _, one)) = candidate(side, work, seat) else {
            continue;
        };
        if !side.prepared.wants(work.token.id(), one, Instant::now()) {
            continue;
        }
        let (side, work) = (side.clone(), work.clone());
        tokio::spawn(async move {
            let since = Instant::now();
            let prepare = Prepare {
                context: whole(&work.token.body),
                row: row_of(&work.token, seat),
                count: BATCH,
            };
            let compose = |_: &Live| Ok(prepare.encode());
            let until = since + PREPARE;
            let asked = ask(
                &side,
                one.place,
                "mpc-prepare",
                until,
                compose,
                Committed::decode,
            );
            let token = work.token.id();
            match asked.await {
                Ok(answered) => {
                    let session = answered.live.session.id;
                    if let Committed::Points(points) = answered.value {
                        let one = Candidate { session, ..one };
                        side.prepared.keep(token, one, points, since);
                    }
                    side.prepared.asked(token, one, true);
                }
                Err(down) => {
                    let keeps = down.trouble != Trouble::Unprepared;
                    side.prepared.asked(token, one, keeps);
                }
            }
        });
    }
}
