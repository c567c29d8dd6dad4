//! A key minted while things go wrong.

use std::pin::Pin;
use std::sync::Arc;

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{Good, MINT_DEADLINE, Stage};

/// The scenario.
pub struct Minted;

#[derive(Clone, Copy, Debug)]
struct Mint {
    caller: usize,
}

impl Scenario for Minted {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if chance.chance(1, 6) {
            let caller = usize::from(chance.chance(1, 10));
            acts.push((chance.below(calm), Arc::new(Mint { caller })));
        }
    }
}

impl Act for Mint {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let began = stage.ledger.now();
            let (coordinator, spec) = (stage.coordinator(this.caller), stage.spec("", None));
            let asked = coordinator.hear(|of, done| of.mint(spec, done));
            let Some(result) = asked.await else { return };
            let result = result.map(|minted| Good::Minted(Box::new(minted)));
            stage.told(
                &format!("{this:?}"),
                this.caller,
                None,
                began,
                MINT_DEADLINE,
                result,
            );
        })
    }
}
