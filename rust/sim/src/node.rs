//! One agent: the real one, assembled from simulated parts, with a process that dies, stands still and starts again.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};

use evanesce_agent::assemble::{Assembled, Parts, assemble};
use evanesce_agent::{Commit, Config, ElementSource, Events, IdentitySource, Limits, Peers};
use evanesce_wire::grant::Revoked;
use evanesce_wire::message::{Obeyed, SignedOrder};
use evanesce_wire::{Id, Identity, World};
use http::Method;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::coordinator::Lifeline;
use crate::disk::{SimDisk, Snapshot};
use crate::ledger::{Heard, Ledger, Life, Loss, Refused, Verb};
use crate::liar::Liar;
use crate::net::Net;
use crate::ordered;
use crate::people::{Key, KnownRoots, Roots, Shared, as_asker, people};
use crate::rng::Rng;
use crate::schedule::Schedule;
use crate::syncer::SimSyncer;
use crate::world::SimWorld;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// What the operating system was given is there afterwards.
    Process,
    /// What was not synced may be gone.
    Power,
}

/// An agent.
pub struct Node {
    /// Its number.
    pub place: usize,
    /// Its key.
    pub identity: Key,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clock.
    pub world: Arc<SimWorld>,
    /// Its element.
    pub roots: Arc<Roots>,
    /// When it syncs.
    pub commit: Commit,
    /// Whom it compares with, if anyone.
    pub peers: Option<Peers>,
    /// What it reaches them over.
    net: OnceLock<Weak<Net>>,
    ledger: Arc<Ledger>,
    liar: Option<Liar>,
    state: Mutex<State>,
    paused: Arc<Paused>,
}

/// Whether a process stands still. Its tasks go on in the order in which they came to wait.
#[derive(Default)]
struct Paused {
    now: AtomicBool,
    over: Notify,
}

impl Paused {
    fn set(&self, paused: bool) {
        self.now.store(paused, Relaxed);
        if !paused {
            self.over.notify_waiters();
        }
    }
}

struct State {
    running: Option<Arc<Assembled>>,
    alive: Arc<AtomicBool>,
    tasks: Vec<AbortHandle>,
    life: Life,
    chance: Rng,
    snapshots: Vec<Snapshot>,
    /// In which of its lives an honest peer has shown it that its log is not what it was.
    restored: Option<u64>,
    /// When each of its lives began, in ms.
    starts: Vec<u64>,
    /// Since its start.
    stood_still: bool,
    /// The lowest its clock can be by its own account, in ms ahead of true time: how far it was ever seen ahead.
    farthest: i64,
}

