//! One decision: a principal, an action, a key and a context against a compiled policy.
//!
//! Of a large policy, the statements whose scope cannot match are set aside once per principal, action and key.
//! Cedar evaluates a statement's scope first, which cannot err, so that leaving these out changes no answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId,
    PolicySet, PrincipalConstraint, Request, ResourceConstraint, RestrictedExpression,
};

use crate::{Compiled, EXPLANATION, GRAVE, LANGUAGE, Payload, Ready, WITH_PAYLOAD, names, uid};
use evanesce_token::text::cut;

/// Slices remembered per policy; when there are more, all are forgotten.
const SLICES: usize = 64;

/// A policy's statements that can match, by principal, its groups, action and key: a caller's groups may change
/// while a policy is remembered.
pub type Slices =
    HashMap<(EntityUid, BTreeSet<EntityUid>, EntityUid, Option<EntityUid>), Arc<PolicySet>>;

/// A caller as policies see it.
#[derive(Clone)]
pub struct Principal {
    uid: EntityUid,
    groups: BTreeSet<EntityUid>,
    entities: Entities,
}

impl Principal {
    /// The caller `name`, a member of `groups`.
    pub fn new(name: &str, groups: &[String]) -> Self {
        let groups: BTreeSet<EntityUid> = groups
            .iter()
            .map(|group| uid(&LANGUAGE.group, group))
            .collect();
        let uid = uid(&LANGUAGE.caller, name);
        let caller = Entity::new_no_attrs(uid.clone(), groups.iter().cloned().collect());
        let all = groups.iter().cloned().map(Entity::with_uid).chain([caller]);
        let entities = Entities::from_entities(all, None).expect("distinct, without attributes");
        Self {
            uid,
            groups,
            entities,
        }
    }
}

/// What a policy is asked about one operation.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The action's name (PROTOCOL §6).
    pub action: &'a str,
    /// The suite, or "".
    pub suite: &'a str,
    /// The input digest.
    pub input: &'a [u8; 32],
    /// The header's name.
    pub key: &'a str,
    /// Unix seconds.
    pub now: u64,
    /// Whether the caller is a minter.
    pub minter: bool,
    /// What is to be signed, where the caller sent that rather than a digest alone. A policy that declares no payload
    /// does not see it.
    pub payload: Option<&'a Payload>,
}

/// Whether `principal` may do what it asks; otherwise why not. `policy` is `None` for one of length zero.
pub fn permits(
    policy: Option<&Compiled>,
    principal: &Principal,
    question: Question<'_>,
) -> Result<(), String> {
    let action = question.action;
    let grave = GRAVE.contains(&action);
    let with_payload = WITH_PAYLOAD.contains(&action);
    if question.payload.is_some() && !with_payload {
        return Err(format!("{action} never has a payload"));
    }
    let Some(policy) = policy else {
        return if !grave || question.minter {
            Ok(())
        } else {
            Err(format!(
                "{action} needs the minter role: the token has no policy that grants it"
            ))
        };
    };
    let policy = match &policy.0 {
        Ok(policy) => policy,
        Err(why) => return Err(format!("the token's policy is invalid: {why}")),
    };
    let kind = LANGUAGE.actions.get(action).ok_or("an unknown action")?;
    if policy.declared.is_some() && with_payload && question.payload.is_none() {
        return Err(format!(
            "the token's policy looks at the payload: it is not enough to {action} a bare digest"
        ));
    }
    let key = uid(&LANGUAGE.key, question.key);
    let set = slice(policy, principal, kind, &key);
    let request = request(policy, principal, kind, key, question)?;
    let answer = Authorizer::new().is_authorized(&request, &set, &principal.entities);
    let diagnostics = answer.diagnostics();
    if let Some(error) = diagnostics.errors().next() {
        return Err(cut(
            &format!("the token's policy errs: {error}"),
            EXPLANATION,
        ));
    }
    let reasons = || diagnostics.reason().filter_map(|id| set.policy(id));
    match answer.decision() {
        Decision::Allow if grave && !question.minter && !reasons().any(|p| names(p, action)) => {
            Err(format!(
                "{action} needs the minter role or a permit that names it"
            ))
        }
        Decision::Allow => Ok(()),
        Decision::Deny => Err(match reasons().next() {
            Some(forbid) => format!("the token's policy forbids it ({})", label(forbid)),
            None => "the token's policy does not permit it".into(),
        }),
    }
}

