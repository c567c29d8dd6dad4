//! A holder that has its identity and lies: shares that are sealed well and are not its own, words that mean nothing,
//! rows that open nothing; and what can be done to an honest answer on its way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use evanesce_token::formula;
use evanesce_wire::message::{
    Answers, Batch, Code, Envelope, Exchange, Exchanged, Obeyed, OpeningAnswer, Problem, Request,
    SeatAnswer, SeatFault, SeatResult, Seated, SeatedResult, SeatedRow, Seating, SessionAnswer,
    SignedOrder, envelope_aad, seen_statement,
};
use evanesce_wire::session::{self, Offer, SealingSession};
use evanesce_wire::{Id, Identity};

use crate::ledger::Verb;
use crate::people::{EPOCH, Key};
use crate::rng::Rng;

/// A lying agent.
pub struct Liar {
    identity: Key,
    sessions: Mutex<HashMap<Id, Arc<SealingSession>>>,
    /// What it was ordered.
    orders: Mutex<Vec<SignedOrder>>,
    /// Peers that were answered.
    exchanges: AtomicU64,
}

impl Liar {
    /// Who has the agent's key.
    pub fn new(identity: Key) -> Self {
        Self {
            identity,
            sessions: Mutex::default(),
            orders: Mutex::default(),
            exchanges: AtomicU64::new(0),
        }
    }

    /// Answers whatever is asked.
    pub fn answer(&self, spki: &[u8], now: u64, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        match self.lie(spki, now, path, body) {
            Some(body) => (200, body),
            None => {
                let (code, message) = ("session".into(), "who?".into());
                (409, Problem { code, message }.encode())
            }
        }
    }

    fn lie(&self, spki: &[u8], now: u64, path: &str, body: &[u8]) -> Option<Vec<u8>> {
        let sessions = || self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let me = self.identity.agent_id();
        if path == "/v1/session" {
            let offer = Offer::decode(body).ok()?;
            let (answer, session) = session::answer(&offer, spki, &*self.identity, now).ok()?;
            sessions().insert(session.id, Arc::new(session));
            let (log_key, endorsement) = ([0; 32], vec![0; 64]);
            let answer = SessionAnswer {
                answer,
                log_key,
                endorsement,
            };
            return Some(answer.encode());
        }
        if path == "/v1/peer" {
            return self.exchange(spki, now, body);
        }
        if path == "/v1/order" {
            let order = SignedOrder::decode(body).ok()?;
            let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
            orders.push(order);
            let (code, reason) = (Code::Done, String::new());
            let (receipt, checkpoint) = (None, String::new());
            let obeyed = Obeyed {
                code,
                reason,
                receipt,
                checkpoint,
            };
            return Some(obeyed.encode());
        }
        let mut envelope = Envelope::decode(body).ok()?;
        let session = sessions().get(&envelope.session).cloned()?;
        let verb = path.strip_prefix("/v1/")?;
        let aad = envelope_aad(verb, &me);
        let plain = session
            .open(envelope.counter, &aad, &mut envelope.sealed)
            .ok()?;
        if verb == "seat" {
            let seating = Seating::decode(plain).ok()?;
            let row = |seat: u32, token: &Id| {
                let correction = [7; 32];
                let statement = formula::row_statement(token, seat, EPOCH, &correction);
                let signature = self.identity.sign(&statement).unwrap_or_default();
                SeatedResult::Row {
                    epoch: EPOCH,
                    correction,
                    signature,
                }
            };
            let seats = seating.seats.iter().map(|share| SeatedRow {
                seat: share.seat,
                result: row(share.seat, &[0; 32]),
                receipt: None,
            });
            let (checkpoint, seats) = (String::new(), seats.collect());
            return Some(Seated { checkpoint, seats }.encode());
        }
        let batch = Batch::decode(plain).ok()?;
        let openings = batch.openings.iter().map(|opening| {
            let parts: Vec<&[u8]> = opening.requests.iter().map(Vec::as_slice).collect();
            let hash = formula::request_hash(&parts);
            let token = parts.first().and_then(|bytes| Request::decode(bytes).ok());
            let token = token.map_or([0; 32], |request| request.token);
            let seat = |seat: u32| match verb {
                "contribute" => {
                    let mut sealed = [9; 48];
                    let aad = formula::share_aad(&hash, &token, seat, &me);
                    let (counter, tag) = session.seal(&aad, &mut sealed[..32]).ok()?;
                    sealed[32..].copy_from_slice(&tag);
                    Some(SeatResult::Share { counter, sealed })
                }
                _ => Some(SeatResult::Good),
            };
            let seats = opening.rows.iter().filter_map(|row| {
                let (seat, result) = (row.seat, seat(row.seat)?);
                Some(SeatAnswer { seat, result })
            });
            OpeningAnswer {
                code: Code::Done,
                reason: String::new(),
                seats: seats.collect(),
                receipt: None,
            }
        });
        let (checkpoint, openings) = (String::new(), openings.collect());
        let answers = Answers {
            checkpoint,
            openings,
        };
        Some(answers.encode())
    }
}

