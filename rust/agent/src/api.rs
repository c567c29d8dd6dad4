//! What each endpoint does, whatever carries requests here. `docs/agent-api.md` fixes the bytes.
//!
//! Who asks comes from TLS alone, and is looked up anew for every request, so that a changed directory holds for
//! open connections too.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_wire::message::{
    Batch, Code, Envelope, Problem, Seating, SessionAnswer, Status, envelope_aad,
};
use evanesce_wire::session::{self, Offer, SealingSession};
use evanesce_wire::{Id, Identity, WireError, World};
use http::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::body::Incoming;
use crate::commit::Queue;
use crate::events::{Event, Events};
use crate::gate::{Refusal, Verb};
use crate::judge::too_much;
use crate::known::Known;
use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::peers::meeting::{Meeting, PATH};
use crate::room::{Room, Rooms};
use crate::shown::{self, Ready};
use crate::threshold;
use crate::timely;
use crate::work::Work;
use evanesce_policy::Compiled;

/// What every request is answered from.
pub struct Api {
    /// Memory and judgement.
    pub agent: Mutex<Agent>,
    /// Where permitted work goes.
    pub queue: Queue,
    /// The agent's key.
    pub identity: Arc<dyn Identity>,
    /// The log's public key and the identity's endorsement of it.
    pub log_key: ([u8; 32], Vec<u8>),
    /// What `/v1/status` says; the clock, counts and the asker are filled in.
    pub status: Status,
    /// Bounds.
    pub limits: Limits,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where things are told.
    pub events: Events,
    /// What requests take up.
    pub rooms: Arc<Rooms>,
    /// The system's clock.
    pub world: Arc<dyn World>,
    /// Other agents that this one compares with; none for an agent alone.
    pub meeting: Option<Arc<Meeting>>,
    /// What is under way with tokens of the second kind.
    pub threshold: threshold::Memory,
}

