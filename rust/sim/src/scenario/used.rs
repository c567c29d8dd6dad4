//! Keys used: MACs, signatures, batches, by one caller or by two at once.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use evanesce_quorum::{Job, Operation, Outcome, OwnedInput};
use evanesce_suite::Output;
use evanesce_token::formula;
use evanesce_token::hash::hmac_sha256;
use evanesce_wire::message::Entry;

use crate::people::people;
use crate::rng::Rng;
use crate::run::{RATED, RATIONED};
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{DEADLINE, Good, Known, Stage};

/// The scenario.
pub struct Used;

/// One use of a key.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    /// By whom.
    pub caller: usize,
    /// Of which of the stage's tokens.
    pub token: usize,
    /// MACs in one opening.
    pub macs: usize,
    /// Signatures in the same.
    pub signatures: usize,
}

impl Scenario for Used {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        for _ in 0..chance.between(1, 6) {
            let one = Use {
                caller: chance.index(2),
                token: [0, 0, 0, 0, 0, 1, 1, 2, RATIONED, RATED][chance.index(10)],
                macs: chance.index(3) + 1,
                signatures: usize::from(chance.chance(1, 8)),
            };
            let at = chance.below(calm);
            acts.push((at, Arc::new(one)));
            // The other caller, for the same token in the same moment.
            if chance.chance(1, 4) {
                let caller = 1 - one.caller;
                acts.push((at, Arc::new(Use { caller, ..one })));
            }
        }
    }
}

const MESSAGE: &[u8] = b"pay 100 to alice";

impl Act for Use {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let known = stage.known(this.token);
            let job = |suite: &str, input| Job::new(suite, input);
            let message = MESSAGE.to_vec();
            let mac = || {
                let message = message.clone();
                job("hmac-sha256", OwnedInput::Mac { message })
            };
            let sign = || {
                let message = message.clone();
                job("ed25519", OwnedInput::Sign { message })
            };
            let macs = (0..this.macs).map(|_| mac());
            let jobs = macs.chain((0..this.signatures).map(|_| sign())).collect();
            let operation = Operation::new(known.token.clone(), jobs);
            let began = stage.ledger.now();
            let coordinator = stage.coordinator(this.caller);
            let asked = coordinator.hear(|of, done| of.submit(operation, done));
            let Some(result) = asked.await else { return };
            let result = result.map(|outcome| judge(&stage, this, &known, &outcome));
            let (act, id) = (format!("{this:?}"), Some(*known.token.id()));
            stage.told(&act, this.caller, id, began, DEADLINE, result);
        })
    }
}

/// No wrong result is released: every MAC is computed again from the roots, every signature verified.
fn judge(stage: &Stage, this: Use, known: &Known, outcome: &Outcome) -> Good {
    let token = &known.token;
    let (mut key, mut mac) = ([0; 32], [0; 32]);
    formula::material(&known.seed, &token.body.header.key, "hmac-sha256", &mut key);
    hmac_sha256(&key, MESSAGE, &mut mac);
    let mut inputs = Vec::new();
    for (n, (output, salt)) in outcome.outputs.iter().zip(&outcome.salts).enumerate() {
        let (action, suite) = match n < this.macs {
            true => ("mac", "hmac-sha256"),
            false => ("sign", "ed25519"),
        };
        let good = match output {
            Output::Public(bytes) if n < this.macs => bytes[..] == mac,
            Output::Public(bytes) => evanesce_suite::find(suite).is_some_and(|suite| {
                suite
                    .verify(&token.public["ed25519"], MESSAGE, bytes)
                    .is_ok()
            }),
            _ => false,
        };
        if !good {
            stage
                .ledger
                .broken(format!("a wrong {action} was released"));
        }
        inputs.push(formula::input_digest(salt, action, suite, &[MESSAGE]));
    }
    let calm = stage.calm.load(Relaxed);
    let chosen = || {
        let mut chance = stage.chance.lock().unwrap_or_else(PoisonError::into_inner);
        chance.chance(1, 16)
    };
    if calm && chosen() {
        receipts(stage, outcome, &inputs);
    }
    if inputs.len() != this.macs + this.signatures {
        stage
            .ledger
            .broken("another number of results than was asked for".into());
    }
    Good::Used(inputs)
}

/// What honest agents promise to have logged can be verified, and is about this very input.
fn receipts(stage: &Stage, outcome: &Outcome, inputs: &[[u8; 32]]) {
    for receipt in &outcome.receipts {
        let agent = people().ids.iter().position(|id| *id == receipt.agent);
        if !agent.is_some_and(|agent| stage.net.nodes[agent].is_honest()) {
            continue;
        }
        let about = |entry: &Entry| {
            let operations = entry.operations.iter().map(|one| one.input);
            operations.eq(inputs.iter().copied())
        };
        if !receipt.verify().is_ok_and(|entry| about(&entry)) {
            stage
                .ledger
                .broken(format!("a receipt of agent {agent:?} does not verify"));
        }
    }
}
