//! What will happen, drawn from a seed before anything does: who takes part, which faults befall whom and when, and what
//! is asked meanwhile.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use evanesce_agent::Commit;

use crate::node::Death;
use crate::people::{AGENTS, as_asker};
use crate::planted::Planted;
use crate::rng::Rng;
use crate::scenario::{SCENARIOS, heal};
use crate::stage::Stage;

/// A quorum.
#[derive(Debug)]
pub struct Shape {
    /// As people write it; seats are called as their holders.
    pub quorum: &'static str,
    /// How many agents there are.
    pub agents: usize,
}

/// Quorums, the cheaper ones more often.
pub const SHAPES: [Shape; 4] = [
    Shape {
        quorum: "2 of (s0, s1, s2)",
        agents: 3,
    },
    Shape {
        quorum: "2 of (s0, s1, s2, s3)",
        agents: 4,
    },
    Shape {
        quorum: "3 of (s0, s1, s2, s3, s4)",
        agents: 5,
    },
    Shape {
        quorum: "2 of (s0, 2 of (s1, s2, s3))",
        agents: 4,
    },
];

/// What befalls somebody. Times are in ms.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// An agent's process ends and starts again after a time, on a disk that may have gone back to the last copy of it.
    Death {
        agent: usize,
        death: Death,
        down: u64,
        rollback: bool,
    },
    /// The same in the middle of one of its next writes, which may be `whole` for all that.
    DeathInWrite {
        agent: usize,
        death: Death,
        writes: u64,
        whole: bool,
        down: u64,
    },
    /// An agent's disk is copied.
    Snapshot { agent: usize },
    /// An agent's process stands still.
    Pause { agent: usize, time: u64 },
    /// Nothing passes between a caller and an agent.
    Partition {
        caller: usize,
        agent: usize,
        time: u64,
    },
    /// Messages are slow, twice there, lost, cut off or altered; chances out of 1000.
    Weather {
        caller: usize,
        agent: usize,
        slow: u64,
        twice: u64,
        lost: u64,
        cut: u64,
        altered: u64,
        time: u64,
    },
    /// A request that passed before is sent again.
    SentAgain,
    /// An agent's clock jumps.
    AgentClock { agent: usize, ms: i64 },
    /// A caller's does.
    CallerClock { caller: usize, ms: i64 },
    /// A caller's process ends, and starts again.
    CallerDeath { caller: usize },
    /// An agent's disk is full.
    Full { agent: usize, time: u64 },
    /// An agent's disk does not sync, until its next start.
    Unsyncable { agent: usize, time: u64 },
    /// An agent's element does not answer.
    ElementAway { agent: usize, time: u64 },
}

/// Something that is asked for. Whoever adds a verb writes one of these and a [`Scenario`](crate::scenario::Scenario).
pub trait Act: Debug + Send + Sync {
    /// Plays it to its end, and notes what was told.
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// One schedule.
#[derive(Debug)]
pub struct Schedule {
    /// What it was drawn from.
    pub seed: u64,
    /// Who takes part.
    pub shape: &'static Shape,
    /// Which shape, for tokens made before.
    pub shape_number: usize,
    /// When agents sync.
    pub commit: Commit,
    /// Agents that lie.
    pub liars: Vec<usize>,
    /// Agents that end for good before the calm.
    pub lost: Vec<usize>,
    /// Whether there is one agent more, in no quorum yet.
    pub spare: bool,
    /// Where agents are one another's peers: how often each asks each, in ms.
    pub peers: Option<u64>,
    /// Faults by time.
    pub faults: Vec<(u64, Fault)>,
    /// Acts by time.
    pub acts: Vec<(u64, Arc<dyn Act>)>,
    /// When all faults are over.
    pub calm: u64,
    /// A fault that is there on purpose.
    pub planted: Planted,
}

impl Schedule {
    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.shape.agents + usize::from(self.spare)
    }

    /// Whether answers are altered on their way: then a word is worth nothing.
    pub fn alters(&self) -> bool {
        let altered =
            |fault: &Fault| matches!(fault, Fault::Weather { altered, .. } if *altered > 0);
        self.faults.iter().any(|(_, fault)| altered(fault))
    }

