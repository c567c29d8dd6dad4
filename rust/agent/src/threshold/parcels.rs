//! What one agent deals to another: sealed to it and signed by whoever sent it, for one occasion.

use evanesce_secret::Secret;
use evanesce_wire::message::threshold::Parcel;
use evanesce_wire::parcel::{self, BoxKey};
use evanesce_wire::verify_statement;

use super::Obstacle;
use crate::regenerate::Hands;

/// To the holder of `key`, at seat `to`; `for_all` is what all that take part see.
pub fn sealed(
    hands: &Hands,
    for_all: &[u8; 32],
    (from, to): (u32, u32),
    key: &[u8; 32],
    secret: &Secret<32>,
) -> Result<Parcel, Obstacle> {
    let sealed = parcel::seal(key, &parcel::aad(for_all, from, to), secret)?;
    let statement = parcel::statement(for_all, from, to, &sealed);
    Ok(Parcel {
        seat: to,
        sealed,
        signature: hands.identity.sign(&statement)?,
    })
}

/// What the sender whose SPKI this is has sent to this agent, at seat `to`; `what` is its name in refusals.
pub fn opened(
    key: &BoxKey,
    for_all: &[u8; 32],
    to: u32,
    parcel: &Parcel,
    spki: &[u8],
    what: &str,
) -> Result<Secret<32>, Obstacle> {
    let from = parcel.seat;
    let statement = parcel::statement(for_all, from, to, &parcel.sealed);
    if !verify_statement(spki, &statement, &parcel.signature) {
        // Whoever carries it may have put it in.
        let why = format!("a {what} in the name of seat {from} is not signed by that one");
        return Err(Obstacle::refused(why));
    }
    let aad = parcel::aad(for_all, from, to);
    key.open(&aad, &parcel.sealed).map_err(|_| {
        let why = format!("its {what} is not sealed to this agent");
        Obstacle::culprit(from, &why)
    })
}
