//! The thread's loop: events in, requests and crucible jobs out, for all operations at once.
//!
//! Whatever happened is worked off first, then requests go out and jobs go to the crucible: so what came
//! close together travels together, without waiting for more. Decisions are made by [`crate::plan`],
//! [`crate::outbox`] and [`crate::answers`]; here they are only carried out.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evanesce_wire::Id;
use evanesce_wire::client::CallError;
use evanesce_wire::message::{Answers, Code as Decision};
use tokio::spawn;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep_until, timeout_at};

use crate::answers::{Expected, Heard, Judged, blame, judge};
use crate::error::{Code, Error};
use crate::fault::Trouble;
use crate::holder::{Directory, Settings};
use crate::io::crucible;
use crate::io::link::{Down, Link, Live, down};
use crate::io::opening::Opening;
use crate::io::recent::Recent;
use crate::io::side::Side;
use crate::io::thread::{Message, Setup};
use crate::latency::Latency;
use crate::open::{Bad, OpenTask, Opened, SealedShare};
use crate::operation::{Outcome, Reply};
use crate::outbox::{Ask, Asker, Contexts, Ids, Outbox, Sent, compose};
use crate::plan::{Next, Outlook, Plan};
use crate::work::{Work, unix_now};
use crate::{check, mint, retire, status};

/// Most operations under way: more is refused at once, so that memory stays bounded.
const UNDER_WAY: usize = 65_536;
/// How long after its openings' deadlines a request without an answer is given up, so that its place is free.
const LEEWAY: Duration = Duration::from_millis(50);
/// One hedge is allowed for so many operations …
const HEDGE_EVERY: u32 = 20;
/// … and this many may be saved up.
const HEDGES_SAVED: u32 = 10;

/// What tasks on the thread itself tell the loop.
pub(crate) enum Event {
    /// An attempt to reach a holder ended.
    Tried(usize, Result<(), Down>),
    /// A request ended.
    Answered(Box<Answered>),
    /// An operation from a side task.
    Submit(Work, Reply<Outcome>),
    /// A side task ended.
    Over,
}

pub(crate) struct Answered {
    place: usize,
    live: Arc<Live>,
    sent: Vec<Sent>,
    sent_at: u64,
    result: Result<Answers, CallError>,
    timed_out: bool,
}

/// One holder as the loop knows it.
struct Seatholder {
    link: Arc<Link>,
    outbox: Outbox,
    latency: Latency,
    contexts: Contexts,
    /// The session that `contexts` was learned on.
    session: Id,
    trying: bool,
    /// Something is to be sent, or may be by now.
    dirty: bool,
    /// When it last answered anything.
    heard: u64,
}

pub(crate) struct Driver {
    side: Arc<Side>,
    settings: Settings,
    directory: Arc<Directory>,
    caller: Id,
    holders: Vec<Seatholder>,
    dirty: Vec<usize>,
    openings: HashMap<u64, Opening>,
    next_key: u64,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    recent: Recent,
    hedges: u32,
    ids: Ids,
    side_tasks: usize,
    events: Option<UnboundedReceiver<Event>>,
    tell: UnboundedSender<Event>,
    opened: Option<UnboundedReceiver<Vec<(u64, Opened)>>>,
    crucible: UnboundedSender<Vec<(u64, Opened)>>,
    /// Jobs for the crucible, of this turn.
    tasks: Vec<(u64, OpenTask)>,
    /// Operations to be looked at again at the end of the turn.
    touched: Vec<u64>,
    epoch: Instant,
    now: u64,
}

impl Driver {
    pub fn new(setup: Setup) -> Self {
        let Setup {
            identity,
            directory,
            settings,
        } = setup;
        let link = |holder: &crate::Holder| Arc::new(Link::new(holder.clone(), identity.clone()));
        let links: Vec<Arc<Link>> = directory.all().iter().map(link).collect();
        let (tell, events) = unbounded_channel();
        let (crucible, opened) = unbounded_channel();
        let holder = |link: &Arc<Link>| Seatholder {
            link: link.clone(),
            outbox: Outbox::default(),
            latency: Latency::default(),
            contexts: Contexts::default(),
            session: [0; 32],
            trying: false,
            dirty: false,
            heard: 0,
        };
        let side = Side {
            links: links.clone(),
            directory: directory.clone(),
            settings: settings.clone(),
            caller: identity.caller_id(),
            tell: tell.clone(),
        };
        Self {
            holders: links.iter().map(holder).collect(),
            side: Arc::new(side),
            settings,
            directory,
            caller: identity.caller_id(),
            dirty: Vec::new(),
            openings: HashMap::new(),
            next_key: 0,
            timers: BinaryHeap::new(),
            recent: Recent::default(),
            hedges: HEDGE_EVERY * HEDGES_SAVED,
            ids: Ids::default(),
            side_tasks: 0,
            events: Some(events),
            tell,
            opened: Some(opened),
            crucible,
            tasks: Vec::new(),
            touched: Vec::new(),
            epoch: Instant::now(),
            now: 0,
        }
    }

