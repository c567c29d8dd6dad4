//! What a token's own policy says (PROTOCOL §6, Policy): Cedar, validated against one published schema.
//!
//! A policy decides only if it parses and fits the schema in Cedar's strict mode; any error while it is
//! evaluated is a refusal, since Cedar itself skips a `forbid` that errs. Entity ids are built through the
//! API, never by joining text: names are hostile. Nothing here knows the time, tokens or the network.

mod annotations;
mod approvers;
mod decide;
mod declared;
mod delegable;
mod limited;
mod looks;
mod nesting;
mod payload;
mod reach;
mod steady;
mod unordered;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{LazyLock, Mutex};

use cedar_policy::{
    ActionConstraint, Effect, EntityId, EntityTypeName, EntityUid, Policy, PolicySet,
    ResourceConstraint, Schema, ValidationMode, Validator,
};

pub use approvers::{Approver, RelyingParty};
use decide::Slices;
pub use decide::{Deciding, Principal, Question, Uses, explain, forbids, permits};
use declared::Kind;
use evanesce_token::Gate;
use evanesce_token::text::cut;
pub use limited::{Bound, Limit, Most, explain as explain_bound};
use looks::Looks;
pub use payload::{PAYLOAD, PAYLOAD_DEPTH, Payload, canonicalise, quoted};
pub use reach::could_open;

/// The published schema, in Cedar's own language.
pub fn schema() -> &'static str {
    include_str!("../schema.cedarschema")
}

/// Actions that change or end a key: the minter role or a permit that names them must grant these.
pub const GRAVE: [&str; 3] = ["reshare", "repair", "retire"];

const OPERATIONS: [&str; 9] = [
    "sign",
    "mac",
    "verify-mac",
    "encrypt",
    "decrypt",
    "derive",
    "agree",
    "decapsulate",
    "open",
];

/// Actions that may carry a payload, and must where the policy declares one.
pub const WITH_PAYLOAD: [&str; 2] = ["sign", "mac"];

/// Longest account of what is wrong with a policy, in characters.
const EXPLANATION: usize = 1000;

struct Language {
    /// By what a policy can look at, what its requests must fit.
    narrow: [Schema; 4],
    validator: Validator,
    caller: EntityTypeName,
    group: EntityTypeName,
    key: EntityTypeName,
    approver: EntityTypeName,
    actions: HashMap<&'static str, EntityUid>,
}

static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let named = |name| EntityTypeName::from_str(name).expect("a type name");
    let read = |text: &str| Schema::from_str(text).expect("the published schema is valid");
    let action = named("Action");
    let actions = OPERATIONS.into_iter().chain(GRAVE);
    Language {
        narrow: Looks::all().map(|looks| read(&looks.narrow(schema()))),
        validator: Validator::new(read(schema())),
        caller: named("Caller"),
        group: named("Group"),
        key: named("Key"),
        approver: named("Approver"),
        actions: actions.map(|name| (name, uid(&action, name))).collect(),
    }
});