fn slice(policy: &Ready, who: &Principal, action: &EntityUid, key: &EntityUid) -> Arc<PolicySet> {
    let mut slices = policy.slices.lock().unwrap_or_else(PoisonError::into_inner);
    // Tokens under one policy often have names of their own; most policies do not care.
    let key = policy.names_keys.then(|| key.clone());
    let place = (
        who.uid.clone(),
        who.groups.clone(),
        action.clone(),
        key.clone(),
    );
    if let Some(slice) = slices.get(&place) {
        return slice.clone();
    }
    let can = policy
        .set
        .policies()
        .filter(|policy| can_match(policy, who, action, key.as_ref()));
    // Ids are distinct in the whole, so they are in a part.
    let part = PolicySet::from_policies(can.cloned()).map(Arc::new);
    let Ok(part) = part else {
        return Arc::new(policy.set.clone());
    };
    if slices.len() >= SLICES {
        slices.clear();
    }
    slices.insert(place, part.clone());
    part
}

/// False only if the statement's scope is false for these, whatever the context.
fn can_match(
    policy: &Policy,
    who: &Principal,
    action: &EntityUid,
    key: Option<&EntityUid>,
) -> bool {
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Eq(one) => one == who.uid,
        PrincipalConstraint::In(one) | PrincipalConstraint::IsIn(_, one) => {
            one == who.uid || who.groups.contains(&one)
        }
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => true,
    };
    let action = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(one) => one == *action,
        ActionConstraint::In(list) => list.contains(action),
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Eq(one) => key.is_none_or(|key| one == *key),
        _ => true,
    };
    principal && action && resource
}

fn request(
    policy: &Ready,
    principal: &Principal,
    action: &EntityUid,
    key: EntityUid,
    question: Question<'_>,
) -> Result<Request, String> {
    let now = i64::try_from(question.now).map_err(|_| "the clock is beyond reason")?;
    let text = |text: String| RestrictedExpression::new_string(text);
    let asked = [
        ("suite".to_owned(), text(question.suite.to_owned())),
        ("input".to_owned(), text(hex::encode(question.input))),
        ("now".to_owned(), RestrictedExpression::new_long(now)),
    ];
    let shown = policy.declared.as_ref().and(question.payload);
    let shown = shown.map(Payload::to_cedar).transpose()?;
    let shown = shown.map(|payload| ("payload".to_owned(), payload));
    let context = Context::from_pairs(asked.into_iter().chain(shown))
        .map_err(|e| cut(&e.to_string(), EXPLANATION))?;
    let schema = policy.declared.as_ref().unwrap_or(&LANGUAGE.schema);
    Request::new(
        principal.uid.clone(),
        action.clone(),
        key,
        context,
        Some(schema),
    )
    .map_err(|e| match question.payload {
        Some(_) => cut(
            &format!("the payload is not what the token's policy declares: {e}"),
            EXPLANATION,
        ),
        None => cut(&e.to_string(), EXPLANATION),
    })
}

