//! Which annotations a policy's statements have: Cedar takes any, and a rule whose name is misspelt would be none.

use std::collections::BTreeSet;

use cedar_policy::PolicySet;
use evanesce_token::text::cut;

use crate::EXPLANATION;

/// What is a rule here.
const RULES: [&str; 4] = ["approvers", "delegable", "limits", "payload"];

/// What is for people; `id` is what a statement is called when it decides.
const NOTES: [&str; 4] = ["description", "id", "owner", "reason"];

/// What is to be said of them, of those that are neither; or which of them is nearly a rule, and so must have been meant
/// as one.
pub fn check(set: &PolicySet) -> Result<Option<String>, String> {
    let names: BTreeSet<&str> = set
        .policies()
        .flat_map(|policy| policy.annotations().map(|(name, _)| name))
        .filter(|name| !RULES.contains(name) && !NOTES.contains(name))
        .collect();
    for name in &names {
        if let Some(rule) = RULES.iter().find(|rule| near(name, rule)) {
            return Err(format!(
                "@{name} is no rule, and nobody would keep to it: write @{rule}, or call the note something else"
            ));
        }
    }
    if names.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = names.iter().map(|name| format!("@{name}")).collect();
    let said = format!("no rule, and nobody keeps to it: {}", names.join(", "));
    Ok(Some(cut(&said, EXPLANATION)))
}

/// Whether one slip of the hand makes `rule` of `name`, however either is capitalised: a letter too many, too few or
/// another, or two that changed places.
fn near(name: &str, rule: &str) -> bool {
    let (name, rule) = (name.as_bytes(), rule.as_bytes());
    if name.len().abs_diff(rule.len()) > 1 {
        return false;
    }
    let same = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    let common = name
        .iter()
        .zip(rule)
        .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
        .count();
    let (a, b) = (&name[common..], &rule[common..]);
    match (a, b) {
        ([], _) | (_, []) => true,
        ([p, q, a @ ..], [r, s, b @ ..]) if same(&[*p, *q], &[*s, *r]) && same(a, b) => true,
        _ => same(&a[1..], &b[1..]) || same(&a[1..], b) || same(a, &b[1..]),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Compiled, check};

    #[test]
    fn what_is_nearly_a_rule_is_refused_by_its_right_name() {
        for (written, meant) in [
            ("limit", "limits"),
            ("Limits", "limits"),
            ("LIMIT", "limits"),
            ("limitss", "limits"),
            ("limtis", "limits"),
            ("lmits", "limits"),
            ("imits", "limits"),
            ("approver", "approvers"),
            ("Approver", "approvers"),
            ("aprovers", "approvers"),
            ("delegatable", ""),
            ("delegeble", "delegable"),
            ("payloads", "payload"),
            ("pay_load", "payload"),
            ("paylaod", "payload"),
            ("lim", ""),
            ("limitations", ""),
            ("limist_", ""),
        ] {
            let text = format!("@{written}(\"1\") permit(principal, action, resource);");
            let invalid = Compiled::new(&text).invalid().map(str::to_owned);
            match check(&text) {
                Err(why) => {
                    assert!(!meant.is_empty(), "{written}: {why}");
                    assert!(
                        why.contains(&format!("write @{meant},")),
                        "{written}: {why}"
                    );
                    assert_eq!(invalid, Some(why));
                }
                Ok(warnings) => {
                    assert!(meant.is_empty(), "{written} passed for a note");
                    let said = format!("no rule, and nobody keeps to it: @{written}");
                    assert!(warnings.contains(&said), "{warnings:?}");
                    assert_eq!(invalid, None);
                }
            }
        }
    }

    #[test]
    fn rules_and_notes_are_passed_over_and_the_rest_is_named_once() {
        let of = |annotations: &str| {
            let text = format!("{annotations} permit(principal, action, resource);");
            let warnings = check(&text).unwrap();
            warnings
                .into_iter()
                .filter(|said| said.contains("no rule"))
                .collect::<Vec<_>>()
        };
        let known = "@id(\"a\") @owner(\"b\") @reason(\"c\") @description(\"d\") @delegable(\"1\") @limits(\"agent 5\")";
        assert_eq!(of(known), [""; 0]);
        let twice = "@ticket(\"7\") permit(principal, action, resource); @ticket(\"8\") @audit";
        assert_eq!(
            of(twice),
            ["no rule, and nobody keeps to it: @audit, @ticket"]
        );
    }
}
