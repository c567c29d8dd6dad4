//! Orders to revoke, freeze or thaw: judged like a `retire`, by this agent's directory and the token's own policy, whoever
//! has brought them.
//!
//! The right is that of the action `retire`. A token that is frozen is still revoked; one that was revoked is neither
//! frozen nor thawed. An agent whose clock is known to be wrong puts off what a policy permits by the time.

use std::sync::Arc;

use evanesce_policy::{Question, Uses, permits};
use evanesce_token::text::cut;
use evanesce_wire::Id;
use evanesce_wire::message::{
    Basis, Code, Command, Entry, EntryOperation, LogProof, Obeyed, Order, SignedOrder,
};
use http::StatusCode;

use crate::api::{Api, Trouble, malformed, trouble};
use crate::events::{Event, Events};
use crate::gate::{Refusal, Verb};
use crate::known::{Known, Role};
use crate::limits;
use crate::orders::{Full, Line, Says};
use crate::timely;

/// The verb of an order's log entry.
pub const VERB: &str = "order";
/// An order that a caller brings was issued at most so long ago, and so far ahead of the agent's clock, in ms.
pub const WINDOW: u64 = 300_000;

/// An order that is to be written down.
pub struct Ordered {
    /// As it was signed.
    pub signed: Vec<u8>,
    /// What it says.
    pub line: Line,
    /// Its log entry.
    pub entry: Vec<u8>,
}

/// Who has brought an order.
pub enum Bearer<'a> {
    /// Whoever has signed it.
    Caller(&'a Known),
    /// Another agent, which it holds at.
    Peer(Holders),
}

/// By what right an order is obeyed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    /// The token's policy permits it to whoever has signed it.
    Policy,
    /// Whoever has signed it is gone, and most peers have obeyed.
    Majority,
}

/// How many peers hold an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holders {
    /// So many of those that were asked so far.
    pub count: usize,
    /// So many of them are a majority.
    pub most: usize,
}

impl Holders {
    /// Whether it is not the first peer that has handed on the order: what was refused then was told of then.
    pub fn others(&self) -> bool {
        self.count > 1
    }
}

impl Api {
    /// Takes an order from a caller.
    pub async fn take_order(&self, who: &Arc<Known>, body: &[u8]) -> Result<Vec<u8>, Trouble> {
        if let Some(why) = Verb::Retire.closed_to(who) {
            let why = format!("{}: {why}", who.name);
            return trouble(StatusCode::FORBIDDEN, "role", why);
        }
        self.may_order(who, body.len())?;
        let signed = SignedOrder::decode(body).map_err(malformed)?;
        Ok(self.obey(signed, Bearer::Caller(who)).await.encode())
    }

