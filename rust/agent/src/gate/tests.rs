//! Every way in which an opening can be wrong, one by one and together: the first check in the protocol's
//! order decides.

use std::sync::LazyLock;

use evanesce_token::{Body, Gate, Header};
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const SESSION: Id = [9; 32];
const NO_SALTS: [Option<[u8; 32]>; OPERATIONS + 1] = [None; OPERATIONS + 1];

fn known(roles: &str) -> std::sync::Arc<Known> {
    let id = "aa".repeat(32);
    let text = format!("[[identity]]\nname = \"ops\"\nid = \"{id}\"\nroles = [{roles}]\n");
    Directory::parse(&text)
        .unwrap()
        .find(&[0xaa; 32])
        .unwrap()
        .clone()
}

fn body(policy: &str, expires: Option<u64>) -> Body {
    let header = Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suites: vec!["ed25519".into(), "hmac-sha256".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: policy.into(),
        created: NOW - 100,
        expires,
        replaces: None,
    };
    let sealed = evanesce_token::formula::sealed_hash(None);
    let catalogue = evanesce_suite::catalogue();
    Body::new(
        header.encode(),
        [3; 32],
        vec![[4; 32]],
        [5; 32],
        sealed,
        catalogue,
    )
    .unwrap()
}

fn request(body: &Body, action: &str, suite: &str) -> Request {
    Request {
        token: body.id,
        action: action.into(),
        suite: suite.into(),
        input: [6; 32],
        caller: [0xaa; 32],
        session: SESSION,
        id: [7; 16],
        not_after: NOW + 60,
        payload: None,
    }
}

fn decide(case: &Case<'_>) -> Option<Code> {
    case.decide(&mut Replay::new(64, [0; 16]))
        .err()
        .map(|refusal| refusal.code)
}

fn case<'a>(verb: Verb, who: &'a Known, body: &'a Body, requests: &'a [Request]) -> Case<'a> {
    Case {
        verb,
        who,
        unproven: None,
        session: &SESSION,
        body,
        policy: None,
        requests,
        salts: &NO_SALTS[..requests.len()],
        inputs: &[],
        evidence: &NONE,
        directory: &NOBODY,
        used: &UNUSED,
        retired: false,
        frozen: false,
        delegated: Ok(None),
        uses: Uses::default(),
        over: None,
        now: NOW,
    }
}

static NOBODY: LazyLock<Directory> = LazyLock::new(Directory::default);
static UNUSED: LazyLock<Used> = LazyLock::new(Used::default);

static NONE: Evidence = Evidence {
    proof: None,
    grants: Vec::new(),
    approvals: Vec::new(),
};

#[test]
fn what_fits_the_token_is_permitted_and_nothing_else() {
    let who = known("\"caller\", \"reconstructor\"");
    let body = body("", None);
    for (action, suite, expected) in [
        ("sign", "ed25519", None),
        ("mac", "hmac-sha256", None),
        ("verify-mac", "hmac-sha256", None),
        ("open", "", None),
        ("sign", "hmac-sha256", Some(Code::Unfit)),
        ("mac", "ed25519", Some(Code::Unfit)),
        ("sign", "ecdsa-p256", Some(Code::Unfit)),
        ("sign", "", Some(Code::Unfit)),
        ("open", "ed25519", Some(Code::Unfit)),
        ("fly", "ed25519", Some(Code::Malformed)),
        ("sign", "ed25520", Some(Code::Malformed)),
        ("open", "x", Some(Code::Malformed)),
        ("retire", "", Some(Code::Unfit)),
        ("reshare", "", Some(Code::Refused)),
        ("repair", "", Some(Code::Refused)),
    ] {
        let requests = [request(&body, action, suite)];
        let code = decide(&case(Verb::Contribute, &who, &body, &requests));
        assert_eq!(code, expected, "{action} {suite}");
    }
    let minter = known("\"caller\", \"minter\", \"reconstructor\"");
    for (verb, action, expected) in [
        (Verb::Contribute, "reshare", None),
        (Verb::Contribute, "repair", None),
        (Verb::Retire, "retire", None),
        (Verb::Retire, "open", Some(Code::Unfit)),
    ] {
        let requests = [request(&body, action, "")];
        assert_eq!(
            decide(&case(verb, &minter, &body, &requests)),
            expected,
            "{action}"
        );
    }
}

