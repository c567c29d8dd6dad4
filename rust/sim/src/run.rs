//! One schedule, from its seed to its judgement.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Once, PoisonError};
use std::time::Duration;

use evanesce_agent::Commit;
use evanesce_quorum::Minted;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::invariants::{Evidence, INVARIANTS};
use crate::node::{Death, Node};
use crate::people::people;
use crate::planted::Planted;
use crate::rng::Rng;
use crate::scenario::Use;
use crate::schedule::{Act, Fault, SHAPES, Schedule};
use crate::stage::{Known, Quota, Stage, seed};
use crate::world::BEGIN;

/// What came of a schedule.
pub struct Verdict {
    /// The schedule.
    pub schedule: Schedule,
    /// Invariants that were broken, each with what was found.
    pub broken: Vec<String>,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
    /// The same as a number, always.
    pub print: u64,
    /// What was asked and answered, for a summary: successes and failures.
    pub told: (usize, usize),
    /// Healings that got to their end, and the others.
    pub healed: (usize, usize),
}

/// From the begin of the last fault to its end, in ms, at most.
const LONGEST: u64 = 1600;
/// From the end of the last fault to the calm, in ms: time for what was held up, and for connections.
const SETTLING: u64 = 1500;

/// The same where agents have peers, in ms: an exchange that was lost is given up after 5 s, and then all that was ordered
/// goes round.
const COMPARING: u64 = 8000;

/// Plays the schedule of a seed, and keeps its trace if wanted.
pub fn play(seed: u64, planted: Planted, trace: bool) -> Verdict {
    let schedule = Schedule::draw(seed, planted);
    let tokens = tokens(schedule.shape_number);
    planted.arm();
    hear_panics();
    let runtime = runtime();
    let mut verdict = runtime.block_on(perform(schedule, tokens, trace));
    // What is under way ends with the runtime.
    drop(runtime);
    Planted::None.arm();
    verdict.broken.extend(PANICS.take());
    verdict
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = RefCell::default();
}

/// A panic of a task or of a crucible job goes no further than that; here it breaks the schedule.
fn hear_panics() {
    static HEARD: Once = Once::new();
    HEARD.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(format!("a panic: {panic}")));
            usual(panic);
        }));
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads or sockets")
}

async fn perform(schedule: Schedule, tokens: Vec<Known>, trace: bool) -> Verdict {
    let stage = Stage::build(&schedule, tokens, trace);
    let begin = Instant::now();
    let at = |ms: u64| begin + Duration::from_millis(ms);
    let mut acts = JoinSet::new();
    for (ms, act) in &schedule.acts {
        let (act, stage, when) = (act.clone(), stage.clone(), at(*ms));
        acts.spawn(async move {
            sleep_until(when).await;
            act.play(stage).await;
        });
    }
    for (number, (ms, fault)) in schedule.faults.iter().enumerate() {
        let (fault, stage, when) = (*fault, stage.clone(), at(*ms));
        let chance = Rng::new(schedule.seed.wrapping_add(number as u64));
        tokio::spawn(async move {
            sleep_until(when).await;
            befall(fault, &stage, chance).await;
        });
    }
    // A process that its disk has ended in the middle of a write does nothing more; its connections break.
    for node in stage.net.nodes.iter().cloned() {
        tokio::spawn(async move {
            loop {
                node.disk.died().await;
                node.die(Death::Process);
            }
        });
    }
    sleep_until(at(schedule.calm + LONGEST)).await;
    calm(&stage, &schedule);
    let settling = match schedule.peers {
        Some(_) => COMPARING,
        None => SETTLING,
    };
    sleep_until(at(schedule.calm + LONGEST + settling)).await;
    stage.calm.store(true, Relaxed);
    // First: roots that go here are then not there for what follows.
    for case in stage.heals() {
        case.in_the_calm(&stage).await;
    }
    for caller in 0..2 {
        for token in [0, 1, RATIONED] {
            let one = Use {
                caller,
                token,
                macs: 1,
                signatures: 0,
            };
            one.play(stage.clone()).await;
        }
    }
    // Whatever is asked is answered: an act that has not ended a second after the longest deadline never will.
    let patience = Duration::from_secs(7);
    let all = async { while acts.join_next().await.is_some() {} };
    let unanswered = tokio::time::timeout(patience, all).await.is_err();
    let verdict = judge(schedule, &stage, unanswered);
    for node in &stage.net.nodes {
        node.let_go();
    }
    verdict
}

