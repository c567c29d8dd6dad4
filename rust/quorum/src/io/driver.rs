//! The thread's loop: events in, requests and crucible jobs out, for all operations at once.
//!
//! Whatever happened is worked off first, then requests go out and jobs go to the crucible: so what came
//! close together travels together, without waiting for more. Decisions are made by [`crate::plan`],
//! [`crate::outbox`] and [`crate::answers`]; here they are only carried out.

mod openings;
mod requests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use evanesce_threshold::Groups;
use evanesce_wire::Id;
use tokio::spawn;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use crate::compose::{Contexts, Ids};
use crate::error::Error;
use crate::holder::{Directory, Settings};
use crate::io::crucible;
use crate::io::link::{Down, Link};
use crate::io::opening::Opening;
use crate::io::recent::Recent;
use crate::io::remote::Remote;
use crate::io::side::Side;
use crate::io::thread::{Message, Setup};
use crate::latency::Latency;
use crate::open::{OpenTask, Opened};
use crate::operation::{Outcome, Reply};
use crate::outbox::Outbox;
use crate::threshold::Prepared;
use crate::work::Work;
use crate::{check, heal, mint, order, retire, revoke, sessions, status, threshold};
use requests::{Answered, Flight};

/// Most operations under way: more is refused at once, so that memory stays bounded.
const UNDER_WAY: usize = 65_536;
/// How often requests are looked through for those whose time is up, in µs.
const SWEEP: u64 = 250_000;
/// How soon they are after an opening ended with answers still owed to it, in µs: one look does for all that
/// end meanwhile.
const SWEEP_SOON: u64 = 10_000;
/// A way on which nothing comes back for this long, whatever is asked, is taken for dead, in µs.
const DEAF: u64 = 1_000_000;
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
    Submit(Box<Work>, Reply<Outcome>),
    /// A side task ended.
    Over,
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
    /// When the first request was sent that was given up without a word since; `u64::MAX` if it was heard.
    deaf_since: u64,
}

