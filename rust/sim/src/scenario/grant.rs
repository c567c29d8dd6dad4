//! One caller lets another ask in its place, so often, until then; it asks within that and beyond it, until the grant is revoked.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evanesce_quorum::{Job, Operation, OwnedInput};
use evanesce_token::formula;
use evanesce_wire::Identity;
use evanesce_wire::grant::{Grant, Revocation, Signed};
use tokio::time::sleep;

use crate::people::people;
use crate::rng::Rng;
use crate::run::GRANTED;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{DEADLINE, Good, Stage};
use crate::world::BEGIN;

/// The scenario.
pub struct Granted;

#[derive(Clone, Debug)]
struct Delegate {
    /// Who gives it; the other one asks. The policy permits the first caller alone.
    grantor: usize,
    count: u64,
    /// Seconds from the begin.
    expires: u64,
    nonce: u64,
    /// What is asked under it: how long after what came before, in ms, and whether it is covered.
    uses: Vec<(u64, bool)>,
    /// After which of these it is revoked.
    revoked: Option<usize>,
}

impl Scenario for Granted {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if !chance.chance(1, 8) {
            return;
        }
        let one = Delegate {
            grantor: usize::from(chance.chance(1, 8)),
            count: chance.between(1, 3),
            expires: [2, 3600][usize::from(chance.chance(4, 5))],
            nonce: chance.draw(),
            uses: (0..chance.between(2, 5))
                .map(|_| (chance.below(600), !chance.chance(1, 8)))
                .collect(),
            revoked: chance.chance(1, 2).then(|| chance.index(3)),
        };
        acts.push((chance.below(calm), Arc::new(one)));
    }
}

impl Act for Delegate {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = self.clone();
        Box::pin(async move { this.perform(&stage).await })
    }
}

impl Delegate {
    async fn perform(self, stage: &Arc<Stage>) {
        let (from, to) = (&people().callers[self.grantor], 1 - self.grantor);
        let known = stage.known(GRANTED);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.nonce.to_be_bytes());
        let grant = Grant {
            token: *known.token.id(),
            grantor: from.caller_id(),
            delegate: people().callers[to].caller_id(),
            parent: None,
            further: false,
            actions: vec!["mac".into()],
            suites: vec!["hmac-sha256".into()],
            bounds: Vec::new(),
            count: Some(self.count),
            not_before: BEGIN / 1000 - 60,
            expires: BEGIN / 1000 + self.expires,
            nonce,
        };
        let signed = Signed::new(&grant, &**from)
            .expect("its grantor's key")
            .encode();
        let (_, id) = Signed::decode(&signed)
            .and_then(|signed| signed.verify())
            .expect("a grant");
        stage.grants().push((id, grant));
        let mut asked = Vec::new();
        for (number, (after, covered)) in self.uses.iter().enumerate() {
            sleep(Duration::from_millis(*after)).await;
            if self.revoked == Some(number) {
                let revocation = Revocation::new(&signed, &**from).expect("its grantor's key");
                let stage = stage.clone();
                asked.push(tokio::spawn(async move {
                    let coordinator = stage.coordinator(0);
                    let told =
                        coordinator.hear(|of, done| of.revoke_grant(revocation.encode(), done));
                    // What comes of it is in the ledger.
                    let _ = told.await;
                }));
            }
            let (stage, signed, covered) = (stage.clone(), signed.clone(), *covered);
            asked.push(tokio::spawn(use_under(stage, to, signed, covered)));
        }
        for one in asked {
            let _ = one.await;
        }
    }
}

const MESSAGE: &[u8] = b"granted";

/// Asks for what the grant covers, or for what it does not.
async fn use_under(stage: Arc<Stage>, caller: usize, grant: Vec<u8>, covered: bool) {
    let known = stage.known(GRANTED);
    let message = MESSAGE.to_vec();
    let (action, job) = match covered {
        true => ("mac", Job::new("hmac-sha256", OwnedInput::Mac { message })),
        false => ("sign", Job::new("ed25519", OwnedInput::Sign { message })),
    };
    let suite = job.suite.clone();
    let mut operation = Operation::new(known.token.clone(), vec![job]);
    operation.evidence.grants = vec![grant];
    let began = stage.ledger.now();
    let coordinator = stage.coordinator(caller);
    let asked = coordinator
        .hear(|of, done| of.submit(operation, done))
        .await;
    let Some(result) = asked else { return };
    let input = |salt: &[u8; 32]| formula::input_digest(salt, action, &suite, &[MESSAGE]);
    let result = result.map(|outcome| Good::Used(outcome.salts.iter().map(input).collect()));
    let id = Some(*known.token.id());
    stage.told("Use under a grant", caller, id, began, DEADLINE, result);
}