#[test]
fn a_request_must_be_of_this_token_caller_session_and_time() {
    let who = known("\"caller\", \"reconstructor\"");
    let body = body("", None);
    let change = |change: &dyn Fn(&mut Request)| {
        let mut request = request(&body, "sign", "ed25519");
        change(&mut request);
        decide(&case(Verb::Contribute, &who, &body, &[request]))
    };
    assert_eq!(change(&|_| ()), None);
    assert_eq!(change(&|r| r.token = [0; 32]), Some(Code::Refused));
    assert_eq!(change(&|r| r.caller = [0; 32]), Some(Code::Refused));
    assert_eq!(change(&|r| r.session = [0; 32]), Some(Code::Refused));
    assert_eq!(change(&|r| r.payload = Some(vec![])), Some(Code::Malformed));
    assert_eq!(change(&|r| r.not_after = NOW), None);
    assert_eq!(change(&|r| r.not_after = NOW - 1), Some(Code::Replayed));
    assert_eq!(change(&|r| r.not_after = NOW + REQUEST_AHEAD), None);
    assert_eq!(
        change(&|r| r.not_after = NOW + REQUEST_AHEAD + 1),
        Some(Code::Refused)
    );
}

#[test]
fn a_batch_is_permitted_whole_or_not_at_all() {
    let who = known("\"caller\", \"reconstructor\"");
    let body = body("", None);
    let good = |n: u8| Request {
        id: [n; 16],
        ..request(&body, "sign", "ed25519")
    };
    let mut replay = Replay::new(1024, [0; 16]);
    let mut decide = |requests: &[Request]| {
        let case = case(Verb::Contribute, &who, &body, requests);
        case.decide(&mut replay).err().map(|refusal| refusal.code)
    };
    assert_eq!(decide(&[good(1), good(2)]), None);
    assert_eq!(decide(&[good(3), good(2)]), Some(Code::Replayed));
    assert_eq!(decide(&[good(4), good(4)]), Some(Code::Replayed));
    assert_eq!(
        decide(&[
            good(5),
            Request {
                suite: "aes-cmac".into(),
                ..good(6)
            }
        ]),
        Some(Code::Unfit)
    );
    assert_eq!(
        decide(&[good(5), good(6)]),
        None,
        "what was unfit used up no id"
    );
    assert_eq!(decide(&[]), Some(Code::Malformed));
    let many: Vec<Request> = (0..=OPERATIONS).map(|_| good(8)).collect();
    assert_eq!(decide(&many), Some(Code::Malformed));
}

#[test]
fn a_reconstructor_that_is_no_caller_gets_nothing_of_its_own() {
    let (alone, body) = (known("\"reconstructor\", \"minter\""), body("", None));
    for (action, suite) in [("sign", "ed25519"), ("open", ""), ("reshare", "")] {
        let requests = [request(&body, action, suite)];
        let code = decide(&case(Verb::Contribute, &alone, &body, &requests));
        assert_eq!(code, Some(Code::Refused), "{action}");
    }
    let both = known("\"caller\", \"reconstructor\"");
    let requests = [request(&body, "sign", "ed25519")];
    let why = Refusal::new(Code::Refused, "the proof does not hold");
    let case = Case {
        unproven: Some(&why),
        ..case(Verb::Contribute, &both, &body, &requests)
    };
    assert_eq!(
        decide(&case),
        Some(Code::Refused),
        "nor does a proof that fails leave it what it may do itself"
    );
}

#[test]
fn roles_open_verbs() {
    let closed = |verb: Verb, roles: &str| verb.closed_to(&known(roles)).is_some();
    assert!(!closed(Verb::Contribute, "\"caller\", \"reconstructor\""));
    assert!(closed(Verb::Contribute, "\"caller\", \"minter\""));
    assert!(
        !closed(Verb::Contribute, "\"reconstructor\""),
        "it may carry what callers ask for"
    );
    assert!(!closed(Verb::Check, ""));
    assert!(closed(Verb::Seat, "\"caller\", \"reconstructor\""));
    assert!(!closed(Verb::Seat, "\"minter\""));
    assert!(!closed(Verb::Retire, "\"minter\"") && !closed(Verb::Retire, "\"caller\""));
    assert!(closed(Verb::Retire, "\"reconstructor\""));
}

