//! That an agent has the share of a seat: Schnorr's proof of knowledge, for the point that the share, times the generator, must be.
//!
//! `R ‖ z` with `R = k·G` for a fresh random k, `c = TH("mpc-repair-proof", suite, Y, R, statement)` as a big-endian number modulo the order, and
//! `z = k + c·share`. Rows are outside of a token's id, and anyone can sign one: this is what shows that a seat is somebody's.

use evanesce_secret::{Secret, on_crucible};
use evanesce_token::hash::th;
use frost_core::Group as _;

use crate::arithmetic;
use crate::dkg::element;
use crate::error::Error;
use crate::group::{Group, canonical};
use crate::share::Share;
use crate::suite::Suite;

/// A proof for a statement, which should say all that it is to be good for. [`Suite::POINT`] + 32 bytes.
///
/// # Errors
/// [`Error::Unfit`] for a share of another group.
pub fn prove<S: Suite>(
    group: &Group<S>,
    share: &Share<S>,
    statement: &[u8; 32],
) -> Result<Vec<u8>, Error> {
    group.check_own(share)?;
    let point = group.verifying_share(share.seat())?;
    let nonce = Secret::<64>::random()?;
    let mut proof = Vec::with_capacity(S::POINT + 32);
    let done = on_crucible(|| {
        let nonce = arithmetic::reduce::<S>(nonce.expose());
        let commitment = arithmetic::times_generator::<S>(&nonce);
        let commitment = S::Group::serialize(&commitment).ok()?;
        proof.extend_from_slice(commitment.as_ref());
        let share = arithmetic::decode::<S>(share.expose())?;
        let challenge = challenge::<S>(&point, commitment.as_ref(), statement);
        let mut response = [0; 32];
        arithmetic::encode::<S>(&(nonce + challenge * share), &mut response);
        proof.extend_from_slice(&response);
        Some(())
    });
    done.ok_or_else(|| Error::Unfit("the share could not be proven".into()))?;
    Ok(proof)
}

/// Whether it is a proof for this seat and statement.
pub fn proves<S: Suite>(group: &Group<S>, seat: u8, statement: &[u8; 32], proof: &[u8]) -> bool {
    let verify = || {
        let (commitment, response) = proof.split_at_checked(S::POINT)?;
        let point = group.verifying_share(seat).ok()?;
        let is = element::<S>(&canonical::<S>(commitment).ok()?).ok()?;
        let response = arithmetic::decode::<S>(response.try_into().ok()?)?;
        let challenge = challenge::<S>(&point, commitment, statement);
        let must_be = is + element::<S>(&point).ok()? * challenge;
        Some(arithmetic::times_generator::<S>(&response) == must_be)
    };
    verify().unwrap_or(false)
}

fn challenge<S: Suite>(
    point: &[u8],
    commitment: &[u8],
    statement: &[u8; 32],
) -> frost_core::Scalar<S> {
    let mut wide = [0; 64];
    let parts = [S::NAME.as_bytes(), point, commitment, statement];
    wide[32..].copy_from_slice(&th("mpc-repair-proof", &parts));
    arithmetic::reduce::<S>(&wide)
}
