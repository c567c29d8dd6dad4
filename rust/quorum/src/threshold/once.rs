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
use super::sign::{Shares, Work, compose, outputs, patience, signings};
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
    let lied = |error: evanesce_threshold::Error| {
        let evanesce_threshold::Error::Culprits(culprits) = error else {
            return Came::Nothing(Vec::new());
        };
        let down = |one: evanesce_threshold::Culprit| {
            let what = one.wrong.to_string();
            (one.seat.into(), Down::new(Trouble::Lied, what))
        };
        Came::Nothing(culprits.into_iter().map(down).collect())
    };
    let signings = match signings(group, &work.asked, &places) {
        Ok(signings) => signings,
        Err(error) => return lied(error),
    };
    let Some(shares) = shares(side, work, &chosen, &places, receipts).await else {
        return Came::Nothing(Vec::new());
    };
    match outputs(&signings, &shares) {
        Ok(outputs) => Came::Signed(outputs),
        Err(error) => lied(error),
    }
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

/// What all have signed; nothing once one of them has not.
async fn shares(
    side: &Arc<Side>,
    work: &Arc<Work>,
    chosen: &[Chosen],
    places: &[Vec<Place>],
    receipts: &mut Vec<Receipt>,
) -> Option<Shares> {
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
            let (Signed { shares, prepared }, receipt) = asked.await.ok()?;
            if shares.len() != work.asked.len() {
                return None;
            }
            side.prepared.keep(work.token.id(), one, prepared, since);
            Some((seat, shares, receipt))
        });
    }
    let mut all = Shares::new();
    while let Some(ended) = running.join_next().await {
        let (seat, shares, receipt) = ended.ok()??;
        receipts.extend(receipt);
        all.push((seat, shares));
    }
    Some(all)
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
