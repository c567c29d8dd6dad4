//! A key made among its holders: what one says is carried to the others, turn by turn, until every one has signed that it has its share from
//! its row. Where anything fails nothing counts, and it is begun anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use evanesce_threshold::{Ed25519, Group, Suite, Taproot};
use evanesce_token::mpc::{self, Body, Header, Kind, Token, formula};
use evanesce_token::{Gate, Row, quoted};
use evanesce_wire::message::Receipt;
use evanesce_wire::message::threshold::{
    self as wire, Agree, Agreed, Announce, Announced, Confirm, Confirmed, Deal, Dealt, Forget,
    Forgot, Parcel, Take, Taken,
};
use evanesce_wire::{WireError, verify_statement};
use tokio::spawn;
use tokio::time::Instant;

use super::{Answered, ask, leave, row_of, whole};
use crate::error::Error;
use crate::fault::{Fault, Trouble};
use crate::heal::spent;
use crate::io::link::{Down, Live};
use crate::io::side::Side;
use crate::mint::draft::{Judged, judge};
use crate::mint::{PolicyCheck, RESHARE, Words, reach, unfinished};
use crate::settled::Settled;

/// What key is to be made.
pub struct ThresholdSpec {
    /// Where its shares are between its uses.
    pub kind: Kind,
    /// The key's name, for people and policies.
    pub name: String,
    /// Its one suite: `frost-ed25519` or `frost-secp256k1-tr`.
    pub suite: String,
    /// Who must come together: flat, two or more.
    pub quorum: Gate,
    /// Who sits where: seat name → name in the directory. A seat that is not listed is held by its namesake.
    pub seats: BTreeMap<String, String>,
    /// Cedar policies, or nothing.
    pub policy: String,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// The token id this one supersedes, for people.
    pub replaces: Option<[u8; 32]>,
    /// Asked before anything is drawn.
    pub policy_check: PolicyCheck,
}

/// A token that counts: every holder has signed that it has its share.
pub struct ThresholdMinted {
    /// The token.
    pub token: Token,
    /// The agents' log entries for their seats.
    pub receipts: Vec<Receipt>,
    /// What is permitted and yet worth a second thought.
    pub warnings: Vec<String>,
}

const WORDS: Words = Words {
    what: "key generation",
    hint: "Nothing was left behind that could be used; put it right and begin again.",
};

/// Makes a key; waits for agents until `until`.
pub(crate) async fn create(
    side: &Arc<Side>,
    spec: ThresholdSpec,
    until: Instant,
) -> Result<ThresholdMinted, Error> {
    let (header, places, mut warnings) = draft(side, spec)?;
    reach(side, &places, WORDS, until).await?;
    let made = make(side, &header, &places, None, until).await?;
    let (_, late) = forget(side, &made.token, &made.forget, until).await;
    warnings.extend(late.iter().map(|fault| {
        format!(
            "{fault}: it holds what it was dealt until it starts anew, or five minutes have passed"
        )
    }));
    warnings.sort();
    warnings.dedup();
    Ok(ThresholdMinted {
        token: Token::clone(&made.token),
        receipts: made.receipts,
        warnings,
    })
}

/// Judges what every such key has: a holder that sits twice would count twice.
pub(super) fn judge_flat(
    side: &Side,
    quorum: &Gate,
    seats: &BTreeMap<String, String>,
    expires: Option<u64>,
    policy: &str,
    policy_check: PolicyCheck,
) -> Result<Judged, Error> {
    let mut judged = judge(side, quorum, seats, expires, policy, policy_check)?;
    for (seat, place) in judged.places.iter().enumerate() {
        if judged.places[..seat].contains(place) {
            judged.problems.push(format!(
                "{} has two seats, and would count twice",
                quoted(&side.directory.all()[*place].name)
            ));
        }
    }
    Ok(judged)
}