impl State {
    /// Of the process.
    fn let_go(&mut self) {
        self.running = None;
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

/// An answer on its way out, and the handle by which its asker gives up.
pub type Answer = (oneshot::Receiver<(u16, Vec<u8>)>, AbortHandle);

impl Node {
    /// One that has not started.
    pub fn new(
        place: usize,
        schedule: &Schedule,
        peers: Option<Peers>,
        ledger: Arc<Ledger>,
        world: SimWorld,
        chance: Rng,
    ) -> Arc<Self> {
        let identity = people().agents[place].clone();
        let lies = schedule.liars.contains(&place);
        Arc::new(Self {
            place,
            liar: lies.then(|| Liar::new(identity.clone())),
            identity,
            disk: SimDisk::new(schedule.planted),
            world: Arc::new(world),
            roots: Roots::new(place),
            commit: schedule.commit,
            peers,
            net: OnceLock::new(),
            ledger,
            state: Mutex::new(State {
                running: None,
                alive: Arc::default(),
                tasks: Vec::new(),
                life: Life {
                    start: 0,
                    history: 0,
                },
                chance,
                snapshots: Vec::new(),
                restored: None,
                starts: Vec::new(),
                stood_still: false,
                farthest: 0,
            }),
            paused: Arc::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it keeps the protocol.
    pub fn is_honest(&self) -> bool {
        self.liar.is_none()
    }

    /// Whether its process runs.
    pub fn is_up(&self) -> bool {
        self.state().running.is_some()
    }

    /// Which life it is in.
    pub fn life(&self) -> Life {
        self.state().life
    }

    /// Before it first starts: the network.
    pub fn join(&self, net: &Arc<Net>) {
        let _ = self.net.set(Arc::downgrade(net));
    }

    /// When the life began that it had so many starts, in ms.
    pub fn began(&self, start: u64) -> u64 {
        let starts = &self.state().starts;
        starts.get(start as usize - 1).copied().unwrap_or_default()
    }

    /// One of its peers has answered it.
    pub fn has_heard(&self, peer: &Self, answer: &[u8]) {
        let life = self.life();
        let other_log =
            life.history > 0 && peer.is_honest() && ordered::shows_other_log(self, answer);
        if other_log {
            self.state().restored = Some(life.start);
        }
        self.ledger.read().heard.push(Heard {
            at: self.ledger.now(),
            agent: self.place,
            life,
            peer: peer.place,
            other_log,
        });
    }

    /// Whether it was shown in this life that its log is not what it was.
    pub fn knows_it_was_restored(&self) -> bool {
        let state = self.state();
        state.restored == Some(state.life.start)
    }

    /// Whether its disk says that a token was retired, or ordered to be revoked.
    pub fn has_retired(&self, token: &Id) -> bool {
        let stones = self.disk.file("tombstones");
        let buried =
            !stones.is_empty() && String::from_utf8_lossy(&stones).contains(&hex::encode(token));
        buried || ordered::now(self, token).revoked
    }

    /// How far ahead of true time its clock has ever been, in ms.
    pub fn farthest_ahead(&self) -> i64 {
        self.state().farthest
    }

    /// Turns its clock.
    pub fn turn_clock(&self, ms: i64) {
        self.world.set_off(ms);
        let mut state = self.state();
        state.farthest = state.farthest.max(ms);
    }

    /// Starts it, unless it runs. One that will not start is a broken invariant: its disk is well.
    pub fn start(self: &Arc<Self>) {
        if self.is_up() {
            return;
        }
        let alive = Arc::new(AtomicBool::new(true));
        let (life, mut chance) = {
            let mut state = self.state();
            state.life.start += 1;
            state.starts.push(self.ledger.now());
            state.stood_still = false;
            state.alive = alive.clone();
            (state.life, state.chance.fork())
        };
        let (tell, told) = oneshot::channel();
        let parts = Parts {
            config: &config(self.place, self.commit),
            element: Arc::new(KnownRoots(self.roots.clone())),
            identity: self.identity.clone(),
            log_key: Box::new(Shared(people().logs[self.place].clone())),
            directory: people().known.clone(),
            disk: Arc::new(self.disk.mount(alive, life)),
            syncer: Box::new(move |duty| {
                let (syncer, syncing) = SimSyncer::new(duty, chance.fork());
                let _ = tell.send(syncing);
                Ok(Box::new(syncer))
            }),
            world: self.world.clone(),
            events: Events::silent(),
            peers: self.peers.clone().map(|peers| {
                let net = self.net.get().and_then(Weak::upgrade).expect("a network");
                (peers, net.dial(as_asker(self.place), Lifeline::new(None)))
            }),
        };
        match assemble(parts) {
            Ok((assembled, committing)) => {
                let exchanges = assembled.exchanges();
                self.state().running = Some(Arc::new(assembled));
                self.spawn(committing);
                for exchanging in exchanges {
                    self.spawn(exchanging);
                }
                if let Ok(syncing) = { told }.try_recv() {
                    self.spawn(syncing);
                }
                self.ledger
                    .trace("start of agent", self.place, life.start, String::new);
            }
            Err(e) => {
                self.ledger
                    .trace("no start of agent", self.place, 0, || e.to_string());
                // Unless it was ended once more in the middle of it.
                if self.state().alive.load(Relaxed) {
                    let what = format!("agent {} does not start again: {e}", self.place);
                    self.ledger.broken(what);
                }
            }
        }
    }

    /// Runs a task of the process.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut state = self.state();
        let process = Process {
            task: Box::pin(task),
            paused: self.paused.clone(),
            alive: state.alive.clone(),
            waiting: None,
        };
        let handle = tokio::spawn(process).abort_handle();
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(handle.clone());
        handle
    }

    /// When nobody looks at it any more: what a process has of the network, which has the node, would keep all of it for ever.
    pub fn let_go(&self) {
        self.state().let_go();
    }

    /// Ends the process.
    pub fn die(&self, death: Death) {
        let mut state = self.state();
        let was_well = state.running.is_some() && !state.stood_still && self.disk.is_well();
        state.alive.store(false, Relaxed);
        state.let_go();
        self.disk.die_in(None, false);
        match death {
            Death::Process => self.disk.lose_process(),
            Death::Power => {
                let unsynced = self.disk.lose_power(&mut state.chance);
                let at = self.ledger.now();
                let unsynced = unsynced.map(|moment| self.ledger.at(moment));
                self.ledger.read().losses.push(Loss {
                    at,
                    agent: self.place,
                    unsynced,
                    was_well,
                });
            }
        }
        drop(state);
        self.paused.set(false);
        self.ledger
            .trace("end of agent", self.place, death as u64, || {
                format!("{death:?}")
            });
    }

    /// Lets the process stand still, or go on.
    pub fn pause(&self, paused: bool) {
        self.state().stood_still |= paused;
        self.paused.set(paused);
        self.ledger
            .trace("pause of agent", self.place, u64::from(paused), || {
                paused.to_string()
            });
    }

    /// Whether it stands still.
    pub fn is_paused(&self) -> bool {
        self.paused.now.load(Relaxed)
    }

    /// Someone copies its disk.
    pub fn take_snapshot(&self) {
        let snapshot = self.disk.snapshot();
        self.state().snapshots.push(snapshot);
    }

    /// Its disk goes back to the last copy, if there is one. It must not run.
    pub fn roll_back(&self) {
        let mut state = self.state();
        if let Some(snapshot) = state.snapshots.last().cloned() {
            state.life.history += 1;
            self.disk.restore(&snapshot, state.life);
            let at = self.ledger.now();
            self.ledger.read().rollbacks.push((self.place, at));
            self.ledger.trace(
                "rollback of agent",
                self.place,
                state.life.history,
                String::new,
            );
        }
    }

    /// Takes a request to the process; `None` where there is none.
    pub fn deliver(
        self: &Arc<Self>,
        caller: &Key,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Option<Answer> {
        let (assembled, life, alive) = {
            let state = self.state();
            (state.running.clone()?, state.life, state.alive.clone())
        };
        let (tell, told) = oneshot::channel();
        let (node, caller, path) = (self.clone(), caller.clone(), path.to_owned());
        let asked = self.ledger.now();
        let order = match &*path {
            "/v1/order" => SignedOrder::decode(&body).ok(),
            _ => None,
        };
        let handle = self.spawn(async move {
            let (spki, id) = (caller.spki(), caller.caller_id());
            if let Some(liar) = &node.liar {
                let now = node.world.unix_seconds();
                let _ = tell.send(liar.answer(spki, now, &path, &body));
                return;
            }
            let (status, body) = assembled.handle(&id, spki, &method, &path, body).await;
            if !alive.load(Relaxed) {
                return;
            }
            let verb = match &*path {
                "/v1/contribute" => Some(Verb::Contribute),
                "/v1/check" => Some(Verb::Check),
                "/v1/retire" => Some(Verb::Retire),
                _ => None,
            };
            if let (200, Some(verb)) = (status, verb) {
                node.ledger.answered(node.place, life, verb, asked, &body);
            }
            if let (200, "/v1/revoke-grant") = (status, &*path) {
                let revoked = Revoked::decode(&body).expect("an honest agent's answer");
                node.ledger.read().refused.push(Refused {
                    at: node.ledger.now(),
                    agent: node.place,
                    life,
                    grant: revoked.grant,
                });
            }
            if let (200, Some(order)) = (status, order) {
                let done = Obeyed::decode(&body).is_ok_and(|one| one.code.as_str() == "done");
                if done && !node.disk.orders_now().contains(&order) {
                    let what = format!("agent {} obeyed what is not on its disk", node.place);
                    node.ledger.broken(what);
                }
            }
            let _ = tell.send((status, body));
        });
        Some((told, handle))
    }
}

fn config(place: usize, commit: Commit) -> Config {
    Config {
        name: format!("agent-{place}"),
        listen: String::new(),
        observe: None,
        identity: IdentitySource::File(PathBuf::new()),
        commit,
        accept_earlier_clock: false,
        element: ElementSource::Software {
            roots: PathBuf::new(),
            passphrase: None,
        },
        limits: Limits {
            request_ids: 1 << 12,
            ..Limits::default()
        },
        threshold: Default::default(),
        quiet: true,
        folder: PathBuf::from(format!("agent-{place}")),
    }
}

/// A task of a process that may stand still, and that does nothing once the process has ended.
struct Process {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    paused: Arc<Paused>,
    alive: Arc<AtomicBool>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Process {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.alive.load(Relaxed) {
            return Poll::Ready(());
        }
        if self.paused.now.load(Relaxed) || self.waiting.is_some() {
            let paused = self.paused.clone();
            let waiting = self.waiting.get_or_insert_with(|| {
                Box::pin(async move {
                    while paused.now.load(Relaxed) {
                        paused.over.notified().await;
                    }
                })
            });
            if waiting.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.waiting = None;
        }
        self.task.as_mut().poll(cx)
    }
}
