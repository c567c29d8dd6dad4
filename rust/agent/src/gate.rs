//! The gate: whether this agent does its part in what is asked (PROTOCOL §5, §6).
//!
//! Pure: who asks, what for, the clock and what the agent remembers go in; a decision comes out. Checks run in
//! the protocol's order. The last one of §5, that the regenerated share matches its commitment, needs the
//! element and comes after the log entry: see `regenerate`.

use evanesce_token::{Body, formula, quoted};
use evanesce_wire::Id;
use evanesce_wire::limits::{PAYLOADS, REQUEST_AHEAD};
use evanesce_wire::message::{Basis, Code, Evidence, Request, SeatFault, SeatRow, Spent};

use crate::approvals::{self, Used};
use crate::known::{Directory, Known, Role};
use crate::limits::OPERATIONS;
use crate::replay::{Replay, Taken};
use evanesce_policy::{self as policy, Compiled, Payload, Question};

/// What an agent can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Release shares.
    Contribute,
    /// Say whether shares can be regenerated.
    Check,
    /// Never contribute to a token again.
    Retire,
    /// Take a seat: make a row of a share.
    Seat,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 4] = [Self::Contribute, Self::Check, Self::Retire, Self::Seat];

    /// Its word in paths, in the log and under seals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contribute => "contribute",
            Self::Check => "check",
            Self::Retire => "retire",
            Self::Seat => "seat",
        }
    }

    /// Why `who` may not use this verb at all, if so. What it may use it for is decided per opening.
    pub fn closed_to(self, who: &Known) -> Option<&'static str> {
        let has = |role| who.has(role);
        match self {
            Self::Contribute if !has(Role::Reconstructor) => {
                Some("shares are sealed only to a reconstructor's session")
            }
            Self::Contribute if !has(Role::Caller) => Some("operations are a caller's to ask for"),
            Self::Retire if !has(Role::Caller) && !has(Role::Minter) => {
                Some("retiring is a caller's or a minter's to ask for")
            }
            Self::Seat if !has(Role::Minter) => Some("seating is a minter's to ask for"),
            _ => None,
        }
    }
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code on the wire.
    pub code: Code,
    /// The reason, for people.
    pub reason: String,
}

impl Refusal {
    /// A refusal of any code.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Where a row leads at this agent: to its element, or nowhere.
pub fn route(row: &SeatRow, me: &Id, epochs: &[u64]) -> Result<(), SeatFault> {
    if row.holder != *me {
        return Err(SeatFault::NotMine);
    }
    if !epochs.contains(&row.epoch) {
        return Err(SeatFault::EpochNotHeld);
    }
    Ok(())
}

/// One opening as the gate judges it.
pub struct Case<'a> {
    /// What is asked of the agent.
    pub verb: Verb,
    /// Who asks, as TLS has proven.
    pub who: &'a Known,
    /// The session that the request came under.
    pub session: &'a Id,
    /// What the agent was shown of the token, and its id as computed from that.
    pub body: &'a Body,
    /// The token's policy; `None` where its length is zero.
    pub policy: Option<&'a Compiled>,
    /// What is asked for. Empty for `check`.
    pub requests: &'a [Request],
    /// One per request: the salt of its input digest, where it has a payload.
    pub salts: &'a [Option<[u8; 32]>],
    /// What goes with the requests so that they may be permitted.
    pub evidence: &'a Evidence,
    /// Whom the agent knows.
    pub directory: &'a Directory,
    /// Approvals that were spent.
    pub used: &'a Used,
    /// Whether the token was retired here.
    pub retired: bool,
    /// Unix seconds by the agent's clock, which never goes back.
    pub now: u64,
}

