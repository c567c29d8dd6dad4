//! Bodies that somebody has made up: noise, noise under a good seal, requests with bits turned, and rows, commitments and
//! numbers that no token has.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evanesce_token::formula;
use evanesce_wire::client::Way;
use evanesce_wire::message::{
    Answers, Batch, Context, Envelope, Opening, Request, SeatResult, envelope_aad,
};
use evanesce_wire::session::SealingSession;
use tokio::time::timeout;

use crate::people::{CALLERS, people};
use crate::rng::Rng;
use crate::run::RATIONED;
use crate::scenario::Scenario;
use crate::scenario::replay::{context, opening, session, way};
use crate::schedule::Act;
use crate::stage::Stage;

/// The scenario.
pub struct Hostile;

#[derive(Clone, Copy, Debug)]
struct Assault {
    caller: usize,
    agent: usize,
    number: u64,
    times: usize,
}

impl Scenario for Hostile {
    fn draw(&self, chance: &mut Rng, calm: u64, acts: &mut Vec<(u64, Arc<dyn Act>)>) {
        if chance.chance(1, 8) {
            let one = Assault {
                caller: chance.index(2),
                agent: chance.index(3),
                number: chance.draw(),
                times: chance.index(6) + 1,
            };
            acts.push((chance.below(calm), Arc::new(one)));
        }
    }
}

impl Act for Assault {
    fn play(&self, stage: Arc<Stage>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let this = *self;
        Box::pin(async move {
            let _ = timeout(Duration::from_secs(4), this.perform(&stage)).await;
        })
    }
}

const PATHS: [&str; 9] = [
    "/v1/contribute",
    "/v1/check",
    "/v1/retire",
    "/v1/seat",
    "/v1/session",
    "/v1/order",
    "/v1/revoke-grant",
    "/v1/peer",
    "/v1/status",
];

impl Assault {
    async fn perform(self, stage: &Stage) -> Option<()> {
        let mut chance = Rng::new(self.number);
        let honest = stage.net.nodes[self.agent].is_honest();
        let way = way(stage, self.caller, self.agent).await?;
        // Noise, from who is known and from who is not.
        for _ in 0..self.times {
            let path = PATHS[chance.index(PATHS.len())];
            let body = noise(&mut chance);
            let stranger = chance.chance(1, 4);
            let taken = match stranger {
                false => way.post(path, body).await.is_ok(),
                true => {
                    let mallory = &people().callers[CALLERS.len() - 1];
                    let node = &stage.net.nodes[self.agent];
                    let (told, _) = node.deliver(mallory, http::Method::POST, path, body)?;
                    told.await.is_ok_and(|(status, _)| status == 200)
                }
            };
            if honest && taken {
                stage.ledger.broken(format!("noise at {path} was taken"));
            }
        }
        let session = session(stage, self.caller, self.agent, &*way).await?;
        let token = &stage.tokens[[0, 1, RATIONED][chance.index(3)]].token;
        for number in 0..self.times {
            let number = self.number.wrapping_add(number as u64);
            let good = opening(stage, self.caller, token, &session, number);
            let mut batch = Batch {
                contexts: vec![context(token)],
                openings: vec![good],
            };
            let (verb, plain, made_up) = match chance.below(3) {
                0 => (PATHS[chance.index(4)], noise(&mut chance), true),
                1 => {
                    let mut plain = batch.encode();
                    for _ in 0..=chance.below(3) {
                        let place = chance.index(plain.len());
                        plain[place] ^= 1 << chance.below(8);
                    }
                    (PATHS[chance.index(4)], plain, false)
                }
                _ => {
                    distort(&mut batch, &mut chance);
                    (PATHS[chance.index(3)], batch.encode(), true)
                }
            };
            let answer = send(&*way, &session, &people().ids[self.agent], verb, plain).await;
            let shares = |answers: Answers| {
                let seats = answers
                    .openings
                    .into_iter()
                    .flat_map(|opening| opening.seats);
                seats
                    .filter(|seat| matches!(seat.result, SeatResult::Share { .. }))
                    .count()
            };
            let released = answer
                .and_then(|body| Answers::decode(&body).ok())
                .map_or(0, shares);
            if honest && made_up && released > 0 && !stage.altered {
                stage
                    .ledger
                    .broken("a share was released for what is made up".into());
            }
        }
        Some(())
    }
}

fn noise(chance: &mut Rng) -> Vec<u8> {
    let mut body = vec![0; chance.index(300)];
    chance.fill(&mut body);
    body
}

/// Makes a good batch into one of which no share can come.
fn distort(batch: &mut Batch, chance: &mut Rng) {
    let opening: &mut Opening = &mut batch.openings[0];
    match chance.below(6) {
        // Rows of other corrections, and of seats that there are not.
        0 => opening
            .rows
            .iter_mut()
            .for_each(|row| row.correction[3] ^= 1),
        1 => opening.rows.iter_mut().for_each(|row| row.seat += 7),
        2 => {
            opening
                .rows
                .iter_mut()
                .for_each(|row| row.correction = [0; 32]);
            let first = opening.rows[0].clone();
            opening.rows.resize(255, first);
        }
        3 => opening.rows.iter_mut().for_each(|row| row.epoch = 77),
        // A token of its own: the request names it, so that all may be permitted.
        4 => {
            let Context::Full {
                header,
                anchor,
                commitments,
                public,
                sealed,
            } = &mut batch.contexts[0]
            else {
                return;
            };
            anchor[0] ^= 1;
            let (deal, commitments) = (
                formula::deal(header),
                formula::commitments_hash(commitments),
            );
            for bytes in &mut opening.requests {
                let mut request = Request::decode(bytes).expect("a good one");
                request.token = formula::token_id(&deal, anchor, &commitments, public, sealed);
                *bytes = request.encode();
            }
        }
        // Another number of commitments than of seats.
        _ => {
            if let Context::Full { commitments, .. } = &mut batch.contexts[0] {
                commitments.push([1; 32]);
            }
        }
    }
}

async fn send(
    way: &dyn Way,
    session: &SealingSession,
    agent: &[u8; 32],
    path: &str,
    plain: Vec<u8>,
) -> Option<Vec<u8>> {
    let verb = path.strip_prefix("/v1/")?;
    let (counter, sealed) = session
        .seal_message(&envelope_aad(verb, agent), plain)
        .ok()?;
    let envelope = Envelope {
        session: session.id,
        counter,
        sealed,
    };
    way.post(path, envelope.encode()).await.ok()
}
