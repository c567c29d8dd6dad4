//! What each verb of the second kind leads to: judged as all else, logged, done, answered.

mod repair;
mod reshare;
mod turns;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use evanesce_token::mpc::{self, Header};
use evanesce_wire::message::threshold::{
    self as wire, Agree, Announce, Await, Commit, Committed, Confirm, Confirmed, Deal, Forget,
    Help, Once, Place, Prepare, Receive, Reply, Sign, Split, Sum, Take,
};
use evanesce_wire::message::{Basis, Code, Opening, Request, SeatRow};
use evanesce_wire::session::SealingSession;
use evanesce_wire::{Id, WireError};
use http::StatusCode;
use tokio::task::JoinSet;

use super::ceremony::{self, Base, Part};
use super::errand::{Came, Errand};
use super::pending::Waiting;
use super::{Memory, Obstacle, with_suite};
use crate::api::{Answer, Api, Trouble, malformed, trouble};
use crate::events::Event;
use crate::gate::{self, FROZEN, Inputs, REVOKED, Refusal, Verb};
use crate::known::Known;
use crate::regenerate::Hands;
use crate::room::Room;
use crate::shown::Ready;
use crate::subject::Subject;
use crate::work::Work;
use evanesce_token::formula;
use reshare::{may_succeed, renewed};

/// Why nothing more is committed to.
const TOO_MANY: &str = "too many signatures wait for their second round";

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.reason)
    }
}

/// One request of the second kind, and what it takes to answer it.
pub(super) struct Asked<'a> {
    pub(super) api: &'a Api,
    verb: Verb,
    pub(super) who: Arc<Known>,
    pub(super) session: Arc<SealingSession>,
    room: Option<Room>,
}

pub(super) type Told = Result<Reply, Obstacle>;

impl Api {
    /// Answers a verb of the second kind.
    pub async fn of_the_second_kind(
        &self,
        verb: Verb,
        who: Arc<Known>,
        session: Arc<SealingSession>,
        plain: Vec<u8>,
        room: Room,
    ) -> Answer {
        let mut asked = Asked {
            api: self,
            verb,
            who,
            session,
            room: Some(room),
        };
        let told = match verb {
            Verb::MpcAnnounce => asked.announce(read(Announce::decode(&plain))?).await,
            Verb::MpcAgree => {
                let told = read(Agree::decode(&plain))?;
                let id = told.ceremony;
                asked
                    .ceremony(id, move |part, hands| {
                        Ok(part.agree(hands, &told)?.encode())
                    })
                    .await
            }
            Verb::MpcDeal => {
                let told = read(Deal::decode(&plain))?;
                let id = told.ceremony;
                asked
                    .ceremony(id, move |part, hands| Ok(part.deal(hands, &told)?.encode()))
                    .await
            }
            Verb::MpcTake => asked.take(read(Take::decode(&plain))?).await,
            Verb::MpcForget => asked.forget(read(Forget::decode(&plain))?).await,
            Verb::MpcConfirm => {
                let told = read(Confirm::decode(&plain))?;
                self.may_check(&asked.who)?;
                asked.confirm(told).await
            }
            Verb::MpcCommit => {
                let told = read(Commit::decode(&plain))?;
                let count = told.messages.len();
                self.may_operate(&asked.who, count)?;
                let now = self.now();
                if self.threshold.pending().is_full(&asked.who.id, count, now) {
                    return trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", TOO_MANY);
                }
                asked.commit(told).await
            }
            Verb::MpcSign => asked.sign(read(Sign::decode(&plain))?).await,
            Verb::MpcPrepare => {
                let told = read(Prepare::decode(&plain))?;
                self.may_check(&asked.who)?;
                asked.prepare(told).await
            }
            Verb::MpcOnce => {
                let told = read(Once::decode(&plain))?;
                self.may_operate(&asked.who, told.commitments.len())?;
                asked.once(told).await
            }
            Verb::MpcHelp => asked.help(read(Help::decode(&plain))?).await,
            Verb::MpcAwait => asked.wait(read(Await::decode(&plain))?).await,
            Verb::MpcSplit => asked.split(read(Split::decode(&plain))?).await,
            Verb::MpcSum => asked.sum(read(Sum::decode(&plain))?).await,
            Verb::MpcReceive => asked.receive(read(Receive::decode(&plain))?).await,
            _ => return trouble(StatusCode::NOT_FOUND, "not-found", "no such endpoint"),
        };
        let reply = told.unwrap_or_else(Obstacle::reply);
        let room = asked.room.take().unwrap_or_else(|| self.rooms.bytes(None));
        Ok((reply.encode(), room))
    }