pub(crate) struct Driver {
    side: Arc<Side>,
    settings: Settings,
    directory: Arc<Directory>,
    caller: Id,
    holders: Vec<Seatholder>,
    /// Who does the operations, where it is not this process.
    remote: Option<Arc<Remote>>,
    dirty: Vec<usize>,
    openings: HashMap<u64, Opening>,
    /// Requests under way.
    flights: HashMap<u64, Flight>,
    /// When these are next looked through for those that nobody waits for any more; `u64::MAX` if there are none.
    next_sweep: u64,
    /// For openings and requests alike.
    next_key: u64,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    recent: Recent,
    hedges: u32,
    ids: Ids,
    single_threaded: bool,
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
            world,
            dial,
            service,
        } = setup;
        let link = |holder: &crate::Holder| {
            let (identity, world, dial) = (identity.clone(), world.clone(), dial.clone());
            Arc::new(Link::new(holder.clone(), identity, world, dial))
        };
        let remote = service.as_ref().map(|service| {
            let (identity, world) = (identity.clone(), world.clone());
            let verify = settings.verify_before_release;
            let (link, directory) = (link(service), directory.clone());
            Arc::new(Remote::new(link, identity, directory, world, verify))
        });
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
            deaf_since: u64::MAX,
        };
        let side = Side {
            links: links.clone(),
            directory: directory.clone(),
            world: world.clone(),
            caller: identity.caller_id(),
            identity: identity.clone(),
            tell: tell.clone(),
            prepared: Prepared::default(),
            groups: Groups::default(),
        };
        Self {
            holders: links.iter().map(holder).collect(),
            side: Arc::new(side),
            remote,
            settings,
            directory,
            caller: identity.caller_id(),
            dirty: Vec::new(),
            openings: HashMap::new(),
            flights: HashMap::new(),
            next_sweep: u64::MAX,
            next_key: 0,
            timers: BinaryHeap::new(),
            recent: Recent::default(),
            hedges: HEDGE_EVERY * HEDGES_SAVED,
            single_threaded: world.single_threaded(),
            ids: Ids::new(world),
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
        // One timer, moved only to an earlier time: setting one costs a system call.
        let alarm = sleep_until(self.epoch);
        tokio::pin!(alarm);
        let mut set_to = None;
        while open || !self.openings.is_empty() || self.side_tasks > 0 {
            if let Some(at) = self.next_alarm()
                && set_to.is_none_or(|set_to| at < set_to)
            {
                set_to = Some(at);
                alarm.as_mut().reset(self.epoch + Duration::from_micros(at));
            }
            tokio::select! {
                biased;
                Some(results) = opened.recv() => { self.tick(); self.opened(results); }
                Some(event) = events.recv() => { self.tick(); self.event(event); }
                message = messages.recv(), if open => match message {
                    Some(message) => { self.tick(); self.message(message); }
                    None => open = false,
                },
                () = &mut alarm, if set_to.is_some() => { set_to = None; self.tick(); }
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
        // One end for all that a verb does: nothing it waits for begins the time anew.
        let until = Instant::now() + budget;
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
                let until = Instant::now() + self.settings.mint_deadline;
                self.aside(async move { done.send(mint::mint(&side, *spec, until).await) })
            }
            Message::Reshare(asked, done) => {
                let (until, (spec, settled)) =
                    (Instant::now() + self.settings.mint_deadline, *asked);
                self.aside(async move {
                    done.send(heal::reshare(&side, spec, settled, budget, until).await)
                })
            }
            Message::Repair(asked, done) => {
                let (until, (spec, settled)) =
                    (Instant::now() + self.settings.mint_deadline, *asked);
                self.aside(async move {
                    done.send(heal::repair(&side, spec, settled, budget, until).await)
                })
            }
            Message::Check(token, open, done) => {
                self.aside(async move {
                    let open = open.map(|settled| *settled);
                    done.send(check::check(&side, token, open, budget, until).await)
                });
            }
            Message::Retire(token, settled, done) => {
                self.aside(async move {
                    done.send(retire::retire(&side, token, *settled, budget, until).await)
                });
            }
            Message::Order(versions, command, done) => {
                self.aside(async move {
                    done.send(order::order(&side, &versions, command, until).await)
                });
            }
            Message::Create(spec, done) => {
                let until = Instant::now() + self.settings.mint_deadline;
                self.aside(async move { done.send(threshold::create(&side, *spec, until).await) })
            }
            Message::Renew(asked, done) => {
                let (until, (spec, settled)) =
                    (Instant::now() + self.settings.mint_deadline, *asked);
                self.aside(
                    async move { done.send(threshold::renew(&side, spec, settled, until).await) },
                )
            }
            Message::Reseat(asked, done) => {
                let (until, (spec, settled)) =
                    (Instant::now() + self.settings.mint_deadline, *asked);
                self.aside(async move {
                    done.send(threshold::repair(&side, spec, settled, until).await)
                })
            }
            Message::Finish(renewed, done) => {
                self.aside(async move {
                    done.send(Ok(threshold::finish(&side, &renewed, until).await));
                });
            }
            Message::Sign(operation, done) => {
                let until = Instant::now() + operation.deadline.unwrap_or(budget);
                self.aside(
                    async move { done.send(threshold::sign(&side, *operation, until).await) },
                )
            }
            Message::Confirm(token, done) => {
                self.aside(async move {
                    done.send(Ok(threshold::check(&side, token, until).await));
                });
            }
            Message::Sessions(patience, done) => self.aside(async move {
                done.send(Ok(sessions::standing(&side, patience).await));
            }),
            Message::Serving(done) => {
                let remote = self.remote.clone();
                self.aside(async move {
                    done.send(match remote {
                        Some(remote) => remote.serving(until).await,
                        None => Err(Error::internal("no reconstructor works for this side")),
                    });
                });
            }
            Message::Revoke(revocation, done) => {
                self.aside(async move {
                    done.send(Ok(revoke::revoke(&side, revocation, until).await));
                });
            }
            Message::Status(done) => {
                self.aside(async move { done.send(Ok(status::status(&side, until).await)) })
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
            Event::Submit(work, done) => self.begin(*work, done),
            Event::Over => self.side_tasks -= 1,
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
                if let Some(results) = crucible::run(tasks, &self.crucible, self.single_threaded) {
                    self.tick();
                    self.opened(results);
                }
            }
        }
    }
}

/// Tells the loop that a side task has ended, whatever way it did.
struct Over(UnboundedSender<Event>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Over);
    }
}
