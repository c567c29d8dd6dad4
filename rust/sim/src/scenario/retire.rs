//! A token tombstoned, by a caller who may and by one who may not.

use std::pin::Pin;
use std::sync::Arc;

use evanesce_quorum::{Reconstructor, Retirement};

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{Good, Stage};

/// The scenario.
pub struct Retired;

#[derive(Clone, Copy, Debug)]
struct Retire {
    caller: usize,
    token: usize,
}

impl Scenario for Retired {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if chance.chance(1, 3) {
            let one = Retire {
                caller: usize::from(chance.chance(1, 5)),
                token: chance.index(2),
            };
            acts.push((chance.below(calm), Arc::new(one)));
        }
    }
}

impl Act for Retire {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let good = |retired: Retirement| Good::Retired(retired.tombstoned, retired.dead);
            let ask = |of: &Reconstructor, token, done| of.retire(token, done);
            stage.ask(&this, this.caller, this.token, ask, good).await;
        })
    }
}