    fn may_check(&self, who: &Known) -> Result<(), Trouble> {
        let (now, most) = (self.now(), self.limits.checks_per_second);
        if self.agent().checks.take(&who.id, 1, now) {
            return Ok(());
        }
        let why = format!("{} may have {most} seats checked a second", who.name);
        trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why)
    }

    fn may_operate(&self, who: &Known, count: usize) -> Result<(), Trouble> {
        let (now, most) = (self.now(), self.limits.operations_per_second);
        if most == 0 || self.agent().operations.take(&who.id, count as u64, now) {
            return Ok(());
        }
        let why = format!("{} may ask for {most} operations a second", who.name);
        trouble(StatusCode::TOO_MANY_REQUESTS, "overloaded", why)
    }

    /// Runs what takes its time away from this thread, where the world has others.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Hands) -> T + Send + 'static,
    ) -> Result<T, Obstacle> {
        let hands = self.threshold.hands.clone();
        if self.world.single_threaded() {
            return Ok(job(&hands));
        }
        let mut running = JoinSet::new();
        running.spawn_blocking(move || job(&hands));
        let done = running.join_next().await.and_then(Result::ok);
        done.ok_or_else(|| Obstacle::new(Code::Unavailable, "the agent failed over this"))
    }
}

fn read<T>(decoded: Result<T, WireError>) -> Result<T, Trouble> {
    decoded.map_err(malformed)
}