    /// Whether a caller may give one more order, of so many bytes.
    pub fn may_order(&self, who: &Known, bytes: usize) -> Result<(), Trouble> {
        let (now, parts) = (self.now(), 1 + bytes as u64 / 1024);
        match self.agent().orders_asked.take(&who.id, parts, now) {
            true => Ok(()),
            false => {
                let most = limits::ORDERS_PER_SECOND;
                let why = format!("{} may give {most} orders a second", who.name);
                trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why)
            }
        }
    }

    /// Judges an order, and has it written down where it is permitted: then it holds.
    pub async fn obey(&self, signed: SignedOrder, bearer: Bearer<'_>) -> Obeyed {
        let id = signed.id();
        if self.agent().orders.has(&id) {
            return self.obeyed_before(&signed, id);
        }
        let weighed = self.weigh(&signed, &bearer).await;
        let obeyed = self.hold(weighed).await;
        let old_news = match bearer {
            Bearer::Caller(_) => false,
            // What cannot be judged at present comes again with each exchange, whose trouble says so.
            Bearer::Peer(holders) => {
                matches!(obeyed.code, Code::Replayed | Code::Unavailable) || holders.others()
            }
        };
        if !old_news {
            self.tell_refused(&id, &obeyed);
        }
        obeyed
    }

    /// An order that is on this agent's disk is not judged again: it holds, or a later one does.
    fn obeyed_before(&self, signed: &SignedOrder, id: Id) -> Obeyed {
        let order = Order::decode(&signed.order);
        let line = order.map(|order| Line::order(id, &order)).ok();
        match line.and_then(|line| self.agent().orders.overtaken(&line)) {
            Some(why) => refused(Refusal::new(Code::Replayed, why)),
            None => done(None, String::new()),
        }
    }

    /// Has what was permitted written down.
    pub async fn hold(&self, weighed: Result<Ordered, Refusal>) -> Obeyed {
        match weighed {
            Ok(ordered) => self.queue.order(ordered).await.unwrap_or_else(|| {
                let why = "the agent failed over this order; nothing was done";
                refused(Refusal::new(Code::Unavailable, why))
            }),
            Err(refusal) => refused(refusal),
        }
    }

    /// Tells the operator of an order that is not obeyed.
    pub fn tell_refused(&self, id: &Id, obeyed: &Obeyed) {
        if !matches!(obeyed.code, Code::Done | Code::Retired) {
            self.events.emit(Event::OrderRefused {
                order: &hex::encode(id),
                code: obeyed.code.as_str(),
                why: &obeyed.reason,
            });
        }
    }

    async fn weigh(&self, signed: &SignedOrder, bearer: &Bearer<'_>) -> Result<Ordered, Refusal> {
        let refuse = |why: String| Err(Refusal::new(Code::Refused, why));
        let order = signed
            .verify()
            .map_err(|e| Refusal::new(Code::Malformed, e.to_string()))?;
        let now = self.now();
        let (who, right) = self.issuer(&order, bearer, now)?;
        let mut ready = [self.agent().shown.prepare(signed.context.clone())];
        if right == Right::Policy {
            self.compile(&who, &mut ready).await;
        }
        let [ready] = ready;
        let ready = ready?;
        let body = ready.subject().judged();
        if *body.id() != order.token {
            return refuse("the order names another token than it shows".into());
        }
        let id = signed.id();
        let question = Question {
            action: "retire",
            suite: "",
            input: &id,
            key: body.name(),
            now: now / 1000,
            minter: who.has(Role::Minter),
            payload: None,
            // As for the verb `retire`: nothing is released, so that nothing is counted.
            uses: Uses::default(),
            // An order comes without them.
            approvals: &[],
        };
        if right == Right::Policy {
            if let Some(why) = self.wrong_clock()
                && timely::looked_at(&ready)
            {
                return Err(Refusal::new(Code::Unavailable, why));
            }
            permits(ready.policy(true)?, &who.principal, question)
                .map_err(|why| Refusal::new(Code::Refused, why))?;
        }
        let line = Line::order(id, &order);
        let dead = match order.command {
            // One that was retired by its holders only is revoked as well, so that others are told.
            Command::Revoke => self.agent().orders.is_revoked(body.id()),
            Command::Freeze | Command::Thaw => self.agent().tombstones.contains(body.id()),
        };
        if dead {
            return Err(Refusal::new(Code::Retired, "the token was retired here"));
        }
        if let Some(why) = self.agent().orders.stands_against(&line) {
            return Err(Refusal::new(Code::Replayed, why));
        }
        let signed = signed.encode();
        self.has_room(&who, signed.len())?;
        let operation = EntryOperation {
            action: order.command.as_str().into(),
            suite: String::new(),
            input: id,
            request: id,
        };
        let entry = self.order_entry(&who, order.token, body.name(), operation, now);
        Ok(Ordered {
            signed,
            line,
            entry,
        })
    }

    /// Whether there is room for an order of `who` of so many bytes. What is full stays so: nothing that holds is forgotten
    /// for what is new.
    pub fn has_room(&self, who: &Known, bytes: usize) -> Result<(), Refusal> {
        let (most, minter) = (self.limits.orders_bytes, who.has(Role::Minter));
        let full = self.agent().orders.is_full(&who.id, bytes, most, minter);
        let (code, why) = match full {
            None => return Ok(()),
            Some(Full::Share) => (
                Code::Refused,
                format!(
                    "the orders of {} take up all that one signer's may, a quarter of {most} bytes",
                    who.name
                ),
            ),
            Some(Full::All) => (
                Code::Overloaded,
                format!("there is no room for more orders in {most} bytes"),
            ),
        };
        let why = format!("{why}: have the agent's operator raise orders_bytes");
        Err(Refusal::new(code, why))
    }

    /// The log entry of an order of `who`, about that token.
    pub fn order_entry(
        &self,
        who: &Known,
        token: Id,
        key_name: &str,
        operation: EntryOperation,
        now: u64,
    ) -> Vec<u8> {
        let agent = self.agent();
        let element = &agent.me.element;
        let entry = Entry {
            agent: agent.me.id,
            time: now,
            verb: VERB.into(),
            token,
            key_name: key_name.into(),
            seats: Vec::new(),
            caller: who.id,
            caller_name: who.name.clone(),
            operations: vec![operation],
            code: Code::Done.as_str().into(),
            reason: String::new(),
            element: element.label.clone(),
            weaknesses: element.weaknesses.clone(),
            basis: Basis::default(),
        };
        entry.encode()
    }

    /// Whoever has issued an order, as this agent knows them, and by what right.
    fn issuer(
        &self,
        order: &Order,
        bearer: &Bearer<'_>,
        now: u64,
    ) -> Result<(Arc<Known>, Right), Refusal> {
        let refuse = |why: String| Err(Refusal::new(Code::Refused, why));
        let handed_on = matches!(bearer, Bearer::Peer(_));
        if is_early(order, handed_on, now) {
            return refuse("the order is of a time that has not come: compare clocks".into());
        }
        let Some(who) = self.agent().directory.find(&order.caller).cloned() else {
            let mut why = format!(
                "this agent does not know the identity {}, which has signed the order",
                hex::encode(order.caller)
            );
            if let Bearer::Peer(Holders { count, most }) = *bearer {
                // To thaw is to answer again, for which an agent takes nobody's word.
                if count >= most && order.command != Command::Thaw {
                    return Ok((Arc::new(Known::stranger(order.caller)), Right::Majority));
                }
                why = format!(
                    "{why}, and has it from {count} peers, where {most} hold for one who is gone: have somebody whom it knows give the order again"
                );
            }
            return refuse(why);
        };
        if let Some(why) = Verb::Retire.closed_to(&who) {
            return refuse(format!("{}: {why}", who.name));
        }
        if let Bearer::Caller(bearer) = bearer {
            if bearer.id != order.caller {
                return refuse("the order is another caller's".into());
            }
            // Whoever has kept an order back cannot bring it when it suits them.
            if order.issued + WINDOW < now {
                let ago = (now - order.issued) / 1000;
                return refuse(format!("the order was issued {ago} s ago: issue another"));
            }
        }
        Ok((who, Right::Policy))
    }
}

