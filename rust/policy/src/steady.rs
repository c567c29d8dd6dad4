//! Of the statements that can match, those that cannot hold before the second is over.
//!
//! What a statement says that looks at nothing of the context but the suite and the clock is the same for all requests of one
//! principal, action, key and suite within one second. Where several come in a second, those of them that were found not to
//! hold are left out until it is over. Whatever holds or errs is evaluated as ever, and so is all that looks at
//! anything else: answer, reasons and errors are those of the whole.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::{AuthorizationError, Decision, Policy, PolicyId, PolicySet, Response};
use serde_json::Value;

use crate::nesting;

/// What of the context stays as it is for a second.
const STEADY: [&str; 2] = ["suite", "now"];
/// Fewer such statements are not worth the trouble.
const WORTH: usize = 3;

/// Statements that can match.
pub struct Slice {
    all: Arc<PolicySet>,
    /// Those of them that look at nothing but what is steady.
    steady: PolicySet,
    second: Mutex<Second>,
}

/// One second, and what is left to evaluate in it, by suite; nothing yet where it was asked for once.
#[derive(Default)]
struct Second {
    now: u64,
    left: Vec<(String, Option<Arc<PolicySet>>)>,
}

impl Slice {
    /// Of these statements, some of one set.
    pub fn new(statements: impl IntoIterator<Item = Policy>) -> Self {
        let all = set(statements);
        Self {
            steady: set(all.policies().filter(|policy| is_steady(policy)).cloned()),
            all: Arc::new(all),
            second: Mutex::default(),
        }
    }

    /// The statements to evaluate for a request for `suite` at `now`; `ask` evaluates some for it.
    pub fn at(
        &self,
        suite: &str,
        now: u64,
        ask: impl FnOnce(&PolicySet) -> Response,
    ) -> Arc<PolicySet> {
        if self.steady.num_of_policies() < WORTH {
            return self.all.clone();
        }
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.now != now {
            second.now = now;
            second.left.clear();
        }
        let known = second.left.iter_mut().find(|(of, _)| of == suite);
        let Some((_, left)) = known else {
            second.left.push((suite.to_owned(), None));
            return self.all.clone();
        };
        left.get_or_insert_with(|| self.left(&ask(&self.steady)))
            .clone()
    }

    /// All but what is steady and was found neither to hold nor to err.
    fn left(&self, found: &Response) -> Arc<PolicySet> {
        let diagnostics = found.diagnostics();
        // A forbid that holds keeps it open which permits do.
        if found.decision() == Decision::Deny && diagnostics.reason().next().is_some() {
            return self.all.clone();
        }
        let errs = diagnostics
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id());
        let counts: BTreeSet<&PolicyId> = diagnostics.reason().chain(errs).collect();
        let stays = |policy: &&Policy| {
            let id = policy.id();
            self.steady.policy(id).is_none() || counts.contains(id)
        };
        let left = self.all.policies().filter(stays).cloned();
        Arc::new(set(left))
    }
}

fn set(statements: impl IntoIterator<Item = Policy>) -> PolicySet {
    PolicySet::from_policies(statements)
        .expect("ids are distinct in the whole, so they are in a part")
}

/// Whether a statement looks at nothing of the context but what is steady. One that nests too deep to be taken apart may.
fn is_steady(policy: &Policy) -> bool {
    let shallow = policy
        .to_cedar()
        .is_some_and(|text| nesting::is_shallow(&text));
    shallow
        && policy
            .to_json()
            .is_ok_and(|json| only_steady(&json["conditions"]))
}