impl Asked<'_> {
    /// Begins a ceremony: the header is one that this agent would enforce, and where shares are renewed, the old one lets it.
    async fn announce(&mut self, told: Announce) -> Told {
        let header =
            Header::decode(&told.header).map_err(|e| Obstacle::new(Code::Malformed, e.0))?;
        let now = self.api.now();
        if header.expired_at(now / 1000) {
            return Err(Obstacle::new(Code::Expired, "the token would have expired"));
        }
        self.enforceable(&told.header, &header).await?;
        let mut receipt = None;
        let base = match &told.base {
            None => None,
            Some(base) => {
                let (base, permitted) = self.renews(&told, &header, base).await?;
                receipt = permitted;
                Some(base)
            }
        };
        let begun = self.begun(told.ceremony, Memory::ceremonies, move |hands| {
            let (part, announced) = ceremony::begin(hands, &told, base)?;
            Ok((announced.encode(), part))
        });
        let said = begun.await?;
        Ok(match receipt {
            Some(receipt) => with_receipt(said, receipt),
            None => Reply::done(said),
        })
    }

    /// Whether the policy of a header that is to be can be enforced here.
    async fn enforceable(&self, bytes: &[u8], header: &Header) -> Result<(), Obstacle> {
        // Of no key yet: what is judged of it is in the header.
        let points = vec![vec![0; header.facts().map_or(0, |suite| suite.point)]; header.quorum.t];
        let body = mpc::Body::new(bytes.to_vec(), points, [0; 32])
            .map_err(|e| Obstacle::new(Code::Malformed, e.0))?;
        let mut ready = [Ok(self.api.agent().shown.prepare_header(body))];
        self.api.compile(&self.who, &mut ready).await;
        let [ready] = ready;
        repair::is_enforceable(&ready?)
    }

    /// Whether the shares of a key may be renewed under this header: as its token's policy has it, judged and logged, by an agent that
    /// holds one. One that holds none has nothing to decide on: it takes a share as it does where a key is made.
    async fn renews(
        &mut self,
        told: &Announce,
        header: &Header,
        base: &wire::Base,
    ) -> Result<(Base, Option<Receipt>), Obstacle> {
        let ready = self.ready(base.context.clone()).await?;
        let body = ready.subject().second()?.clone();
        may_succeed(header, &body, base.givers.is_some())?;
        let row = base.opening.as_ref().map(one_row).transpose()?;
        let givers = match &base.givers {
            Some(givers) => Some(reshare::givers(givers, told.seat, row.as_ref())?),
            None => {
                let seat = row.as_ref().map(|row| row.seat);
                renewed(seat == Some(told.seat), "at the same seat")?;
                None
            }
        };
        let mut receipt = None;
        if let Some(opening) = &base.opening {
            let deal = mpc::formula::deal(header.kind, &told.header);
            let inputs = mpc::formula::reshare_inputs(&deal, &told.agents);
            let work = self.judged(&ready, opening.clone(), &[Some(inputs)]);
            receipt = Some(self.logged(work).await?.decided()?);
        }
        if row.is_none() {
            self.is_alive(&body.id)?;
        }
        let base = Base { body, row, givers };
        Ok((base, receipt))
    }

    async fn ready(&self, context: evanesce_wire::message::Context) -> Result<Ready, Obstacle> {
        let mut ready = [self.api.agent().shown.prepare(context)];
        self.api.compile(&self.who, &mut ready).await;
        let [ready] = ready;
        Ok(ready?)
    }

    /// Has an opening judged: work, of which nothing is done yet.
    fn judged(&mut self, ready: &Ready, opening: Opening, inputs: &[Option<Inputs<'_>>]) -> Work {
        let mut work = Work::new(self.verb, self.who.clone(), self.session.clone(), 1);
        let now = self.api.world.unix_millis();
        let ready = Ok(ready.clone());
        self.api
            .agent()
            .judge_of(&mut work, &ready, opening, inputs, now);
        for decision in &mut work.decisions {
            decision.follows = decision.code == Code::Done;
        }
        work
    }

    /// Has work logged and done. What the request takes up goes with it, and comes back.
    async fn logged(&mut self, mut work: Work) -> Result<Work, Obstacle> {
        work.room = self.room.take();
        let done = self.api.queue.run(work).await;
        let mut work = done.ok_or_else(|| {
            let why = "the agent failed over this request; nothing was released";
            Obstacle::new(Code::Unavailable, why)
        })?;
        self.room = work.room.take();
        Ok(work)
    }

    /// A turn of a ceremony, of which nothing is logged. What has been ordered since it began holds: in a reshare shares are given away by
    /// one of these.
    async fn ceremony(
        &self,
        id: Id,
        turn: impl FnOnce(&mut (dyn Part + 'static), &Hands) -> Result<Vec<u8>, Obstacle>
        + Send
        + 'static,
    ) -> Told {
        let part = self.part(&id)?;
        if let Some(base) = part.base()
            && let Err(obstacle) = self.is_alive(&base)
        {
            self.api.threshold.ceremonies().end(&id);
            return Err(obstacle);
        }
        self.turn(id, Memory::ceremonies, part, turn).await
    }

    /// The last turn. What was dealt is held where it fails: all may sign that they have their shares yet.
    async fn forget(&mut self, told: Forget) -> Told {
        let id = told.ceremony;
        let mut part = self.part(&id)?;
        let done = self.api.aside(move |hands| {
            let said = part.forget(hands, &told);
            (said, part)
        });
        let (said, part) = done.await?;
        match said {
            Ok(forgot) => {
                self.api.threshold.ceremonies().end(&id);
                Ok(Reply::done(forgot.encode()))
            }
            Err(obstacle) => {
                self.api.threshold.ceremonies().put(&id, part);
                Err(obstacle)
            }
        }
    }

    fn part(&self, id: &Id) -> Result<Box<dyn Part>, Obstacle> {
        let now = self.api.now();
        let part = self.api.threshold.ceremonies().take(id, &self.who.id, now);
        part.ok_or_else(|| {
            Obstacle::refused(
                "no such ceremony of this caller's is at its next turn here: begin anew",
            )
        })
    }

    /// The turn in which a token comes to be: logged before there is a row of it.
    async fn take(&mut self, told: Take) -> Told {
        // One that is not at its turn, or is another caller's, is not ended.
        let (id, part) = (told.ceremony, self.part(&told.ceremony)?);
        let taken = self.take_logged(told, part).await;
        if taken.is_err() {
            self.api.threshold.ceremonies().end(&id);
        }
        taken
    }

    async fn take_logged(&mut self, told: Take, mut part: Box<dyn Part>) -> Told {
        let id = told.ceremony;
        let base = part.base();
        base.map_or(Ok(()), |base| self.is_alive(&base))?;
        let finished = self.api.aside(move |hands| {
            let made = part.finish(hands, &told);
            made.map(|made| (made, part))
        });
        let ((body, seat), mut part) = finished.await??;
        let receipt = self.noted(body, seat).await?;
        // What has been ordered since then holds for what follows from it.
        base.map_or(Ok(()), |base| self.is_alive(&base))?;
        let row = self.api.aside(move |hands| {
            let row = part.row(hands);
            row.map(|row| (row, part))
        });
        let (row, part) = row.await??;
        self.api.threshold.ceremonies().put(&id, part);
        Ok(with_receipt(row.encode(), receipt))
    }

    /// Logs that this agent has a share of a token: before there is a row of it.
    async fn noted(&mut self, body: Arc<mpc::Body>, seat: u32) -> Result<Receipt, Obstacle> {
        let mut work = Work::new(self.verb, self.who.clone(), self.session.clone(), 1);
        let (now, subject) = (self.api.now(), Subject::Second(body));
        let (basis, seats) = (Basis::default(), vec![seat]);
        let (who, done) = (self.who.clone(), Ok(Code::Done));
        self.api
            .agent()
            .note(&mut work, &who, basis, &subject, done, seats, Vec::new, now);
        self.logged(work).await?.decided()
    }

    /// Whether this agent's share can be had from a row. Nothing is released.
    async fn confirm(&mut self, told: Confirm) -> Told {
        let Confirm { context, row } = told;
        let ready = self.api.agent().shown.prepare(context)?;
        let body = ready.subject().second()?.clone();
        self.is_alive(&body.id)?;
        let confirmed = self.api.aside(move |hands| {
            with_suite!(body.header.suite.as_str(), confirm(hands, &body, &row))
        });
        Ok(Reply::done(confirmed.await??.encode()))
    }

    pub(super) fn is_alive(&self, token: &Id) -> Result<(), Obstacle> {
        let agent = self.api.agent();
        if agent.tombstones.contains(token) {
            return Err(Obstacle::new(Code::Retired, "the token was retired here"));
        }
        if agent.orders.is_frozen(token) {
            return Err(Obstacle::refused(FROZEN));
        }
        Ok(())
    }

    fn is_granted(&self, grants: &[Id]) -> Result<(), Obstacle> {
        let agent = self.api.agent();
        let ended = agent.orders.ended();
        match grants.iter().any(|grant| ended.contains(grant)) {
            true => Err(Obstacle::refused(REVOKED)),
            false => Ok(()),
        }
    }

    /// Has messages decided on and logged, and then nonces drawn for them; or, with the commitments of all that sign, has them signed.
    pub(super) async fn decided(
        &mut self,
        told: Commit,
        commitments: Option<Vec<Vec<Place>>>,
    ) -> Result<Decided, Obstacle> {
        let Commit {
            context,
            opening,
            messages,
        } = told;
        let row = one_row(&opening)?;
        let seat = row.seat;
        let ready = self.ready(context).await?;
        let body = ready.subject().second()?.clone();
        let inputs: Vec<Option<Inputs<'_>>> = messages
            .iter()
            .map(|message| message.as_deref().map(|message| vec![message]))
            .collect();
        let parts: Vec<&[u8]> = opening.requests.iter().map(Vec::as_slice).collect();
        let request = formula::request_hash(&parts);
        let each = both(&opening, &messages)?;
        let at_once = match commitments {
            Some(commitments) => Some(self.at_once(&body, &row, commitments)?),
            None => None,
        };
        let mut work = self.judged(&ready, opening.clone(), &inputs);
        if let Some(decision) = work.decisions.first_mut()
            && decision.follows
        {
            let errand = Errand::new(body.clone(), row, each, at_once);
            work.errand = Some(Box::new(errand));
        }
        let mut work = self.logged(work).await?;
        let errand = work.errand.take();
        let receipt = work.decided()?;
        let Some(errand) = errand else {
            return Err(Obstacle::refused("nothing was done"));
        };
        let came = errand.outcome();
        if let Err(obstacle) = &came
            && obstacle.fault.is_some()
        {
            self.api.metrics.faulty.fetch_add(1, Relaxed);
            self.api.events.emit(Event::Faulty {
                token: &hex::encode(body.id),
                seat,
                why: &obstacle.reason,
            });
        }
        let grants = work.decisions.first().map(|one| one.grants.clone());
        Ok(Decided {
            token: body.id,
            request,
            grants: grants.unwrap_or_default(),
            came,
            receipt,
        })
    }

    /// The first round: messages are decided on, and nonces drawn for them.
    async fn commit(&mut self, told: Commit) -> Told {
        let count = told.messages.len();
        let decided = self.decided(told, None).await?;
        let receipt = decided.receipt;
        let committed = match decided.came {
            Ok(Came::Committed(committed)) => committed,
            Ok(Came::Signed(_)) => return Err(Obstacle::refused("nothing was drawn")),
            Err(obstacle) => return Ok(obstacle.reply_with(receipt)),
        };
        let waiting = Waiting {
            caller: self.who.id,
            session: self.session.id,
            token: decided.token,
            grants: decided.grants,
            count,
            signer: committed.signer,
        };
        let (now, request) = (self.api.now(), decided.request);
        // Others may have taken the room meanwhile.
        if !self.api.threshold.pending().keep(request, waiting, now) {
            return Ok(Obstacle::new(Code::Overloaded, TOO_MANY).reply_with(receipt));
        }
        let said = Committed::Points(committed.points).encode();
        Ok(with_receipt(said, receipt))
    }

    /// The second round: what was decided on in the first is signed, once.
    async fn sign(&mut self, told: Sign) -> Told {
        let now = self.api.now();
        let waiting =
            self.api
                .threshold
                .pending()
                .take(&told.request, &self.who.id, &self.session.id, now);
        let Some(waiting) = waiting else {
            let why = "no nonces wait here for that request: commit anew";
            return Err(Obstacle::refused(why));
        };
        // What has been ordered since then holds.
        self.is_alive(&waiting.token)?;
        self.is_granted(&waiting.grants)?;
        let signed = self
            .api
            .aside(move |hands| waiting.signer.sign(hands, &told.commitments));
        Ok(Reply::done(Committed::Shares(signed.await??).encode()))
    }
}

/// What was decided on and logged, and what came of it.
pub(super) struct Decided {
    token: Id,
    /// The request hash of the opening.
    request: Id,
    grants: Vec<Id>,
    pub(super) came: Result<Came, Obstacle>,
    pub(super) receipt: Receipt,
}

type Receipt = (String, Option<evanesce_wire::message::LogProof>);

impl Work {
    /// Its one decision, if it was permitted, by its receipt.
    fn decided(&mut self) -> Result<Receipt, Obstacle> {
        let (code, reason, fault) = match self.decisions.first() {
            Some(one) => (one.code, one.reason.clone(), one.faults.first().cloned()),
            None => (Code::Unavailable, "nothing was decided".into(), None),
        };
        let receipt = self.receipt();
        if code == Code::Done {
            return Ok(receipt);
        }
        let mut obstacle = Obstacle::new(code, reason);
        if let Some(evanesce_wire::message::SeatResult::Fault(fault)) = fault.map(|one| one.result)
        {
            obstacle.fault = Some(fault);
        }
        obstacle.receipt = Some(Box::new(receipt));
        Err(obstacle)
    }
}

pub(super) fn with_receipt(value: Vec<u8>, (checkpoint, receipt): Receipt) -> Reply {
    Reply {
        receipt,
        checkpoint,
        ..Reply::done(value)
    }
}

/// An agent has one seat of a token of this kind.
fn one_row(opening: &Opening) -> Result<SeatRow, Obstacle> {
    match &opening.rows[..] {
        [row] => Ok(row.clone()),
        rows => {
            let why = format!("{} rows, must be this agent's one", rows.len());
            Err(Obstacle::new(Code::Malformed, why))
        }
    }
}

/// Each request's hash, with what it has signed.
fn both(opening: &Opening, messages: &[Option<Vec<u8>>]) -> Result<Vec<(Id, Vec<u8>)>, Obstacle> {
    let all = opening.requests.iter().zip(messages);
    let each = all.map(|(bytes, message)| {
        let malformed = |why: String| Obstacle::new(Code::Malformed, why);
        let request = Request::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        let signed = message.clone().or(request.payload);
        let signed = signed.ok_or_else(|| malformed("what is to be signed is missing".into()))?;
        Ok((formula::request_hash(&[bytes]), signed))
    });
    each.collect()
}

fn confirm<S: evanesce_threshold::Suite>(
    hands: &Hands,
    body: &mpc::Body,
    row: &SeatRow,
) -> Result<Confirmed, Obstacle> {
    // A kept share is opened under the epoch of its file: the row's is signed here all the same, and is what a decision goes by.
    gate::route(row, &hands.me, &hands.element.epochs()).map_err(|why| Obstacle::fault(why, ""))?;
    hands.have::<S>(body, row)?;
    let kind = body.header.kind;
    let statement = mpc::formula::regenerated_statement(kind, &body.id, row.seat, row.epoch);
    let signature = hands.identity.sign(&statement)?;
    Ok(Confirmed { signature })
}
