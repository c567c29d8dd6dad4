//! Where acts are played: agents, a network, callers with a reconstructor each, tokens; and what callers were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evanesce_agent::{Peer, Peers};
use evanesce_approval::Statement;
use evanesce_quorum::{Code, Done, Error, Fault, MintSpec, Minted, Reconstructor};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Gate, Token, formula, sharing};
use evanesce_wire::Id;
use evanesce_wire::grant::Grant;
use tokio::time::Instant;

use crate::coordinator::{Coordinator, Lifeline};
use crate::heals::Case;
use crate::ledger::Ledger;
use crate::net::Net;
use crate::node::Node;
use crate::people::{people, root};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::schedule::Schedule;
use crate::world::SimWorld;

/// How long an operation may take until its shares are there.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// How long a mint may take.
pub const MINT_DEADLINE: Duration = Duration::from_secs(6);

/// A token and what only the simulator knows of it.
#[derive(Clone)]
pub struct Known {
    /// The token.
    pub token: Arc<Token>,
    /// Its seed, computed from all agents' roots without a reconstructor.
    pub seed: [u8; 32],
    /// Whom its policy permits: callers' places.
    pub permits: &'static [usize],
    /// How many operations each agent permits, where its policy says.
    pub quota: Option<Quota>,
    /// Whether whom it permits may let another ask.
    pub delegable: bool,
}

/// How many operations of a token an agent permits, as its policy says.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// Ever.
    pub all: usize,
    /// Ever, to one caller.
    pub caller: usize,
    /// In any second.
    pub second: usize,
}

/// What a caller was told.
pub struct Told {
    /// The act, for people.
    pub act: String,
    /// The caller.
    pub caller: usize,
    /// The token, if it was about one.
    pub token: Option<Id>,
    /// ms since the begin.
    pub began: u64,
    /// The same.
    pub ended: u64,
    /// ms that it may take.
    pub budget: u64,
    /// Whether it was asked for in the calm at the end.
    pub calm: bool,
    /// What.
    pub result: Result<Good, (Code, Vec<Fault>)>,
}

/// What came of an act that succeeded.
pub enum Good {
    /// A key was used; the input digest of each job.
    Used(Vec<[u8; 32]>),
    /// A token was minted.
    Minted(Box<Minted>),
    /// A key was minted anew.
    Reshared(Arc<Token>),
    /// Seats that are tombstoned, and whether that is said to be the end.
    Retired(Vec<String>, bool),
    /// Seats whose holders have obeyed an order, and whether that is said to settle it.
    Ordered(Vec<String>, bool),
    /// Seats that are good by their holders' word.
    Checked(Vec<u32>),
    /// Anything else.
    Done,
}

/// The stage.
pub struct Stage {
    /// What was seen.
    pub ledger: Arc<Ledger>,
    /// Agents and ways.
    pub net: Arc<Net>,
    /// Callers' clocks.
    pub clocks: Vec<Arc<SimWorld>>,
    /// Callers' processes.
    coordinators: Vec<Mutex<Arc<Coordinator>>>,
    /// Tokens, minted before.
    pub tokens: Vec<Known>,
    /// Tokens that healing made, numbered behind these.
    pub healed: Mutex<Vec<Known>>,
    /// Healings, each with its operator's files.
    pub heals: Mutex<Vec<Arc<Case>>>,
    /// What the approver has approved, with what it is called.
    pub approvals: Mutex<Vec<(Id, Statement)>>,
    /// Grants that were given, with what they are called.
    pub grants: Mutex<Vec<(Id, Grant)>>,
    /// The quorum as people write it.
    pub quorum: &'static str,
    /// What callers were told.
    pub told: Mutex<Vec<Told>>,
    /// Whether the calm has begun.
    pub calm: std::sync::atomic::AtomicBool,
    /// When the last fault begins, in ms: what is begun anew later begins in the calm.
    pub last_fault: u64,
    /// Whether answers are altered on their way.
    pub altered: bool,
    /// A fault that is there on purpose.
    pub planted: Planted,
    /// Chance of the acts.
    pub chance: Mutex<Rng>,
}