    /// Works until nobody can ask for more and everything asked has ended.
    pub async fn run(mut self, mut messages: UnboundedReceiver<Message>) {
        let (Some(mut events), Some(mut opened)) = (self.events.take(), self.opened.take()) else {
            return;
        };
        let mut open = true;
        while open || !self.openings.is_empty() || self.side_tasks > 0 {
            let alarm = self
                .timers
                .peek()
                .map(|Reverse((at, _))| self.epoch + Duration::from_micros(*at));
            tokio::select! {
                biased;
                Some(results) = opened.recv() => { self.tick(); self.opened(results); }
                Some(event) = events.recv() => { self.tick(); self.event(event); }
                message = messages.recv(), if open => match message {
                    Some(message) => { self.tick(); self.message(message); }
                    None => open = false,
                },
                () = wait_until(alarm) => self.tick(),
            }
            while let Ok(results) = opened.try_recv() {
                self.opened(results);
            }
            while let Ok(event) = events.try_recv() {
                self.event(event);
            }
            while let Ok(message) = messages.try_recv() {
                self.message(message);
            }
            self.ring();
            self.end_turn();
            // Let what was composed go out before more is taken in.
            tokio::task::yield_now().await;
        }
    }

    fn tick(&mut self) {
        self.now = self.epoch.elapsed().as_micros() as u64;
    }

    fn message(&mut self, message: Message) {
        let (side, budget) = (self.side.clone(), self.settings.deadline);
        match message {
            Message::Submit(operations) => {
                for (work, done) in operations {
                    match work {
                        Ok(work) => self.begin(work, done),
                        Err(error) => done.send(Err(error)),
                    }
                }
            }
            Message::Mint(spec, done) => {
                self.aside(async move { done.send(mint::mint(&side, *spec).await) })
            }
            Message::Check(token, open, done) => {
                self.aside(
                    async move { done.send(check::check(&side, token, open, budget).await) },
                );
            }
            Message::Retire(token, done) => {
                self.aside(async move { done.send(retire::retire(&side, token, budget).await) });
            }
            Message::Status(done) => {
                self.aside(async move { done.send(Ok(status::status(&side).await)) })
            }
        }
    }