/// Judges the whole specification.
fn draft(side: &Side, spec: ThresholdSpec) -> Result<(Header, Vec<usize>, Vec<String>), Error> {
    let ThresholdSpec {
        kind,
        name,
        suite,
        quorum,
        seats,
        policy,
        expires,
        replaces,
        policy_check,
    } = spec;
    let judged = judge_flat(side, &quorum, &seats, expires, &policy, policy_check)?;
    let (mut key, mut nonce) = ([0; 32], [0; 32]);
    side.world.random(&mut key);
    side.world.random(&mut nonce);
    let header = Header {
        kind,
        key,
        nonce,
        name,
        suite,
        quorum,
        policy,
        created: judged.now,
        expires,
        replaces,
    };
    let (places, warnings) = judged.settle(header.validate())?;
    Ok((header, places, warnings))
}

/// The ceremony, up to the point where every holder has signed that it has its share.
pub(super) async fn make(
    side: &Arc<Side>,
    header: &Header,
    places: &[usize],
    base: Option<Base>,
    until: Instant,
) -> Result<Made, Error> {
    let mut ceremony = [0; 32];
    side.world.random(&mut ceremony);
    let agents: Vec<_> = places
        .iter()
        .map(|place| side.directory.all()[*place].id)
        .collect();
    // Where people have approved it, agents take their word for it in the first turn.
    let asked = base
        .as_ref()
        .is_some_and(|base| !base.settled.evidence.approvals.is_empty());
    let round = Round {
        side,
        header,
        places,
        until,
        words: if base.is_some() { RESHARE } else { WORDS },
        asked,
    };
    let bytes = header.encode();
    let deal = formula::deal(header.kind, &bytes);
    let announce = {
        let side = side.clone();
        move |seat: u32, live: &Live| {
            let base = base.as_ref();
            let inputs = formula::reshare_inputs(&deal, &agents);
            Announce {
                ceremony,
                header: bytes.clone(),
                agents: agents.clone(),
                seat,
                base: base.map(|base| base.told(&side, seat, live, &inputs)),
            }
            .encode()
        }
    };
    let announced = round
        .turn("mpc-announce", announce, Announced::decode)
        .await?;
    let made = made(&round, ceremony, announced).await;
    made.map_err(|e| round.after(e))
}

/// What follows once all have announced.
async fn made(
    round: &Round<'_>,
    ceremony: [u8; 32],
    announced: Vec<Answered<Announced>>,
) -> Result<Made, Error> {
    let seats = announced.len();
    let mut receipts: Vec<_> = announced
        .iter()
        .filter_map(|one| one.receipt.clone())
        .collect();
    let agree = Agree {
        ceremony,
        announcements: announced.into_iter().map(|one| one.value).collect(),
    };
    let agreed = round
        .turn("mpc-agree", same(agree.encode()), Agreed::decode)
        .await?;
    let deal = Deal {
        ceremony,
        signatures: agreed.into_iter().map(|one| one.value.signature).collect(),
    };
    let dealt = round
        .turn("mpc-deal", same(deal.encode()), Dealt::decode)
        .await?;
    let mut inbound: Vec<Vec<Parcel>> = vec![Vec::new(); seats];
    for (seat, dealt) in (0..).zip(dealt) {
        for parcel in dealt.value.parcels {
            if let Some(to) = inbound.get_mut(parcel.seat as usize) {
                to.push(Parcel { seat, ..parcel });
            }
        }
    }
    let take = move |seat: u32, _: &Live| {
        Take {
            ceremony,
            parcels: inbound[seat as usize].clone(),
        }
        .encode()
    };
    let taken = round.turn("mpc-take", take, Taken::decode).await?;
    receipts.extend(taken.iter().filter_map(|one| one.receipt.clone()));
    let token = Arc::new(round.assemble(&taken)?);
    let signatures = round.confirmed(&token).await?;
    Ok(Made {
        forget: Forget {
            ceremony,
            epochs: token.rows.iter().map(|row| row.epoch).collect(),
            signatures,
        },
        token,
        receipts,
    })
}

