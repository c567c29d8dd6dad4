//! Keys that are never put together: made among agents, and used with them (docs/threshold-api.md).
//!
//! This side is a coordinator. It carries what agents say to each other, chooses who signs, and adds up what they send; it holds no share at
//! any moment, and what it alters is noticed. Whoever sends what is wrong is named, and others are asked.

mod check;
mod create;
mod once;
mod prepared;
mod renew;
mod repair;
mod reshare;
mod sign;

use std::sync::Arc;

use evanesce_token::formula::input_digest;
use evanesce_token::mpc::{Body, Token, formula};
use evanesce_wire::message::threshold::{Leave, Reply};
use evanesce_wire::message::{Code, Context, Opening, Receipt, Request, SeatFault, SeatRow};
use evanesce_wire::{WireError, verify_statement};
use tokio::time::{Instant, timeout_at};

use crate::answers::{Peer, trouble_of};
use crate::compose::REQUEST_LIFE;
use crate::fault::{Fault, Trouble, remark};
use crate::io::link::{Down, Live};
use crate::io::side::Side;
use crate::settled::Settled;

pub(crate) use check::check;
pub(crate) use create::create;
pub use create::{ThresholdMinted, ThresholdSpec};
pub(crate) use prepared::Prepared;
pub use renew::{Renewal, RenewalSpec, Renewed};
pub(crate) use renew::{finish, renew};
pub(crate) use repair::repair;
pub use repair::{ThresholdRepairSpec, ThresholdRepaired};
pub use sign::ThresholdOperation;
pub(crate) use sign::sign;

/// What an agent is given of a token, whole.
pub(crate) fn whole(body: &Body) -> Context {
    Context::Second {
        header: body.header_bytes.clone(),
        vector: body.vector.clone(),
        transcript: body.transcript,
    }
}

/// A row as its agent needs it.
fn row_of(token: &Token, seat: u32) -> SeatRow {
    SeatRow::of(seat, &token.rows[seat as usize])
}

/// A request that the policy of a token is asked about, by the agent at `seat`; as it was settled, with its salt.
fn leave(
    side: &Side,
    token: &Token,
    seat: u32,
    live: &Live,
    action: &str,
    inputs: &[&[u8]],
    settled: &Settled,
) -> Leave {
    let mut id = [0; 16];
    side.world.random(&mut id);
    let salt = settled.salt(&*side.world);
    let request = Request {
        token: *token.id(),
        action: action.into(),
        suite: String::new(),
        input: input_digest(&salt, action, "", inputs),
        caller: side.caller,
        session: live.session.id,
        id,
        not_after: side.world.unix_seconds() + REQUEST_LIFE,
        payload: None,
    };
    Leave {
        context: whole(&token.body),
        opening: Opening {
            context: 0,
            requests: vec![request.encode()],
            salts: vec![Some(salt)],
            evidence: settled.evidence.clone(),
            rows: vec![row_of(token, seat)],
        },
    }
}

/// What an agent answered.
struct Answered<T> {
    value: T,
    receipt: Option<Receipt>,
    live: Arc<Live>,
}

/// Asks one agent for something, until `until`.
async fn ask<T>(
    side: &Side,
    place: usize,
    verb: &str,
    until: Instant,
    compose: impl FnMut(&Live) -> Result<Vec<u8>, Down>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<Answered<T>, Down> {
    let asked = ask_naming(side, place, verb, until, compose, decode).await;
    asked.map_err(|(down, _)| down)
}

/// The same; with what went wrong, what it says of other seats.
async fn ask_naming<T>(
    side: &Side,
    place: usize,
    verb: &str,
    until: Instant,
    compose: impl FnMut(&Live) -> Result<Vec<u8>, Down>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<Answered<T>, (Down, Vec<(u32, String)>)> {
    let link = &side.links[place];
    let asked = link.exchange(verb, until, compose, Reply::decode).await;
    let (reply, live) = asked.map_err(|down| (down, Vec::new()))?;
    let of = reply.culprits.iter();
    let says_of = of.map(|one| (one.seat, remark(&one.reason))).collect();
    let judged = judged(reply, &live.peer, decode);
    let (value, receipt) = judged.map_err(|down| (down, says_of))?;
    Ok(Answered {
        value,
        receipt,
        live,
    })
}

/// The same, over a way and a session that it must be.
async fn ask_over<T>(
    side: &Side,
    place: usize,
    verb: &str,
    until: Instant,
    live: &Live,
    body: Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<(T, Option<Receipt>), Down> {
    use evanesce_wire::client::CallError;
    let asked = timeout_at(until, side.links[place].post(live, verb, body)).await;
    let slow = || Down::slow();
    let answer = asked.map_err(|_| slow())?;
    let answer = answer.map_err(|e| crate::io::link::down(&e))?;
    let reply = Reply::decode(&answer).map_err(|e| crate::io::link::down(&CallError::Wire(e)))?;
    judged(reply, &live.peer, decode)
}

fn judged<T>(
    mut reply: Reply,
    peer: &Peer,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<(T, Option<Receipt>), Down> {
    let lied = |what: String| Down::new(Trouble::Lied, remark(&what));
    let receipt = reply.receipt.take();
    let receipt = receipt.map(|proof| peer.receipt(proof, &reply.checkpoint));
    if let Some(value) = &reply.value {
        let value = decode(value).map_err(|e| lied(e.to_string()))?;
        return Ok((value, receipt));
    }
    let trouble = match (reply.code, reply.fault) {
        (_, Some(SeatFault::EpochNotHeld)) => Trouble::EpochNotHeld,
        (_, Some(SeatFault::CannotRegenerate)) => Trouble::CannotRegenerate,
        (_, Some(SeatFault::ElementUnavailable)) => Trouble::ElementUnavailable,
        (_, Some(SeatFault::NotMine)) | (Code::Done | Code::Unrouted, None) => Trouble::Lied,
        (code, None) => trouble_of(code),
    };
    let mut detail = match reply.fault {
        Some(fault) => fault.as_str().to_owned(),
        None => reply.code.as_str().to_owned(),
    };
    if !reply.reason.is_empty() {
        detail = format!("{detail}: {}", remark(&reply.reason));
    }
    for one in &reply.culprits {
        let what = remark(&one.reason);
        detail = format!("{detail}; it says of seat {}: {what}", one.seat);
    }
    Err(Down::new(trouble, detail))
}

/// What is wrong with a seat; a row whose signature fails is the row's fault.
fn fault(side: &Side, token: &Token, seat: u32, down: &Down) -> Fault {
    let row = &token.rows[seat as usize];
    let place = side.directory.by_id(&row.holder);
    let live = place.and_then(|place| side.links[place].live());
    let statement = formula::row_statement(
        token.body.header.kind,
        token.id(),
        seat,
        row.epoch,
        &row.correction,
    );
    let altered = down.trouble.is_unable()
        && live.is_some_and(|live| !verify_statement(&live.peer.spki, &statement, &row.signature));
    let trouble = if altered {
        Trouble::RowAltered
    } else {
        down.trouble
    };
    let names = token.body.header.quorum.seats();
    Fault {
        seat: names.get(seat as usize).map(|name| (*name).to_owned()),
        seat_number: Some(seat),
        holder: side.directory.name_of(&row.holder),
        holder_id: row.holder,
        kind: trouble.kind(),
        detail: down.detail.clone(),
    }
}
