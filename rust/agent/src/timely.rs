//! A retirement or an order by an agent whose clock is known to be wrong.
//!
//! What takes away is not put off as operations are: whoever ends a token waits for nobody's clock. But where the time is part
//! of what permits it, an agent that does not know the time cannot say so: a tombstone is for good, and what is thawed is
//! answered for.

use evanesce_policy::Compiled;
use evanesce_wire::message::Evidence;

use crate::shown::Ready;

/// Whether the time is part of what permits a retirement: the policy looks at it, or approvals go along, which end.
pub fn matters(ready: &Ready, evidence: &Evidence) -> bool {
    !evidence.approvals.is_empty() || looked_at(ready)
}

/// Whether the token's policy looks at the time.
pub fn looked_at(ready: &Ready) -> bool {
    // A policy that is not compiled is refused anyway.
    let policy = ready.policy(true).ok().flatten();
    policy.is_some_and(Compiled::looks_at_time)
}
