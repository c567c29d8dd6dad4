//! A key healed while things go wrong, by an operator whose machine stops at any point, and who runs the same command again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::heals::{Case, HEALED, Verb};
use crate::people::AGENTS;
use crate::rng::Rng;
use crate::scenario::Use;
use crate::schedule::{Act, Shape};
use crate::stage::Stage;

/// Steps of the longest healing: a machine that is to stop stops within these.
const STEPS: u64 = 80;

#[derive(Clone, Debug)]
struct Heal {
    verb: Verb,
    retires: bool,
    /// After how many steps the operator's machine stops, time after time; the last time it does not.
    stops: Vec<u64>,
    /// Until the operator tries again, in ms.
    apart: u64,
}

/// Adds one to a schedule, or none. Answers whether it did: then there is an agent that is in no quorum yet.
pub fn draw(
    chance: &mut Rng,
    shape: &Shape,
    calm: u64,
    acts: &mut Vec<(u64, Arc<dyn Act>)>,
) -> bool {
    if !chance.chance(1, 4) {
        return false;
    }
    let agent = chance.index(shape.agents);
    let spare = shape.agents < AGENTS && chance.chance(1, 2);
    let verb = match chance.below(6) {
        0 | 1 => Verb::Refresh,
        2 | 3 => Verb::Reshare {
            all: chance.chance(1, 3),
            spare,
        },
        4 => Verb::Repair { agent, spare },
        _ => Verb::Roll {
            agent,
            destroy: chance.chance(1, 2),
        },
    };
    let steps = match verb {
        Verb::Roll { .. } => 5,
        _ => STEPS,
    };
    let count = [0, 1, 1, 2][chance.index(4)];
    let heal = Heal {
        verb,
        retires: chance.chance(1, 2),
        stops: (0..count).map(|_| chance.below(steps)).collect(),
        apart: chance.below(400),
    };
    acts.push((chance.below(calm), Arc::new(heal)));
    // The key goes on being used.
    for caller in 0..2 {
        let one = Use {
            caller,
            token: HEALED,
            macs: 1,
            signatures: 0,
        };
        acts.push((chance.below(calm), Arc::new(one)));
    }
    true
}

impl Act for Heal {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let case = Case::begin(&stage, this.verb, this.retires);
            for steps in this.stops.into_iter().map(Some).chain([None]) {
                case.attempt(&stage, steps).await;
                if case.is_done() || stage.ledger.now() >= stage.last_fault {
                    break;
                }
                sleep(Duration::from_millis(this.apart)).await;
            }
        })
    }
}
