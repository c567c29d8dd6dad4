//! Tokens that no order can reach: orders to revoke and freeze are judged by the action `retire`, and carry no approvals
//! (docs/agent-api.md). For advice, never for a decision.

use cedar_policy::{ActionConstraint, Effect, Policy, PolicySet};

use crate::names;

/// What is said where a policy [`waits`].
pub const WARNING: &str = "retire waits for approvals, which orders do not carry: where no condition lets somebody without, \
     the token can be retired once people approve it, and never revoked nor frozen";

/// Whether `retire` can be permitted with approvals alone: each permit that covers it looks at them, or something that forbids
/// it does and does not look at a payload, which it has not.
pub fn waits(set: &PolicySet) -> bool {
    let covers = |p: &&Policy| p.action_constraint() == ActionConstraint::Any || names(p, "retire");
    let (mut permits, mut without) = (false, false);
    for policy in set.policies().filter(covers) {
        // As a tree, in which no escape hides a word.
        let text = policy
            .to_json()
            .map_or_else(|_| policy.to_string(), |tree| tree.to_string());
        let looks = text.contains("approvals");
        match policy.effect() {
            Effect::Permit => {
                permits = true;
                without |= !looks;
            }
            Effect::Forbid if looks && !text.contains("payload") => return true,
            Effect::Forbid => {}
        }
    }
    permits && !without
}

#[cfg(test)]
mod tests {
    use super::WARNING;
    use crate::check;

    #[test]
    fn a_token_that_no_order_can_reach_is_warned_of() {
        let warned = |policy: &str| check(policy).unwrap().iter().any(|one| one == WARNING);
        let people = "permit(principal, action, resource) when { context.approvals.count > 1 };";
        assert!(warned(people));
        let escaped = people.replace("context.approvals", "context[\"\\u{61}pprovals\"]");
        assert!(warned(&escaped));
        let also = |action: &str| {
            format!(
                "{people} permit(principal == Caller::\"ops\", action == Action::\"{action}\", resource);"
            )
        };
        assert!(warned(&also("reshare")) && !warned(&also("retire")));
        let any = "permit(principal, action, resource);";
        assert!(!warned(any));
        let unless = "forbid(principal, action == Action::\"retire\", resource) unless { context.approvals.count > 0 };";
        assert!(warned(&format!("{any}{unless}")));
        let other = unless.replace("retire", "reshare");
        assert!(!warned(&format!("{any}{other}")));
        let payment = "@payload(\"{ amount: Long }\") forbid(principal, action, resource)
            when { context has payload && context.payload.amount > 5 && context.approvals.count < 2 };";
        assert!(!warned(&format!("{any}{payment}")));
    }
}
