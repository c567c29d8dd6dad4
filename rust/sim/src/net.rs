//! The network between callers and agents: requests and answers that are late, out of order, twice there, lost, cut off,
//! held up, or altered. TLS is left out: who asks is what the way was dialled as.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evanesce_wire::client::{CallError, Dial, Pending, Way};
use evanesce_wire::message::Problem;
use evanesce_wire::{Id, Identity, WireError};
use http::Method;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::coordinator::Lifeline;
use crate::ledger::{Ledger, Verb};
use crate::liar::alter;
use crate::node::Node;
use crate::people::{CALLERS, Key, People, people};
use crate::rng::Rng;

/// How a way behaves; chances are out of 1000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Nothing gets through until this ends; then what was held up does.
    pub held: bool,
    /// Most extra delay of each message, in ms.
    pub slow: u64,
    /// Requests that arrive twice.
    pub twice: u64,
    /// Messages that vanish without a word.
    pub lost: u64,
    /// Messages over which the way breaks.
    pub cut: u64,
    /// Answers that are altered.
    pub altered: u64,
}

/// The usual delay of a message, in ms.
const USUAL: u64 = 4;
/// Requests kept for whoever sends them again.
const KEPT: usize = 32;

/// A request that somebody has seen pass.
struct Passed {
    caller: Key,
    agent: usize,
    path: String,
    body: Vec<u8>,
}

/// The network.
pub struct Net {
    /// The agents.
    pub nodes: Vec<Arc<Node>>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    chance: Rng,
    weather: Vec<Weather>,
    passed: Vec<Passed>,
}

