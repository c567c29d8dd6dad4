//! Signing with a quorum: two rounds, with others in the place of whoever is silent, refuses or lies.
//!
//! The first round asks as many as are needed, and one more whenever one fails or is late. The second asks exactly those whose commitments
//! are signed under; where one of them fails, nothing of it can be used again, and both rounds are done anew without that one. Where enough
//! agents have prepared nonces, one round is tried first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evanesce_suite::Output;
use evanesce_threshold::sign::Signing;
use evanesce_threshold::{Culprit, Ed25519, Error as FrostError, Group, Suite, Taproot};
use evanesce_token::formula;
use evanesce_token::mpc::Token;
use evanesce_wire::limits::SIGNATURES;
use evanesce_wire::message::threshold::{Commit, Committed, Place, Sign};
use evanesce_wire::message::{Evidence, Opening, Receipt, Request};
use evanesce_wire::{Id, WireError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::once::{Came, once, prepare_more};
use super::{ask, ask_over, fault, row_of, whole};
use crate::compose::REQUEST_LIFE;
use crate::error::{Code, Error};
use crate::fault::{Fault, Trouble};
use crate::io::link::{Down, Live};
use crate::io::side::Side;
use crate::operation::{Job, Outcome, OwnedInput};
use crate::verdict;

/// A holder that has said nothing for this long is late, and another is asked beside it; longer where the way is.
const LATE: Duration = Duration::from_millis(150);
/// How many times as long as it usually takes is late.
const LATER: u32 = 4;

/// Messages to be signed under one decision of each agent: if one is refused, none is signed.
pub struct ThresholdOperation {
    /// The token, decoded and pinned by the caller.
    pub token: Arc<Token>,
    /// At least one, at most [`SIGNATURES`], each to be signed.
    pub jobs: Vec<Job>,
    /// Until the signatures must be there; `None` is the usual time.
    pub deadline: Option<Duration>,
    /// What goes along to every agent so that it may permit them.
    pub evidence: Evidence,
}

/// One message, as it is asked for.
pub(super) struct Asked {
    message: Vec<u8>,
    payload: bool,
    salt: [u8; 32],
    input: [u8; 32],
}

/// Signs, until `until`.
pub(crate) async fn sign(
    side: &Arc<Side>,
    operation: ThresholdOperation,
    until: Instant,
) -> Result<Outcome, Error> {
    let ThresholdOperation {
        token,
        jobs,
        evidence,
        ..
    } = operation;
    let asked = prepare(side, &token, jobs)?;
    let work = Arc::new(Work {
        token,
        asked,
        evidence,
        until,
    });
    match work.token.body.header.suite.as_str() {
        Ed25519::NAME => rounds::<Ed25519>(side, &work).await,
        _ => rounds::<Taproot>(side, &work).await,
    }
}

pub(super) struct Work {
    pub token: Arc<Token>,
    pub asked: Vec<Asked>,
    pub evidence: Evidence,
    pub until: Instant,
}

/// Refuses what no agent need be asked about; otherwise digests the messages.
fn prepare(side: &Side, token: &Token, jobs: Vec<Job>) -> Result<Vec<Asked>, Error> {
    let header = &token.body.header;
    if header.expired_at(side.world.unix_seconds()) {
        let hint = "Use a token minted later.";
        return Err(Error::new(Code::Expired, "the token has expired", hint));
    }
    if jobs.is_empty() || jobs.len() > SIGNATURES {
        let message = format!(
            "between 1 and {SIGNATURES} messages are signed at once, not {}",
            jobs.len()
        );
        return Err(Error::new(Code::BadInput, message, "Split them."));
    }
    let mut asked = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        if job.suite != header.suite {
            let message = format!(
                "this token has no suite {}",
                evanesce_token::quoted(&job.suite)
            );
            let hint = format!("It has: {}.", header.suite);
            return Err(Error::new(Code::SuiteNotInToken, message, hint));
        }
        let (message, payload) = match &mut job.input {
            OwnedInput::Sign { message } => (std::mem::take(message), false),
            OwnedInput::SignPayload { payload } => (std::mem::take(payload), true),
            _ => {
                let message = format!("{} only signs", header.suite);
                return Err(Error::new(Code::UnfitOperation, message, "It does: sign."));
            }
        };
        let mut salt = [0; 32];
        side.world.random(&mut salt);
        let salt = job.salt.unwrap_or(salt);
        asked.push(Asked {
            input: formula::input_digest(&salt, "sign", &header.suite, &[&message]),
            message,
            payload,
            salt,
        });
    }
    Ok(asked)
}

