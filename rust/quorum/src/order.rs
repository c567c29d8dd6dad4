//! Ordering: a token revoked, frozen or thawed at every agent that can be reached (PROTOCOL §9).
//!
//! An order is signed once and judged by each agent for itself, so every agent of the directory is given it, whether or
//! not it holds a seat: agents hand it on to those that are away. A seat counts when every agent that has held a row for
//! it, in any version of the token that is given, has obeyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evanesce_token::{Gate, Token, mpc};
use evanesce_wire::Id;
use evanesce_wire::message::{Code as Answer, Command, Context, Order, Receipt, SignedOrder};
use tokio::spawn;
use tokio::time::Instant;

use crate::answers::trouble_of;
use crate::compose::full;
use crate::error::{Code, Error};
use crate::fault::{Fault, Trouble, remark};
use crate::io::link::Down;
use crate::io::side::Side;
use crate::threshold::whole;
use crate::verdict;

/// What an order has achieved so far.
pub struct Ordered {
    /// For each seat and each agent that has ever held a row for it: the seat's name, the holder's name, and why it has
    /// not obeyed, if so.
    pub seats: Vec<(String, String, Option<Fault>)>,
    /// Agents that hold no seat and have not obeyed: they would not hand it on.
    pub others: Vec<Fault>,
    /// Of a revocation or a freeze: no sufficient set remains without the seats that have obeyed. Of a thaw: a
    /// sufficient set has obeyed.
    pub settled: bool,
    /// The agents' log entries.
    pub receipts: Vec<Receipt>,
}

/// A version of a token, of either kind, as an order is about it.
pub(crate) struct Version {
    id: Id,
    quorum: Gate,
    holders: Vec<Id>,
    context: Context,
}

impl Version {
    /// Of the first kind.
    pub fn first(token: &Token) -> Self {
        Self {
            id: *token.id(),
            quorum: token.body.header.quorum.clone(),
            holders: token.rows.iter().map(|row| row.holder).collect(),
            context: full(&token.body),
        }
    }

    /// Of the second.
    pub fn second(token: &mpc::Token) -> Self {
        Self {
            id: *token.id(),
            quorum: token.body.header.quorum.clone(),
            holders: token.rows.iter().map(|row| row.holder).collect(),
            context: whole(&token.body),
        }
    }
}

/// Gives every agent the order, until `until`. An error only if nobody has obeyed.
pub(crate) async fn order(
    side: &Arc<Side>,
    versions: &[Version],
    command: Command,
    until: Instant,
) -> Result<Ordered, Error> {
    let token = versions
        .first()
        .ok_or_else(|| Error::new(Code::BadInput, "no token was given", "Give the token."))?;
    if versions.iter().any(|other| other.id != token.id) {
        let why = "these are versions of more than one token";
        return Err(Error::new(Code::BadInput, why, "Order them one by one."));
    }
    let mut nonce = [0; 16];
    side.world.random(&mut nonce);
    let order = Order {
        token: token.id,
        command,
        caller: side.caller,
        issued: side.world.unix_millis(),
        nonce,
    };
    let signed = SignedOrder::sign(&order, token.context.clone(), &*side.identity);
    let signed = signed.map_err(|e| Error::new(Code::Identity, e.to_string(), ""))?;
    let body = signed.encode();

    let give = |place: usize| {
        let (side, body) = (side.clone(), body.clone());
        spawn(async move { one(&side, place, command, body, until).await })
    };
    let tasks: Vec<_> = (0..side.links.len()).map(give).collect();
    let (mut words, mut receipts) = (BTreeMap::new(), Vec::new());
    for (place, task) in tasks.into_iter().enumerate() {
        let word = match task.await.unwrap_or_else(|_| Err(Down::broke_off())) {
            Ok(receipt) => {
                receipts.extend(receipt);
                Ok(())
            }
            Err(down) => Err(down),
        };
        words.insert(side.directory.all()[place].id, (place, word));
    }
    reckon(side, versions, command, words, receipts)
}

/// What each agent said, by its id.
type Words = BTreeMap<Id, (usize, Result<(), Down>)>;

fn reckon(
    side: &Side,
    versions: &[Version],
    command: Command,
    words: Words,
    receipts: Vec<Receipt>,
) -> Result<Ordered, Error> {
    let quorum = &versions[0].quorum;
    let names = quorum.seats();
    let unknown = Down::unknown_holder();
    let mut obeyed = vec![true; names.len()];
    let (mut seats, mut troubles, mut holders) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (number, name) in names.iter().enumerate() {
        let held: BTreeSet<Id> = versions.iter().map(|v| v.holders[number]).collect();
        for holder in held {
            holders.insert(holder);
            let down = match words.get(&holder) {
                Some((_, Ok(()))) => None,
                Some((_, Err(down))) => Some(down),
                None => Some(&unknown),
            };
            obeyed[number] &= down.is_none();
            troubles.extend(down.map(|down| down.trouble));
            let fault = down.map(|down| Fault {
                seat: Some((*name).to_owned()),
                seat_number: Some(number as u32),
                holder: side.directory.name_of(&holder),
                holder_id: holder,
                kind: down.trouble.kind(),
                detail: down.detail.clone(),
            });
            seats.push(((*name).to_owned(), side.directory.name_of(&holder), fault));
        }
    }
    if seats.iter().all(|(_, _, fault)| fault.is_some()) {
        let faults = seats.into_iter().filter_map(|(_, _, fault)| fault);
        let code = verdict::code(troubles, false);
        return Err(verdict::explain(code, quorum, faults.collect()));
    }
    let others = words
        .iter()
        .filter(|(id, _)| !holders.contains(*id))
        .filter_map(|(_, (place, word))| Some(side.fault(*place, word.as_ref().err()?)))
        .collect();
    let settled = match command {
        Command::Thaw => quorum.satisfied(&obeyed),
        Command::Revoke | Command::Freeze => {
            let left: Vec<bool> = obeyed.iter().map(|obeyed| !obeyed).collect();
            !quorum.satisfied(&left)
        }
    };
    Ok(Ordered {
        seats,
        others,
        settled,
        receipts,
    })
}

/// Gives one agent the order; its receipt, where it has written one.
async fn one(
    side: &Side,
    place: usize,
    command: Command,
    body: Vec<u8>,
    until: Instant,
) -> Result<Option<Receipt>, Down> {
    let link = &side.links[place];
    let given = tokio::time::timeout_at(until, link.order(body)).await;
    let (mut answer, live) = given.map_err(|_| Down::slow())??;
    let receipt = answer.receipt.take();
    match answer.code {
        Answer::Done => {}
        // One that was asked before says that it has the tombstone already; it neither freezes nor thaws what is dead.
        Answer::Retired if command == Command::Revoke => {}
        Answer::Retired => {
            let detail = "the token was retired here";
            return Err(Down::new(Trouble::Retired, detail));
        }
        code => {
            let detail = format!("{}: {}", code.as_str(), remark(&answer.reason));
            return Err(Down::new(trouble_of(code), detail));
        }
    }
    Ok(receipt.map(|proof| live.peer.receipt(proof, &answer.checkpoint)))
}
