//! Healing as an operator does it (docs/healing.md): one key's files, the command that changes them, and the machine that
//! stops in the middle of it. What survives the machine is the files alone, each replaced as a whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evanesce_agent::{Rerooted, reroot};
use evanesce_quorum::{RepairSpec, ReshareSpec};
use evanesce_secret::on_crucible;
use evanesce_token::{Gate, Row, Token, formula};
use evanesce_wire::Identity;
use std::time::Duration;
use tokio::time::sleep;

use crate::coordinator::{Coordinator, Lifeline};
use crate::ledger::Opening;
use crate::node::{Death, Node};
use crate::ordered::surely_answers;
use crate::people::{EPOCH, KnownRoots, people};
use crate::planted::Planted;
use crate::scenario::Use;
use crate::schedule::Act;
use crate::stage::{DEADLINE, Good, Known, MINT_DEADLINE, Stage, seed, share};

/// Which of the stage's tokens is healed.
pub const HEALED: usize = 3;
/// The epoch of the root that a roll goes to, and of an element that was made anew.
const NEXT: u64 = EPOCH + 1;
/// An agent whose clock was this far ahead, in ms, may find requests ended: they live for a minute.
pub const AHEAD: i64 = 45_000;

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// The same holders, fresh shares.
    Refresh,
    /// Another threshold; with `spare` the agent that was in no quorum has the first seat.
    Reshare { all: bool, spare: bool },
    /// An agent's element is destroyed; its seat is given to itself, with an element made anew, or to the spare agent.
    Repair { agent: usize, spare: bool },
    /// An agent moved to a new root. With `destroy` the old one goes afterwards.
    Roll { agent: usize, destroy: bool },
}

/// One healing, as far as it got.
pub struct Case {
    verb: Verb,
    /// Whether the old token is retired afterwards.
    retires: bool,
    /// What was there in the beginning.
    first: Known,
    /// Seats that would have opened then, had their agents been up, and whether these were a quorum.
    opened: Vec<u32>,
    was_good: bool,
    files: Mutex<Files>,
}

/// The operator's files.
struct Files {
    /// The token's file, and its number on the stage.
    token: (Arc<Token>, usize),
    /// The old token, beside it.
    kept: Option<Arc<Token>>,
    /// A new token that has no file yet (`.healing`).
    noted: Option<(Arc<Token>, usize)>,
    /// When that was written, in ms.
    noted_at: Option<u64>,
    /// The operator was told that all is done.
    done: bool,
}