const SALT: [u8; 32] = [8; 32];

/// A request to sign a payload, which nothing is wrong with.
fn paid(body: &Body, payload: &str) -> Request {
    let payload = payload.as_bytes();
    let asked = request(body, "sign", "ed25519");
    Request {
        input: formula::input_digest(&SALT, "sign", "ed25519", &[payload]),
        payload: Some(payload.to_vec()),
        ..asked
    }
}

#[test]
fn payloads_under_one_opening_are_bounded_together() {
    let who = known("\"caller\", \"reconstructor\"");
    let body = body("", None);
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOADS / 2 - 8));
    for (count, expected) in [(2, None), (3, Some(Code::Malformed))] {
        let asked = |n| Request {
            id: [n; 16],
            ..paid(&body, &long)
        };
        let requests: Vec<Request> = (0..count).map(asked).collect();
        let salts = vec![Some(SALT); requests.len()];
        let case = Case {
            salts: &salts,
            ..case(Verb::Contribute, &who, &body, &requests)
        };
        assert_eq!(decide(&case), expected);
    }
}

const PAYMENTS: &str = "@payload(\"{ amount: Long }\")
    permit(principal, action, resource) when { context has payload && context.payload.amount <= 100 };";

#[test]
fn what_is_signed_is_the_payload_that_was_judged() {
    let who = known("\"caller\", \"reconstructor\"");
    let (free, bound) = (body("", None), body(PAYMENTS, None));
    let compiled = Compiled::new(PAYMENTS);
    let judge = |body: &Body, asked: Request, salt: Option<[u8; 32]>| {
        let policy = (body.id == bound.id).then_some(&compiled);
        let (requests, salts) = ([asked], [salt]);
        let case = Case {
            policy,
            salts: &salts,
            ..case(Verb::Contribute, &who, body, &requests)
        };
        case.decide(&mut Replay::new(64, [0; 16]))
            .map(drop)
            .map_err(|refusal| (refusal.code, refusal.reason))
    };
    let salt = Some(SALT);
    for body in [&free, &bound] {
        assert_eq!(judge(body, paid(body, "{\"amount\":100}"), salt), Ok(()));
    }
    let refused = |body: &Body, asked: Request, salt, code: Code, what: &str| {
        let (found, why) = judge(body, asked, salt).unwrap_err();
        assert!(
            found == code && why.contains(what),
            "{what}: {found:?} {why}"
        );
    };
    let fine = || paid(&bound, "{\"amount\":100}");
    refused(
        &bound,
        paid(&bound, "{\"amount\":101}"),
        salt,
        Code::Refused,
        "does not permit",
    );
    refused(
        &bound,
        paid(&bound, "{\"amount\":\"1\"}"),
        salt,
        Code::Refused,
        "declares",
    );
    refused(&bound, paid(&bound, "{}"), salt, Code::Refused, "declares");
    refused(
        &bound,
        request(&bound, "sign", "ed25519"),
        None,
        Code::Refused,
        "bare digest",
    );
    for body in [&free, &bound] {
        // Another payload under the digest of the first, or the first under another salt, action, suite or digest.
        let other = |change: &dyn Fn(&mut Request)| {
            let mut asked = paid(body, "{\"amount\":100}");
            change(&mut asked);
            asked
        };
        let altered = other(&|r| r.payload = Some(b"{\"amount\":99}".to_vec()));
        refused(
            body,
            altered,
            salt,
            Code::Refused,
            "not that of the payload",
        );
        let altered = other(&|r| r.input[31] ^= 1);
        refused(
            body,
            altered,
            salt,
            Code::Refused,
            "not that of the payload",
        );
        let altered = other(&|r| (r.action, r.suite) = ("mac".into(), "hmac-sha256".into()));
        refused(
            body,
            altered,
            salt,
            Code::Refused,
            "not that of the payload",
        );
        let other_salt = Some([9; 32]);
        refused(
            body,
            other(&|_| ()),
            other_salt,
            Code::Refused,
            "not that of the payload",
        );
        // Another spelling of the same.
        let spelt = paid(body, "{ \"amount\":100}");
        refused(body, spelt, salt, Code::Malformed, "canonical form");
        let spelt = paid(body, "{\"amount\":1e2}");
        refused(body, spelt, salt, Code::Malformed, "whole numbers only");
    }
    refused(&bound, fine(), None, Code::Malformed, "salt");
    let bare = request(&bound, "sign", "ed25519");
    refused(&bound, bare, salt, Code::Malformed, "without a payload");
    for action in ["open", "reshare", "encrypt", "verify-mac"] {
        let asked = Request {
            action: action.into(),
            ..fine()
        };
        refused(&bound, asked, salt, Code::Malformed, "never has a payload");
    }
}