/// An answer other than 200.
pub struct Trouble(StatusCode, &'static str, String);

pub(crate) type Answer = Result<(Vec<u8>, Room), Trouble>;

/// An error where there is a reason to answer nothing now.
pub(crate) fn unavailable(why: Option<String>) -> Result<(), Trouble> {
    match why {
        Some(why) => trouble(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
        None => Ok(()),
    }
}

/// An error of that status and code.
pub fn trouble<T>(
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
) -> Result<T, Trouble> {
    Err(Trouble(status, code, message.into()))
}

/// What was sent does not have its form.
pub fn malformed(e: impl std::fmt::Display) -> Trouble {
    Trouble(StatusCode::BAD_REQUEST, "malformed", e.to_string())
}

impl Api {
    /// The agent's memory. A panic while it was held leaves nothing half done that matters: each item is judged
    /// as a whole.
    pub fn agent(&self) -> MutexGuard<'_, Agent> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent's time, in Unix milliseconds.
    pub fn now(&self) -> u64 {
        let system = self.world.unix_millis();
        self.agent().clock.read(system)
    }

    /// Answers one request of the peer who has proven the key `spki`, whose caller id is `caller`: a status, a body,
    /// and what they take up until they have left.
    pub async fn handle(
        &self,
        caller: &Id,
        spki: &[u8],
        method: &Method,
        path: &str,
        body: Incoming,
    ) -> (StatusCode, Vec<u8>, Room) {
        let answered = self.route(caller, spki, method, path, body).await;
        let answered = answered.and_then(|(body, mut room)| {
            if !room.resize(body.len()) {
                let why = "too many bytes in flight for this answer";
                return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
            }
            Ok((body, room))
        });
        match answered {
            Ok((body, room)) => (StatusCode::OK, body, room),
            Err(Trouble(status, code, message)) => {
                if status == StatusCode::TOO_MANY_REQUESTS {
                    self.metrics.overloads.fetch_add(1, Relaxed);
                    self.events.emit(Event::Overloaded { what: &message });
                }
                let code = code.into();
                let body = Problem { code, message }.encode();
                // A few words can always be said; connections and streams bound them.
                let mut room = self.rooms.bytes(None);
                room.resize(body.len());
                (status, body, room)
            }
        }
    }

    async fn route(
        &self,
        caller: &Id,
        spki: &[u8],
        method: &Method,
        path: &str,
        body: Incoming,
    ) -> Answer {
        if let (&Method::POST, PATH, Some(meeting)) = (method, path, &self.meeting)
            && let Some(peer) = meeting.find(spki)
        {
            let mut room = self.rooms.bytes(None);
            let body = body.receive(&mut room).await?;
            let answer = meeting.answer(peer, spki, &body, self.now()).await?;
            return Ok((answer, room));
        }
        let Some(who) = self.agent().directory.find(caller).cloned() else {
            return trouble(
                StatusCode::UNAUTHORIZED,
                "unknown-identity",
                format!(
                    "this agent does not know the identity {}",
                    hex::encode(caller)
                ),
            );
        };
        let path = path.strip_prefix("/v1/").unwrap_or_default();
        let verb = Verb::ALL.into_iter().find(|verb| verb.as_str() == path);
        match (method, verb, path) {
            (&Method::POST, Some(verb), _) => {
                if let Some(why) = verb.closed_to(&who) {
                    return trouble(
                        StatusCode::FORBIDDEN,
                        "role",
                        format!("{}: {why}", who.name),
                    );
                }
                self.sealed(verb, who, body).await
            }
            (&Method::POST, None, "revoke-grant") => self.revoke_grant(&who, body).await,
            (&Method::POST, None, "session") => self.session(&who, spki, body).await,
            (&Method::POST, None, "order") => self.order(&who, body).await,
            (&Method::GET, None, "status") => Ok((self.describe(&who), self.rooms.bytes(None))),
            _ => trouble(StatusCode::NOT_FOUND, "not-found", "no such endpoint"),
        }
    }

    /// Whether the peer of a connection may ask anything: an identity of the directory, or another agent.
    pub fn knows(&self, caller: &Id, spki: &[u8]) -> bool {
        let meeting = self.meeting.as_ref();
        self.agent().directory.find(caller).is_some()
            || meeting.is_some_and(|meeting| meeting.find(spki).is_some())
    }

    /// Why nothing may be answered now that could have been revoked, or decided otherwise, without this agent.
    pub(crate) fn refusal(&self) -> Option<String> {
        #[cfg(feature = "planted")]
        if crate::planted::ANSWERS_UNHEARD.get() {
            return None;
        }
        let standing = self.meeting.as_ref()?.standing();
        #[cfg(feature = "planted")]
        if crate::planted::ANSWERS_RESTORED.get() && standing.lost().is_some() {
            return None;
        }
        standing.refusal()
    }

    /// The same; and for what is bound in time, that the agent's clock is not that of its peers.
    fn refuses(&self, verb: Verb) -> Option<String> {
        self.refusal()
            .or_else(|| verb.is_timely().then(|| self.wrong_clock())?)
    }

    /// Why the agent must decide nothing for which the time matters, if so: its clock is not that of its peers.
    pub(crate) fn wrong_clock(&self) -> Option<String> {
        self.meeting.as_ref()?.wrong_clock(self.now())
    }

    fn describe(&self, who: &Known) -> Vec<u8> {
        let mut status = self.status.clone();
        status.clock = self.now();
        status.entries = self.metrics.entries.load(Relaxed);
        status.tombstones = self.agent().tombstones.len() as u64;
        if let Some(meeting) = &self.meeting {
            let standing = meeting.standing();
            status.peers = meeting.peers.all.len() as u64;
            status.heard = standing.count() as u64;
            status.standing = standing.refusal().unwrap_or_default();
            drop(standing);
            if status.standing.is_empty() {
                status.standing = meeting.wrong_clock(status.clock).unwrap_or_default();
            }
        }
        status.shares = self.threshold.hands.shelf.count() as u64;
        status.frozen = self.agent().orders.frozen() as u64;
        status.caller = who.name.clone();
        status.roles = who
            .roles
            .iter()
            .map(|role| role.as_str().to_owned())
            .collect();
        status.encode()
    }

    async fn order(&self, who: &Arc<Known>, body: Incoming) -> Answer {
        unavailable(self.refusal())?;
        let mut room = self.rooms.bytes(Some(who));
        let body = body.receive(&mut room).await?;
        // Once more: a body may take its time, and what peers say meanwhile counts.
        unavailable(self.refusal())?;
        Ok((self.take_order(who, &body).await?, room))
    }

    async fn session(&self, who: &Arc<Known>, spki: &[u8], body: Incoming) -> Answer {
        let mut room = self.rooms.bytes(Some(who));
        let body = body.receive(&mut room).await?;
        let offer = Offer::decode(&body).map_err(malformed)?;
        let seconds = self.now() / 1000;
        let id = offer.statement();
        if self.agent().sessions.answered(&id) {
            return trouble(
                StatusCode::CONFLICT,
                "session",
                "this offer was answered before",
            );
        }
        let (answer, session) =
            session::answer(&offer, spki, &*self.identity, seconds).map_err(|e| {
                let (status, code) = match &e {
                    WireError::WrongPeer(_) => (StatusCode::FORBIDDEN, "wrong-peer"),
                    WireError::SessionEnded => (StatusCode::CONFLICT, "session"),
                    WireError::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
                    _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
                };
                Trouble(status, code, e.to_string())
            })?;
        let mut agent = self.agent();
        agent.sessions.keep(session, who.id, seconds);
        self.metrics
            .sessions
            .store(agent.sessions.len() as u64, Relaxed);
        self.events.emit(Event::Session { caller: &who.name });
        let (log_key, endorsement) = self.log_key.clone();
        let answer = SessionAnswer {
            answer,
            log_key,
            endorsement,
        };
        Ok((answer.encode(), room))
    }

    /// `contribute`, `check`, `retire` and `seat`: a sealed request from a caller with the role for it.
    async fn sealed(&self, verb: Verb, who: Arc<Known>, body: Incoming) -> Answer {
        unavailable(self.refuses(verb))?;
        let mut room = match self.rooms.request(&who) {
            Ok(room) => room,
            Err(why) => return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why),
        };
        let body = body.receive(&mut room).await?;
        // Once more: a body may take its time, and what peers say meanwhile counts.
        unavailable(self.refuses(verb))?;
        let mut envelope = Envelope::decode(&body).map_err(malformed)?;
        drop(body);
        let now = self.world.unix_millis();
        let found = self.agent().session(&envelope.session, &who.id, now);
        let Some(session) = found else {
            return trouble(
                StatusCode::CONFLICT,
                "session",
                "no such session: offer a new one",
            );
        };
        let aad = envelope_aad(verb.as_str(), &self.status.agent);
        let plain = session
            .open(envelope.counter, &aad, &mut envelope.sealed)
            .map_err(malformed)?;
        if verb.second() {
            let plain = plain.to_vec();
            drop(envelope);
            return self
                .of_the_second_kind(verb, who, session, plain, room)
                .await;
        }
        let mut work = match verb {
            Verb::Seat => {
                self.judge_seating(who, session, Seating::decode(plain).map_err(malformed)?)
                    .await?
            }
            _ => {
                self.judge_batch(verb, who, session, Batch::decode(plain).map_err(malformed)?)
                    .await?
            }
        };
        // From here on the room is the work's: it is given back when the work is gone, whoever waits.
        work.room = Some(room);
        let Some(mut work) = self.queue.run(work).await else {
            return trouble(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the agent failed over this request; nothing was released",
            );
        };
        let room = work.room.take().unwrap_or_else(|| self.rooms.bytes(None));
        let answer = match verb {
            Verb::Seat => work.seated().encode(),
            _ => work.answers().encode(),
        };
        Ok((answer, room))
    }

    async fn judge_batch(
        &self,
        verb: Verb,
        who: Arc<Known>,
        session: Arc<SealingSession>,
        batch: Batch,
    ) -> Result<Work, Trouble> {
        if too_much(&batch.openings) {
            let why = format!("over {} operations or rows in one request", limits::WORK);
            return trouble(StatusCode::PAYLOAD_TOO_LARGE, "too-large", why);
        }
        let rows = batch
            .openings
            .iter()
            .map(|opening| opening.rows.len() as u64)
            .sum();
        let asked = self.now();
        if verb == Verb::Check && !self.agent().checks.take(&who.id, rows, asked) {
            let most = self.limits.checks_per_second;
            let why = format!("{} may have {most} seats checked a second", who.name);
            return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
        }
        let operations = batch
            .openings
            .iter()
            .map(|opening| opening.requests.len() as u64)
            .sum();
        let most = self.limits.operations_per_second;
        let bounded = verb == Verb::Contribute && most > 0;
        if bounded && !self.agent().operations.take(&who.id, operations, asked) {
            let why = format!("{} may ask for {most} operations a second", who.name);
            return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why);
        }
        let mut turn = Instant::now();
        let mut ready = Vec::with_capacity(batch.contexts.len());
        for context in batch.contexts {
            ready.push(self.agent().shown.prepare(context));
            pause(&mut turn).await;
        }
        if verb != Verb::Check {
            self.compile(&who, &mut ready).await;
        }
        let mut work = Work::new(verb, who, session, batch.openings.len());
        for opening in batch.openings {
            let context = &ready[opening.context];
            if let (Verb::Retire, Ok(token)) = (verb, context)
                && let Some(why) = self.wrong_clock()
                && timely::matters(token, &opening.evidence)
            {
                work.refuse(Refusal::new(Code::Unavailable, why), 0);
                continue;
            }
            let now = self.world.unix_millis();
            self.agent().judge(&mut work, context, opening, now);
            pause(&mut turn).await;
        }
        Ok(work)
    }

    async fn judge_seating(
        &self,
        who: Arc<Known>,
        session: Arc<SealingSession>,
        seating: Seating,
    ) -> Result<Work, Trouble> {
        let mut turn = Instant::now();
        let mut ready = Vec::with_capacity(seating.contexts.len());
        for context in seating.contexts {
            ready.push(self.agent().shown.prepare(context));
            pause(&mut turn).await;
        }
        self.compile(&who, &mut ready).await;
        let mut work = Work::new(Verb::Seat, who, session, seating.seats.len());
        for share in &seating.seats {
            let now = self.world.unix_millis();
            self.agent()
                .judge_seat(&mut work, &ready[share.context], share, now);
            pause(&mut turn).await;
        }
        Ok(work)
    }

    /// Compiles policies that were not seen before, away from this thread: it takes milliseconds.
    pub async fn compile(&self, who: &Known, ready: &mut [Result<Ready, Refusal>]) {
        for (hash, what) in shown::missing(ready) {
            let bytes = what.judged().policy().len();
            let now = self.now();
            let policy = if self.agent().compiles.take(&who.id, bytes as u64, now) {
                let compiled = if self.world.single_threaded() {
                    Some(shown::compiled_here(what.judged().policy()))
                } else {
                    // Ended with the request: what has not begun by then is never compiled.
                    let mut compiling = JoinSet::new();
                    compiling
                        .spawn_blocking(move || Arc::new(Compiled::new(what.judged().policy())));
                    compiling.join_next().await.and_then(Result::ok)
                };
                compiled.ok_or_else(|| {
                    Refusal::new(Code::Refused, "the token's policy cannot be compiled")
                })
            } else {
                Err(Refusal::new(
                    Code::Overloaded,
                    "too many new policies at once",
                ))
            };
            if let Ok(policy) = &policy {
                self.agent().shown.learn(hash, bytes, policy.clone());
            }
            shown::fill(ready, &hash, &policy);
        }
        let (tokens, policies) = self.agent().shown.bytes();
        self.metrics.token_bytes.store(tokens as u64, Relaxed);
        self.metrics.policy_bytes.store(policies as u64, Relaxed);
    }
}

/// Lets other connections have their turn once this one has had its own.
async fn pause(turn: &mut Instant) {
    if turn.elapsed() > limits::TURN {
        tokio::task::yield_now().await;
        *turn = Instant::now();
    }
}