/// Whether an order is of a time that has not come by this agent's clock (Unix milliseconds): it would hold against all that
/// come until then. A revocation that others have taken, and handed on, holds against all anyway.
pub fn is_early(order: &Order, handed_on: bool, now: u64) -> bool {
    let for_good = handed_on && order.command == Command::Revoke;
    !for_good && order.issued > now + WINDOW
}

/// An order that is not obeyed.
pub fn refused(refusal: Refusal) -> Obeyed {
    Obeyed {
        code: refusal.code,
        reason: cut(&refusal.reason, limits::REASON),
        receipt: None,
        checkpoint: String::new(),
    }
}

/// One that is on disk.
pub fn done(receipt: Option<LogProof>, checkpoint: String) -> Obeyed {
    Obeyed {
        code: Code::Done,
        reason: String::new(),
        receipt,
        checkpoint,
    }
}

/// Tells the operator of an order that holds from here on.
pub fn tell(line: &Line, events: &Events) {
    let token = &hex::encode(line.token());
    match line.says {
        Says::Token { command, .. } => {
            let what = match command {
                Command::Revoke => "revoked",
                Command::Freeze => "frozen",
                Command::Thaw => "thawed",
            };
            events.emit(Event::Ordered { what, token });
        }
        Says::Ended { grant, .. } => events.emit(Event::GrantRevoked {
            grant: &hex::encode(grant),
            token,
        }),
    }
}
