//! The gate: whether this agent does its part in what is asked (PROTOCOL §5, §6).
//!
//! Pure: who asks, what for, the clock and what the agent remembers go in; a decision comes out. Checks run in
//! the protocol's order. The last one of §5, that the regenerated share matches its commitment, needs the
//! element and comes after the log entry: see `regenerate`.

use evanesce_token::{formula, mpc, quoted};
use evanesce_wire::Id;
use evanesce_wire::limits::{PAYLOADS, REQUEST_AHEAD};
use evanesce_wire::message::{Basis, Code, Evidence, Request, SeatFault, SeatRow, Spent};

use crate::approvals::{self, Used};
use crate::delegated::Delegated;
use crate::known::{Directory, Known, Role};
use crate::limits::OPERATIONS;
use crate::replay::{Replay, Taken};
use crate::subject::Judged;
use evanesce_policy::{self as policy, Compiled, Payload, Question, Uses};

/// Why nothing is done for a token that is frozen.
pub const FROZEN: &str = "the token is frozen here, until it is thawed";

/// Why nothing is done under a grant that has ended.
pub const REVOKED: &str = "the grant was revoked";

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
    /// Of the second kind: begin to make a key, or new shares of one.
    MpcAnnounce,
    /// Agree on what all have announced.
    MpcAgree,
    /// Deal shares to the others.
    MpcDeal,
    /// Take what the others have dealt, and make a row.
    MpcTake,
    /// Say whether the share can be had from a row.
    MpcConfirm,
    /// Forget what was dealt.
    MpcForget,
    /// Decide on messages, and commit to nonces for them.
    MpcCommit,
    /// Sign what was decided on.
    MpcSign,
    /// Draw nonces for what nobody has asked for yet.
    MpcPrepare,
    /// Decide on messages, and sign them under such nonces.
    MpcOnce,
    /// Help to give a lost seat's share to a new holder.
    MpcHelp,
    /// Be that holder.
    MpcAwait,
    /// Split one's part of the share among the helpers.
    MpcSplit,
    /// Sum up what the helpers have sent.
    MpcSum,
    /// Take the share, and make a row.
    MpcReceive,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 19] = [
        Self::Contribute,
        Self::Check,
        Self::Retire,
        Self::Seat,
        Self::MpcAnnounce,
        Self::MpcAgree,
        Self::MpcDeal,
        Self::MpcTake,
        Self::MpcConfirm,
        Self::MpcForget,
        Self::MpcCommit,
        Self::MpcSign,
        Self::MpcPrepare,
        Self::MpcOnce,
        Self::MpcHelp,
        Self::MpcAwait,
        Self::MpcSplit,
        Self::MpcSum,
        Self::MpcReceive,
    ];

    /// Its word in paths, in the log and under seals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Contribute => "contribute",
            Self::Check => "check",
            Self::Retire => "retire",
            Self::Seat => "seat",
            Self::MpcAnnounce => "mpc-announce",
            Self::MpcAgree => "mpc-agree",
            Self::MpcDeal => "mpc-deal",
            Self::MpcTake => "mpc-take",
            Self::MpcConfirm => "mpc-confirm",
            Self::MpcForget => "mpc-forget",
            Self::MpcCommit => "mpc-commit",
            Self::MpcSign => "mpc-sign",
            Self::MpcPrepare => "mpc-prepare",
            Self::MpcOnce => "mpc-once",
            Self::MpcHelp => "mpc-help",
            Self::MpcAwait => "mpc-await",
            Self::MpcSplit => "mpc-split",
            Self::MpcSum => "mpc-sum",
            Self::MpcReceive => "mpc-receive",
        }
    }

    /// Whether it is for tokens of the second kind.
    pub fn second(self) -> bool {
        !matches!(
            self,
            Self::Contribute | Self::Check | Self::Retire | Self::Seat
        )
    }

    /// Whether the time is part of what permits it, whatever is asked.
    pub fn is_timely(self) -> bool {
        matches!(
            self,
            Self::Contribute
                | Self::Check
                | Self::MpcAnnounce
                | Self::MpcCommit
                | Self::MpcSign
                | Self::MpcOnce
                | Self::MpcHelp
        )
    }

    /// Whether it is decided as an operation with the key: by what callers, and those whom they let, may do.
    pub fn operates(self) -> bool {
        matches!(self, Self::Contribute | Self::MpcCommit | Self::MpcOnce)
    }

    /// Why `who` may not use this verb at all, if so. What it may use it for is decided per opening.
    pub fn closed_to(self, who: &Known) -> Option<&'static str> {
        let has = |role| who.has(role);
        match self {
            Self::Contribute if !has(Role::Reconstructor) => {
                Some("shares are sealed only to a reconstructor's session")
            }
            Self::Retire if !has(Role::Caller) && !has(Role::Minter) => {
                Some("retiring is a caller's or a minter's to ask for")
            }
            Self::Seat if !has(Role::Minter) => Some("seating is a minter's to ask for"),
            Self::MpcAnnounce
            | Self::MpcAgree
            | Self::MpcDeal
            | Self::MpcTake
            | Self::MpcForget
                if !has(Role::Minter) =>
            {
                Some("making keys is a minter's to ask for")
            }
            Self::MpcHelp | Self::MpcAwait | Self::MpcSplit | Self::MpcSum | Self::MpcReceive
                if !has(Role::Minter) =>
            {
                Some("giving seats away is a minter's to ask for")
            }
            Self::MpcCommit | Self::MpcSign | Self::MpcPrepare | Self::MpcOnce
                if !has(Role::Caller) =>
            {
                Some("signing is a caller's to ask for")
            }
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
    /// Who asks: the connection's identity, or the caller whose proof it carries.
    pub who: &'a Known,
    /// Why the proof that came along does not hold, where it does not.
    pub unproven: Option<&'a Refusal>,
    /// The session that the request came under.
    pub session: &'a Id,
    /// What the agent was shown of the token, and its id as computed from that.
    pub body: &'a dyn Judged,
    /// The token's policy; `None` where its length is zero.
    pub policy: Option<&'a Compiled>,
    /// What is asked for. Empty for `check`.
    pub requests: &'a [Request],
    /// One per request: the salt of its input digest, where it has a payload; of the second kind, for every one.
    pub salts: &'a [Option<[u8; 32]>],
    /// Of the second kind one per request: what its input digest is of, where that is no payload.
    pub inputs: &'a [Option<Inputs<'a>>],
    /// What goes with the requests so that they may be permitted.
    pub evidence: &'a Evidence,
    /// Whom the agent knows.
    pub directory: &'a Directory,
    /// Approvals that were spent.
    pub used: &'a Used,
    /// Whether the token was retired here.
    pub retired: bool,
    /// Whether it is frozen here, which does not keep it from being retired.
    pub frozen: bool,
    /// Under whose grant the caller asks, if under one; or what is wrong with it.
    pub delegated: Result<Option<&'a Delegated>, &'a Refusal>,
    /// How often the key was used here before, where that is counted.
    pub uses: Uses,
    /// Why the limits of the token's policy leave no room for these requests, if so.
    pub over: Option<&'a str>,
    /// Unix seconds by the agent's clock, which never goes back.
    pub now: u64,
}