impl Stage {
    /// Builds it and starts the agents. Within a tokio runtime.
    pub fn build(schedule: &Schedule, tokens: Vec<Known>, trace: bool) -> Arc<Self> {
        let mut chance = Rng::new(schedule.seed ^ 0x5747_4147_4531_3233);
        let begin = Instant::now();
        let ledger = Arc::new(Ledger::new(begin, trace));
        let node = |place: usize| {
            let world = SimWorld::new(begin, chance.fork());
            Node::new(
                place,
                schedule,
                peers(schedule, place),
                ledger.clone(),
                world,
                chance.fork(),
            )
        };
        let nodes: Vec<_> = (0..schedule.agents()).map(node).collect();
        let net = Net::new(nodes, ledger.clone(), chance.fork());
        for node in &net.nodes {
            node.join(&net);
            node.start();
        }
        let clock = |_| Arc::new(SimWorld::new(begin, chance.fork()));
        let clocks: Vec<_> = (0..2).map(clock).collect();
        let coordinators = clocks.iter().enumerate().map(|(caller, clock)| {
            let life = Lifeline::new(None);
            Mutex::new(Arc::new(Coordinator::start(
                &net,
                caller,
                clock.clone(),
                life,
            )))
        });
        let coordinators = coordinators.collect();
        Arc::new(Self {
            ledger,
            net,
            clocks,
            coordinators,
            tokens,
            healed: Mutex::default(),
            heals: Mutex::default(),
            approvals: Mutex::default(),
            grants: Mutex::default(),
            quorum: schedule.shape.quorum,
            told: Mutex::default(),
            calm: false.into(),
            last_fault: schedule.calm,
            altered: schedule.alters(),
            planted: schedule.planted,
            chance: Mutex::new(chance.fork()),
        })
    }

    /// A caller's process, as it is now.
    pub fn coordinator(&self, caller: usize) -> Arc<Coordinator> {
        let place = &self.coordinators[caller];
        place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A caller's process ends, and another one begins that knows nothing of what was under way.
    pub fn restart(&self, caller: usize) {
        let life = Lifeline::new(None);
        let new = Coordinator::start(&self.net, caller, self.clocks[caller].clone(), life);
        let place = &self.coordinators[caller];
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, Arc::new(new)).life.end();
    }

    /// A token by its number: those minted before, then those that healing made.
    pub fn known(&self, number: usize) -> Known {
        match self.tokens.get(number) {
            Some(known) => known.clone(),
            None => self.healed()[number - self.tokens.len()].clone(),
        }
    }

    /// The number of a token that healing has made.
    pub fn keep(&self, known: Known) -> usize {
        let mut healed = self.healed();
        healed.push(known);
        self.tokens.len() + healed.len() - 1
    }

    /// Tokens that healing made.
    pub fn healed(&self) -> MutexGuard<'_, Vec<Known>> {
        self.healed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the approver has approved.
    pub fn approvals(&self) -> MutexGuard<'_, Vec<(Id, Statement)>> {
        self.approvals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants that were given.
    pub fn grants(&self) -> MutexGuard<'_, Vec<(Id, Grant)>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Healings.
    pub fn heals(&self) -> Vec<Arc<Case>> {
        let heals = self.heals.lock().unwrap_or_else(PoisonError::into_inner);
        heals.clone()
    }

    /// Notes what a caller was told.
    pub fn tell(&self, told: Told) {
        let number = told.ended.wrapping_mul(31) + u64::from(told.result.is_ok());
        self.ledger
            .trace("told to caller", told.caller, number, || {
                let result = match &told.result {
                    Ok(_) => "done".to_owned(),
                    Err((code, faults)) => {
                        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                        format!("{code}: {}", faults.join("; "))
                    }
                };
                format!("{} (begun at {} ms): {result}", told.act, told.began)
            });
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(told);
    }

