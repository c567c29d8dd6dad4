//! Actions that a policy wants approved although nothing that asks for them carries approvals: for advice, never for a decision.
//!
//! `retire`, `reshare` and `repair`, and the orders to revoke and freeze that take the right of `retire`, are asked for without.

use cedar_policy::{ActionConstraint, Effect, Policy};

use crate::{GRAVE, Parsed, names};

/// A warning for each such action. It goes by the statements' scopes and by the word; what a condition says of the action is
/// left out.
pub fn warnings(parsed: &Parsed) -> Vec<String> {
    let asked = GRAVE.iter().filter(|action| asks(parsed, action));
    let warning = |action: &&str| {
        let what = match *action {
            "retire" => "retire, revoke and freeze carry",
            "reshare" => "reshare and refresh carry",
            _ => "repair carries",
        };
        format!("it asks for approvals on {action}, but {what} none: permit it to somebody without")
    };
    asked.map(warning).collect()
}

/// Whether every permit of the action, where there is one, or any forbid looks at approvals.
fn asks(parsed: &Parsed, action: &str) -> bool {
    let covers = |p: &&Policy| p.action_constraint() == ActionConstraint::Any || names(p, action);
    let looks = |p: &Policy| p.to_string().contains("approvals");
    let all: Vec<&Policy> = parsed.set.policies().filter(covers).collect();
    let (permits, forbids): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|p| p.effect() == Effect::Permit);
    !permits.is_empty() && (permits.into_iter().all(looks) || forbids.into_iter().any(looks))
}

#[cfg(test)]
mod tests {
    use crate::check;

    /// Actions that are warned of.
    fn warned(policy: &str) -> Vec<String> {
        let warnings = check(policy).unwrap().into_iter();
        let of = |w: String| {
            Some(
                w.split_once("approvals on ")?
                    .1
                    .split_once(',')?
                    .0
                    .to_owned(),
            )
        };
        warnings.filter_map(of).collect()
    }

    #[test]
    fn what_nobody_may_do_without_approvals_that_it_cannot_carry_is_warned_of() {
        let two = "when { context.approvals.count >= 2 }";
        let all = ["reshare", "repair", "retire"];
        let sorted = |policy: &str| {
            let mut found = warned(policy);
            found.sort_by_key(|action| all.iter().position(|one| one == action));
            found
        };
        assert_eq!(
            sorted(&format!("permit(principal, action, resource) {two};")),
            all
        );
        assert_eq!(
            sorted(
                "permit(principal, action, resource);\n\
                 forbid(principal, action == Action::\"retire\", resource) unless { context.approvals.count >= 2 };"
            ),
            ["retire"]
        );
        for quiet in [
            "permit(principal, action, resource);".to_owned(),
            format!("permit(principal, action == Action::\"sign\", resource) {two};"),
            format!(
                "permit(principal, action, resource) {two};\n\
                 permit(principal, action in [Action::\"retire\", Action::\"reshare\", Action::\"repair\"], resource);"
            ),
        ] {
            assert_eq!(warned(&quiet), [""; 0], "{quiet}");
        }
    }
}
