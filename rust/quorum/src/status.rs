//! The state of every agent in the directory, as it tells it.

use std::sync::Arc;
use std::time::Duration;

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
    for (place, task) in tasks.into_iter().enumerate() {
        let answer = task.await.unwrap_or_else(|_| Err(Down::broke_off()));
        all.push(told(side, place, answer));
    }
    all
}

struct Answer {
    status: Status,
    took: Duration,
    clock_offset: i64,
}

async fn one(side: &Side, place: usize, until: Instant) -> Result<Answer, Down> {
    let link = &side.links[place];
    let answer = match timeout_at(until, link.status()).await {
        Ok(answer) => answer,
        Err(_) => Err(Down::slow()),
    };
    let (status, took) = answer?;
    if status.agent != link.holder.id {
        return Err(Down::new(Trouble::Lied, "it speaks for another agent"));
    }
    // Its clock was read about half way.
    let here = side.world.unix_millis() as i64 - took.as_millis() as i64 / 2;
    let clock = i64::try_from(status.clock).unwrap_or(i64::MAX);
    Ok(Answer {
        status,
        took,
        clock_offset: clock.saturating_sub(here),
    })
}

fn told(side: &Side, place: usize, answer: Result<Answer, Down>) -> AgentStatus {
    let holder = side.directory.all()[place].clone();
    match answer {
        Ok(answer) => AgentStatus {
            holder,
            answer: Ok(answer.status),
            latency: Some(answer.took.as_micros() as u64),
            clock_offset: Some(answer.clock_offset),
        },
        Err(down) => AgentStatus {
            holder,
            answer: Err(side.fault(place, &down)),
            latency: None,
            clock_offset: None,
        },
    }
}