/// All faults end, but for agents that are lost.
fn calm(stage: &Stage, schedule: &Schedule) {
    stage.net.calm();
    for clock in &stage.clocks {
        clock.set_off(0);
    }
    for node in &stage.net.nodes {
        let well = node.disk.is_well();
        node.disk.set_full(false);
        node.disk.set_unsyncable(false);
        node.disk.die_in(None, false);
        node.roots.set_away(false);
        node.world.set_off(0);
        node.pause(false);
        if schedule.lost.contains(&node.place) || !well {
            node.die(Death::Process);
        }
        if !schedule.lost.contains(&node.place) {
            node.start();
        }
    }
    stage.ledger.trace("calm", 0, 0, String::new);
}

async fn befall(fault: Fault, stage: &Stage, mut chance: Rng) {
    let nodes = &stage.net.nodes;
    let ms = Duration::from_millis;
    let number = chance.clone().draw();
    stage
        .ledger
        .trace("fault", 0, number, || format!("{fault:?}"));
    match fault {
        Fault::Death {
            agent,
            death,
            down,
            rollback,
        } => {
            let node = &nodes[agent];
            node.die(death);
            if rollback {
                node.roll_back();
            }
            sleep(ms(down)).await;
            start(node);
        }
        Fault::DeathInWrite {
            agent,
            death,
            writes,
            whole,
            down,
        } => {
            let node = &nodes[agent];
            node.disk.die_in(Some(writes), whole);
            sleep(ms(200)).await;
            // It may not have written that often.
            node.die(death);
            sleep(ms(down)).await;
            start(node);
        }
        Fault::Snapshot { agent } => nodes[agent].take_snapshot(),
        Fault::Pause { agent, time } => {
            nodes[agent].pause(true);
            sleep(ms(time)).await;
            nodes[agent].pause(false);
        }
        Fault::Partition {
            caller,
            agent,
            time,
        } => {
            stage
                .net
                .change(caller, agent, |weather| weather.held = true);
            sleep(ms(time)).await;
            stage
                .net
                .change(caller, agent, |weather| weather.held = false);
        }
        Fault::Weather {
            caller,
            agent,
            slow,
            twice,
            lost,
            cut,
            altered,
            time,
        } => {
            stage.net.change(caller, agent, |weather| {
                (weather.slow, weather.twice, weather.lost) = (slow, twice, lost);
                (weather.cut, weather.altered) = (cut, altered);
            });
            sleep(ms(time)).await;
            stage.net.change(caller, agent, |weather| {
                let held = weather.held;
                *weather = Default::default();
                weather.held = held;
            });
        }
        Fault::SentAgain => stage.net.send_again(&mut chance),
        Fault::AgentClock { agent, ms } => nodes[agent].turn_clock(ms),
        Fault::CallerClock { caller, ms } => stage.clocks[caller].set_off(ms),
        Fault::CallerDeath { caller } => stage.restart(caller),
        Fault::Full { agent, time } => {
            nodes[agent].disk.set_full(true);
            sleep(ms(time)).await;
            nodes[agent].disk.set_full(false);
        }
        Fault::Unsyncable { agent, time } => {
            let node = &nodes[agent];
            node.disk.set_unsyncable(true);
            sleep(ms(time)).await;
            node.disk.set_unsyncable(false);
            // Only a start makes sure of what is on the disk.
            node.die(Death::Process);
            start(node);
        }
        Fault::ElementAway { agent, time } => {
            nodes[agent].roots.set_away(true);
            sleep(ms(time)).await;
            nodes[agent].roots.set_away(false);
        }
    }
}

/// Starts an agent, if its disk lets it: otherwise the calm does.
fn start(node: &Arc<Node>) {
    if node.disk.is_well() {
        node.start();
    }
}

