//! What an operator declares before this agent keeps prepared nonces: `[threshold]` in `agent.toml`.
//!
//! An agent cannot find out by itself whether its memory is brought back from an earlier state: whoever does that brings back all
//! that it could compare with (docs/decisions/prepared-nonces.md). So a person says that it is not done, in words, and a switch would
//! not do: `prepared = true` is set by whoever wants to be faster.

use serde::Deserialize;

use super::hypervisor;

/// The words.
pub const DECLARATION: &str = "no earlier state of this machine's memory is ever resumed: no snapshot, no clone, no checkpoint";

/// How keys that are never put together are used here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threshold {
    /// Keep nonces for signatures in one round: if at all, [`DECLARATION`].
    pub prepared: Option<String>,
}

impl Threshold {
    /// Why the agent does not start with this, if so.
    pub fn refused(&self) -> Result<(), String> {
        match self.prepared.as_deref() {
            None | Some(DECLARATION) => Ok(()),
            Some(_) => Err(format!(
                "[threshold] prepared: nonces that are kept give this agent's share of every key away if they sign twice, as they do \
                 once this machine, virtual or not, is resumed from a snapshot, a clone or a checkpoint. If that is never done here, \
                 write it down: prepared = \"{DECLARATION}\". Otherwise leave it out, and signing takes two rounds"
            )),
        }
    }

    /// What makes the declaration doubtful here, if anything is known to: it is the operator's to know better.
    pub fn doubted(&self) -> Option<&'static str> {
        (self.prepares() && hypervisor::is_shown()).then_some(hypervisor::DOUBT)
    }

    /// Whether nonces may be kept.
    pub fn prepares(&self) -> bool {
        self.prepared.is_some()
    }
}
