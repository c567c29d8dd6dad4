//! One decision: a principal, an action, a key and a context against a compiled policy.
//!
//! Of a large policy, the statements whose scope cannot match are set aside once per principal, action and key.
//! Cedar evaluates a statement's scope first, which cannot err, so that leaving these out changes no answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError};

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity,
    EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, Request, ResourceConstraint,
    Response, RestrictedExpression,
};

use crate::steady::Slice;
use crate::{
    Compiled, EXPLANATION, GRAVE, LANGUAGE, Payload, Ready, WITH_PAYLOAD, names, nesting, uid,
};
use evanesce_token::text::cut;

/// Slices remembered per policy; when there are more, all are forgotten.
const SLICES: usize = 64;

/// A policy's statements that can match, by principal, action and key (where the policy names any).
pub type Slices = HashMap<(u64, &'static str, Option<String>), Arc<Slice>>;

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(Authorizer::new);

/// How many principals were made.
static PRINCIPALS: AtomicU64 = AtomicU64::new(0);

/// A caller as policies see it.
#[derive(Clone)]
pub struct Principal {
    /// Of this principal with these groups, and of no other in this process: a caller's groups may change while a
    /// policy is remembered.
    serial: u64,
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
            serial: PRINCIPALS.fetch_add(1, Ordering::Relaxed),
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
    /// How often the key was used before.
    pub uses: Uses,
    /// Names of those whose approvals of it were verified, each once.
    pub approvals: &'a [&'a str],
}

/// Operations that this agent has permitted under a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// In all.
    pub key: u64,
    /// To this caller.
    pub caller: u64,
}

impl Uses {
    fn to_cedar(self) -> Result<RestrictedExpression, String> {
        let count = |n: u64| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
        let counts = [("key", self.key), ("caller", self.caller)];
        let counts = counts.map(|(name, n)| (name.to_owned(), count(n)));
        RestrictedExpression::new_record(counts).map_err(|e| e.to_string())
    }
}

/// Whether `principal` may do what it asks; otherwise why not. `policy` is `None` for one of length zero.
pub fn permits(
    policy: Option<&Compiled>,
    principal: &Principal,
    question: Question<'_>,
) -> Result<(), String> {
    match weigh(policy, principal, question)? {
        Some((set, answer)) => verdict(set, &answer, question),
        None => Ok(()),
    }
}

/// Why a statement of the policy forbids `principal` what is asked, whoever else may do it; whether one permits it is
/// not asked.
pub fn forbids(
    policy: Option<&Compiled>,
    principal: &Principal,
    question: Question<'_>,
) -> Option<String> {
    let (set, answer) = match weigh(policy, principal, question) {
        Ok(weighed) => weighed?,
        Err(why) => return Some(why),
    };
    let diagnostics = answer.diagnostics();
    let denied = answer.decision() == Decision::Deny && diagnostics.reason().next().is_some();
    if denied || diagnostics.errors().next().is_some() {
        verdict(set, &answer, question).err()
    } else {
        None
    }
}

/// A statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// Its `@id`, or its place in the policy: `policy0` is the first.
    pub label: String,
    /// `permit`, `forbid`, or `error` where its evaluation erred.
    pub effect: &'static str,
    /// The statement itself.
    pub text: String,
}