impl Case {
    /// Before anything is done. Where an element is to be lost, it is.
    pub fn begin(stage: &Stage, verb: Verb, retires: bool) -> Arc<Self> {
        let first = stage.known(HEALED);
        if let Verb::Repair { agent, .. } = verb {
            let node = &stage.net.nodes[agent];
            node.die(Death::Process);
            node.roots.add(NEXT);
            node.roots.destroy(EPOCH);
            if node.disk.is_well() {
                node.start();
            }
        }
        let files = Files {
            token: (first.token.clone(), HEALED),
            kept: None,
            noted: None,
            noted_at: None,
            done: false,
        };
        let seats = 0..first.token.rows.len() as u32;
        let case = Arc::new(Self {
            verb,
            retires,
            opened: seats
                .filter(|seat| opens(stage, &first.token, *seat))
                .collect(),
            was_good: recoverable(stage, &first.token, &first),
            first,
            files: Mutex::new(files),
        });
        let mut heals = stage.heals.lock().unwrap_or_else(PoisonError::into_inner);
        heals.push(case.clone());
        case
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the operator was told that all is done.
    pub fn is_done(&self) -> bool {
        self.files().done
    }

    /// Runs the command, on a machine that stops after so many steps; then judges what is left.
    pub async fn attempt(&self, stage: &Stage, steps: Option<u64>) {
        let life = Lifeline::new(steps);
        let (net, clock) = (&stage.net, stage.clocks[0].clone());
        let coordinator = Coordinator::start(net, 0, clock, life.clone());
        tokio::select! {
            biased;
            () = life.over() => stage.ledger.trace("stop of the operator's machine", 0, 0, String::new),
            _ = self.perform(stage, &coordinator) => {}
        }
        // What it had begun ends with it.
        life.end();
        let mut broken = Vec::new();
        self.judge(&stage.ledger.read().openings, stage, &mut broken);
        for what in broken {
            stage
                .ledger
                .broken(format!("healing loses nothing: {what}"));
        }
    }

    /// `None` where it did not get to its end.
    async fn perform(&self, stage: &Stage, coordinator: &Coordinator) -> Option<()> {
        match self.verb {
            Verb::Refresh | Verb::Reshare { .. } => self.reshare(stage, coordinator).await,
            Verb::Repair { agent, spare } => self.repair(stage, coordinator, agent, spare).await,
            Verb::Roll { agent, destroy } => {
                let node = &stage.net.nodes[agent];
                // It is the agent's own machine.
                node.die(Death::Process);
                let done = self.roll(stage, node, coordinator, destroy);
                if node.disk.is_well() {
                    node.start();
                }
                done
            }
        }
    }

    async fn reshare(&self, stage: &Stage, coordinator: &Coordinator) -> Option<()> {
        let noted = self.files().noted.clone();
        let (new, number) = match noted {
            Some(noted) => noted,
            None => self.remint(stage, coordinator).await?,
        };
        coordinator.life.step().then_some(())?;
        {
            let mut files = self.files();
            if files.token.0.id() != new.id() {
                files.kept = Some(files.token.0.clone());
                files.token = (new, number);
            }
        }
        if self.retires {
            self.retire(stage, coordinator).await?;
        }
        coordinator.life.step().then_some(())?;
        let mut files = self.files();
        files.noted = None;
        files.done = true;
        Some(())
    }

    /// The new token, durably noted.
    async fn remint(
        &self,
        stage: &Stage,
        coordinator: &Coordinator,
    ) -> Option<(Arc<Token>, usize)> {
        let old = self.files().token.0.clone();
        let (id, began) = (*old.id(), stage.ledger.now());
        let spec = self.spec(old);
        let asked = coordinator.hear(|of, done| of.reshare(spec, done)).await?;
        let result = asked.map(|healed| Arc::new(healed.token));
        let told = result.as_ref().map(|token| Good::Reshared(token.clone()));
        let told = told.map_err(Clone::clone);
        let act = format!("{:?}", self.verb);
        stage.told(&act, 0, Some(id), began, MINT_DEADLINE, told);
        let new = result.ok()?;
        let number = stage.keep(Known {
            token: new.clone(),
            ..self.first.clone()
        });
        if stage.planted == Planted::RetiresFirst && self.retires {
            self.retire(stage, coordinator).await?;
        }
        coordinator.life.step().then_some(())?;
        let mut files = self.files();
        files.noted = Some((new.clone(), number));
        files.noted_at.get_or_insert(stage.ledger.now());
        Some((new, number))
    }

    fn spec(&self, token: Arc<Token>) -> ReshareSpec {
        let old = &token.body.header.quorum;
        let (mut quorum, mut seats) = (None, BTreeMap::new());
        if let Verb::Reshare { all, spare } = self.verb {
            let names = old.seats();
            if spare {
                seats.insert(names[0].to_owned(), format!("s{}", names.len()));
            }
            let t = if all { names.len() } else { 2 };
            let text = format!("{t} of ({})", names.join(", "));
            quorum = Some(Gate::parse(&text).expect("a quorum"));
        }
        ReshareSpec {
            token,
            quorum,
            seats,
            policy: None,
            expires: None,
            policy_check: Box::new(|_| Ok(Vec::new())),
        }
    }

    async fn retire(&self, stage: &Stage, coordinator: &Coordinator) -> Option<()> {
        let (token, began) = (self.first.token.clone(), stage.ledger.now());
        let id = *token.id();
        let asked = coordinator.hear(|of, done| of.retire(token, done)).await?;
        let dead = asked.as_ref().is_ok_and(|retired| retired.dead);
        let told = asked.map(|retired| Good::Retired(retired.tombstoned, retired.dead));
        stage.told("Retire the old", 0, Some(id), began, DEADLINE, told);
        dead.then_some(())
    }

    async fn repair(
        &self,
        stage: &Stage,
        coordinator: &Coordinator,
        agent: usize,
        spare: bool,
    ) -> Option<()> {
        let token = self.files().token.0.clone();
        let (id, began) = (*token.id(), stage.ledger.now());
        let to = if spare { token.rows.len() } else { agent };
        let spec = RepairSpec {
            token,
            seat: format!("s{agent}"),
            holder: format!("s{to}"),
            even_if_it_sits: false,
        };
        let asked = coordinator.hear(|of, done| of.repair(spec, done)).await?;
        let result = asked.map(|healed| Arc::new(healed.token));
        let told = result.as_ref().map(|_| Good::Done).map_err(Clone::clone);
        let act = format!("{:?}", self.verb);
        stage.told(&act, 0, Some(id), began, MINT_DEADLINE, told);
        self.replace(stage, coordinator, result.ok()?)?;
        coordinator.life.step().then_some(())?;
        self.files().done = true;
        Some(())
    }

    /// The steps of the agent's own roll (`rust/agent/src/roll.rs`), whose file is here one of the operator's.
    fn roll(
        &self,
        stage: &Stage,
        node: &Node,
        coordinator: &Coordinator,
        destroy: bool,
    ) -> Option<()> {
        coordinator.life.step().then_some(())?;
        node.roots.add(NEXT);
        let token = self.files().token.0.clone();
        let mine = |row: &Row| row.holder == people().ids[node.place] && row.epoch != NEXT;
        let mut rolled = Token::clone(&token);
        let element = KnownRoots(node.roots.clone());
        for (row, seat) in rolled.rows.iter_mut().zip(0..).filter(|(row, _)| mine(row)) {
            let (from, mut correction) = (row.epoch, row.correction);
            let fate =
                on_crucible(|| reroot(&element, &token.body, seat, (from, NEXT), &mut correction));
            if fate != Rerooted::Good {
                return None;
            }
            let statement = formula::row_statement(token.id(), seat, NEXT, &correction);
            let signature = node.identity.sign(&statement).ok()?;
            *row = Row {
                holder: row.holder,
                epoch: NEXT,
                correction,
                signature,
            };
        }
        self.replace(stage, coordinator, Arc::new(rolled))?;
        if destroy {
            coordinator.life.step().then_some(())?;
            node.roots.destroy(EPOCH);
        }
        coordinator.life.step().then_some(())?;
        self.files().done = true;
        Some(())
    }

    /// Another row takes its place in the token's file.
    fn replace(&self, stage: &Stage, coordinator: &Coordinator, token: Arc<Token>) -> Option<()> {
        coordinator.life.step().then_some(())?;
        let number = stage.keep(Known {
            token: token.clone(),
            ..self.first.clone()
        });
        self.files().token = (token, number);
        Some(())
    }

    /// When everything is well again: the same command goes on to its end where all that it needs is there, and the
    /// key that the file opens signs.
    pub async fn in_the_calm(&self, stage: &Arc<Stage>) {
        let here = match self.verb {
            Verb::Roll { agent, .. } => stage.net.nodes[agent].is_up(),
            _ => true,
        };
        if !self.is_done() && here {
            self.attempt(stage, None).await;
            // An agent that was moved to another root has started, and hears its peers first.
            sleep(Duration::from_millis(500)).await;
        }
        let fit = |node: &Arc<Node>| {
            let of_this_time = node.farthest_ahead() <= AHEAD && surely_answers(stage, node);
            node.is_up() && node.is_honest() && of_this_time
        };
        if stage.net.nodes.iter().all(fit) && self.was_good && !self.is_done() {
            let what = format!("{:?} does not go on in the calm", self.verb);
            stage.ledger.broken(what);
        }
        let token = self.files().token.1;
        let one = Use {
            caller: 0,
            token,
            macs: 1,
            signatures: 1,
        };
        one.play(stage.clone()).await;
    }

    /// What the operator has left opens: the old token, or the new one; and the old one was retired only once the new one
    /// was durable.
    pub fn judge(&self, seen: &[Opening], stage: &Stage, broken: &mut Vec<String>) {
        let (held, noted_at) = {
            let files = self.files();
            let noted = files.noted.as_ref().map(|(token, _)| token.clone());
            let held = [Some(files.token.0.clone()), files.kept.clone(), noted];
            (held, files.noted_at)
        };
        let held: Vec<Arc<Token>> = held.into_iter().flatten().collect();
        let good = |token: &Arc<Token>| recoverable(stage, token, &self.first);
        if self.was_good && !held.iter().any(good) {
            broken.push(format!("after {:?} no file opens the key", self.verb));
        }
        let begin = &self.first.token;
        if let (Verb::Repair { .. } | Verb::Roll { .. }, Some(token)) = (self.verb, held.first()) {
            let lost = self.opened.iter();
            for seat in lost.filter(|seat| !opens(stage, token, **seat)) {
                broken.push(format!("after {:?} seat {seat} is lost", self.verb));
            }
        }
        for opening in seen {
            let Some((entry, ..)) = &opening.entry else {
                continue;
            };
            let retired = opening.verb == crate::ledger::Verb::Retire && !opening.good.is_empty();
            if retired && entry.token == *begin.id() && noted_at.is_none_or(|at| opening.at < at) {
                broken.push(format!(
                    "agent {} retired the old token before the new one was durable",
                    opening.agent
                ));
            }
        }
    }
}

/// Whether a seat's holder is honest, has the root, has not tombstoned the token, and so regenerates its share.
pub fn opens(stage: &Stage, token: &Token, seat: u32) -> bool {
    let row = &token.rows[seat as usize];
    let agent = people().ids.iter().position(|id| *id == row.holder);
    let node = agent.and_then(|agent| stage.net.nodes.get(agent));
    node.is_some_and(|node| {
        let has_it = node.is_honest() && node.roots.has(row.epoch);
        has_it && !node.has_retired(token.id()) && share(token, seat).is_some()
    })
}

/// Whether the seats that open give the same key.
fn recoverable(stage: &Stage, token: &Token, key: &Known) -> bool {
    let found = seed(token, |seat| opens(stage, token, seat));
    let (header, before) = (&token.body.header, &key.token.body.header);
    found == Some(key.seed) && header.key == before.key && token.public == key.token.public
}
