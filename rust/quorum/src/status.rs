//! The state of every agent in the directory, as it tells it.

use std::sync::Arc;

use evanesce_wire::message::Status;
use tokio::spawn;
use tokio::time::{Instant, timeout_at};

use crate::fault::{Fault, Trouble};
use crate::holder::Holder;
use crate::io::link::Down;
use crate::io::side::Side;

/// One agent's answer.
pub struct AgentStatus {
    /// Which agent.
    pub holder: Holder,
    /// What it says, or what is wrong.
    pub answer: Result<Status, Fault>,
    /// How long it took to answer over a standing connection, in µs.
    pub latency: Option<u64>,
    /// How far its clock is ahead of the local one, in ms, give or take the latency.
    pub clock_offset: Option<i64>,
}

/// Asks every agent, all at once, until `until`.
pub(crate) async fn status(side: &Arc<Side>, until: Instant) -> Vec<AgentStatus> {
    let ask = |place: usize| {
        let side = side.clone();
        spawn(async move { one(&side, place, until).await })
    };
    let tasks: Vec<_> = (0..side.links.len()).map(ask).collect();
    let mut all = Vec::with_capacity(tasks.len());
    for task in tasks {
        all.extend(task.await);
    }
    all
}

async fn one(side: &Arc<Side>, place: usize, until: Instant) -> AgentStatus {
    let link = &side.links[place];
    let answer = match timeout_at(until, link.status()).await {
        Ok(answer) => answer,
        Err(_) => Err(Down::new(Trouble::Slow, "it did not answer in time")),
    };
    let answer = answer.and_then(|(status, took)| match status.agent == link.holder.id {
        true => Ok((status, took)),
        false => Err(Down::new(Trouble::Lied, "it speaks for another agent")),
    });
    let holder = link.holder.clone();
    match answer {
        Ok((status, took)) => {
            // Its clock was read about half way.
            let here = side.world.unix_millis() as i64 - took.as_millis() as i64 / 2;
            let clock_offset = Some(
                i64::try_from(status.clock)
                    .unwrap_or(i64::MAX)
                    .saturating_sub(here),
            );
            AgentStatus {
                holder,
                answer: Ok(status),
                latency: Some(took.as_micros() as u64),
                clock_offset,
            }
        }
        Err(down) => AgentStatus {
            holder,
            answer: Err(side.fault(place, &down)),
            latency: None,
            clock_offset: None,
        },
    }
}
