//! An operation that needs an approval: asked for with it and without it, again with the same one, and with such as are no good.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evanesce_approval::{Asked, Statement};
use evanesce_quorum::{Job, Operation, OwnedInput};
use evanesce_token::{Token, formula};
use evanesce_wire::{Identity, World};
use tokio::time::sleep;

use crate::people::people;
use crate::rng::Rng;
use crate::run::APPROVED;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::{DEADLINE, Good, Stage};

/// The scenario.
pub struct Approved;

/// What an operation comes with.
#[derive(Clone, Copy, Debug)]
enum With {
    /// The one approval of it.
    Approval,
    /// None.
    Nothing,
    /// The approval, and another input than that of it.
    OtherInput,
    /// An approval by who asks.
    Own,
}

#[derive(Clone, Debug)]
struct Approve {
    number: u64,
    /// For how long the approval lasts, in seconds.
    lasts: u64,
    /// What is asked for, each so long after what came before, in ms.
    uses: Vec<(u64, With)>,
}

impl Scenario for Approved {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if !chance.chance(1, 8) {
            return;
        }
        let with = |chance: &mut Rng| match chance.below(8) {
            0 => With::Nothing,
            1 => With::OtherInput,
            2 => With::Own,
            _ => With::Approval,
        };
        let one = Approve {
            number: chance.draw(),
            lasts: [2, 840][usize::from(chance.chance(4, 5))],
            uses: (0..chance.between(1, 4))
                .map(|_| (chance.below(800), with(chance)))
                .collect(),
        };
        acts.push((chance.below(calm), Arc::new(one)));
    }
}

const MESSAGE: &[u8] = b"approved";

impl Act for Approve {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let salt = [this.number as u8; 32];
            let token = stage.known(APPROVED).token;
            let good = this.approval(&stage, &token, &salt, &*people().approver);
            let own = this.approval(&stage, &token, &salt, &*people().callers[0]);
            let mut asked = Vec::new();
            for (after, with) in this.uses {
                sleep(Duration::from_millis(after)).await;
                let (approvals, salt) = match with {
                    With::Approval => (vec![good.clone()], salt),
                    With::Nothing => (Vec::new(), salt),
                    With::OtherInput => (vec![good.clone()], [!salt[0]; 32]),
                    With::Own => (vec![own.clone()], salt),
                };
                let (stage, token) = (stage.clone(), token.clone());
                asked.push(tokio::spawn(use_with(stage, token, approvals, salt)));
            }
            for one in asked {
                let _ = one.await;
            }
        })
    }
}

fn input(salt: &[u8; 32]) -> [u8; 32] {
    formula::input_digest(salt, "mac", "hmac-sha256", &[MESSAGE])
}

impl Approve {
    fn approval(
        &self,
        stage: &Stage,
        token: &Token,
        salt: &[u8; 32],
        approver: &dyn Identity,
    ) -> Vec<u8> {
        let caller = people().callers[0].caller_id();
        let asked = Asked {
            token: token.id(),
            key: &token.body.header.name,
            action: "mac",
            suite: "hmac-sha256",
            input: &input(salt),
            caller: &caller,
            payload: None,
        };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.number.to_be_bytes());
        let statement = Statement {
            text: asked.text("").expect("a short text"),
            input: input(salt),
            nonce,
            suite: "hmac-sha256".into(),
            token: *token.id(),
            action: "mac".into(),
            caller,
            expires: stage.clocks[0].unix_seconds() + self.lasts,
        };
        let approval = statement.sign(approver).expect("a key that signs");
        if approver.caller_id() == people().approver.caller_id() {
            stage.approvals().push((approval.id(), statement));
        }
        approval.encode()
    }
}

async fn use_with(stage: Arc<Stage>, token: Arc<Token>, approvals: Vec<Vec<u8>>, salt: [u8; 32]) {
    let message = MESSAGE.to_vec();
    let mut job = Job::new("hmac-sha256", OwnedInput::Mac { message });
    job.salt = Some(salt);
    let id = Some(*token.id());
    let mut operation = Operation::new(token, vec![job]);
    operation.evidence.approvals = approvals;
    let began = stage.ledger.now();
    let coordinator = stage.coordinator(0);
    let asked = coordinator
        .hear(|of, done| of.submit(operation, done))
        .await;
    let Some(result) = asked else { return };
    let result = result.map(|_| Good::Used(vec![input(&salt)]));
    stage.told("Use what is approved", 0, id, began, DEADLINE, result);
}