impl Case<'_> {
    /// Decides, in the order of PROTOCOL §5. All requests are permitted or none is; gives what they were permitted by.
    pub fn decide(&self, replay: &mut Replay) -> Result<Basis, Refusal> {
        let payloads = self.form()?;
        let approvals = approvals::read(self.evidence)?;
        for (request, salt) in self.requests.iter().zip(self.salts) {
            self.names(request)?;
            digests(request, salt.as_ref())?;
        }
        if self.retired {
            return Err(Refusal::new(Code::Retired, "the token was retired here"));
        }
        if self.body.header.expired_at(self.now) {
            let why = format!("the token has expired by this agent's clock ({})", self.now);
            return Err(Refusal::new(Code::Expired, why));
        }
        for request in self.requests {
            self.fits(request)?;
        }
        for request in self.requests {
            match replay.take(&request.caller, &request.id, request.not_after, self.now) {
                Taken::Fresh => {}
                #[cfg(feature = "planted")]
                Taken::Seen if crate::planted::TAKES_REPLAYS.get() => {}
                Taken::Seen => {
                    return Err(Refusal::new(
                        Code::Replayed,
                        "this request was answered before",
                    ));
                }
                Taken::Full => {
                    let why = "too many requests are remembered; let them end sooner";
                    return Err(Refusal::new(Code::Overloaded, why));
                }
            }
        }
        let approved = approvals::verified(self, &approvals, &payloads)?;
        for ((request, payload), by) in self.requests.iter().zip(&payloads).zip(&approved.by) {
            let permitted = self.permits(request, payload.as_ref(), by);
            permitted.map_err(|refusal| Refusal {
                reason: refusal.reason + &approved.strangers,
                ..refusal
            })?;
        }
        Ok(Basis {
            approvals: approved.by.concat(),
            ..Basis::default()
        })
    }

    /// What is asked for has the form it must have. The payloads, one per request.
    fn form(&self) -> Result<Vec<Option<Payload>>, Refusal> {
        let malformed = |why: String| Err(Refusal::new(Code::Malformed, why));
        match (self.verb, self.requests.len()) {
            (Verb::Check, 0) => Ok(Vec::new()),
            (Verb::Check, _) => malformed("a check carries no request".into()),
            (_, 0) => malformed("an opening carries at least one request".into()),
            (_, n) if n > OPERATIONS => malformed(format!(
                "{n} operations under one opening, at most {OPERATIONS}: open again for the rest"
            )),
            (_, n) if n != self.salts.len() => {
                malformed(format!("{} salts for {n} requests", self.salts.len()))
            }
            _ if self.evidence.proof.is_some() || !self.evidence.grants.is_empty() => {
                malformed("this agent takes no proofs or grants".into())
            }
            _ if self.payloads() > PAYLOADS => malformed(format!(
                "{} bytes of payloads under one opening, at most {PAYLOADS}: open again for the rest",
                self.payloads()
            )),
            _ => {
                let both = self.requests.iter().zip(self.salts);
                both.map(|(request, salt)| {
                    is_known(request)?;
                    payload(request, salt.is_some())
                })
                .collect()
            }
        }
    }

    /// Bytes of all payloads.
    fn payloads(&self) -> usize {
        let payloads = self.requests.iter().filter_map(|r| r.payload.as_ref());
        payloads.map(Vec::len).sum()
    }

    /// The request is about this token, from this caller, under this session, and of this time.
    fn names(&self, request: &Request) -> Result<(), Refusal> {
        let now = self.now;
        let refused = |why: &str| Err(Refusal::new(Code::Refused, why));
        if request.token != self.body.id {
            return refused("the request names another token");
        }
        if request.caller != self.who.id {
            return refused("the request names another caller than the connection's");
        }
        if request.session != *self.session {
            return refused("the request names another session");
        }
        if request.not_after < now {
            let ago = now - request.not_after;
            let why = format!("the request ended {ago} s ago by this agent's clock");
            return Err(Refusal::new(Code::Replayed, why));
        }
        if request.not_after > now + REQUEST_AHEAD {
            let why = format!(
                "the request ends over {REQUEST_AHEAD} s from now by this agent's clock: compare clocks"
            );
            return Err(Refusal::new(Code::Refused, why));
        }
        Ok(())
    }

    /// The token is for this suite and the suite for this action.
    fn fits(&self, request: &Request) -> Result<(), Refusal> {
        let unfit = |why: String| Err(Refusal::new(Code::Unfit, why));
        let (action, suite) = (request.action.as_str(), request.suite.as_str());
        if (action == "retire") != (self.verb == Verb::Retire) {
            return unfit(format!(
                "{action} is not for the verb {}",
                self.verb.as_str()
            ));
        }
        if action == "open" || policy::GRAVE.contains(&action) {
            return if suite.is_empty() {
                Ok(())
            } else {
                unfit(format!("{action} is not done with a suite"))
            };
        }
        if !self.body.header.suites.iter().any(|listed| listed == suite) {
            return unfit(format!("the token is not for the suite {}", quoted(suite)));
        }
        let facts = evanesce_suite::catalogue().find(suite);
        if facts.is_some_and(|facts| facts.operations.contains(&action)) {
            Ok(())
        } else {
            unfit(format!("{suite} cannot {action}"))
        }
    }

    fn permits(
        &self,
        request: &Request,
        payload: Option<&Payload>,
        approved: &[Spent],
    ) -> Result<(), Refusal> {
        let approvals: Vec<&str> = approved.iter().map(|one| one.name.as_str()).collect();
        let question = Question {
            action: &request.action,
            suite: &request.suite,
            input: &request.input,
            key: &self.body.header.name,
            now: self.now,
            minter: self.who.has(Role::Minter),
            payload,
            approvals: &approvals,
        };
        policy::permits(self.policy, &self.who.principal, question)
            .map_err(|why| Refusal::new(Code::Refused, why))
    }
}

