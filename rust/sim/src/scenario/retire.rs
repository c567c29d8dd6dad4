//! A token tombstoned, by a caller who may and by one who may not.

use std::pin::Pin;
use std::sync::Arc;

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{DEADLINE, Good, Stage};

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
            let token = stage.tokens[this.token].token.clone();
            let id = Some(*token.id());
            let began = stage.ledger.now();
            let coordinator = stage.coordinator(this.caller);
            let asked = coordinator.hear(|of, done| of.retire(token, done));
            let Some(result) = asked.await else { return };
            let result = result.map(|retired| Good::Retired(retired.tombstoned, retired.dead));
            stage.told(
                &format!("{this:?}"),
                this.caller,
                id,
                began,
                DEADLINE,
                result,
            );
        })
    }
}