/// The published schema, for a policy that declares its payload to be of type `kind`.
fn schema_with(kind: &str) -> String {
    const CONTEXT: &str = "type Asked = {";
    const ACTIONS: &str =
        "action sign, mac\n    appliesTo { principal: [Caller], resource: [Key], context: ";
    let plain = schema();
    let members = plain
        .split_once(CONTEXT)
        .and_then(|(_, rest)| rest.split_once("};"));
    let (members, _) = members.expect("the published schema has the type");
    let (before, after) = plain
        .split_once(ACTIONS)
        .expect("the published schema has the actions");
    let after = after
        .strip_prefix("Asked ")
        .expect("their context is that type");
    format!("{before}{ACTIONS}Shown {after}\ntype Shown = {{{members}    payload: {kind},\n}};\n")
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// Whether `action` is one of PROTOCOL §6.
pub fn is_action(action: &str) -> bool {
    OPERATIONS.contains(&action) || GRAVE.contains(&action)
}

/// Whether a policy may go into a token: its warnings, or why it may not.
pub fn check(policy: &str) -> Result<Vec<String>, String> {
    if policy.is_empty() {
        return Ok(Vec::new());
    }
    let Parsed {
        set, mut warnings, ..
    } = parse(policy)?;
    for action in GRAVE {
        let could = |p: &Policy| {
            p.effect() == Effect::Permit
                && (p.action_constraint() == ActionConstraint::Any || names(p, action))
        };
        if !set.policies().any(could) {
            warnings.push(format!("nobody may ever {action}: no permit covers it"));
        } else if action == "retire" && unordered::waits(&set) {
            warnings.push(unordered::WARNING.into());
        }
    }
    Ok(warnings)
}

/// The same for a token under `quorum`, whose seats have these `holders`, or each its own where none are given: what the
/// policy promises must be possible there.
pub fn check_for(policy: &str, quorum: &Gate, holders: &[String]) -> Result<Vec<String>, String> {
    let warnings = check(policy)?;
    if !policy.is_empty() {
        let bounds = limited::bounds(&parse(policy)?.limits, quorum)?;
        limited::held(&bounds, quorum, holders)?;
    }
    Ok(warnings)
}

/// A policy made ready; immutable, to be shared.
pub struct Compiled(Result<Ready, String>);

struct Ready {
    set: PolicySet,
    /// The payload that the policy declares.
    declared: Option<Declared>,
    /// How often the key may be used.
    limits: Vec<Limit>,
    /// How many grants may lie between a permitted caller and the one who asks.
    delegable: usize,
    /// Who may approve, where the policy says.
    approvers: Option<Vec<Approver>>,
    /// What it is shown.
    looks: Looks,
    /// Whether it may look at `context.now`, which it is always shown.
    timely: bool,
    /// Whether any statement's scope names a key.
    names_keys: bool,
    slices: Mutex<Slices>,
}

impl Compiled {
    /// Parses and validates. One that is not valid refuses everything, and says why.
    pub fn new(policy: &str) -> Self {
        Self(parse(policy).map(|parsed| {
            let Parsed {
                set,
                declared,
                limits,
                delegable,
                approvers,
                ..
            } = parsed;
            let named = |p: &Policy| {
                let any = matches!(
                    p.resource_constraint(),
                    ResourceConstraint::Any | ResourceConstraint::Is(_)
                );
                !any
            };
            let names_keys = set.policies().any(named);
            Ready {
                set,
                declared,
                limits,
                delegable,
                approvers,
                looks: Looks::of(policy),
                timely: looks::at_time(policy),
                names_keys,
                slices: Mutex::default(),
            }
        }))
    }

    /// The type of the payload that it declares, in Cedar's schema syntax; `None` where it declares none, or is invalid.
    pub fn declared(&self) -> Option<String> {
        let declared = self.0.as_ref().ok()?.declared.as_ref()?;
        Some(declared.kind.to_string())
    }

    /// The limits that it states.
    pub fn limits(&self) -> &[Limit] {
        self.0.as_ref().map_or(&[], |ready| &ready.limits)
    }

    /// How many grants may follow one another from a caller that it permits to one who asks in its place.
    pub fn delegable(&self) -> usize {
        self.0.as_ref().map_or(0, |ready| ready.delegable)
    }

    /// Whether uses of the key are to be counted: it states limits, or speaks of uses.
    pub fn counts(&self) -> bool {
        self.0
            .as_ref()
            .is_ok_and(|ready| ready.looks.uses || !ready.limits.is_empty())
    }

    /// What its limits come to at each agent of `quorum`; or why one cannot be promised.
    pub fn bounds(&self, quorum: &Gate) -> Result<Vec<Bound>, String> {
        match &self.0 {
            Ok(ready) => limited::bounds(&ready.limits, quorum),
            Err(why) => Err(why.clone()),
        }
    }

    /// Who may approve, where the policy itself says; then nobody else may.
    pub fn approvers(&self) -> Option<&[Approver]> {
        self.0.as_ref().ok()?.approvers.as_deref()
    }

    /// Whether any of its statements may look at the time.
    pub fn looks_at_time(&self) -> bool {
        self.0.as_ref().is_ok_and(|ready| ready.timely)
    }

    /// Whether any of its statements may look at approvals.
    pub fn looks_at_approvals(&self) -> bool {
        self.0.as_ref().is_ok_and(|ready| ready.looks.approvals)
    }

    /// Why it may not be seated, if so.
    pub fn invalid(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}

/// A declared payload.
struct Declared {
    kind: Kind,
    /// The published schema with it, as narrow as what the policy can look at: what requests must fit.
    schema: Schema,
}

struct Parsed {
    set: PolicySet,
    declared: Option<Declared>,
    limits: Vec<Limit>,
    delegable: usize,
    approvers: Option<Vec<Approver>>,
    warnings: Vec<String>,
}

fn parse(policy: &str) -> Result<Parsed, String> {
    let explain = |errors: Vec<String>| cut(&errors.join("; "), EXPLANATION);
    nesting::check(policy)?;
    let set = PolicySet::from_str(policy)
        .map_err(|errors| explain(errors.iter().map(ToString::to_string).collect()))?;
    if set.num_of_templates() > 0 {
        return Err("it holds a template (?principal or ?resource), which nothing can fill".into());
    }
    let unread = annotations::check(&set)?;
    let limits = limited::stated(&set)?;
    let delegable = delegable::stated(&set)?;
    let approvers = approvers::named(&set)?;
    let declared = match declared::declared(&set)? {
        None => None,
        Some(kind) => {
            let text = schema_with(&kind.to_string());
            let read =
                |text: &str| Schema::from_str(text).map_err(|e| explain(vec![e.to_string()]));
            let schema = read(&Looks::of(policy).narrow(&text))?;
            Some((Declared { kind, schema }, Validator::new(read(&text)?)))
        }
    };
    let (declared, validator) = declared.unzip();
    let validator = validator.as_ref().unwrap_or(&LANGUAGE.validator);
    let result = validator.validate(&set, ValidationMode::Strict);
    if !result.validation_passed() {
        let mut errors: Vec<String> = result
            .validation_errors()
            .map(ToString::to_string)
            .collect();
        if declared.is_none() && errors.iter().any(|error| error.contains("`payload`")) {
            errors.push(
                "a policy that looks at the payload declares its type: @payload(\"{ … }\")".into(),
            );
        }
        return Err(explain(errors));
    }
    if !set.policies().any(|p| p.effect() == Effect::Permit) {
        return Err("it permits nobody anything, ever".into());
    }
    let warnings = result
        .validation_warnings()
        .map(|w| cut(&w.to_string(), EXPLANATION));
    let warnings = warnings.chain(unread).collect();
    Ok(Parsed {
        set,
        declared,
        limits,
        delegable,
        approvers,
        warnings,
    })
}

/// Whether a policy's scope names `action`.
fn names(policy: &Policy, action: &str) -> bool {
    let Some(action) = LANGUAGE.actions.get(action) else {
        return false;
    };
    match policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(one) => one == *action,
        ActionConstraint::In(list) => list.contains(action),
    }
}