/// The same decision as [`permits`], and the statements that made it: the permits that hold, the forbids that hold, or
/// those that err. There is none where no permit holds, and where something else than a statement decided.
pub fn explain(
    policy: Option<&Compiled>,
    principal: &Principal,
    question: Question<'_>,
) -> (Result<(), String>, Vec<Deciding>) {
    let (set, answer) = match weigh(policy, principal, question) {
        Ok(Some(weighed)) => weighed,
        Ok(None) => return (Ok(()), Vec::new()),
        Err(why) => return (Err(why), Vec::new()),
    };
    let diagnostics = answer.diagnostics();
    let erring: BTreeSet<&PolicyId> = diagnostics
        .errors()
        .map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id())
        .collect();
    let reasons = || diagnostics.reason().collect();
    let ids = if erring.is_empty() {
        reasons()
    } else {
        erring.clone()
    };
    let mut statements: Vec<&Policy> = ids.into_iter().filter_map(|id| set.policy(id)).collect();
    // In the order of the text, which Cedar's own ids number.
    statements.sort_by_key(|policy| {
        let id: &str = policy.id().as_ref();
        (id.len(), id.to_owned())
    });
    let deciding = statements.into_iter().map(|policy| Deciding {
        label: label(policy),
        effect: match policy.effect() {
            _ if erring.contains(policy.id()) => "error",
            Effect::Permit => "permit",
            Effect::Forbid => "forbid",
        },
        text: policy.to_cedar().unwrap_or_default(),
    });
    (verdict(set, &answer, question), deciding.collect())
}