/// What a statement calls itself: its `@id`, or its place in the text.
fn label(policy: &Policy) -> String {
    let id: &PolicyId = policy.id();
    cut(policy.annotation("id").unwrap_or(id.as_ref()), 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, schema};
    use proptest::prelude::*;

    fn ask(action: &str) -> Question<'_> {
        Question {
            action,
            suite: "mac",
            input: &[0xab; 32],
            key: "treasury",
            now: 1000,
            minter: false,
            payload: None,
        }
    }

    fn decide(
        policy: &str,
        who: &str,
        groups: &[&str],
        question: Question<'_>,
    ) -> Result<(), String> {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        permits(
            Some(&Compiled::new(policy)),
            &Principal::new(who, &groups),
            question,
        )
    }

    #[test]
    fn callers_groups_keys_suites_inputs_and_the_clock_can_be_spoken_of() {
        let policy = "permit(principal in Group::\"eu\", action == Action::\"mac\", resource == Key::\"treasury\")
                      when { context.suite == \"mac\" && context.now < 2000 && context.input like \"abab*\" };
                      forbid(principal == Caller::\"eve\", action, resource);";
        assert_eq!(decide(policy, "ops", &["eu"], ask("mac")), Ok(()));
        assert!(decide(policy, "ops", &["us"], ask("mac")).is_err());
        assert!(decide(policy, "ops", &["eu"], ask("sign")).is_err());
        assert!(
            decide(policy, "eve", &["eu"], ask("mac"))
                .unwrap_err()
                .contains("forbids it (policy1)")
        );
        assert!(
            decide(
                policy,
                "ops",
                &["eu"],
                Question {
                    now: 2000,
                    ..ask("mac")
                }
            )
            .is_err()
        );
        assert!(
            decide(
                policy,
                "ops",
                &["eu"],
                Question {
                    key: "other",
                    ..ask("mac")
                }
            )
            .is_err()
        );
        assert!(
            decide(
                policy,
                "ops",
                &["eu"],
                Question {
                    suite: "x",
                    ..ask("mac")
                }
            )
            .is_err()
        );
    }

    #[test]
    fn an_error_is_a_refusal_even_beside_a_permit() {
        let errs = "permit(principal, action, resource); \
                    forbid(principal, action, resource) when { context.no_such_thing > 1 };";
        assert!(
            decide(errs, "ops", &[], ask("mac"))
                .unwrap_err()
                .contains("invalid")
        );
        // Valid to the letter of the schema, and still an error when it is evaluated.
        let overflows = "permit(principal, action, resource); \
                         forbid(principal, action, resource) when { context.now * 9223372036854775807 > 1 };";
        assert_eq!(check(overflows).map(|_| ()), Ok(()));
        assert!(
            decide(overflows, "ops", &[], ask("mac"))
                .unwrap_err()
                .contains("errs")
        );
    }

    #[test]
    fn a_caller_that_joins_a_group_is_judged_as_its_member_at_once() {
        let policy = Compiled::new(
            "permit(principal, action, resource); forbid(principal in Group::\"suspended\", action, resource);",
        );
        let asked = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
            permits(Some(&policy), &Principal::new("ops", &groups), ask("mac"))
        };
        assert_eq!(asked(&[]), Ok(()));
        assert!(asked(&["suspended"]).is_err());
        assert_eq!(asked(&["eu"]), Ok(()));
    }

    #[test]
    fn hostile_names_stay_names() {
        let evil = "ops\", action == Action::\"mac";
        let policy = "permit(principal == Caller::\"ops\", action, resource);";
        assert!(decide(policy, evil, &[], ask("mac")).is_err());
        assert!(decide(policy, "ops\u{0}", &[], ask("mac")).is_err());
    }

    #[test]
    fn grave_actions_need_a_minter_or_a_permit_that_names_them() {
        let minter = |action| Question {
            minter: true,
            ..ask(action)
        };
        let nobody = Principal::new("ops", &[]);
        let all = "permit(principal, action, resource);";
        let named = "permit(principal, action in [Action::\"mac\", Action::\"retire\"], resource);";
        for action in GRAVE {
            assert!(
                permits(None, &nobody, ask(action)).is_err(),
                "an empty policy grants none"
            );
            assert!(permits(None, &nobody, minter(action)).is_ok());
            assert!(decide(all, "ops", &[], ask(action)).is_err());
            assert!(decide(all, "ops", &[], minter(action)).is_ok());
            assert_eq!(
                decide(named, "ops", &[], ask(action)).is_ok(),
                action == "retire"
            );
            let mac_only = "permit(principal, action == Action::\"mac\", resource);";
            assert!(
                decide(mac_only, "ops", &[], minter(action)).is_err(),
                "policy binds minters too"
            );
        }
    }

    #[test]
    fn what_may_not_go_into_a_token_is_said() {
        assert_eq!(check(""), Ok(vec![]));
        assert_eq!(check("permit(principal, action, resource);"), Ok(vec![]));
        for (what, policy) in [
            ("unexpected", "permit(principal, action"),
            (
                "unrecognized action",
                "permit(principal, action == Action::\"fly\", resource);",
            ),
            (
                "User",
                "permit(principal == User::\"x\", action, resource);",
            ),
            (
                "attribute",
                "permit(principal, action, resource) when { context.colour == 1 };",
            ),
            (
                "template",
                "permit(principal == ?principal, action, resource);",
            ),
            ("nobody anything", "forbid(principal, action, resource);"),
            ("nobody anything", " "),
            (
                "operators",
                &format!(
                    "permit(principal, action, resource) when {{ {}true }};",
                    "!".repeat(999)
                ),
            ),
        ] {
            let why = check(policy).unwrap_err();
            assert!(
                why.to_lowercase().contains(&what.to_lowercase()),
                "{what}: {why}"
            );
        }
        let warnings = check("permit(principal, action == Action::\"sign\", resource);").unwrap();
        assert!(
            warnings
                .iter()
                .any(|w| w.contains("nobody may ever reshare")),
            "{warnings:?}"
        );
        assert!(schema().contains("decapsulate"));
    }

    const PAYMENTS: &str = "@id(\"small\") @payload(\"{ amount: Long, currency: String, to?: { name: String, tags: Set<String> } }\")
        permit(principal, action == Action::\"mac\", resource)
        when { context.payload.amount <= 100000 && context.payload.currency == \"EUR\" };
        @id(\"blocked\") forbid(principal, action, resource)
        when { context has payload && context.payload has to && context.payload.to.tags.contains(\"blocked\") };
        @id(\"open\") permit(principal, action == Action::\"open\", resource);";

    fn pay(payload: &str) -> Result<(), String> {
        let payload = Payload::read(payload.as_bytes())?;
        let payload = Some(&payload);
        decide(
            PAYMENTS,
            "ops",
            &[],
            Question {
                payload,
                ..ask("mac")
            },
        )
    }

    #[test]
    fn a_policy_sees_the_payload_whose_type_it_declares() {
        assert_eq!(check(PAYMENTS).map(|warnings| warnings.len()), Ok(3));
        assert_eq!(pay("{\"amount\":100000,\"currency\":\"EUR\"}"), Ok(()));
        assert_eq!(
            pay("{\"amount\":1,\"currency\":\"EUR\",\"to\":{\"name\":\"x\",\"tags\":[]}}"),
            Ok(())
        );
        for (payload, what) in [
            (
                "{\"amount\":100001,\"currency\":\"EUR\"}",
                "does not permit",
            ),
            ("{\"amount\":1,\"currency\":\"USD\"}", "does not permit"),
            (
                "{\"amount\":1,\"currency\":\"EUR\",\"to\":{\"name\":\"x\",\"tags\":[\"a\",\"blocked\"]}}",
                "forbids it (blocked)",
            ),
            ("{\"amount\":1}", "not what the token's policy declares"),
            ("{\"amount\":\"1\",\"currency\":\"EUR\"}", "declares"),
            ("{\"amount\":true,\"currency\":\"EUR\"}", "declares"),
            (
                "{\"amount\":1,\"currency\":\"EUR\",\"note\":\"x\"}",
                "declares",
            ),
            (
                "{\"amount\":1,\"currency\":\"EUR\",\"to\":{\"name\":\"x\",\"tags\":[1]}}",
                "declares",
            ),
            (
                "{\"amount\":1,\"currency\":null}",
                "payload.currency is null",
            ),
            ("{}", "declares"),
        ] {
            let why = pay(payload).expect_err(payload);
            assert!(why.contains(what), "{payload}: {why}");
        }
    }

    #[test]
    fn a_bare_digest_is_refused_where_the_policy_looks_at_the_payload() {
        let why = decide(PAYMENTS, "ops", &[], ask("mac")).unwrap_err();
        assert!(why.contains("bare digest"), "{why}");
        assert!(
            decide(PAYMENTS, "ops", &[], ask("sign"))
                .unwrap_err()
                .contains("bare digest")
        );
        assert_eq!(decide(PAYMENTS, "ops", &[], ask("open")), Ok(()));
        // Nothing is refused that the policy does not ask for.
        let all = "permit(principal, action, resource);";
        let payload = Payload::read(b"{\"anything\":[1,\"x\",null]}").unwrap();
        let payload = Some(&payload);
        for action in WITH_PAYLOAD {
            let question = Question {
                payload,
                ..ask(action)
            };
            assert_eq!(decide(all, "ops", &[], question), Ok(()));
            assert_eq!(permits(None, &Principal::new("ops", &[]), question), Ok(()));
        }
        for action in crate::OPERATIONS.into_iter().chain(GRAVE) {
            let question = Question {
                payload,
                minter: true,
                ..ask(action)
            };
            let without_a_policy = permits(None, &Principal::new("ops", &[]), question);
            for verdict in [decide(all, "ops", &[], question), without_a_policy] {
                assert_eq!(verdict.is_ok(), WITH_PAYLOAD.contains(&action), "{action}");
            }
        }
    }

    #[test]
    fn a_declaration_is_checked_like_the_rest_of_a_policy() {
        let with = |declaration: &str| {
            check(&format!(
                "{declaration} permit(principal, action == Action::\"sign\", resource) when {{ context.payload.amount < 5 }};"
            ))
        };
        assert!(with("@payload(\"{ amount: Long }\")").is_ok());
        for (declaration, what) in [
            ("", "declares its type"),
            ("@payload", "does not declare a type"),
            ("@payload(\"{ amount: String }\")", "expected Long"),
            ("@payload(\"{ sum: Long }\")", "amount"),
            ("@payload(\"{ amount?: Long }\")", "amount"),
            (
                "@payload(\"{ amount: Long }; entity Other\")",
                "follows the record",
            ),
            (
                "@payload(\"{ amount: Long }\") permit(principal, action, resource); @payload(\"{ amount: Long }\")",
                "twice",
            ),
        ] {
            let why = with(declaration).expect_err(declaration);
            assert!(why.contains(what), "{declaration}: {why}");
        }
        // Only signing and MACs have one.
        let elsewhere = "@payload(\"{ amount: Long }\") permit(principal, action == Action::\"encrypt\", resource) when { context.payload.amount < 5 };";
        assert!(check(elsewhere).unwrap_err().contains("payload"));
    }

    #[test]
    fn a_statement_that_errs_over_the_payload_is_a_refusal() {
        let policy = "@payload(\"{ amount: Long }\") permit(principal, action, resource);
            forbid(principal, action == Action::\"mac\", resource) when { context.payload.amount * 9007199254740992 > 1 };";
        let payload = Payload::read(b"{\"amount\":9007199254740992}").unwrap();
        let payload = Some(&payload);
        let why = decide(
            policy,
            "ops",
            &[],
            Question {
                payload,
                ..ask("mac")
            },
        )
        .unwrap_err();
        assert!(why.contains("errs"), "{why}");
    }

    prop_compose! {
        fn statement()(
            permit: bool,
            principal in prop::sample::select(vec![
                "principal", "principal == Caller::\"a\"", "principal == Caller::\"b\"",
                "principal in Group::\"g\"", "principal in Group::\"h\"", "principal is Caller",
                "principal is Caller in Group::\"g\"", "principal in Caller::\"a\"",
            ]),
            action in prop::sample::select(vec![
                "action", "action == Action::\"mac\"", "action in [Action::\"mac\", Action::\"retire\"]",
                "action in [Action::\"sign\"]", "action == Action::\"retire\"",
            ]),
            resource in prop::sample::select(vec![
                "resource", "resource == Key::\"treasury\"", "resource == Key::\"other\"",
                "resource is Key", "resource in Key::\"treasury\"",
            ]),
            when in prop::sample::select(vec![
                "", "when { context.now > 500 }", "when { context.now * 9223372036854775807 > 1 }",
                "unless { context.suite == \"mac\" }",
            ]),
        ) -> String {
            let effect = if permit { "permit" } else { "forbid" };
            format!("{effect}({principal}, {action}, {resource}) {when};")
        }
    }

    proptest! {
        /// Setting statements aside changes no answer.
        #[test]
        fn a_slice_decides_as_the_whole(
            statements in prop::collection::vec(statement(), 1..8),
            who in prop::sample::select(vec!["a", "b", "c"]),
            grouped: bool,
            action in prop::sample::select(vec!["mac", "sign", "retire"]),
        ) {
            let policy = Compiled::new(&(statements.concat() + "permit(principal == Caller::\"z\", action, resource);"));
            let Ok(ready) = &policy.0 else { panic!("{:?}", policy.invalid()) };
            let who = Principal::new(who, &if grouped { vec!["g".to_owned()] } else { vec![] });
            let kind = &LANGUAGE.actions[action];
            let key = uid(&LANGUAGE.key, "treasury");
            let part = slice(ready, &who, kind, &key);
            let request = request(ready, &who, kind, key, ask(action)).unwrap();
            let whole = Authorizer::new().is_authorized(&request, &ready.set, &who.entities);
            let sliced = Authorizer::new().is_authorized(&request, &part, &who.entities);
            prop_assert_eq!(whole, sliced);
        }
    }

    #[test]
    #[ignore = "prints what decisions cost"]
    fn cost() {
        let sixty: String = (0..60)
            .map(|i| format!(
                "@id(\"rule-{i}\") permit(principal in Group::\"g{}\", action in [Action::\"sign\", Action::\"mac\"], \
                 resource == Key::\"treasury\") when {{ context.suite == \"mac\" && context.now < 19000000{i:02} && \
                 context.input like \"*{i:04x}*\" || principal == Caller::\"a-very-long-name-of-a-caller-number-{i}\" }};\n",
                i % 10
            ))
            .collect();
        let groups: Vec<String> = vec!["g1".into()];
        let who = Principal::new("ops", &groups);
        for policy in ["permit(principal, action, resource);", &sixty] {
            let started = std::time::Instant::now();
            let compiled = Compiled::new(policy);
            println!(
                "{} bytes: compiled in {:?}",
                policy.len(),
                started.elapsed()
            );
            let _ = permits(Some(&compiled), &who, ask("mac"));
            let started = std::time::Instant::now();
            for _ in 0..10_000 {
                let _ = std::hint::black_box(permits(Some(&compiled), &who, ask("mac")));
            }
            println!("  a decision: {:?}", started.elapsed() / 10_000);
            let resident = || {
                let status = std::fs::read_to_string("/proc/self/statm").unwrap();
                status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
            };
            let before = resident();
            let many: Vec<Compiled> = (0..200)
                .map(|n| Compiled::new(&format!("{policy} // {n}")))
                .collect();
            for compiled in &many {
                let _ = permits(Some(compiled), &who, ask("mac"));
            }
            println!("  memory: {} bytes", (resident() - before) / many.len());
        }
    }
}