/// What a request's input digest is of: parts, in order.
pub type Inputs<'a> = Vec<&'a [u8]>;

/// One request as the policy is asked about it.
struct Asked<'a> {
    request: &'a Request,
    payload: Option<&'a Payload>,
    /// Whose approvals of it count.
    approved: &'a [Spent],
    /// Requests of the same opening that were permitted before it.
    earlier: u64,
}

impl Case<'_> {
    /// Decides, in the order of PROTOCOL §5. All requests are permitted or none is; gives what they were permitted by.
    pub fn decide(&self, replay: &mut Replay) -> Result<Basis, Refusal> {
        let payloads = self.form()?;
        let approvals = approvals::read(self.evidence)?;
        self.asks()?;
        for (place, (request, salt)) in self.requests.iter().zip(self.salts).enumerate() {
            self.names(request)?;
            digests(request, salt.as_ref())?;
            if self.verb.second() {
                self.is_of_its_inputs(request, salt.as_ref(), place)?;
            }
        }
        if self.retired {
            return Err(Refusal::new(Code::Retired, "the token was retired here"));
        }
        if self.frozen && self.verb != Verb::Retire {
            return Err(Refusal::new(Code::Refused, FROZEN));
        }
        if self.body.expired_at(self.now) {
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
        let delegated = self.delegated.map_err(Refusal::clone)?;
        let approved = approvals::verified(self, delegated, &approvals, &payloads)?;
        let each = self.requests.iter().zip(&payloads).zip(&approved.by);
        for (place, ((request, payload), by)) in each.enumerate() {
            let asked = Asked {
                request,
                payload: payload.as_ref(),
                approved: by,
                earlier: place as u64,
            };
            let permitted = self.permits(asked, delegated);
            permitted.map_err(|refusal| Refusal {
                reason: refusal.reason + &approved.strangers,
                ..refusal
            })?;
        }
        if let Some(why) = self.over {
            return Err(Refusal::new(Code::Refused, why));
        }
        Ok(Basis {
            approvals: approved.by.concat(),
            ..Basis::default()
        })
    }

    /// What is asked for has the form it must have. The payloads, one per request.
    fn form(&self) -> Result<Vec<Option<Payload>>, Refusal> {
        let malformed = |why: String| Err(Refusal::new(Code::Malformed, why));
        if let Err(refusal) = self.delegated
            && refusal.code == Code::Malformed
        {
            return Err(refusal.clone());
        }
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
            _ if !self.evidence.grants.is_empty() && !self.verb.operates() => {
                malformed(format!("{} is never granted", self.verb.as_str()))
            }
            _ if self.payloads() > PAYLOADS => malformed(format!(
                "{} bytes of payloads under one opening, at most {PAYLOADS}: open again for the rest",
                self.payloads()
            )),
            _ => {
                let both = self.requests.iter().zip(self.salts);
                both.map(|(request, salt)| {
                    self.is_known(request)?;
                    // Of the second kind the salt comes with everything.
                    let salted =
                        salt.is_some() && (!self.verb.second() || request.payload.is_some());
                    payload(request, salted)
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

    /// Whoever asks is proven to, and may ask for operations. A reconstructor that carries requests need not.
    fn asks(&self) -> Result<(), Refusal> {
        if let Some(why) = self.unproven {
            return Err(why.clone());
        }
        if self.verb.operates() && !self.who.has(Role::Caller) {
            let why = format!(
                "operations are a caller's to ask for, and {} is none here",
                self.who.name
            );
            return Err(Refusal::new(Code::Refused, why));
        }
        Ok(())
    }

    /// The request is about this token, from this caller, under this session, and of this time.
    fn names(&self, request: &Request) -> Result<(), Refusal> {
        let now = self.now;
        let refused = |why: &str| Err(Refusal::new(Code::Refused, why));
        if request.token != *self.body.id() {
            return refused("the request names another token");
        }
        if request.caller != self.who.id {
            return refused("the request names another caller than who asks");
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
        match self.verb {
            Verb::MpcCommit | Verb::MpcOnce if action != "sign" => {
                return unfit(format!(
                    "{action} is not for the verb {}",
                    self.verb.as_str()
                ));
            }
            Verb::MpcAnnounce if action != "reshare" => {
                return unfit(format!("{action} is not for the verb mpc-announce"));
            }
            Verb::MpcHelp if action != "repair" => {
                return unfit(format!("{action} is not for the verb mpc-help"));
            }
            _ => {}
        }
        if action == "open" || policy::GRAVE.contains(&action) {
            return if suite.is_empty() {
                Ok(())
            } else {
                unfit(format!("{action} is not done with a suite"))
            };
        }
        if !self.body.suites().iter().any(|listed| listed == suite) {
            return unfit(format!("the token is not for the suite {}", quoted(suite)));
        }
        if self.body.does(suite, action) {
            Ok(())
        } else {
            unfit(format!("{suite} cannot {action}"))
        }
    }

    /// The policy permits the request.
    fn permits(&self, asked: Asked<'_>, delegated: Option<&Delegated>) -> Result<(), Refusal> {
        let Asked {
            request,
            payload,
            approved,
            earlier,
        } = asked;
        let refused = |why| Err(Refusal::new(Code::Refused, why));
        let approvals: Vec<&str> = approved.iter().map(|one| one.name.as_str()).collect();
        let question = Question {
            action: &request.action,
            suite: &request.suite,
            input: &request.input,
            key: self.body.name(),
            now: self.now,
            // A role is not passed on.
            minter: delegated.is_none() && self.who.has(Role::Minter),
            payload,
            uses: Uses {
                key: self.uses.key + earlier,
                caller: self.uses.caller + earlier,
            },
            approvals: &approvals,
        };
        let Some(delegated) = delegated else {
            let verdict = policy::permits(self.policy, &self.who.principal, question);
            return verdict.or_else(refused);
        };
        let most = self.policy.map_or(0, Compiled::delegable);
        if delegated.chain.len() > most {
            return refused(match most {
                0 => "the token's policy does not let anybody delegate".into(),
                _ => format!("the token's policy lets {most} grant follow, not more"),
            });
        }
        delegated
            .covers(&self.who.id, self.body.id(), request, payload, self.now)
            .and_then(|()| policy::permits(self.policy, &delegated.grantor.principal, question))
            .or_else(refused)?;
        // Whoever takes part may be one whom the policy keeps out.
        let others = delegated.between.iter().map(|known| &known.principal);
        let mut others = others.chain([&self.who.principal]);
        match others.find_map(|who| policy::forbids(self.policy, who, question)) {
            Some(why) => refused(why),
            None => Ok(()),
        }
    }

    /// Whether action and suite are words that exist. Others are in no log entry: whoever asks for them would choose
    /// what it says, and how long it is.
    fn is_known(&self, request: &Request) -> Result<(), Refusal> {
        let (action, suite) = (request.action.as_str(), request.suite.as_str());
        let unknown = |word, what| {
            let why = format!("{} is no {what}", quoted(word));
            Err(Refusal::new(Code::Malformed, why))
        };
        if !policy::is_action(action) {
            return unknown(action, "action");
        }
        let known = match self.verb.second() {
            true => mpc::SUITES.iter().any(|facts| facts.name == suite),
            false => evanesce_suite::catalogue().find(suite).is_some(),
        };
        if !suite.is_empty() && !known {
            return unknown(suite, "suite");
        }
        Ok(())
    }

    /// What is asked for is what the agent was given, to do that and nothing else: of the second kind it sees all of it.
    fn is_of_its_inputs(
        &self,
        request: &Request,
        salt: Option<&[u8; 32]>,
        place: usize,
    ) -> Result<(), Refusal> {
        let malformed = |why: &str| Err(Refusal::new(Code::Malformed, why));
        let Some(salt) = salt else {
            return malformed("the salt of the input digest is missing");
        };
        let inputs = self.inputs.get(place).and_then(Option::as_ref);
        match (inputs, &request.payload) {
            // Compared already.
            (None, Some(_)) => Ok(()),
            (None, None) => malformed("what is to be signed is missing"),
            (Some(_), Some(_)) => malformed("a message is given beside a payload"),
            (Some(inputs), None) => {
                let digest = formula::input_digest(salt, &request.action, &request.suite, inputs);
                if digest == request.input {
                    return Ok(());
                }
                let why = "the input digest is not that of what is given";
                Err(Refusal::new(Code::Refused, why))
            }
        }
    }
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