/// What a seat has committed to.
struct Ready {
    place: usize,
    live: Arc<Live>,
    request: Id,
    points: Vec<Vec<u8>>,
    receipt: Option<Receipt>,
}

async fn rounds<S: Suite>(side: &Arc<Side>, work: &Arc<Work>) -> Result<Outcome, Error> {
    let token = &work.token;
    let group = side.groups.of::<S>(&token.body);
    let group = group.map_err(|e| Error::new(Code::Malformed, e.to_string(), ""))?;
    let mut out: BTreeMap<u32, (Trouble, Fault)> = BTreeMap::new();
    for (seat, row) in (0..).zip(&token.rows) {
        if side.directory.by_id(&row.holder).is_none() {
            let down = Down::unknown_holder();
            out.insert(seat, (down.trouble, fault(side, token, seat, &down)));
        }
    }
    let mut receipts = Vec::new();
    let ended = |outputs, receipts, out: BTreeMap<u32, (Trouble, Fault)>| Outcome {
        outputs,
        receipts,
        faults: out.into_values().map(|(_, fault)| fault).collect(),
        salts: work.asked.iter().map(|asked| asked.salt).collect(),
    };
    let (mut slow, mut doublings) = (Vec::new(), 0);
    let seats = nearest(side, token, &out).into_iter().map(|(_, seat)| seat);
    match once(side, work, &group, seats, &mut receipts).await {
        Came::Signed(outputs) => return Ok(ended(outputs, receipts, out)),
        Came::Nothing(bad) => {
            for (seat, down) in bad {
                if down.trouble == Trouble::Slow {
                    slow.push(seat);
                }
                out.insert(seat, (down.trouble, fault(side, token, seat, &down)));
            }
        }
    }
    loop {
        let began = Instant::now();
        let ready = match commitments(side, work, group.t(), &mut out).await {
            Ok(ready) => ready,
            // With nobody else left, whoever was only slow is asked again, and given more time.
            Err(_) if !slow.is_empty() && Instant::now() < work.until => {
                slow.drain(..).for_each(|seat| drop(out.remove(&seat)));
                doublings += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let usual = began.elapsed().max(LATE).saturating_mul(1 << doublings);
        let mut bad = |seat: u32, down: &Down| {
            out.insert(seat, (down.trouble, fault(side, token, seat, down)));
        };
        let places: Vec<Vec<Place>> = (0..work.asked.len())
            .map(|n| {
                let place = |(seat, one): (&u32, &Ready)| Place {
                    seat: *seat,
                    points: one.points[n].clone(),
                };
                ready.iter().map(place).collect()
            })
            .collect();
        let signings = signings(&group, &work.asked, &places);
        let signings = match signings {
            Ok(signings) => signings,
            Err(error) => {
                let liars = liars(error).map_err(|e| Error::internal(&e.to_string()))?;
                liars.iter().for_each(|(seat, down)| bad(*seat, down));
                continue;
            }
        };
        receipts.extend(ready.values().filter_map(|one| one.receipt.clone()));
        let shares = match shares(side, work, &ready, &places, usual).await {
            Ok(shares) => shares,
            Err(failed) => {
                for (seat, down) in failed {
                    if down.trouble == Trouble::Slow {
                        slow.push(seat);
                    }
                    bad(seat, &down);
                }
                continue;
            }
        };
        let outputs = match outputs(&signings, &shares) {
            Ok(outputs) => outputs,
            Err(error) => {
                let liars = liars(error).map_err(|e| Error::internal(&e.to_string()))?;
                liars.iter().for_each(|(seat, down)| bad(*seat, down));
                continue;
            }
        };
        prepare_more(side, work, ready.into_keys());
        return Ok(ended(outputs, receipts, out));
    }
}

/// Until when an answer that usually takes so long is waited for: where others could sign in its place, not until the end.
pub(super) fn patience(usual: Duration, spare: bool, until: Instant) -> Instant {
    let late = Instant::now().checked_add(usual.max(LATE).saturating_mul(LATER));
    match late {
        Some(late) if spare => late.min(until),
        _ => until,
    }
}

/// The signatures, verified.
pub(super) fn outputs<S: Suite>(
    signings: &[Signing<S>],
    shares: &Shares,
) -> Result<Vec<Output>, FrostError> {
    let signed = signings.iter().enumerate().map(|(n, signing)| {
        let of_this: Vec<_> = shares
            .iter()
            .map(|(seat, all)| (*seat as u8, all[n]))
            .collect();
        let signature = signing.aggregate(&of_this)?;
        Ok(Output::Public(signature.to_vec()))
    });
    signed.collect()
}

/// Seats that may be asked: those that can be at once come first, and of these whoever is nearest.
fn nearest(
    side: &Side,
    token: &Token,
    out: &BTreeMap<u32, (Trouble, Fault)>,
) -> Vec<(Duration, u32)> {
    let mut all: Vec<(Duration, u32)> = (0..token.rows.len() as u32)
        .filter(|seat| !out.contains_key(seat))
        .map(|seat| {
            let place = side.directory.by_id(&token.rows[seat as usize].holder);
            let live = place.and_then(|place| side.links[place].live());
            (live.map_or(Duration::MAX, |live| live.round_trip), seat)
        })
        .collect();
    all.sort_unstable();
    all
}

/// Those who sent what is wrong; the error itself, where it is nobody's fault.
pub(super) fn liars(error: FrostError) -> Result<Vec<(u32, Down)>, FrostError> {
    let FrostError::Culprits(culprits) = error else {
        return Err(error);
    };
    let down = |one: Culprit| {
        let down = Down::new(Trouble::Lied, one.wrong.to_string());
        (one.seat.into(), down)
    };
    Ok(culprits.into_iter().map(down).collect())
}

pub(super) fn signings<S: Suite>(
    group: &Group<S>,
    asked: &[Asked],
    places: &[Vec<Place>],
) -> Result<Vec<Signing<S>>, FrostError> {
    let both = asked.iter().zip(places);
    let signing = both.map(|(asked, places)| {
        let places: Vec<_> = places
            .iter()
            .map(|place| (place.seat as u8, &place.points))
            .collect();
        Signing::new(group, &asked.message, &places)
    });
    signing.collect()
}

/// The first round: commitments of t seats.
async fn commitments(
    side: &Arc<Side>,
    work: &Arc<Work>,
    t: usize,
    out: &mut BTreeMap<u32, (Trouble, Fault)>,
) -> Result<BTreeMap<u32, Ready>, Error> {
    let token = &work.token;
    let waiting = nearest(side, token, out);
    let ways = waiting.iter().take(t).map(|(way, _)| *way);
    let way = ways.filter(|way| *way < Duration::MAX).max();
    let usual = LATE.max(way.unwrap_or_default() * LATER);
    let mut waiting = waiting.into_iter().map(|(_, seat)| seat);
    let mut running = JoinSet::new();
    let mut under_way = BTreeSet::new();
    let mut ready: BTreeMap<u32, Ready> = BTreeMap::new();
    let mut late = Instant::now() + usual;
    let mut want = t;
    loop {
        while under_way.len() + ready.len() < want {
            let Some(seat) = waiting.next() else { break };
            let (side, work) = (side.clone(), work.clone());
            under_way.insert(seat);
            running.spawn(async move { (seat, commit(&side, &work, seat).await) });
        }
        if ready.len() == t {
            return Ok(ready);
        }
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            () = sleep_until(late) => {
                // Somebody is late: one more is asked.
                late = Instant::now() + usual;
                want += 1;
                continue;
            }
        };
        match ended {
            Some(Ok((seat, Ok(one)))) => {
                under_way.remove(&seat);
                if ready.len() < t {
                    ready.insert(seat, one);
                }
            }
            Some(Ok((seat, Err(down)))) => {
                under_way.remove(&seat);
                let fault = fault(side, token, seat, &down);
                out.insert(seat, (down.trouble, fault));
            }
            Some(Err(_)) => return Err(Error::internal("a task that asked broke off")),
            None => {
                let troubles = out.values().map(|(trouble, _)| *trouble);
                let code = verdict::code(troubles.collect::<Vec<_>>(), !ready.is_empty());
                let faults = out.values().map(|(_, fault)| fault.clone()).collect();
                return Err(verdict::explain(code, &token.body.header.quorum, faults));
            }
        }
    }
}

/// One seat's commitments.
async fn commit(side: &Side, work: &Work, seat: u32) -> Result<Ready, Down> {
    let token = &work.token;
    let holder = token.rows[seat as usize].holder;
    let place = side.directory.by_id(&holder);
    let place = place.ok_or_else(|| Down::new(Trouble::UnknownHolder, ""))?;
    let mut request = [0; 32];
    let compose = |live: &Live| {
        let commit = compose(side, work, seat, live);
        let parts: Vec<&[u8]> = commit.opening.requests.iter().map(Vec::as_slice).collect();
        request = formula::request_hash(&parts);
        Ok(commit.encode())
    };
    let answered = ask(
        side,
        place,
        "mpc-commit",
        work.until,
        compose,
        Committed::decode,
    )
    .await?;
    match answered.value {
        Committed::Points(points) if points.len() == work.asked.len() => Ok(Ready {
            place,
            live: answered.live,
            request,
            points,
            receipt: answered.receipt,
        }),
        _ => Err(something_else()),
    }
}

pub(super) fn compose(side: &Side, work: &Work, seat: u32, live: &Live) -> Commit {
    let token = &work.token;
    let not_after = side.world.unix_seconds() + REQUEST_LIFE;
    let request = |asked: &Asked| {
        let mut id = [0; 16];
        side.world.random(&mut id);
        Request {
            token: *token.id(),
            action: "sign".into(),
            suite: token.body.header.suite.clone(),
            input: asked.input,
            caller: side.caller,
            session: live.session.id,
            id,
            not_after,
            payload: asked.payload.then(|| asked.message.clone()),
        }
        .encode()
    };
    Commit {
        context: whole(&token.body),
        opening: Opening {
            context: 0,
            requests: work.asked.iter().map(request).collect(),
            salts: work.asked.iter().map(|asked| Some(asked.salt)).collect(),
            evidence: work.evidence.clone(),
            rows: vec![row_of(token, seat)],
        },
        messages: work
            .asked
            .iter()
            .map(|asked| (!asked.payload).then(|| asked.message.clone()))
            .collect(),
    }
}

pub(super) type Shares = Vec<(u32, Vec<[u8; 32]>)>;

/// The second round. Who has failed, where one has: what the others have sent is of no use then.
async fn shares(
    side: &Arc<Side>,
    work: &Arc<Work>,
    ready: &BTreeMap<u32, Ready>,
    places: &[Vec<Place>],
    usual: Duration,
) -> Result<Shares, Vec<(u32, Down)>> {
    let spare = work.token.rows.len() > ready.len();
    let until = patience(usual, spare, work.until);
    let count = work.asked.len();
    let mut running = JoinSet::new();
    for (seat, one) in ready {
        let sign = Sign {
            request: one.request,
            commitments: places.to_vec(),
        };
        let (side, seat, place, live) = (side.clone(), *seat, one.place, one.live.clone());
        let decode: fn(&[u8]) -> Result<Committed, WireError> = Committed::decode;
        running.spawn(async move {
            let body = sign.encode();
            let asked = ask_over(&side, place, "mpc-sign", until, &live, body, decode);
            let signed = match asked.await {
                Ok((Committed::Shares(all), _)) if all.len() == count => Ok((all, None)),
                Ok(_) => Err(something_else()),
                Err(down) => Err(down),
            };
            (seat, signed)
        });
    }
    gathered(running, ready.keys().copied(), until, &mut Vec::new()).await
}

pub(super) fn something_else() -> Down {
    Down::new(
        Trouble::Lied,
        "answered with something else than was asked for",
    )
}

/// What an agent has signed, and that it did.
type Signed = (Vec<[u8; 32]>, Option<Receipt>);

/// What all of `seats` have signed, with their receipts; who has failed where one has.
pub(super) async fn gathered(
    mut running: JoinSet<(u32, Result<Signed, Down>)>,
    seats: impl Iterator<Item = u32>,
    until: Instant,
    receipts: &mut Vec<Receipt>,
) -> Result<Shares, Vec<(u32, Down)>> {
    let (mut shares, mut failed) = (Shares::new(), Vec::new());
    let all = async {
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((seat, Ok((all, receipt)))) => {
                    receipts.extend(receipt);
                    shares.push((seat, all));
                }
                Ok((seat, Err(down))) => failed.push((seat, down)),
                Err(_) => {}
            }
        }
    };
    let _ = timeout_at(until, all).await;
    for seat in seats {
        let known = shares.iter().any(|(other, _)| *other == seat)
            || failed.iter().any(|(other, _)| *other == seat);
        if !known {
            failed.push((seat, Down::slow()));
        }
    }
    match failed.is_empty() {
        true => Ok(shares),
        false => Err(failed),
    }
}