    /// Draws one.
    pub fn draw(seed: u64, planted: Planted) -> Self {
        let mut chance = Rng::new(seed);
        let shape_number = [0, 0, 0, 0, 0, 1, 2, 3][chance.index(8)];
        let shape = &SHAPES[shape_number];
        let agents = shape.agents;
        let commit = match chance.chance(1, 2) {
            true => Commit::Process,
            false => Commit::Power,
        };
        let some = |chance: &mut Rng, part: u64| -> Vec<usize> {
            let most = chance.index(2) + 1;
            let mut some: Vec<usize> = (0..agents).filter(|_| chance.chance(part, 100)).collect();
            some.truncate(most);
            some
        };
        let liars = some(&mut chance, 6);
        let lost = some(&mut chance, 12);
        let calm = chance.between(200, 3000);
        let count = match chance.chance(1, 8) {
            true => 0,
            false => chance.between(1, 10),
        };
        let mut faults: Vec<(u64, Fault)> = (0..count)
            .map(|_| (chance.below(calm), fault(&mut chance, agents)))
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        let mut acts = Vec::new();
        for scenario in SCENARIOS {
            scenario.draw(&mut chance, calm, &mut acts);
        }
        let healed = heal::draw(&mut chance, shape, calm, &mut acts);
        acts.sort_by_key(|(at, _)| *at);
        let peers = match chance.chance(1, 4) {
            true => Some([500, 1000, 2000, 2000][chance.index(4)]),
            false => None,
        };
        if peers.is_some() {
            for _ in 0..chance.between(0, 6) {
                between_peers(&mut chance, agents, calm, &mut faults);
            }
            faults.sort_by_key(|(at, _)| *at);
        }
        Self {
            seed,
            shape,
            shape_number,
            commit,
            liars,
            lost,
            spare: healed && agents < AGENTS,
            peers,
            faults,
            acts,
            calm,
            planted,
        }
    }
}

/// Adds what befalls agents that compare with one another: they do not hear each other, and go back to an earlier day.
fn between_peers(chance: &mut Rng, agents: usize, calm: u64, faults: &mut Vec<(u64, Fault)>) {
    let (one, other) = (chance.index(agents), chance.index(agents));
    let time = chance.between(20, 1500);
    let at = chance.below(calm);
    let mut add = |at: u64, fault: Fault| faults.push((at, fault));
    match chance.below(6) {
        0 | 1 => {
            for (asks, agent) in [(one, other), (other, one)] {
                let caller = as_asker(asks);
                let fault = Fault::Partition {
                    caller,
                    agent,
                    time,
                };
                add(at, fault);
            }
        }
        2 => add(
            at,
            Fault::Weather {
                caller: as_asker(one),
                agent: other,
                slow: chance.below(600),
                twice: chance.below(900),
                lost: chance.below(300),
                cut: chance.below(300),
                altered: 0,
                time,
            },
        ),
        _ => {
            let (down, rollback) = (chance.below(300), chance.chance(2, 3));
            let death = Death::Process;
            add(at / 2, Fault::Snapshot { agent: one });
            let agent = one;
            let fault = Fault::Death {
                agent,
                death,
                down,
                rollback,
            };
            add(at, fault);
        }
    }
}

fn fault(chance: &mut Rng, agents: usize) -> Fault {
    let (agent, caller) = (chance.index(agents), chance.index(2));
    let time = chance.between(20, 1500);
    let death = match chance.chance(1, 2) {
        true => Death::Process,
        false => Death::Power,
    };
    let jump = |chance: &mut Rng| {
        let span = [3, 40, 400, 5000][chance.index(4)] * 1000;
        chance.below(2 * span) as i64 - span as i64
    };
    match chance.below(17) {
        0..=2 => Fault::Death {
            agent,
            death,
            down: chance.between(0, 800),
            rollback: chance.chance(1, 4),
        },
        3 | 4 => Fault::DeathInWrite {
            agent,
            death,
            writes: chance.between(0, 6),
            whole: chance.chance(1, 3),
            down: chance.between(0, 800),
        },
        5 => Fault::Snapshot { agent },
        6 => Fault::Pause { agent, time },
        7 => Fault::Partition {
            caller,
            agent,
            time,
        },
        8..=10 => {
            let of = |chance: &mut Rng, most: u64| match chance.chance(1, 3) {
                true => chance.below(most),
                false => 0,
            };
            Fault::Weather {
                caller,
                agent,
                slow: of(chance, 600),
                twice: of(chance, 900),
                lost: of(chance, 300),
                cut: of(chance, 300),
                altered: of(chance, 500),
                time,
            }
        }
        11 => Fault::SentAgain,
        12 => Fault::AgentClock {
            agent,
            ms: jump(chance),
        },
        13 => Fault::CallerClock {
            caller,
            ms: jump(chance),
        },
        14 => match chance.chance(1, 2) {
            true => Fault::Full { agent, time },
            false => Fault::Unsyncable { agent, time },
        },
        15 => Fault::CallerDeath { caller },
        _ => Fault::ElementAway { agent, time },
    }
}