/// The key that there is, where its shares are renewed.
pub(super) struct Base {
    pub old: Arc<Token>,
    pub settled: Settled,
    /// Of each seat, the old one of its holder; none where that is to be asked for no leave, having no share.
    pub held: Vec<Option<u32>>,
    /// Where another quorum is given the key: who gives, by new seat and old.
    pub givers: Option<Vec<(u32, u32)>>,
}

impl Base {
    /// What the agent at a seat is told of it.
    fn told(&self, side: &Side, seat: u32, live: &Live, inputs: &[&[u8]]) -> wire::Base {
        let leave = |old| leave(side, &self.old, old, live, "reshare", inputs, &self.settled);
        wire::Base {
            context: whole(&self.old.body),
            opening: self.held[seat as usize].map(|old| leave(old).opening),
            givers: self.givers.clone(),
        }
    }
}

/// A key that every holder has signed to have its share of.
pub(super) struct Made {
    pub token: Arc<Token>,
    pub receipts: Vec<Receipt>,
    /// What lets them forget what was dealt.
    pub forget: Forget,
}

/// Lets every holder forget what was dealt; names those that have not been told. The token counts all the same.
pub(super) async fn forget(
    side: &Arc<Side>,
    token: &Token,
    forget: &Forget,
    until: Instant,
) -> (u64, Vec<Fault>) {
    let tasks: Vec<_> = (0..token.rows.len() as u32)
        .map(|seat| {
            let (side, body) = (side.clone(), forget.encode());
            let place = side.directory.by_id(&token.rows[seat as usize].holder);
            spawn(async move {
                let place = place.ok_or_else(Down::unknown_holder)?;
                let compose = |_: &Live| Ok(body.clone());
                ask(&side, place, "mpc-forget", until, compose, Forgot::decode).await
            })
        })
        .collect();
    let (mut removed, mut faults) = (0, Vec::new());
    for (seat, task) in (0..).zip(tasks) {
        match task.await.unwrap_or_else(|_| Err(Down::broke_off())) {
            Ok(forgot) => removed += forgot.value.removed,
            Err(down) => faults.push(super::fault(side, token, seat, &down)),
        }
    }
    (removed, faults)
}

/// The same for every seat.
fn same(body: Vec<u8>) -> impl Fn(u32, &Live) -> Vec<u8> + Send + Sync + 'static {
    move |_, _| body.clone()
}

/// Everyone who makes a key.
pub(super) struct Round<'a> {
    pub side: &'a Arc<Side>,
    pub header: &'a Header,
    pub places: &'a [usize],
    pub until: Instant,
    words: Words,
    /// Whether people were asked for it.
    asked: bool,
}