impl Liar {
    /// What it says to a peer: nothing of what it was told; that it has seen more of the peer's log than there is; that it has
    /// orders, which it hands on spoiled or not at all; or that it has seen just what it is shown.
    fn exchange(&self, spki: &[u8], now: u64, body: &[u8]) -> Option<Vec<u8>> {
        let Exchange { mut head, want, .. } = Exchange::decode(body).ok()?;
        let known = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let asker = formula::agent_id(spki);
        let mut answer = Exchanged {
            ids: Vec::new(),
            life: [1; 16],
            seen: Vec::new(),
            clock: now * 1000 + 4_000_000,
            count: 0,
            orders: Vec::new(),
            signature: None,
        };
        match self.exchanges.fetch_add(1, Relaxed) % 4 {
            0 => {}
            1 => {
                let lines: Vec<&str> = head.checkpoint.split('\n').collect();
                head.checkpoint = [&[lines[0], "7000"], &lines[2..]].concat().join("\n");
                answer.seen.push(head);
            }
            2 => {
                answer.ids = known.iter().map(SignedOrder::id).collect();
                answer.ids.push([3; 32]);
                answer.count = 1 + known.len() as u64;
            }
            _ => {
                let (size, root) = head.verify(spki).ok()?;
                let statement = seen_statement(&asker, &head.log_key, size, &root);
                answer.signature = self.identity.sign(&statement).ok();
                answer.seen.push(head);
            }
        }
        for order in known.iter().filter(|order| want.contains(&order.id())) {
            let mut spoiled = order.clone();
            spoiled.signature[7] ^= 1;
            answer.orders.push(spoiled.encode());
        }
        Some(answer.encode())
    }
}

/// What someone who holds the way may do to an answer.
pub fn alter(verb: Verb, body: Vec<u8>, chance: &mut Rng) -> Vec<u8> {
    let Ok(mut answers) = Answers::decode(&body) else {
        return body;
    };
    let Some(opening) = answers.openings.first_mut() else {
        return body;
    };
    match chance.below(9) {
        0 => return b"nonsense".to_vec(),
        1 => opening.seats.clear(),
        2 => opening.seats.extend(opening.seats.clone()),
        3 => {
            for seat in &mut opening.seats {
                seat.seat ^= 1;
            }
        }
        4 => (opening.code, opening.seats) = (Code::Refused, Vec::new()),
        5 => {
            let more = answers.openings[0].clone();
            answers.openings.push(more);
        }
        6 => answers.openings.clear(),
        7 => {
            for seat in &mut opening.seats {
                seat.result = SeatResult::Fault(SeatFault::CannotRegenerate);
            }
        }
        _ => {
            for seat in &mut opening.seats {
                seat.result = match (&seat.result, verb) {
                    (SeatResult::Share { counter, sealed }, _) => {
                        let (counter, mut sealed) = (*counter, *sealed);
                        sealed[chance.index(48)] ^= 1 << chance.below(8);
                        SeatResult::Share { counter, sealed }
                    }
                    (_, Verb::Contribute) => SeatResult::Share {
                        counter: chance.below(4),
                        sealed: [5; 48],
                    },
                    _ => SeatResult::Good,
                };
            }
        }
    }
    answers.encode()
}