/// What Cedar says, and of which statements; `None` where it need not be asked, because everything is permitted.
fn weigh<'p>(
    policy: Option<&'p Compiled>,
    principal: &Principal,
    question: Question<'_>,
) -> Result<Option<(&'p PolicySet, Response)>, String> {
    let action = question.action;
    let with_payload = WITH_PAYLOAD.contains(&action);
    if question.payload.is_some() && !with_payload {
        return Err(format!("{action} never has a payload"));
    }
    let Some(policy) = policy else {
        return if !GRAVE.contains(&action) || question.minter {
            Ok(None)
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
    let (action, kind) = LANGUAGE
        .actions
        .get_key_value(action)
        .ok_or("an unknown action")?;
    if policy.declared.is_some() && with_payload && question.payload.is_none() {
        return Err(format!(
            "the token's policy looks at the payload: it is not enough to {action} a bare digest"
        ));
    }
    let key = uid(&LANGUAGE.key, question.key);
    let slice = slice(policy, principal, (action, kind), (question.key, &key));
    let request = request(policy, principal, kind, key, question)?;
    let ask = |set: &PolicySet| AUTHORIZER.is_authorized(&request, set, &principal.entities);
    let answer = ask(&slice.at(question.suite, question.now, ask));
    Ok(Some((&policy.set, answer)))
}

/// What Cedar's answer means here.
fn verdict(set: &PolicySet, answer: &Response, question: Question<'_>) -> Result<(), String> {
    let action = question.action;
    let diagnostics = answer.diagnostics();
    if let Some(error) = diagnostics.errors().next() {
        let AuthorizationError::PolicyEvaluationError(at) = error;
        // Cedar's own words repeat values, and these go into logs.
        let words = match (question.payload, set.policy(at.policy_id())) {
            (Some(_), Some(policy)) => format!("over the payload ({})", label(policy)),
            (Some(_), None) => "over the payload".into(),
            (None, _) => error.to_string(),
        };
        return Err(cut(
            &format!("the token's policy errs: {words}"),
            EXPLANATION,
        ));
    }
    let reasons = || diagnostics.reason().filter_map(|id| set.policy(id));
    let named = || reasons().any(|policy| names(policy, action));
    match answer.decision() {
        Decision::Allow if GRAVE.contains(&action) && !question.minter && !named() => Err(format!(
            "{action} needs the minter role or a permit that names it"
        )),
        Decision::Allow => Ok(()),
        Decision::Deny => Err(match reasons().next() {
            Some(forbid) => format!("the token's policy forbids it ({})", label(forbid)),
            None => "the token's policy does not permit it".into(),
        }),
    }
}

fn slice(
    policy: &Ready,
    who: &Principal,
    (action, kind): (&'static str, &EntityUid),
    (name, key): (&str, &EntityUid),
) -> Arc<Slice> {
    let mut slices = policy.slices.lock().unwrap_or_else(PoisonError::into_inner);
    // Tokens under one policy often have names of their own; most policies do not care.
    let named = policy.names_keys;
    let place = (who.serial, action, named.then(|| name.to_owned()));
    if let Some(slice) = slices.get(&place) {
        return slice.clone();
    }
    let can = policy
        .set
        .policies()
        .filter(|policy| can_match(policy, who, kind, named.then_some(key)));
    let part = Arc::new(Slice::new(can.map(without_scope)));
    if slices.len() >= SLICES {
        slices.clear();
    }
    slices.insert(place, part.clone());
    part
}

/// False only if the statement's scope is false for these, whatever the context.
pub(crate) fn can_match(
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

/// The statement without what [`can_match`] has found true of its scope, so that Cedar need not find it again for
/// every request.
fn without_scope(policy: &Policy) -> Policy {
    let lighter = || {
        if !nesting::is_shallow(&policy.to_cedar()?) {
            return None;
        }
        let mut json = policy.to_json().ok()?;
        let anything = || serde_json::json!({ "op": "All" });
        // `is` was not looked into.
        if !matches!(
            policy.principal_constraint(),
            PrincipalConstraint::Is(_) | PrincipalConstraint::IsIn(..)
        ) {
            json["principal"] = anything();
        }
        json["action"] = anything();
        if matches!(policy.resource_constraint(), ResourceConstraint::Eq(_)) {
            json["resource"] = anything();
        }
        Policy::from_json(Some(policy.id().clone()), json).ok()
    };
    lighter().unwrap_or_else(|| policy.clone())
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
    let uses = match policy.looks.uses {
        true => Some(("uses".to_owned(), question.uses.to_cedar()?)),
        false => None,
    };
    let asked = [
        ("suite".to_owned(), text(question.suite.to_owned())),
        ("input".to_owned(), text(hex::encode(question.input))),
        ("now".to_owned(), RestrictedExpression::new_long(now)),
    ];
    let approved = policy
        .looks
        .approvals
        .then(|| ("approvals".to_owned(), approvals(question.approvals)));
    let unlike = |why: &str| format!("the payload is not what the token's policy declares: {why}");
    let shown = match policy.declared.as_ref().zip(question.payload) {
        None => None,
        Some((declared, payload)) => {
            declared.kind.fits(payload).map_err(|why| unlike(&why))?;
            let payload = payload.to_cedar().ok_or_else(|| unlike("it has a null"))?;
            Some(("payload".to_owned(), payload))
        }
    };
    let hidden = shown.is_some();
    let pairs = asked.into_iter().chain(uses).chain(approved).chain(shown);
    let context = Context::from_pairs(pairs).map_err(|e| cut(&e.to_string(), EXPLANATION))?;
    let schema = match &policy.declared {
        Some(declared) => &declared.schema,
        None => &LANGUAGE.narrow[policy.looks.place()],
    };
    Request::new(
        principal.uid.clone(),
        action.clone(),
        key,
        context,
        Some(schema),
    )
    // Cedar's own words repeat the context, and these go into logs.
    .map_err(|e| match hidden {
        true => unlike("Cedar refuses it"),
        false => cut(&e.to_string(), EXPLANATION),
    })
}

/// Approvals as policies see them.
fn approvals(names: &[&str]) -> RestrictedExpression {
    static NONE: LazyLock<RestrictedExpression> = LazyLock::new(|| record_of(&[]));
    match names {
        [] => NONE.clone(),
        names => record_of(names),
    }
}

fn record_of(names: &[&str]) -> RestrictedExpression {
    let texts = names
        .iter()
        .map(|name| RestrictedExpression::new_string((*name).to_owned()));
    let people = names
        .iter()
        .map(|name| RestrictedExpression::new_entity_uid(uid(&LANGUAGE.approver, name)));
    let fields = [
        (
            "count".to_owned(),
            RestrictedExpression::new_long(names.len() as i64),
        ),
        ("names".to_owned(), RestrictedExpression::new_set(texts)),
        ("by".to_owned(), RestrictedExpression::new_set(people)),
    ];
    RestrictedExpression::new_record(fields).expect("three names, each once")
}

/// What a statement calls itself: its `@id`, or its place in the text.
fn label(policy: &Policy) -> String {
    let id: &PolicyId = policy.id();
    cut(policy.annotation("id").unwrap_or(id.as_ref()), 64)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::declared::tests::value_of;
    use crate::payload::Value;
    use crate::{check, schema};
    use cedar_policy::Schema;
    use proptest::prelude::*;
    use std::str::FromStr;

    pub(crate) fn ask(action: &str) -> Question<'_> {
        Question {
            action,
            suite: "mac",
            input: &[0xab; 32],
            key: "treasury",
            now: 1000,
            minter: false,
            payload: None,
            uses: Uses::default(),
            approvals: &[],
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
    fn the_statements_that_decide_are_named() {
        let policy = "@id(\"staff\") permit(principal, action, resource);
            permit(principal, action == Action::\"mac\", resource) when { context.now < 2000 };
            @id(\"night\") forbid(principal, action, resource) when { context.now > 3000 };
            @id(\"overflow\") forbid(principal == Caller::\"eve\", action, resource)
            when { context.now * 9223372036854775807 > 1 };";
        let compiled = Compiled::new(policy);
        let asked = |who: &str, question: Question<'_>| {
            let who = Principal::new(who, &[]);
            let (verdict, deciding) = explain(Some(&compiled), &who, question);
            assert_eq!(verdict, permits(Some(&compiled), &who, question));
            let deciding = deciding.into_iter().map(|one| {
                assert!(policy.contains(&one.text), "{}", one.text);
                format!("{} {}", one.effect, one.label)
            });
            (verdict.is_ok(), deciding.collect::<Vec<_>>().join(", "))
        };
        assert_eq!(
            asked("ops", ask("mac")),
            (true, "permit staff, permit policy1".into())
        );
        let night = Question {
            now: 4000,
            ..ask("mac")
        };
        assert_eq!(asked("ops", night), (false, "forbid night".into()));
        assert_eq!(asked("eve", ask("mac")), (false, "error overflow".into()));
        assert_eq!(asked("ops", ask("retire")), (false, "permit staff".into()));
    }

    #[test]
    fn what_a_policy_forbids_is_told_apart_from_what_it_does_not_permit() {
        let policy = Compiled::new(
            "permit(principal == Caller::\"ops\", action, resource);
             forbid(principal in Group::\"suspended\", action, resource);
             forbid(principal == Caller::\"odd\", action, resource) when { context.now * 9223372036854775807 > 1 };",
        );
        let asked = |who: &str, groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
            forbids(Some(&policy), &Principal::new(who, &groups), ask("mac"))
        };
        assert_eq!(asked("ops", &[]), None);
        assert_eq!(
            asked("bot", &[]),
            None,
            "nobody permits it, and nobody forbids it"
        );
        assert!(
            asked("bot", &["suspended"])
                .unwrap()
                .contains("forbids it (policy1)")
        );
        assert!(asked("odd", &[]).unwrap().contains("errs"));
        assert_eq!(forbids(None, &Principal::new("bot", &[]), ask("mac")), None);
        for (text, expected) in [("", 0), ("@delegable(\"1\")", 1), ("@delegable(\"2\")", 2)] {
            let policy = Compiled::new(&format!("{text} permit(principal, action, resource);"));
            assert_eq!((policy.invalid(), policy.delegable()), (None, expected));
        }
        for text in [
            "@delegable",
            "@delegable(\"0\")",
            "@delegable(\"3\")",
            "@delegable(\"1 \")",
        ] {
            let policy = Compiled::new(&format!("{text} permit(principal, action, resource);"));
            assert!(policy.invalid().unwrap().contains("@delegable"), "{text}");
        }
        let twice = "@delegable(\"1\") permit(principal, action, resource); @delegable(\"1\") permit(principal, action, resource);";
        assert!(Compiled::new(twice).invalid().unwrap().contains("twice"));
    }

    #[test]
    fn uses_can_be_spoken_of() {
        let policy = "permit(principal, action, resource) when { context.uses.key < 10 && context.uses.caller < 3 };";
        let used = |key, caller| {
            let uses = Uses { key, caller };
            decide(policy, "ops", &[], Question { uses, ..ask("mac") })
        };
        assert_eq!(used(9, 2), Ok(()));
        assert!(used(10, 2).is_err() && used(9, 3).is_err());
        assert!(Compiled::new(policy).counts());
        // However it is written.
        let escaped = policy.replace(".uses.key", "[\"u\\u{73}es\"][\"key\"]");
        assert!(check(&escaped).is_ok() && Compiled::new(&escaped).counts());
        let plain = "permit(principal, action, resource);";
        assert!(!Compiled::new(plain).counts());
        assert!(Compiled::new(&format!("@limits(\"agent 5\") {plain}")).counts());
    }

    #[test]
    fn approvals_are_counted_and_named() {
        let policy = "@id(\"two\") @approvers(\"cfo = 00, ceo = 01\")
            permit(principal, action, resource) when { context.approvals.count >= 2 };
            @id(\"both\") permit(principal, action == Action::\"sign\", resource)
            when { context.approvals.names.containsAll([\"cfo\", \"ceo\"]) && context.approvals.by.contains(Approver::\"cfo\") };"
            .replace("00", &"00".repeat(32))
            .replace("01", &"01".repeat(32));
        let compiled = Compiled::new(&policy);
        assert_eq!(compiled.invalid(), None);
        assert!(compiled.looks_at_approvals());
        let names: Vec<&str> = compiled
            .approvers()
            .unwrap()
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["cfo", "ceo"]);
        let who = Principal::new("ops", &[]);
        let by = |action, approvals: &[&str]| {
            let question = Question {
                approvals,
                ..ask(action)
            };
            let (verdict, deciding) = explain(Some(&compiled), &who, question);
            assert_eq!(verdict, permits(Some(&compiled), &who, question));
            deciding
                .into_iter()
                .map(|one| one.label)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(by("sign", &["cfo", "ceo"]), "two both");
        assert_eq!(by("mac", &["cfo", "ceo"]), "two");
        assert_eq!(by("sign", &["board-1", "board-2"]), "two");
        assert_eq!(by("sign", &["cfo"]), "");
        assert_eq!(by("sign", &[]), "");
    }

    #[test]
    fn a_policy_that_cannot_look_at_approvals_is_judged_without_and_as_with_them() {
        let looks = |policy: &str| Compiled::new(policy).looks_at_approvals();
        let plain = "permit(principal, action, resource) when { context.now > 5 };";
        let declared = format!("@payload(\"{{ amount: Long }}\") {plain}");
        assert!(!looks(plain) && !looks(&declared) && !looks("permit(principal, action"));
        let who = Principal::new("ops", &[]);
        let payload = Payload::read(b"{\"amount\":1}").unwrap();
        // A comment makes no difference but in how it is judged.
        for policy in [plain, &declared] {
            for policy in [policy.to_owned(), format!("{policy} // approvals")] {
                let question = Question {
                    payload: Some(&payload),
                    approvals: &["cfo"],
                    ..ask("mac")
                };
                assert_eq!(
                    permits(Some(&Compiled::new(&policy)), &who, question),
                    Ok(()),
                    "{policy}"
                );
            }
        }
        // However the word is written.
        for way in [
            "context.approvals",
            "context[\"approvals\"]",
            "context[\"approv\\u{61}ls\"]",
        ] {
            let policy =
                format!("permit(principal, action, resource) when {{ {way}.count == 1 }};");
            assert!(looks(&policy), "{way}");
            let question = Question {
                approvals: &["cfo"],
                ..ask("mac")
            };
            assert_eq!(
                permits(Some(&Compiled::new(&policy)), &who, question),
                Ok(()),
                "{way}"
            );
        }
        let twice = "@approvers(\"a = 00\") permit(principal, action, resource);"
            .replace("00", &"00".repeat(32));
        assert!(check(&twice).is_ok());
        assert!(check(&twice.repeat(2)).unwrap_err().contains("twice"));
        assert!(
            check("@approvers(\"cfo\") permit(principal, action, resource);")
                .unwrap_err()
                .contains("no \"=\"")
        );
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
            ("{\"amount\":1}", "declares: payload.currency is missing"),
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
                "payload.currency is null, not a text",
            ),
            ("{}", "declares"),
            (
                "{\"amount\":1,\"currency\":\"EUR\",\"s3cret\":\"x\"}",
                "has a key that the type does not have",
            ),
            (
                "{\"amount\":1,\"currency\":\"EUR\",\"to\":{\"name\":\"x\",\"tags\":[\"a\",\"s3cret\",null]}}",
                "payload.to.tags[] is null, not a text",
            ),
        ] {
            let why = pay(payload).expect_err(payload);
            assert!(why.contains(what), "{payload}: {why}");
            assert!(!why.contains("s3cret"), "it would go into a log: {why}");
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

    proptest! {
        /// Our own account of where a payload departs from its type says the same as Cedar's, which repeats values.
        #[test]
        fn a_payload_fits_its_type_exactly_where_cedar_says_so(
            kind in crate::declared::tests::record_kind(),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let Value::Object(members) = value_of(&kind, &mut bytes.into_iter()) else { return Ok(()) };
            let payload = Payload(members);
            let schema = Schema::from_str(&crate::schema_with(&kind.to_string())).unwrap();
            let cedar = payload.to_cedar().is_some_and(|shown| {
                let context = Context::from_pairs([
                    ("suite".to_owned(), RestrictedExpression::new_string("mac".into())),
                    ("input".to_owned(), RestrictedExpression::new_string("".into())),
                    ("now".to_owned(), RestrictedExpression::new_long(5)),
                    ("uses".to_owned(), RestrictedExpression::new_record([
                        ("key".to_owned(), RestrictedExpression::new_long(0)),
                        ("caller".to_owned(), RestrictedExpression::new_long(0)),
                    ]).unwrap()),
                    ("approvals".to_owned(), approvals(&[])),
                    ("payload".to_owned(), shown),
                ]);
                let who = uid(&LANGUAGE.caller, "ops");
                let (action, key) = (LANGUAGE.actions["mac"].clone(), uid(&LANGUAGE.key, "k"));
                Request::new(who, action, key, context.unwrap(), Some(&schema)).is_ok()
            });
            prop_assert_eq!(kind.fits(&payload).is_ok(), cedar, "{} {:?} {:?}", kind, payload, kind.fits(&payload));
        }
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
        assert!(why.contains("errs: over the payload (policy1)"), "{why}");
        assert!(
            !why.contains("9007199254740992"),
            "it would go into a log: {why}"
        );
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
            let part = slice(ready, &who, (action, kind), ("treasury", &key));
            let request = request(ready, &who, kind, key, ask(action)).unwrap();
            let whole = Authorizer::new().is_authorized(&request, &ready.set, &who.entities);
            // The second time without what was found not to hold the first.
            for _ in 0..2 {
                let set = part.at("mac", 1000, |set| Authorizer::new().is_authorized(&request, set, &who.entities));
                let sliced = Authorizer::new().is_authorized(&request, &set, &who.entities);
                prop_assert_eq!(whole.decision(), sliced.decision());
                let reasons = |answer: &Response| answer.diagnostics().reason().cloned().collect::<BTreeSet<_>>();
                prop_assert_eq!(reasons(&whole), reasons(&sliced));
                let errors = |answer: &Response| {
                    answer.diagnostics().errors().map(ToString::to_string).collect::<BTreeSet<_>>()
                };
                prop_assert_eq!(errors(&whole), errors(&sliced));
            }
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
        let paid = "@payload(\"{ amount: Long, currency: String, to?: { name: String } }\") permit(principal, action, resource);";
        for policy in ["permit(principal, action, resource);", paid, &sixty] {
            let started = std::time::Instant::now();
            let compiled = Compiled::new(policy);
            println!(
                "{} bytes: compiled in {:?}",
                policy.len(),
                started.elapsed()
            );
            let time = |what: &str, f: &dyn Fn()| {
                // The least of many, since this machine may have other things to do.
                let once = |_| {
                    let started = std::time::Instant::now();
                    (0..200).for_each(|_| f());
                    started.elapsed() / 200
                };
                println!("  {what}: {:?}", (0..50).map(once).min().unwrap());
            };
            let Ok(ready) = &compiled.0 else { panic!() };
            let kind = LANGUAGE.actions.get_key_value("mac").unwrap();
            let key = uid(&LANGUAGE.key, "treasury");
            let payload =
                Payload::read(b"{\"amount\":1,\"currency\":\"EUR\",\"to\":{\"name\":\"x\"}}")
                    .unwrap();
            let payload = ready.declared.as_ref().map(|_| &payload);
            let ask = |action| Question {
                payload,
                ..ask(action)
            };
            let asked = request(ready, &who, kind.1, key.clone(), ask("mac")).unwrap();
            let part = || slice(ready, &who, (kind.0, kind.1), ("treasury", &key));
            let set = &*part().at("mac", 1000, |_| unreachable!("the first time"));
            time("a decision", &|| {
                let _ = std::hint::black_box(permits(Some(&compiled), &who, ask("mac")));
            });
            time("of it, finding the statements that can match", &|| {
                std::hint::black_box(part());
            });
            time("the request", &|| {
                let _ = std::hint::black_box(request(ready, &who, kind.1, key.clone(), ask("mac")));
            });
            time("Cedar", &|| {
                std::hint::black_box(AUTHORIZER.is_authorized(&asked, set, &who.entities));
            });
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

    #[test]
    #[ignore = "prints what the costliest payloads cost"]
    fn cost_of_payloads() {
        let policy = Compiled::new(
            "@payload(\"{ a: Set<Long>, b?: Set<Set<Long>>, c?: Set<{ x: Long }>, d?: Set<String> }\")
             permit(principal, action, resource) when { context has payload && !context.payload.a.contains(5) };",
        );
        assert_eq!(policy.invalid(), None);
        let fill = |head: &str, item: &dyn Fn(usize) -> String| {
            let mut text = format!("{{\"a\":[],{head}[{}", item(0));
            for n in 1.. {
                let next = item(n);
                if text.len() + next.len() + 3 > crate::PAYLOAD {
                    break;
                }
                text = text + "," + &next;
            }
            text + "]}"
        };
        for text in [
            "{\"a\":[1,2,3]}".to_owned(),
            fill("\"b\":", &|_| "[]".into()),
            fill("\"b\":", &|n| format!("[{n}]")),
            fill("\"c\":", &|n| format!("{{\"x\":{n}}}")),
            fill("\"d\":", &|n| format!("\"{n}\"")),
            fill("\"d\":", &|_| "\"\"".into()),
        ] {
            let who = Principal::new("ops", &[]);
            let once = || {
                let started = std::time::Instant::now();
                let payload = Payload::read(text.as_bytes()).unwrap();
                let read = started.elapsed();
                let payload = Some(&payload);
                let question = Question {
                    payload,
                    ..ask("mac")
                };
                assert_eq!(permits(Some(&policy), &who, question), Ok(()));
                (started.elapsed(), read)
            };
            let (all, read) = (0..20).map(|_| once()).min().unwrap();
            println!(
                "{} bytes {:.20}: {all:?}, of it reading {read:?}",
                text.len(),
                text
            );
        }
    }
}
