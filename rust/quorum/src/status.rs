//! The state of every agent in the directory, as it tells it.

use evanesce_wire::message::Status;

use crate::fault::Fault;
use crate::holder::Holder;

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