/// Whether action and suite are words that exist. Others are in no log entry: whoever asks for them would choose
/// what it says, and how long it is.
fn is_known(request: &Request) -> Result<(), Refusal> {
    let (action, suite) = (request.action.as_str(), request.suite.as_str());
    let unknown = |word, what| {
        let why = format!("{} is no {what}", quoted(word));
        Err(Refusal::new(Code::Malformed, why))
    };
    if !policy::is_action(action) {
        return unknown(action, "action");
    }
    if !suite.is_empty() && evanesce_suite::catalogue().find(suite).is_none() {
        return unknown(suite, "suite");
    }
    Ok(())
}

/// A request's payload, if it has one: of an action that takes one, in its one form, and with its salt.
fn payload(request: &Request, salted: bool) -> Result<Option<Payload>, Refusal> {
    let malformed = |why: String| Err(Refusal::new(Code::Malformed, why));
    let Some(bytes) = &request.payload else {
        return match salted {
            true => malformed("a salt is given for a request without a payload".into()),
            false => Ok(None),
        };
    };
    if !salted {
        return malformed("the salt of the payload's input digest is missing".into());
    }
    if !policy::WITH_PAYLOAD.contains(&request.action.as_str()) {
        return malformed(format!("{} never has a payload", request.action));
    }
    Payload::read(bytes)
        .map(Some)
        .or_else(|why| malformed(format!("the payload is malformed: {why}")))
}

/// What is signed is the payload: its salted digest is the one that the request, the log and the policy name.
fn digests(request: &Request, salt: Option<&[u8; 32]>) -> Result<(), Refusal> {
    let (Some(payload), Some(salt)) = (&request.payload, salt) else {
        return Ok(());
    };
    let digest = formula::input_digest(salt, &request.action, &request.suite, &[payload]);
    if digest == request.input {
        return Ok(());
    }
    let why = "the input digest is not that of the payload";
    Err(Refusal::new(Code::Refused, why))
}

const _: () = assert!(policy::PAYLOAD == evanesce_wire::limits::PAYLOAD);

#[cfg(test)]
mod tests;
