//! Every seat asked for a word, with and without an opening.

use std::pin::Pin;
use std::sync::Arc;

use evanesce_quorum::{CheckTable, Reconstructor};

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{Good, Stage};

/// The scenario.
pub struct Checked;

#[derive(Clone, Copy, Debug)]
struct Check {
    caller: usize,
    token: usize,
    open: bool,
}

impl Scenario for Checked {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if chance.chance(1, 6) {
            let one = Check {
                caller: chance.index(2),
                token: chance.index(2),
                open: chance.chance(1, 2),
            };
            acts.push((chance.below(calm), Arc::new(one)));
        }
    }
}

impl Act for Check {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let good = |table: CheckTable| {
                let good = table.rows.iter().filter(|row| row.fault.is_none());
                Good::Checked(good.map(|row| row.seat_number).collect())
            };
            let ask = |of: &Reconstructor, token, done| of.check(token, this.open, done);
            stage.ask(&this, this.caller, this.token, ask, good).await;
        })
    }
}
