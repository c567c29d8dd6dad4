//! Seating: each holder given its shares, and its rows taken (PROTOCOL §5, seat).

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::{Body, Row, formula};
use evanesce_wire::message::{
    Receipt, SeatShare, Seated, SeatedResult, SeatedRow, Seating, seat_hash,
};
use evanesce_wire::session::{SEALED_SHARE, TAG};
use evanesce_wire::{Id, WireError, verify_statement};
use tokio::spawn;
use tokio::time::Instant;

use super::deal::Dealt;
use crate::answers::Peer;
use crate::compose::full;
use crate::fault::{Fault, Trouble, remark};
use crate::io::link::{Down, Live, down};
use crate::io::side::Side;

/// Shares on their way to holders, in locked memory.
pub(crate) trait Shares: Send + Sync + 'static {
    /// The token's body.
    fn body(&self) -> &Body;
    /// The share of a seat that is to be seated.
    fn share(&self, seat: u32) -> &Secret<32>;
}

impl Shares for Dealt {
    fn body(&self) -> &Body {
        &self.body
    }

    fn share(&self, seat: u32) -> &Secret<32> {
        &self.shares[seat as usize]
    }
}

/// Why not every holder was seated: what is wrong with each, and whose fault.
pub(crate) struct Unseated {
    pub troubles: Vec<Trouble>,
    pub faults: Vec<Fault>,
}

/// Seats every holder, all at once; names all that would not be seated.
pub(crate) async fn seat(
    side: &Arc<Side>,
    dealt: &Arc<Dealt>,
    places: &[usize],
    until: Instant,
) -> Result<(Vec<Row>, Vec<Receipt>), Unseated> {
    let mut seats_of: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (place, seat) in places.iter().zip(0..) {
        seats_of.entry(*place).or_default().push(seat);
    }
    let mut tasks = Vec::with_capacity(seats_of.len());
    for (place, seats) in seats_of {
        let (side, dealt, asked) = (side.clone(), dealt.clone(), seats.clone());
        tasks.push((
            place,
            seats,
            spawn(async move { seat_one(&side, &*dealt, place, &asked, until).await }),
        ));
    }
    let mut rows: Vec<Option<Row>> = vec![None; places.len()];
    let (mut receipts, mut troubles, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (place, seats, task) in tasks {
        let outcome = task.await.unwrap_or_else(|_| Err(Down::broke_off()));
        let (seated, more) = match outcome {
            Ok(seated) => seated,
            Err(down) => (
                seats
                    .iter()
                    .map(|seat| (*seat, Err(down.clone())))
                    .collect(),
                Vec::new(),
            ),
        };
        receipts.extend(more);
        for (seat, result) in seated {
            match result {
                Ok(row) => rows[seat as usize] = Some(row),
                Err(down) => {
                    troubles.push(down.trouble);
                    let mut fault = side.fault(place, &down);
                    fault.seat = dealt
                        .body
                        .header
                        .quorum
                        .seats()
                        .get(seat as usize)
                        .map(|&name| name.to_owned());
                    fault.seat_number = Some(seat);
                    faults.push(fault);
                }
            }
        }
    }
    match rows.into_iter().collect::<Option<Vec<Row>>>() {
        Some(rows) if faults.is_empty() => Ok((rows, receipts)),
        _ => Err(Unseated { troubles, faults }),
    }
}

type SeatedAt = (Vec<(u32, Result<Row, Down>)>, Vec<Receipt>);

/// Gives one holder its shares; its rows are in the order of `seats`.
pub(crate) async fn seat_one(
    side: &Arc<Side>,
    dealt: &impl Shares,
    place: usize,
    seats: &[u32],
    until: Instant,
) -> Result<SeatedAt, Down> {
    let compose = |live: &Live| compose(dealt, live, seats);
    let (seated, live) = side.links[place]
        .exchange("seat", until, compose, Seated::decode)
        .await?;
    let in_order = seated
        .seats
        .iter()
        .map(|row| row.seat)
        .eq(seats.iter().copied());
    if !in_order {
        return Err(Down::new(
            Trouble::Lied,
            "answered for other seats than it was given",
        ));
    }
    let mut receipts = Vec::new();
    let mut rows = Vec::with_capacity(seats.len());
    for SeatedRow {
        seat,
        result,
        receipt,
    } in seated.seats
    {
        receipts.extend(receipt.map(|proof| live.peer.receipt(proof, &seated.checkpoint)));
        rows.push((seat, row(&dealt.body().id, seat, result, &live.peer)));
    }
    Ok((rows, receipts))
}

/// The holder's shares, each sealed to its session.
fn compose(dealt: &impl Shares, live: &Live, seats: &[u32]) -> Result<Vec<u8>, Down> {
    let token_id = &dealt.body().id;
    let mut shares = Vec::with_capacity(seats.len());
    for &seat in seats {
        let aad = formula::share_aad(&seat_hash(token_id, seat), token_id, seat, &live.peer.id);
        let share = dealt.share(seat);
        let sealed = on_crucible(|| {
            let mut buffer = [0u8; SEALED_SHARE];
            buffer[..32].copy_from_slice(share.expose());
            let (counter, tag) = live.session.seal(&aad, &mut buffer[..32])?;
            buffer[SEALED_SHARE - TAG..].copy_from_slice(&tag);
            Ok::<_, WireError>((counter, buffer))
        });
        let (counter, sealed) = sealed.map_err(|e| down(&e.into()))?;
        shares.push(SeatShare {
            context: 0,
            seat,
            counter,
            sealed,
        });
    }
    Ok(Seating {
        contexts: vec![full(dealt.body())],
        seats: shares,
    }
    .encode())
}

/// A row as the agent made it, if it signed it.
fn row(token_id: &Id, seat: u32, result: SeatedResult, peer: &Peer) -> Result<Row, Down> {
    let (epoch, correction, signature) = match result {
        SeatedResult::Row {
            epoch,
            correction,
            signature,
        } => (epoch, correction, signature),
        SeatedResult::Refused { reason } => {
            return Err(Down::new(Trouble::Refused, remark(&reason)));
        }
    };
    let statement = formula::row_statement(token_id, seat, epoch, &correction);
    if !verify_statement(&peer.spki, &statement, &signature) {
        return Err(Down::new(Trouble::Lied, "its signature of its row fails"));
    }
    Ok(Row {
        holder: peer.id,
        epoch,
        correction,
        signature,
    })
}
