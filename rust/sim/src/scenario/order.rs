//! A token revoked, frozen or thawed by order, by a caller who may and by one who may not.

use std::pin::Pin;
use std::sync::Arc;

use evanesce_quorum::{Ordered as Obeyed, Reconstructor};
use evanesce_wire::message::Command;

use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{Good, Stage};

/// The scenario.
pub struct Ordered;

#[derive(Clone, Copy, Debug)]
struct Order {
    caller: usize,
    token: usize,
    command: Command,
}

impl Scenario for Ordered {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if !chance.chance(1, 4) {
            return;
        }
        for _ in 0..chance.between(1, 3) {
            let one = Order {
                caller: usize::from(chance.chance(1, 10)),
                token: [0, 0, 0, 2][chance.index(4)],
                command: match chance.below(5) {
                    0 => Command::Revoke,
                    1 | 2 => Command::Freeze,
                    _ => Command::Thaw,
                },
            };
            acts.push((chance.below(calm), Arc::new(one)));
        }
    }
}

impl Act for Order {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let good = |ordered: Obeyed| {
                let seats = ordered.seats.into_iter();
                let obeyed = seats.filter(|(.., fault)| fault.is_none());
                Good::Ordered(obeyed.map(|(seat, ..)| seat).collect(), ordered.settled)
            };
            let ask = |of: &Reconstructor, token, done| of.order(vec![token], this.command, done);
            stage.ask(&this, this.caller, this.token, ask, good).await;
        })
    }
}