proptest! {
    /// Altered payloads: whatever is put in the place of one that was digested, nothing of it is accepted.
    #[test]
    fn no_altered_payload_is_accepted(amount in 0u32..=100, other in 0u32..=100, at: prop::sample::Index, bit in 0u8..8) {
        let who = known("\"caller\", \"reconstructor\"");
        let bound = body(PAYMENTS, None);
        let compiled = Compiled::new(PAYMENTS);
        let asked = paid(&bound, &format!("{{\"amount\":{amount}}}"));
        let judge = |asked: Request, salt: [u8; 32]| {
            let (requests, salts) = ([asked], [Some(salt)]);
            let case = Case {
                policy: Some(&compiled),
                salts: &salts,
                ..case(Verb::Contribute, &who, &bound, &requests)
            };
            case.decide(&mut Replay::new(64, [0; 16])).is_ok()
        };
        prop_assert!(judge(asked.clone(), SALT));
        if other != amount {
            let payload = Some(format!("{{\"amount\":{other}}}").into_bytes());
            prop_assert!(!judge(Request { payload, ..asked.clone() }, SALT), "another amount");
        }
        let mut flipped = asked.clone();
        let payload = flipped.payload.as_mut().unwrap();
        let place = at.index(payload.len());
        payload[place] ^= 1 << bit;
        prop_assert!(!judge(flipped, SALT), "a flipped bit of the payload");
        let mut flipped = asked.clone();
        flipped.input[at.index(32)] ^= 1 << bit;
        prop_assert!(!judge(flipped, SALT), "a flipped bit of the digest");
        let mut salt = SALT;
        salt[at.index(32)] ^= 1 << bit;
        prop_assert!(!judge(asked, salt), "a flipped bit of the salt");
    }
}

proptest! {
    /// Any faults together: the answer is that of the first check that fails, and only a faultless opening is
    /// permitted.
    #[test]
    fn the_first_check_that_fails_decides(faults in prop::array::uniform6(prop::bool::weighted(0.3))) {
        let [stranger, retired, expired, unfit, replayed, denied] = faults;
        let who = known("\"caller\", \"reconstructor\"");
        let policy = if denied {
            "permit(principal == Caller::\"cfo\", action, resource);"
        } else {
            "permit(principal == Caller::\"ops\", action, resource);"
        };
        let body = body(policy, expired.then_some(NOW));
        let compiled = Compiled::new(policy);
        let suite = if unfit { "aes-256-gcm" } else { "ed25519" };
        let caller = if stranger { [0xbb; 32] } else { [0xaa; 32] };
        let asked = Request { caller, ..request(&body, "sign", suite) };
        let mut replay = Replay::new(64, [0; 16]);
        if replayed {
            replay.take(&caller, &asked.id, asked.not_after, NOW);
        }
        let requests = [asked];
        let case = Case {
            policy: Some(&compiled),
            retired,
            ..case(Verb::Contribute, &who, &body, &requests)
        };
        let code = case.decide(&mut replay).err().map(|refusal| refusal.code);
        let expected = [
            (stranger, Some(Code::Refused)),
            (retired, Some(Code::Retired)),
            (expired, Some(Code::Expired)),
            (unfit, Some(Code::Unfit)),
            (replayed, Some(Code::Replayed)),
            (denied, Some(Code::Refused)),
        ];
        let expected = expected.into_iter().find(|(fault, _)| *fault).and_then(|(_, code)| code);
        prop_assert_eq!(code, expected);
    }
}

mod attempts;
mod grants;
