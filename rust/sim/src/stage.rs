//! Where acts are played: agents, a network, callers with a reconstructor each, tokens; and what callers were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evanesce_quorum::{Code, Error, Fault, Holder, MintSpec, Minted, Reconstructor, Settings};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Gate, Token, formula, sharing};
use evanesce_wire::{Id, Identity};
use tokio::time::Instant;

use crate::ledger::Ledger;
use crate::net::Net;
use crate::node::Node;
use crate::people::{EPOCH, people, root};
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
    /// Seats that are tombstoned, and whether that is said to be the end.
    Retired(Vec<String>, bool),
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
    /// Callers' reconstructors.
    pub reconstructors: Vec<Reconstructor>,
    /// Tokens, minted before.
    pub tokens: Vec<Known>,
    /// The quorum as people write it.
    pub quorum: &'static str,
    /// What callers were told.
    pub told: Mutex<Vec<Told>>,
    /// Whether the calm has begun.
    pub calm: std::sync::atomic::AtomicBool,
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
                schedule.commit,
                schedule.liars.contains(&place),
                schedule.planted,
                ledger.clone(),
                world,
                chance.fork(),
            )
        };
        let nodes: Vec<_> = (0..schedule.shape.agents).map(node).collect();
        nodes.iter().for_each(Node::start);
        let net = Net::new(nodes, ledger.clone(), chance.fork());
        let clock = |_| Arc::new(SimWorld::new(begin, chance.fork()));
        let clocks: Vec<_> = (0..2).map(clock).collect();
        let reconstructors = clocks
            .iter()
            .enumerate()
            .map(|(caller, clock)| reconstructor(&net, caller, clock.clone()))
            .collect();
        Arc::new(Self {
            ledger,
            net,
            clocks,
            reconstructors,
            tokens,
            quorum: schedule.shape.quorum,
            told: Mutex::default(),
            calm: false.into(),
            chance: Mutex::new(chance.fork()),
        })
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

    /// What a mint of this stage asks for.
    pub fn spec(&self, policy: &str, expires: Option<u64>) -> MintSpec {
        spec(self.quorum, policy, expires)
    }
}

fn reconstructor(net: &Arc<Net>, caller: usize, world: Arc<SimWorld>) -> Reconstructor {
    let holders = net.nodes.iter().map(|node| Holder {
        name: format!("s{}", node.place),
        id: people().ids[node.place],
        address: node.place.to_string(),
        site: String::new(),
        vendor: String::new(),
    });
    let settings = Settings {
        deadline: DEADLINE,
        mint_deadline: MINT_DEADLINE,
        ..Settings::default()
    };
    let identity = Box::new(move || Ok(people().callers[caller].clone() as Arc<dyn Identity>));
    let net = net.clone();
    let dial = Box::new(move |_: &Arc<dyn Identity>| net.dial(caller));
    Reconstructor::in_world(identity, holders.collect(), settings, world, dial)
        .expect("a directory without doubles")
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
    if row.epoch != EPOCH {
        return None;
    }
    let (mut y, mut share) = ([0; 32], [0; 32]);
    hmac_sha256(
        &root(agent),
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
