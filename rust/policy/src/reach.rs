//! Whom a policy could ever permit, whatever the conditions: for advice, never for a decision.

use cedar_policy::Effect;

use crate::decide::{Principal, can_match};
use crate::{Compiled, LANGUAGE};

/// Whether some permit's scope admits `who` for an action by which the token is opened (all but `retire`). What its
/// `when` and `unless`, and what forbids, would say is left out: it may be too much, and never too little, of those who ask
/// for themselves; where the policy is delegable, anybody could be granted it. `None`, the policy of length zero, admits
/// everybody.
pub fn could_open(policy: Option<&Compiled>, who: &Principal) -> bool {
    let Some(policy) = policy else {
        return true;
    };
    let Ok(ready) = &policy.0 else {
        return false;
    };
    let opening = || {
        LANGUAGE
            .actions
            .iter()
            .filter(|(name, _)| **name != "retire")
    };
    let mut permits = ready
        .set
        .policies()
        .filter(|p| p.effect() == Effect::Permit);
    permits.any(|policy| opening().any(|(_, action)| can_match(policy, who, action, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_admits_whoever_it_names_and_conditions_are_left_out() {
        let ops = Principal::new("ops", &["eu".to_owned()]);
        let could = |text: &str| could_open(Some(&Compiled::new(text)), &ops);
        assert!(could_open(None, &ops));
        for open in [
            "permit(principal, action, resource);",
            "permit(principal == Caller::\"ops\", action == Action::\"sign\", resource);",
            "permit(principal in Group::\"eu\", action, resource);",
            "permit(principal is Caller in Group::\"eu\", action, resource);",
            "permit(principal, action, resource) when { context.now < 5 };",
            "permit(principal, action in [Action::\"retire\", Action::\"open\"], resource);",
        ] {
            assert!(could(open), "{open}");
        }
        for closed in [
            "permit(principal == Caller::\"cfo\", action, resource);",
            "permit(principal in Group::\"us\", action, resource);",
            "permit(principal, action == Action::\"retire\", resource);",
            "not a policy",
        ] {
            assert!(!could(closed), "{closed}");
        }
    }
}