    /// What is told of an act that ended now.
    pub fn told(
        &self,
        act: &str,
        caller: usize,
        token: Option<Id>,
        began: u64,
        budget: Duration,
        result: Result<Good, Error>,
    ) {
        self.tell(Told {
            act: act.to_owned(),
            caller,
            token,
            began,
            ended: self.ledger.now(),
            budget: budget.as_millis() as u64,
            calm: self.calm.load(std::sync::atomic::Ordering::Relaxed),
            result: result.map_err(|e| (e.code, e.faults)),
        });
    }

    /// Has `caller` ask something about the token of that number, and notes what it was told, if it lives to hear it.
    pub async fn ask<T: Send + 'static>(
        &self,
        act: &impl std::fmt::Debug,
        caller: usize,
        token: usize,
        ask: impl FnOnce(&Reconstructor, Arc<Token>, Done<T>),
        good: impl FnOnce(T) -> Good,
    ) {
        let token = self.known(token).token;
        let id = Some(*token.id());
        let began = self.ledger.now();
        let coordinator = self.coordinator(caller);
        let asked = coordinator.hear(|of, done| ask(of, token, done));
        let Some(result) = asked.await else { return };
        let act = format!("{act:?}");
        self.told(&act, caller, id, began, DEADLINE, result.map(good));
    }

    /// What a mint of this stage asks for.
    pub fn spec(&self, policy: &str, expires: Option<u64>) -> MintSpec {
        spec(self.quorum, policy, expires)
    }
}

/// Whom an agent compares with: all the others, where a schedule has peers.
fn peers(schedule: &Schedule, place: usize) -> Option<Peers> {
    let every = schedule.peers?;
    let others = (0..schedule.agents()).filter(|other| *other != place);
    let all: Vec<Peer> = others
        .map(|other| Peer {
            name: format!("s{other}"),
            id: people().ids[other],
            address: other.to_string(),
        })
        .collect();
    Some(Peers {
        needed: all.len() / 2 + 1,
        every: Duration::from_millis(every),
        former_logs: Vec::new(),
        all,
    })
}

fn spec(quorum: &str, policy: &str, expires: Option<u64>) -> MintSpec {
    MintSpec {
        name: "treasury".into(),
        suites: vec!["hmac-sha256".into(), "ed25519".into()],
        quorum: Gate::parse(quorum).expect("a quorum"),
        seats: BTreeMap::new(),
        policy: policy.into(),
        expires,
        key: None,
        replaces: None,
        imported: None,
        policy_check: Box::new(|_| Ok(Vec::new())),
    }
}

/// The share of a seat as its holder's root gives it, if it is the one committed to.
pub fn share(token: &Token, seat: u32) -> Option<[u8; 32]> {
    let row = &token.rows[seat as usize];
    let agent = people().ids.iter().position(|id| *id == row.holder)?;
    let (mut y, mut share) = ([0; 32], [0; 32]);
    hmac_sha256(
        &root(agent, row.epoch),
        &formula::contribution(token.id(), seat),
        &mut y,
    );
    formula::pad(&y, &mut share);
    share
        .iter_mut()
        .zip(row.correction)
        .for_each(|(s, c)| *s ^= c);
    let body = &token.body;
    (formula::commitment(&body.deal, seat, &share) == body.commitments[seat as usize])
        .then_some(share)
}

/// The seed of a token, if these of its seats give the one of its anchor.
pub fn seed(token: &Token, seats: impl Fn(u32) -> bool) -> Option<[u8; 32]> {
    let shares: Vec<Option<[u8; 32]>> = (0..token.rows.len() as u32)
        .map(|seat| share(token, seat).filter(|_| seats(seat)))
        .collect();
    let shares: Vec<Option<&[u8; 32]>> = shares.iter().map(Option::as_ref).collect();
    let mut seed = [0; 32];
    let body = &token.body;
    let good = sharing::combine(&body.header.quorum, &shares, &mut seed)
        && formula::anchor(&body.deal, &seed) == body.anchor;
    good.then_some(seed)
}
