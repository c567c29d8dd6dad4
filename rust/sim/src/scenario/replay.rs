//! A caller that asks for one request twice: under new seals, in one batch, and with rows of other seats.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evanesce_token::Token;
use evanesce_wire::client::{Dial, Way};
use evanesce_wire::message::{
    Batch, Context, Envelope, Evidence, Opening, Request, SeatRow, SessionAnswer, envelope_aad,
};
use evanesce_wire::session::{PendingSession, SealingSession};
use evanesce_wire::{Identity, World};
use tokio::time::{sleep, timeout};

use crate::coordinator::Lifeline;
use crate::people::people;
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::schedule::Act;
use crate::stage::Stage;

/// The scenario.
pub struct Replayed;

#[derive(Clone, Copy, Debug)]
struct Replay {
    agent: usize,
    times: usize,
    apart: u64,
    number: u64,
}

impl Scenario for Replayed {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if chance.chance(1, 12) {
            let one = Replay {
                agent: chance.index(3),
                times: chance.index(3) + 2,
                apart: chance.below(300),
                number: chance.draw(),
            };
            acts.push((chance.below(calm), Arc::new(one)));
        }
    }
}

impl Act for Replay {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            // What comes of it is in the ledger.
            let _ = timeout(Duration::from_secs(4), this.ask(&stage)).await;
        })
    }
}

impl Replay {
    async fn ask(self, stage: &Stage) -> Option<()> {
        let (agent, token) = (people().ids[self.agent], &stage.tokens[0].token);
        let way = way(stage, 0, self.agent).await?;
        let session = session(stage, 0, self.agent, &*way).await?;
        let opening = opening(stage, 0, token, &session, self.number);
        for n in 0..self.times {
            let together = if n == 1 { 2 } else { 1 };
            let batch = Batch {
                contexts: vec![context(token)],
                openings: vec![opening.clone(); together],
            };
            ask(&*way, &session, &agent, batch).await;
            sleep(Duration::from_millis(self.apart)).await;
        }
        Some(())
    }
}

/// A way of a caller's to an agent.
pub async fn way(stage: &Stage, caller: usize, agent: usize) -> Option<Arc<dyn Way>> {
    let dial: Arc<dyn Dial> = stage.net.dial(caller, Lifeline::new(None));
    let address = agent.to_string();
    dial.dial(&address, people().ids[agent]).await.ok()
}

/// A session over it.
pub async fn session(
    stage: &Stage,
    caller: usize,
    agent: usize,
    way: &dyn Way,
) -> Option<SealingSession> {
    let now = stage.clocks[0].unix_seconds();
    let (key, agent) = (&people().callers[caller], people().ids[agent]);
    let (pending, offer) = PendingSession::offer(&**key, agent, now).ok()?;
    let answer = way.post("/v1/session", offer.encode()).await.ok()?;
    let answer = SessionAnswer::decode(&answer).ok()?;
    pending.accept(&answer.answer, way.peer_spki()).ok()
}

/// A MAC asked for with all rows of a token.
pub fn opening(
    stage: &Stage,
    caller: usize,
    token: &Token,
    session: &SealingSession,
    number: u64,
) -> Opening {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let request = Request {
        token: *token.id(),
        action: "mac".into(),
        suite: "hmac-sha256".into(),
        input: [1; 32],
        caller: people().callers[caller].caller_id(),
        session: session.id,
        id,
        not_after: stage.clocks[0].unix_seconds() + 60,
        payload: None,
    };
    Opening {
        context: 0,
        requests: vec![request.encode()],
        salts: vec![None],
        evidence: Evidence::default(),
        rows: rows(token),
    }
}

async fn ask(way: &dyn Way, session: &SealingSession, agent: &[u8; 32], batch: Batch) {
    let aad = envelope_aad("contribute", agent);
    let Ok((counter, sealed)) = session.seal_message(&aad, batch.encode()) else {
        return;
    };
    let envelope = Envelope {
        session: session.id,
        counter,
        sealed,
    };
    let _ = way.post("/v1/contribute", envelope.encode()).await;
}

/// What an agent is shown of a token.
pub fn context(token: &Token) -> Context {
    let body = &token.body;
    Context::Full {
        header: body.header_bytes.clone(),
        anchor: body.anchor,
        commitments: body.commitments.clone(),
        public: body.public_hash,
        sealed: body.sealed_hash,
    }
}

fn rows(token: &Token) -> Vec<SeatRow> {
    let row = |(row, seat): (&evanesce_token::Row, u32)| SeatRow {
        seat,
        holder: row.holder,
        epoch: row.epoch,
        correction: row.correction,
    };
    token.rows.iter().zip(0..).map(row).collect()
}