/// In Cedar's JSON form, where the context is `{"Var": "context"}`, and its attribute a `{".": {"left": that, "attr": …}}`.
fn only_steady(json: &Value) -> bool {
    match json {
        Value::Object(members) => {
            let context = serde_json::json!({ "Var": "context" });
            // One slice serves all keys where no scope names one.
            if *json == context || members.get("Var").is_some_and(|var| var == "resource") {
                return false;
            }
            match members.get(".") {
                Some(get) if members.len() == 1 && get["left"] == context => get["attr"]
                    .as_str()
                    .is_some_and(|name| STEADY.contains(&name)),
                _ => members.values().all(only_steady),
            }
        }
        Value::Array(items) => items.iter().all(only_steady),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiled, Principal, Question, explain};
    use std::str::FromStr;

    #[test]
    fn what_looks_at_anything_else_is_not_steady() {
        let steady = |condition: &str| {
            let text = format!("permit(principal, action, resource) when {{ {condition} }};");
            is_steady(
                PolicySet::from_str(&text)
                    .unwrap()
                    .policies()
                    .next()
                    .unwrap(),
            )
        };
        for condition in [
            "true",
            "context.now > 5",
            "context[\"now\"] > 5 && !(context.suite like \"e*\")",
            "principal in Group::\"eu\" || [context.suite].contains(\"x\")",
            "if context.now > 5 then principal == Caller::\"k\" else false",
        ] {
            assert!(steady(condition), "{condition}");
        }
        for condition in [
            "context.input like \"ab*\"",
            "context.now > 5 && context.payload.amount > 5",
            "context has payload",
            "context has now",
            "context == {now: 5}",
            "[context].contains({now: 5})",
            "{context: context}.context.now > 5",
            "(if true then context else context).now > 5",
            "context.approvals.count > 1",
            "if context.now > 5 then resource == Key::\"k\" else false",
            "{now: context.input}.now == \"\"",
        ] {
            assert!(!steady(condition), "{condition}");
        }
    }

    #[test]
    fn what_does_not_hold_for_one_key_may_hold_for_another() {
        for text in [
            "permit(principal, action, resource);
             forbid(principal, action, resource) when { resource == Key::\"payroll\" };
             forbid(principal, action, resource) when { context.now < 5 };
             forbid(principal, action, resource) when { context.now < 6 };
             forbid(principal, action, resource) when { context.now < 7 };",
            "permit(principal, action, resource);
             forbid(principal, action, resource in Key::\"payroll\");
             forbid(principal, action, resource is Key in Key::\"payroll\") when { context.now > 5 };
             forbid(principal, action, resource) when { context.now < 5 };
             forbid(principal, action, resource) when { context.now < 6 };",
        ] {
            let policy = Compiled::new(text);
            assert_eq!(policy.invalid(), None);
            let who = Principal::new("ops", &[]);
            let mut permits = |key| {
                let question = Question {
                    key,
                    ..crate::decide::tests::ask("mac")
                };
                explain(Some(&policy), &who, question).0.is_ok()
            };
            let asked = ["other", "other", "other", "payroll", "payroll", "other"];
            let expected = [true, true, true, false, false, true];
            assert_eq!(asked.map(&mut permits), expected, "{text}");
        }
    }

    /// Asked again and again, with everything that can change between two requests: what a policy that was never asked
    /// before says each time.
    #[test]
    fn whatever_was_left_out_the_answer_is_that_of_the_whole() {
        let text = "@id(\"eu\") permit(principal in Group::\"eu\", action, resource) when { context.suite != \"x\" };
            @id(\"late\") permit(principal, action == Action::\"mac\", resource) when { context.now > 1000 };
            @id(\"abab\") permit(principal, action, resource) when { context.input like \"abab*\" };
            @id(\"never\") permit(principal, action, resource) when { context.now < 10 };
            @id(\"closed\") forbid(principal, action, resource) when { context.now > 1001 && context.suite == \"x\" };
            @id(\"old\") forbid(principal, action, resource) when { context.now < 999 };
            @id(\"zeros\") forbid(principal, action, resource) when { context.input like \"0000*\" };
            @id(\"errs\") forbid(principal == Caller::\"odd\", action, resource)
            when { context.now * 9223372036854775807 > 1 && context.suite == \"x\" };
            @id(\"k\") permit(principal, action, resource == Key::\"k\") when { context.suite == \"mac\" };";
        let asked = Compiled::new(text);
        assert_eq!(asked.invalid(), None);
        let groups = [vec![], vec!["eu".to_owned()]];
        let people: Vec<Principal> = ["ops", "odd"]
            .iter()
            .flat_map(|name| groups.iter().map(|groups| Principal::new(name, groups)))
            .collect();
        let mut answers = BTreeSet::new();
        for now in [998, 1000, 1001, 1002, 1001] {
            for turn in 0..3 {
                for who in &people {
                    for (action, suite) in
                        [("mac", "mac"), ("mac", "x"), ("sign", "x"), ("open", "")]
                    {
                        for (key, input) in
                            [("k", [0xab; 32]), ("other", [0; 32]), ("other", [7; 32])]
                        {
                            let question = Question {
                                action,
                                suite,
                                input: &input,
                                key,
                                now,
                                ..crate::decide::tests::ask("mac")
                            };
                            // Which of several forbids is named first is Cedar's own choice, a new one each time.
                            let explained = |policy: &Compiled| {
                                let (verdict, deciding) = explain(Some(policy), who, question);
                                (verdict.is_ok(), deciding)
                            };
                            let whole = explained(&Compiled::new(text));
                            assert_eq!(explained(&asked), whole, "{turn} {now} {action} {suite}");
                            answers.insert(format!("{whole:?}"));
                        }
                    }
                }
            }
        }
        assert!(answers.len() > 10, "{}", answers.len());
    }
}
