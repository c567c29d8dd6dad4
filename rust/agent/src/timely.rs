//! A retirement by an agent whose clock is known to be wrong.
//!
//! It only ever takes away, so that it is not put off as operations are: whoever ends a token waits for nobody's clock. But
//! where the time is part of what permits it, an agent that does not know the time cannot say so, and a tombstone is for good.

use evanesce_policy::Compiled;
use evanesce_wire::message::Evidence;

use crate::shown::Ready;

/// Whether the time is part of what permits a retirement: the policy looks at it, or approvals go along, which end.
pub fn matters(ready: &Ready, evidence: &Evidence) -> bool {
    // A policy that is not compiled is refused anyway.
    let policy = ready.policy(true).ok().flatten();
    !evidence.approvals.is_empty() || policy.is_some_and(Compiled::looks_at_time)
}