impl Round<'_> {
    /// What went wrong once an agent has announced: it has taken what people approved.
    fn after(&self, error: Error) -> Error {
        match self.asked {
            true => spent(error),
            false => error,
        }
    }

    /// Asks every seat; names all that would not go on.
    pub async fn turn<T: Send + 'static>(
        &self,
        verb: &'static str,
        body: impl Fn(u32, &Live) -> Vec<u8> + Send + Sync + 'static,
        decode: fn(&[u8]) -> Result<T, WireError>,
    ) -> Result<Vec<Answered<T>>, Error> {
        let body = Arc::new(body);
        let tasks: Vec<_> = self
            .places
            .iter()
            .zip(0..)
            .map(|(place, seat)| {
                let (side, place, until) = (self.side.clone(), *place, self.until);
                let body = body.clone();
                spawn(async move {
                    let compose = |live: &Live| Ok(body(seat, live));
                    ask(&side, place, verb, until, compose, decode).await
                })
            })
            .collect();
        let (mut all, mut troubles, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (seat, task) in (0..).zip(tasks) {
            match task.await.unwrap_or_else(|_| Err(Down::broke_off())) {
                Ok(answered) => all.push(answered),
                Err(down) => {
                    troubles.push(down.trouble);
                    faults.push(self.fault(seat, &down));
                }
            }
        }
        match faults.is_empty() {
            true => Ok(all),
            false => {
                let message = format!("not every holder would go on ({verb})");
                let error = unfinished(&message, &troubles, faults, self.words);
                Err(if all.is_empty() {
                    error
                } else {
                    self.after(error)
                })
            }
        }
    }

    fn fault(&self, seat: u32, down: &Down) -> Fault {
        let mut fault = self.side.fault(self.places[seat as usize], down);
        let names = self.header.quorum.seats();
        fault.seat = names.get(seat as usize).map(|name| (*name).to_owned());
        fault.seat_number = Some(seat);
        fault
    }

    fn lied(&self, seat: u32, what: &str) -> Error {
        let down = Down::new(Trouble::Lied, what);
        let message = "a holder said what cannot be";
        let fault = self.fault(seat, &down);
        unfinished(message, &[Trouble::Lied], vec![fault], self.words)
    }

    /// The token, if all have made the same.
    fn assemble(&self, taken: &[Answered<Taken>]) -> Result<Token, Error> {
        let first = &taken[0].value;
        let body = Body::new(self.header.encode(), first.vector.clone(), first.transcript);
        let body = body.map_err(|e| self.lied(0, &e.0))?;
        is_group(&body).map_err(|why| self.lied(0, &why))?;
        let kind = self.header.kind;
        let mut rows = Vec::with_capacity(taken.len());
        for (seat, one) in (0..).zip(taken) {
            let said = &one.value;
            if (&said.vector, said.transcript) != (&first.vector, first.transcript) {
                return Err(self.lied(seat, "it has made another key than the first seat"));
            }
            let masked = kind == Kind::Regenerated;
            if said.correction.is_some() != masked {
                return Err(self.lied(seat, "its row is of another kind"));
            }
            let correction = said.correction.unwrap_or_default();
            let statement = formula::row_statement(kind, &body.id, seat, said.epoch, &correction);
            if !verify_statement(&one.live.peer.spki, &statement, &said.signature) {
                return Err(self.lied(seat, "its row is not signed by it"));
            }
            rows.push(Row {
                holder: one.live.peer.id,
                epoch: said.epoch,
                correction,
                signature: said.signature.clone(),
            });
        }
        Token::assemble(body, rows).map_err(|e| Error::internal(&e.0))
    }

    /// Every seat's word that it has its share from its row.
    async fn confirmed(&self, token: &Arc<Token>) -> Result<Vec<Vec<u8>>, Error> {
        let confirm = {
            let token = token.clone();
            move |seat: u32, _: &Live| {
                Confirm {
                    context: whole(&token.body),
                    row: row_of(&token, seat),
                }
                .encode()
            }
        };
        let confirmed = self.turn("mpc-confirm", confirm, Confirmed::decode).await?;
        let kind = self.header.kind;
        let mut signatures = Vec::with_capacity(confirmed.len());
        for (seat, one) in (0..).zip(confirmed) {
            let epoch = token.rows[seat as usize].epoch;
            let statement = formula::regenerated_statement(kind, token.id(), seat, epoch);
            let signature = one.value.signature;
            if !verify_statement(&one.live.peer.spki, &statement, &signature) {
                return Err(self.lied(seat, "it has not signed that it has its share"));
            }
            signatures.push(signature);
        }
        Ok(signatures)
    }
}

/// Whether the vector is one of its suite.
pub(super) fn is_group(body: &mpc::Body) -> Result<(), String> {
    let made = match body.header.suite.as_str() {
        Ed25519::NAME => Group::<Ed25519>::new(body.seats(), &body.vector).map(drop),
        _ => Group::<Taproot>::new(body.seats(), &body.vector).map(drop),
    };
    made.map_err(|e| e.to_string())
}