impl Net {
    /// With good weather.
    pub fn new(nodes: Vec<Arc<Node>>, ledger: Arc<Ledger>, chance: Rng) -> Arc<Self> {
        let weather = vec![Weather::default(); (CALLERS.len() + nodes.len()) * nodes.len()];
        Arc::new(Self {
            nodes,
            ledger,
            state: Mutex::new(State {
                chance,
                weather,
                passed: Vec::new(),
            }),
            changed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the weather between who asks ([`as_asker`](crate::people::as_asker) an agent) and an agent.
    pub fn change(&self, caller: usize, agent: usize, change: impl FnOnce(&mut Weather)) {
        let place = caller * self.nodes.len() + agent;
        change(&mut self.state().weather[place]);
        self.changed.notify_waiters();
    }

    /// Good weather everywhere.
    pub fn calm(&self) {
        self.state().weather.fill(Weather::default());
        self.changed.notify_waiters();
    }

    /// What makes ways for a process of whoever asks from that place.
    pub fn dial(self: &Arc<Self>, caller: usize, life: Arc<Lifeline>) -> Arc<dyn Dial> {
        Arc::new(SimDial {
            net: self.clone(),
            caller,
            life,
        })
    }

    /// A request that passed before is sent once more, to its own agent or to another.
    pub fn send_again(&self, chance: &mut Rng) {
        let (caller, agent, path, body) = {
            let state = self.state();
            if state.passed.is_empty() {
                return;
            }
            let old = &state.passed[chance.index(state.passed.len())];
            let agent = match chance.chance(3, 4) {
                true => old.agent,
                false => chance.index(self.nodes.len()),
            };
            (
                old.caller.clone(),
                agent,
                old.path.clone(),
                old.body.clone(),
            )
        };
        self.ledger
            .trace("sent again to agent", agent, 0, || path.clone());
        self.nodes[agent].deliver(&caller, Method::POST, &path, body);
    }

    fn weather(&self, caller: usize, agent: usize) -> Weather {
        self.state().weather[caller * self.nodes.len() + agent]
    }

    /// Draws once for a message in this weather.
    fn draw(&self, weather: impl Fn(&mut Rng) -> bool) -> bool {
        weather(&mut self.state().chance)
    }

    /// A message travels: it takes its time, waits where it is held up, and may not arrive.
    async fn travel(&self, way: &SimWay) -> Result<(), WireError> {
        let (caller, agent) = (way.caller, way.agent);
        if !way.life.step() {
            // Who has ended sends nothing and hears nothing.
            std::future::pending::<()>().await;
        }
        let weather = self.weather(caller, agent);
        let delay = {
            let chance = &mut self.state().chance;
            chance.between(0, USUAL) + chance.between(0, weather.slow)
        };
        sleep(Duration::from_millis(delay)).await;
        loop {
            let changed = self.changed.notified();
            if !self.weather(caller, agent).held {
                break;
            }
            changed.await;
        }
        if self.draw(|chance| chance.chance(weather.lost, 1000)) {
            self.ledger.trace(
                "lost on the way to agent",
                agent,
                caller as u64,
                String::new,
            );
            std::future::pending::<()>().await;
        }
        if self.draw(|chance| chance.chance(weather.cut, 1000)) {
            self.ledger
                .trace("cut on the way to agent", agent, caller as u64, String::new);
            return Err(way.breaks("it was cut"));
        }
        Ok(())
    }
}

struct SimDial {
    net: Arc<Net>,
    caller: usize,
    life: Arc<Lifeline>,
}

impl Dial for SimDial {
    fn dial<'a>(&'a self, address: &'a str, _: Id) -> Pending<'a, Result<Arc<dyn Way>, WireError>> {
        Box::pin(async move {
            let agent: usize = address.parse().expect("an agent's number");
            let node = self.net.nodes[agent].clone();
            let way = SimWay {
                net: self.net.clone(),
                caller: self.caller,
                life: self.life.clone(),
                agent,
                start: node.life().start,
                broken: AtomicBool::new(false),
            };
            self.net.travel(&way).await?;
            if !node.is_up() {
                return Err(WireError::Unreachable("nobody listens".into()));
            }
            let start = node.life().start;
            Ok(Arc::new(SimWay { start, ..way }) as Arc<dyn Way>)
        })
    }
}

struct SimWay {
    net: Arc<Net>,
    caller: usize,
    /// Of the process that it belongs to.
    life: Arc<Lifeline>,
    agent: usize,
    /// The process at its other end.
    start: u64,
    broken: AtomicBool,
}

/// A request whose asker goes away may be given up by the agent.
struct Asking {
    handle: AbortHandle,
    noticed: bool,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.noticed {
            self.handle.abort();
        }
    }
}

impl SimWay {
    fn breaks(&self, why: &str) -> WireError {
        self.broken.store(true, Relaxed);
        WireError::Unreachable(format!("the connection broke: {why}"))
    }

    async fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let net = &*self.net;
        let node = &net.nodes[self.agent];
        net.travel(self).await?;
        if node.life().start != self.start {
            return Err(self.breaks("the process is another one").into());
        }
        let caller = people().asker(self.caller);
        let weather = net.weather(self.caller, self.agent);
        if net.draw(|chance| chance.chance(weather.twice, 1000)) {
            let after = net.state().chance.between(0, 60);
            let (node, caller) = (node.clone(), caller.clone());
            let (method, path, body) = (method.clone(), path.to_owned(), body.clone());
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                node.deliver(&caller, method, &path, body);
            });
        }
        {
            let mut state = net.state();
            if method == Method::POST && state.passed.len() < KEPT {
                state.passed.push(Passed {
                    caller: caller.clone(),
                    agent: self.agent,
                    path: path.to_owned(),
                    body: body.clone(),
                });
            }
        }
        let Some((told, handle)) = node.deliver(caller, method, path, body) else {
            return Err(self.breaks("nobody listens").into());
        };
        let noticed = net.draw(|chance| chance.chance(1, 2));
        let asking = Asking { handle, noticed };
        let Ok((status, mut answer)) = told.await else {
            return Err(self.breaks("the process has ended").into());
        };
        drop(asking);
        if net.draw(|chance| chance.chance(weather.altered, 1000)) {
            let verb = match path {
                "/v1/contribute" => Some(Verb::Contribute),
                "/v1/check" | "/v1/retire" => Some(Verb::Check),
                _ => None,
            };
            if let Some(verb) = verb {
                net.ledger
                    .trace("altered answer of agent", self.agent, 0, String::new);
                answer = alter(verb, answer, &mut net.state().chance);
            }
        }
        net.travel(self).await?;
        if let (200, Some(agent)) = (status, People::asking_agent(self.caller)) {
            net.nodes[agent].has_heard(&net.nodes[self.agent], &answer);
        }
        match status {
            200 => Ok(answer),
            status => {
                let problem = Problem::decode(&answer).map_err(CallError::Wire)?;
                Err(CallError::Problem(status, problem))
            }
        }
    }
}

impl Way for SimWay {
    fn post<'a>(&'a self, path: &'a str, body: Vec<u8>) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(self.call(Method::POST, path, body))
    }

    fn get<'a>(&'a self, path: &'a str) -> Pending<'a, Result<Vec<u8>, CallError>> {
        Box::pin(self.call(Method::GET, path, Vec::new()))
    }

    fn peer_spki(&self) -> &[u8] {
        people().agents[self.agent].spki()
    }

    fn is_closed(&self) -> bool {
        self.broken.load(Relaxed)
    }
}