    /// Runs something that is not an opening.
    fn aside(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.side_tasks += 1;
        let tell = self.tell.clone();
        spawn(async move {
            // Told also if the task panics.
            let _over = Over(tell);
            task.await;
        });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Tried(place, result) => self.tried(place, result),
            Event::Answered(answered) => self.answered(*answered),
            Event::Submit(work, done) => self.begin(work, done),
            Event::Over => self.side_tasks -= 1,
        }
    }

    // ---- openings ----

    fn begin(&mut self, work: Work, done: Reply<Outcome>) {
        if self.openings.len() >= UNDER_WAY {
            let message = format!("{UNDER_WAY} operations are under way");
            return done.send(Err(Error::new(
                Code::Overloaded,
                message,
                "Wait for some of them.",
            )));
        }
        let holders = work
            .token
            .rows
            .iter()
            .map(|row| self.directory.by_id(&row.holder))
            .collect();
        let budget = work.budget.as_micros().min(1 << 40) as u64;
        let key = self.next_key;
        self.next_key += 1;
        self.hedges = (self.hedges + 1).min(HEDGE_EVERY * HEDGES_SAVED);
        let opening = Opening {
            plan: Plan::new(holders, self.now, budget, self.settings.hedge),
            work: Arc::new(work),
            sealed: Vec::new(),
            kept: Vec::new(),
            details: Vec::new(),
            receipts: Vec::new(),
            busy: false,
            timer: u64::MAX,
            deadline: self.now + budget,
            done,
        };
        self.openings.insert(key, opening);
        self.advance(key);
    }

    /// Lets the plan say what is next for an opening, and does it.
    fn advance(&mut self, key: u64) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if opening.busy {
            return;
        }
        let work = opening.work.clone();
        let holders = &self.holders;
        let mut view = View {
            holders,
            recent: &self.recent,
            token: work.token.id(),
            now: self.now,
            hedges: &mut self.hedges,
        };
        let step = opening
            .plan
            .advance(self.now, &work.token.body.header.quorum, &mut view);
        match step.next {
            Next::Wait(until) if until < opening.timer => {
                opening.timer = until;
                self.timers.push(Reverse((until, key)));
            }
            Next::Wait(_) => {}
            Next::Open(seats) => {
                opening.busy = true;
                let needed = |share: &SealedShare| seats.contains(&share.seat);
                let (sealed, spare) = std::mem::take(&mut opening.sealed)
                    .into_iter()
                    .partition(needed);
                opening.sealed = spare;
                let task = OpenTask {
                    sealed,
                    kept: std::mem::take(&mut opening.kept),
                    finish: true,
                    verify_before_release: self.settings.verify_before_release,
                    work: work.clone(),
                };
                self.tasks.push((key, task));
            }
            Next::Fail => {
                if let Some(opening) = self.openings.remove(&key) {
                    self.note_late(&opening);
                    let directory = self.directory.clone();
                    opening.fail(&directory);
                }
                return;
            }
        }
        for ask in step.asks {
            let holder = &mut self.holders[ask.holder];
            let cold = holder.link.live().is_none();
            holder.outbox.push(Ask {
                key,
                work: work.clone(),
                seats: ask.seats,
                at: self.now,
                cold,
                again: false,
            });
            self.mark(ask.holder);
        }
    }

    /// Timers that have gone off.
    fn ring(&mut self) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop();
            let Some(opening) = self.openings.get_mut(&key) else {
                continue;
            };
            if opening.timer != at {
                continue;
            }
            opening.timer = u64::MAX;
            self.advance(key);
            self.keep_early(key);
        }
    }

    /// An opening that waits for someone late has its shares checked and kept meanwhile: a sealed one can only be
    /// opened while the session's counter has not gone far beyond it.
    fn keep_early(&mut self, key: u64) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if opening.busy || opening.sealed.is_empty() {
            return;
        }
        opening.busy = true;
        let task = OpenTask {
            work: opening.work.clone(),
            sealed: std::mem::take(&mut opening.sealed),
            kept: std::mem::take(&mut opening.kept),
            finish: false,
            verify_before_release: false,
        };
        self.tasks.push((key, task));
    }

    /// What the crucible made of openings.
    fn opened(&mut self, results: Vec<(u64, Opened)>) {
        for (key, result) in results {
            match result {
                Opened::Finished(result) => {
                    let Some(opening) = self.openings.remove(&key) else {
                        continue;
                    };
                    self.note_late(&opening);
                    let (directory, now) = (self.directory.clone(), self.now);
                    opening.finish(now, result, &directory);
                }
                Opened::Partly { kept, bad } => {
                    let Some(opening) = self.openings.get_mut(&key) else {
                        continue;
                    };
                    opening.busy = false;
                    opening.kept.extend(kept);
                    for (seat, why) in bad {
                        self.bad_share(key, seat, why);
                    }
                    self.touched.push(key);
                }
            }
        }
    }

    fn bad_share(&mut self, key: u64, seat: u32, why: Bad) {
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        let token = opening.work.token.clone();
        let Some(place) = opening.plan.holder(seat) else {
            return;
        };
        let (trouble, detail) = match (why, self.holders[place].link.live()) {
            (Bad::Mismatch, Some(live)) => blame(&token, seat, &live.peer),
            (Bad::Mismatch, None) => (
                Trouble::Lied,
                "its share is not the one committed to".into(),
            ),
            (Bad::Unsealable, _) => (
                Trouble::Lied,
                "its share does not open under its session".into(),
            ),
        };
        self.trouble(key, place, seat, trouble, detail);
    }

    /// Something is wrong at a seat of an opening.
    fn trouble(&mut self, key: u64, place: usize, seat: u32, trouble: Trouble, detail: String) {
        if trouble.is_of_holder()
            || matches!(
                trouble,
                Trouble::Lied | Trouble::ElementUnavailable | Trouble::Slow
            )
        {
            self.holders[place].latency.failed(self.now);
        }
        let Some(opening) = self.openings.get_mut(&key) else {
            return;
        };
        if !trouble.is_of_holder() && trouble != Trouble::Slow {
            self.recent.note(opening.work.token.id(), seat, self.now);
        }
        opening.plan.note(seat, Err(trouble));
        opening.details.push((seat, detail));
    }

    /// Holders that owe an answer still, though it is late, are avoided for a while.
    fn note_late(&mut self, opening: &Opening) {
        let slow = opening
            .plan
            .troubles()
            .filter(|(_, trouble)| *trouble == Trouble::Slow)
            .map(|(seat, _)| seat);
        for seat in slow.chain(opening.plan.late(self.now)) {
            if let Some(place) = opening.plan.holder(seat) {
                self.holders[place].latency.failed(self.now);
            }
        }
    }

    // ---- requests ----

    fn mark(&mut self, place: usize) {
        if !std::mem::replace(&mut self.holders[place].dirty, true) {
            self.dirty.push(place);
        }
    }

    fn end_turn(&mut self) {
        while !(self.touched.is_empty() && self.tasks.is_empty() && self.dirty.is_empty()) {
            for key in std::mem::take(&mut self.touched) {
                self.advance(key);
            }
            for place in std::mem::take(&mut self.dirty) {
                self.holders[place].dirty = false;
                self.send(place);
            }
            if !self.tasks.is_empty() {
                let tasks = std::mem::take(&mut self.tasks);
                if let Some(results) = crucible::run(tasks, &self.crucible) {
                    self.tick();
                    self.opened(results);
                }
            }
        }
    }

    /// Sends what waits for a holder, as far as it may go out now.
    fn send(&mut self, place: usize) {
        let (openings, holder) = (&self.openings, &mut self.holders[place]);
        if !holder.outbox.retain(|key| openings.contains_key(&key)) {
            return;
        }
        let Some(live) = holder.link.live() else {
            return self.try_to_reach(place);
        };
        if holder.session != live.session.id {
            // Another session may be with an agent that has started anew and forgotten everything.
            (holder.session, holder.contexts) = (live.session.id, Contexts::default());
            holder.latency.way(live.round_trip.as_micros() as u64);
        }
        while let Some(asks) = holder.outbox.take(holder.latency.fastest()) {
            let deadline = asks
                .iter()
                .filter_map(|ask| Some(openings.get(&ask.key)?.deadline))
                .max()
                .unwrap_or(self.now);
            let until = self.epoch + Duration::from_micros(deadline) + LEEWAY;
            let asker = Asker {
                caller: &self.caller,
                session: &live.session.id,
                now: unix_now(),
            };
            let (body, sent) = compose(asks, &asker, &holder.contexts, &mut self.ids);
            let (link, live, tell, sent_at) = (
                holder.link.clone(),
                live.clone(),
                self.tell.clone(),
                self.now,
            );
            spawn(async move {
                let call = async {
                    let answer = link.post(&live, "contribute", body).await?;
                    Ok(Answers::decode(&answer)?)
                };
                let answered = timeout_at(until.into(), call).await;
                let timed_out = answered.is_err();
                let result = answered
                    .unwrap_or(Err(CallError::Wire(evanesce_wire::WireError::SessionEnded)));
                let _ = tell.send(Event::Answered(Box::new(Answered {
                    place,
                    live,
                    sent,
                    sent_at,
                    result,
                    timed_out,
                })));
            });
        }
        // A session about to end is renewed beside the requests that still use it.
        holder.link.renew_early();
    }

    fn try_to_reach(&mut self, place: usize) {
        let holder = &mut self.holders[place];
        if std::mem::replace(&mut holder.trying, true) {
            return;
        }
        let (link, tell) = (holder.link.clone(), self.tell.clone());
        spawn(async move {
            let result = link.ready().await.map(drop);
            let _ = tell.send(Event::Tried(place, result));
        });
    }

    fn tried(&mut self, place: usize, result: Result<(), Down>) {
        self.holders[place].trying = false;
        match result {
            Ok(()) => self.mark(place),
            Err(down) => {
                let asks = self.holders[place].outbox.drain();
                self.holders[place].latency.failed(self.now);
                for ask in asks {
                    self.fail_ask(&ask, place, &down);
                }
            }
        }
    }

    fn fail_ask(&mut self, ask: &Ask, place: usize, down: &Down) {
        for seat in &ask.seats {
            self.trouble(ask.key, place, *seat, down.trouble, down.detail.clone());
        }
        self.touched.push(ask.key);
    }

    fn answered(&mut self, answered: Answered) {
        let Answered {
            place,
            live,
            sent,
            sent_at,
            result,
            timed_out,
        } = answered;
        self.holders[place]
            .outbox
            .ended(sent.iter().map(|sent| sent.ask.seats.len()).sum());
        self.mark(place);
        match result {
            Ok(answers) => {
                self.holders[place].heard = self.now;
                self.hear(place, &live, sent, sent_at, answers);
            }
            Err(_) if timed_out => {
                // Whoever waited for it has ended. If nothing at all has come since, the way itself may be dead.
                if self.holders[place].heard < sent_at {
                    self.holders[place].link.drop_way(&live);
                }
                self.holders[place].latency.failed(self.now);
            }
            Err(error) => {
                let another = self.holders[place].link.worth_another(&error, &live, true);
                let down = down(&error);
                for Sent { mut ask, .. } in sent {
                    if another && !ask.again {
                        (ask.again, ask.cold) = (true, true);
                        self.holders[place].outbox.push(ask);
                    } else {
                        self.fail_ask(&ask, place, &down);
                    }
                }
            }
        }
    }

    /// Takes an agent's answers apart.
    fn hear(
        &mut self,
        place: usize,
        live: &Arc<Live>,
        sent: Vec<Sent>,
        sent_at: u64,
        answers: Answers,
    ) {
        if answers.openings.len() != sent.len() {
            let detail = format!(
                "answered {} openings of {}",
                answers.openings.len(),
                sent.len()
            );
            let down = Down::new(Trouble::Lied, detail);
            sent.iter()
                .for_each(|sent| self.fail_ask(&sent.ask, place, &down));
            return;
        }
        let way = self.now.saturating_sub(sent_at);
        for (
            mut answer,
            Sent {
                mut ask,
                request_hash,
                by_id,
            },
        ) in answers.openings.into_iter().zip(sent)
        {
            let holder = &mut self.holders[place];
            let took = if ask.cold {
                way
            } else {
                self.now.saturating_sub(ask.at)
            };
            holder.latency.answered(self.now, took, way);
            if !by_id && matches!(answer.code, Decision::Done | Decision::Refused) {
                holder.contexts.learn(&ask.work.token);
            }
            let Some(opening) = self.openings.get_mut(&ask.key) else {
                continue;
            };
            if let Some(proof) = answer.receipt.take() {
                opening
                    .receipts
                    .push(live.peer.receipt(proof, &answers.checkpoint));
            }
            match judge(
                &answer,
                Expected::Shares,
                &ask.work.token,
                &ask.seats,
                &live.peer,
                by_id,
            ) {
                Judged::ContextUnknown => {
                    holder.contexts.forget(ask.work.token.id());
                    (ask.again, ask.cold) = (true, true);
                    holder.outbox.push(ask);
                    self.mark(place);
                }
                Judged::Seats(seats) => {
                    for (seat, heard) in seats {
                        self.heard_of(&ask, place, live, seat, heard, request_hash);
                    }
                    self.touched.push(ask.key);
                }
            }
        }
    }

    fn heard_of(
        &mut self,
        ask: &Ask,
        place: usize,
        live: &Arc<Live>,
        seat: u32,
        heard: Heard,
        request_hash: [u8; 32],
    ) {
        let (counter, sealed) = match heard {
            Heard::Share { counter, sealed } => (counter, sealed),
            Heard::Good => return,
            Heard::Trouble(trouble, detail) => {
                return self.trouble(ask.key, place, seat, trouble, detail);
            }
        };
        let Some(opening) = self.openings.get_mut(&ask.key) else {
            return;
        };
        opening.plan.note(seat, Ok(()));
        let agent = live.peer.id;
        opening.sealed.push(SealedShare {
            seat,
            session: live.session.clone(),
            counter,
            sealed,
            request_hash,
            agent,
        });
    }
}

/// The holders as one opening's plan sees them.
struct View<'a> {
    holders: &'a [Seatholder],
    recent: &'a Recent,
    token: &'a Id,
    now: u64,
    hedges: &'a mut u32,
}

impl Outlook for View<'_> {
    fn expected(&self, holder: usize) -> Option<u64> {
        self.holders[holder].latency.expected(self.now)
    }

    fn patience(&self, holder: usize) -> u64 {
        let holder = &self.holders[holder];
        holder
            .latency
            .patience(self.now, holder.link.live().is_some())
    }

    fn avoided(&self, seat: usize, holder: usize) -> bool {
        self.holders[holder].latency.avoided(self.now)
            || self.recent.failed(self.token, seat as u32, self.now)
    }

    fn may_hedge(&mut self) -> bool {
        let enough = *self.hedges >= HEDGE_EVERY;
        if enough {
            *self.hedges -= HEDGE_EVERY;
        }
        enough
    }
}

/// Tells the loop that a side task has ended, whatever way it did.
struct Over(UnboundedSender<Event>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Over);
    }
}

async fn wait_until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => sleep_until(alarm.into()).await,
        None => std::future::pending().await,
    }
}