fn judge(schedule: Schedule, stage: &Stage, unanswered: bool) -> Verdict {
    let told = std::mem::take(&mut *stage.told.lock().unwrap_or_else(PoisonError::into_inner));
    let mut seen = stage.ledger.read();
    let mut broken: Vec<String> = seen.broken.drain(..).collect();
    if unanswered {
        broken.push("an act was never answered".into());
    }
    let evidence = Evidence {
        schedule: &schedule,
        stage,
        seen: &seen,
        told: &told,
        tokens: [&stage.tokens[..], &stage.healed()[..]].concat(),
    };
    for (name, invariant) in INVARIANTS {
        let mut found = Vec::new();
        invariant(&evidence, &mut found);
        broken.extend(found.into_iter().map(|what| format!("{name}: {what}")));
    }
    let heals = stage.heals();
    let done = heals.iter().filter(|case| case.is_done()).count();
    let good = told.iter().filter(|told| told.result.is_ok()).count();
    Verdict {
        broken,
        trace: seen.trace.take().unwrap_or_default(),
        print: seen.print,
        told: (good, told.len() - good),
        healed: (done, heals.len() - done),
        schedule,
    }
}

/// The place of a token of which each agent permits so many operations.
pub const RATIONED: usize = 4;
const LASTING: Quota = Quota {
    all: 4,
    caller: 4,
    second: 4,
};
/// The place of one of which each permits so many to each caller, and so many a second.
pub const RATED: usize = 7;
const FLEETING: Quota = Quota {
    all: 8,
    caller: 4,
    second: 2,
};
const RATE: &str =
    "@limits(\"caller agent 4; agent 2 per 1s\") permit(principal, action, resource);";
const RATION: &str = "@limits(\"agent 4\") permit(principal, action, resource);";
/// The place of a token of which nothing is done that carol has not approved.
pub const APPROVED: usize = 6;

fn approved() -> String {
    use evanesce_wire::Identity;
    let id = |key: &crate::people::Key| hex::encode(key.caller_id());
    let (carol, alice) = (id(&people().approver), id(&people().callers[0]));
    // Who asks is named too, and cannot approve it.
    format!(
        "@approvers(\"carol = {carol}, alice = {alice}\") \
         permit(principal == Caller::\"alice\", action == Action::\"mac\", resource) \
         when {{ context.approvals.count > 0 }};"
    )
}

/// The place of a token that alice may let others use.
pub const GRANTED: usize = 5;
const DELEGABLE: &str =
    "@delegable(\"1\") permit(principal == Caller::\"alice\", action, resource);";
const ONLY_ALICE: &str = "permit(principal == Caller::\"alice\", action, resource);";

thread_local! {
    static TOKENS: RefCell<HashMap<usize, Vec<Known>>> = RefCell::default();
}

/// Tokens of a shape: one for everybody, one that expires two seconds after the begin, one for alice alone, one that
/// is healed, one that may be used so often, one of alice's that she may grant, one that nobody
/// uses without an approval, and one that each may use so often, and both together so often a second. Minted once each by the real mint, with all agents well; agents keep nothing of a token, so that nothing is hidden by that.
fn tokens(shape: usize) -> Vec<Known> {
    if let Some(tokens) = TOKENS.with_borrow(|tokens| tokens.get(&shape).cloned()) {
        return tokens;
    }
    let schedule = Schedule {
        seed: 0,
        shape: &SHAPES[shape],
        shape_number: shape,
        commit: Commit::Process,
        liars: Vec::new(),
        lost: Vec::new(),
        spare: false,
        peers: None,
        faults: Vec::new(),
        acts: Vec::new(),
        calm: 0,
        planted: Planted::None,
    };
    let made = runtime().block_on(async {
        let stage = Stage::build(&schedule, Vec::new(), false);
        let soon = Some(BEGIN / 1000 + 2);
        let mut made = Vec::new();
        for (policy, expires, permits, quota) in [
            ("", None, &[0, 1][..], None),
            ("", soon, &[0, 1], None),
            (ONLY_ALICE, None, &[0], None),
            ("", None, &[0, 1], None),
            (RATION, None, &[0, 1], Some(LASTING)),
            (DELEGABLE, None, &[0], None),
            (&approved(), None, &[0], None),
            (RATE, None, &[0, 1], Some(FLEETING)),
        ] {
            let (coordinator, spec) = (stage.coordinator(0), stage.spec(policy, expires));
            let asked = coordinator.hear(|of, done| of.mint(spec, done));
            let minted: Minted = asked.await.expect("an answer").expect("a mint in calm");
            let token = Arc::new(minted.token);
            let seed = seed(&token, |_| true).expect("the seed of its anchor");
            made.push(Known {
                token,
                seed,
                permits,
                quota,
                delegable: policy == DELEGABLE,
            });
        }
        made
    });
    TOKENS.with_borrow_mut(|tokens| tokens.insert(shape, made.clone()));
    made
}
