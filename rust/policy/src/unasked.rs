//! Actions for which a policy waits for people, and for which nothing can ask them: for advice, never for a decision.

use cedar_policy::{ActionConstraint, Effect, Policy, PolicySet};

use crate::names;

/// Whether `action`, one that is of a token as a whole and has no payload, can be permitted with approvals alone: each
/// permit that covers it looks at them, or something that forbids it does and does not look at a payload.
pub fn waits(set: &PolicySet, action: &str) -> bool {
    let covers = |p: &&Policy| p.action_constraint() == ActionConstraint::Any || names(p, action);
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

/// What is said of that.
pub fn warning(action: &str) -> String {
    format!(
        "{action} waits for approvals, and they can only be asked for to sign, mac, decrypt and derive: where no \
         condition lets somebody without, nobody may ever {action}; permit it by name to somebody, without them"
    )
}

#[cfg(test)]
mod tests {
    use crate::check;

    #[test]
    fn an_action_that_waits_for_people_whom_nothing_can_ask_is_warned_of() {
        let warned = |policy: &str| -> Vec<String> {
            let warnings = check(policy).unwrap();
            let waits = |warning: &String| {
                let (action, rest) = warning.split_once(' ')?;
                rest.starts_with("waits").then(|| action.to_owned())
            };
            warnings.iter().filter_map(waits).collect()
        };
        let all = ["reshare", "repair", "retire"];
        let people = "permit(principal, action, resource) when { context.approvals.count > 1 };";
        assert_eq!(warned(people), all);
        let escaped = people.replace("context.approvals", "context[\"\\u{61}pprovals\"]");
        assert_eq!(warned(&escaped), all);
        let also = "permit(principal == Caller::\"ops\", action in [Action::\"retire\", Action::\"repair\"], resource);";
        assert_eq!(warned(&format!("{people}{also}")), ["reshare"]);
        let any = "permit(principal, action, resource);";
        assert!(warned(any).is_empty());
        let unless = "forbid(principal, action == Action::\"retire\", resource) unless { context.approvals.count > 0 };";
        assert_eq!(warned(&format!("{any}{unless}")), ["retire"]);
        let payment = "@payload(\"{ amount: Long }\") forbid(principal, action, resource)
            when { context has payload && context.payload.amount > 5 && context.approvals.count < 2 };";
        assert!(warned(&format!("{any}{payment}")).is_empty());
    }
}
