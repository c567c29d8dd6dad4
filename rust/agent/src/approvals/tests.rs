//! Approvals at the gate: who may give them, of what, and that each is spent once.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use evanesce_policy::Uses;
use evanesce_token::{Body, Gate, Header, formula};
use evanesce_wire::message::{Basis, Request};
use evanesce_wire::{Identity, WireError};
use proptest::prelude::*;

use super::*;
use crate::gate::Verb;
use crate::known::Known;
use crate::replay::Replay;

const NOW: u64 = 1_800_000_000;
const SESSION: Id = [9; 32];
const SALT: [u8; 32] = [8; 32];
const PAYLOAD: &str = "{\"amount\":100}";

struct Key(Ed25519KeyPair, Vec<u8>);

impl Identity for Key {
    fn spki(&self) -> &[u8] {
        &self.1
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

fn key(seed: u8) -> Key {
    let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let spki = hex::decode("302a300506032b6570032100").unwrap();
    let spki = [&spki, key.public_key().as_ref()].concat();
    Key(key, spki)
}

const OPS: u8 = 1;
const CFO: u8 = 2;
const CEO: u8 = 3;
const STRANGER: u8 = 4;

fn id(seed: u8) -> String {
    hex::encode(key(seed).caller_id())
}

/// The caller, who is also listed as an approver; two who approve; and a policy that needs both.
static DIRECTORY: LazyLock<Directory> = LazyLock::new(|| {
    let one = |name: &str, seed, roles: &str| {
        format!(
            "[[identity]]\nname = \"{name}\"\nid = \"{}\"\nroles = [{roles}]\n",
            id(seed)
        )
    };
    let text = one("ops", OPS, "\"caller\", \"reconstructor\", \"approver\"")
        + &one("cfo", CFO, "\"approver\"")
        + &one("ceo", CEO, "\"approver\", \"caller\"");
    Directory::parse(&text).unwrap()
});

const BOTH: &str = "permit(principal, action, resource)
    when { context.approvals.count == 2 && context.approvals.names.containsAll([\"cfo\", \"ceo\"]) };";

fn ops() -> std::sync::Arc<Known> {
    DIRECTORY.find(&key(OPS).caller_id()).unwrap().clone()
}

fn body(policy: &str) -> Body {
    let header = Header {
        key: [1; 32],
        nonce: [2; 32],
        name: "treasury".into(),
        suites: vec!["ed25519".into()],
        quorum: Gate::parse("1 of (a)").unwrap(),
        policy: policy.into(),
        created: NOW - 100,
        expires: None,
        replaces: None,
    };
    let (commitments, sealed) = (vec![[4; 32]], formula::sealed_hash(None));
    let catalogue = evanesce_suite::catalogue();
    Body::new(
        header.encode(),
        [3; 32],
        commitments,
        [5; 32],
        sealed,
        catalogue,
    )
    .unwrap()
}

fn request(body: &Body, n: u8, payload: Option<&str>) -> Request {
    let input = match payload {
        Some(payload) => formula::input_digest(&SALT, "sign", "ed25519", &[payload.as_bytes()]),
        None => [n; 32],
    };
    Request {
        token: body.id,
        action: "sign".into(),
        suite: "ed25519".into(),
        input,
        caller: key(OPS).caller_id(),
        session: SESSION,
        id: [n; 16],
        not_after: NOW + 60,
        payload: payload.map(|payload| payload.as_bytes().to_vec()),
    }
}

fn statement(body: &Body, request: &Request) -> Statement {
    let payload = request.payload.as_ref();
    let payload = payload.map(|bytes| Payload::read(bytes).unwrap());
    let asked = Asked {
        token: &body.id,
        key: &body.header.name,
        action: &request.action,
        suite: &request.suite,
        input: &request.input,
        caller: &request.caller,
        payload: payload.as_ref(),
    };
    Statement {
        text: asked.text("").unwrap(),
        input: request.input,
        nonce: [7; 16],
        suite: request.suite.clone(),
        token: body.id,
        action: request.action.clone(),
        caller: request.caller,
        expires: NOW + 600,
    }
}

fn by(seed: u8, statement: &Statement) -> Vec<u8> {
    statement.sign(&key(seed)).unwrap().encode()
}

/// Each policy once, as an agent does.
fn compiled(policy: &str) -> Arc<Compiled> {
    static ALL: LazyLock<Mutex<HashMap<String, Arc<Compiled>>>> = LazyLock::new(Mutex::default);
    let mut all = ALL.lock().unwrap();
    let one = all.entry(policy.to_owned());
    one.or_insert_with(|| Arc::new(Compiled::new(policy)))
        .clone()
}

fn decide(
    body: &Body,
    used: &Used,
    requests: &[Request],
    approvals: Vec<Vec<u8>>,
) -> Result<Basis, (Code, String)> {
    let who = ops();
    let compiled = compiled(&body.header.policy);
    assert_eq!(compiled.invalid(), None);
    let salts: Vec<_> = requests
        .iter()
        .map(|one| one.payload.as_ref().map(|_| SALT))
        .collect();
    let evidence = Evidence {
        approvals,
        ..Evidence::default()
    };
    let case = Case {
        verb: Verb::Contribute,
        who: &who,
        session: &SESSION,
        body,
        policy: Some(&compiled),
        requests,
        salts: &salts,
        inputs: &[],
        evidence: &evidence,
        directory: &DIRECTORY,
        used,
        unproven: None,
        retired: false,
        frozen: false,
        delegated: Ok(None),
        uses: Uses::default(),
        over: None,
        now: NOW,
    };
    case.decide(&mut Replay::new(64, [0; 16]))
        .map_err(|refusal| (refusal.code, refusal.reason))
}

fn refused(found: Result<Basis, (Code, String)>, what: &str) {
    let (code, why) = found.expect_err(what);
    assert_eq!(code, Code::Refused, "{why}");
    assert!(why.contains(what), "{what}: {why}");
}

#[test]
fn what_two_people_must_approve_is_done_when_both_have_and_once() {
    for payload in [None, Some(PAYLOAD)] {
        let body = body(BOTH);
        let requests = [request(&body, 1, payload)];
        let said = statement(&body, &requests[0]);
        let mut used = Used::default();
        let (cfo, ceo) = (by(CFO, &said), by(CEO, &said));
        refused(decide(&body, &used, &requests, vec![]), "does not permit");
        refused(
            decide(&body, &used, &requests, vec![cfo.clone()]),
            "does not permit",
        );
        let basis = decide(&body, &used, &requests, vec![ceo.clone(), cfo.clone()]).unwrap();
        let names: Vec<&str> = basis
            .approvals
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["ceo", "cfo"]);
        assert_eq!(basis.approvals[1].approver, key(CFO).caller_id());
        // Nothing was spent by being judged; once it is, it is spent for whatever comes with it.
        assert!(decide(&body, &used, &requests, vec![cfo.clone(), ceo.clone()]).is_ok());
        used.spend(&[0; 32], &basis.approvals, NOW);
        let again = decide(&body, &used, &requests, vec![cfo.clone(), ceo.clone()]);
        refused(again, "the approval of cfo: it was spent before");
        let anew = Statement {
            nonce: [8; 16],
            ..said.clone()
        };
        let mixed = vec![by(CFO, &anew), ceo];
        refused(
            decide(&body, &used, &requests, mixed),
            "the approval of ceo: it was spent",
        );
        assert!(
            decide(
                &body,
                &used,
                &requests,
                vec![by(CFO, &anew), by(CEO, &anew)]
            )
            .is_ok()
        );
    }
}

#[test]
fn nobody_approves_twice_or_their_own_request_or_unasked() {
    let body = body("permit(principal, action, resource) when { context.approvals.count >= 2 };");
    let requests = [request(&body, 1, None)];
    let said = statement(&body, &requests[0]);
    let anew = Statement {
        nonce: [8; 16],
        ..said.clone()
    };
    let used = Used::default();
    let decide = |approvals| decide(&body, &used, &requests, approvals);
    refused(
        decide(vec![by(CFO, &said), by(CFO, &anew)]),
        "it comes twice",
    );
    refused(
        decide(vec![by(CFO, &said), by(CFO, &said)]),
        "it comes twice",
    );
    refused(
        decide(vec![by(CFO, &said), by(OPS, &said)]),
        "whoever asks cannot approve",
    );
    refused(
        decide(vec![by(CFO, &said), by(STRANGER, &said)]),
        "an approver whom this agent does not know",
    );
    let other = statement(&body, &request(&body, 2, None));
    refused(
        decide(vec![by(CFO, &said), by(CEO, &other)]),
        "another input",
    );
    let along = decide(vec![by(STRANGER, &said), by(CFO, &said), by(CEO, &said)]).unwrap();
    assert_eq!(
        along.approvals.len(),
        2,
        "a stranger's takes no other along"
    );
    let (code, _) = decide(vec![by(CFO, &said), vec![0xa0]]).unwrap_err();
    assert_eq!(code, Code::Malformed);
    assert!(decide(vec![by(CFO, &said), by(CEO, &said)]).is_ok());
}

#[test]
fn whom_the_policy_names_counts_and_nobody_whom_only_the_operator_knows() {
    let named = format!(
        "@approvers(\"cfo = {}, ops = {}\") permit(principal, action, resource) when {{ context.approvals.count >= 1 }};",
        id(STRANGER),
        id(CEO),
    );
    let body = body(&named);
    let requests = [request(&body, 1, None)];
    let said = statement(&body, &requests[0]);
    let used = Used::default();
    let basis = decide(&body, &used, &requests, vec![by(STRANGER, &said)]).unwrap();
    assert_eq!(basis.approvals[0].name, "cfo");
    let known = decide(&body, &used, &requests, vec![by(CFO, &said)]);
    refused(known, "an approver whom the token's policy does not name");
    // Another key under the caller's own name is the caller's.
    let alike = decide(&body, &used, &requests, vec![by(CEO, &said)]);
    refused(alike, "whoever asks cannot approve it");
}

#[test]
fn in_a_batch_each_approval_is_of_one_request() {
    let body = body(BOTH);
    let requests = [request(&body, 1, None), request(&body, 2, None)];
    let said = |place: usize| statement(&body, &requests[place]);
    let used = Used::default();
    let all = |skip: usize| {
        let all = [
            by(CFO, &said(1)),
            by(CEO, &said(0)),
            by(CFO, &said(0)),
            by(CEO, &said(1)),
        ];
        let kept = all.into_iter().enumerate().filter(|(n, _)| *n != skip);
        kept.map(|(_, approval)| approval).collect::<Vec<_>>()
    };
    assert_eq!(
        decide(&body, &used, &requests, all(9))
            .unwrap()
            .approvals
            .len(),
        4
    );
    for skip in 0..4 {
        refused(
            decide(&body, &used, &requests, all(skip)),
            "does not permit",
        );
    }
    // Of two alike, one approval is of one.
    let twins = [
        request(&body, 1, None),
        Request {
            id: [2; 16],
            ..request(&body, 1, None)
        },
    ];
    let once = vec![by(CFO, &said(0)), by(CEO, &said(0))];
    refused(decide(&body, &used, &twins, once), "does not permit");
    let anew = Statement {
        nonce: [8; 16],
        ..said(0)
    };
    let twice = vec![
        by(CFO, &said(0)),
        by(CEO, &said(0)),
        by(CFO, &anew),
        by(CEO, &anew),
    ];
    assert_eq!(
        decide(&body, &used, &twins, twice).unwrap().approvals.len(),
        4
    );
    let same = vec![
        by(CFO, &said(0)),
        by(CEO, &said(0)),
        by(CFO, &said(0)),
        by(CEO, &said(0)),
    ];
    refused(decide(&body, &used, &twins, same), "comes twice");
}

#[test]
fn spent_approvals_are_remembered_for_as_long_as_they_could_last() {
    let spent = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Spent {
            id,
            name: "cfo".into(),
            approver: [2; 32],
        }
    };
    let mut used = Used::default();
    used.spend(&[0; 32], &[spent(1)], NOW);
    used.spend(&[0; 32], &[spent(2)], NOW + AHEAD);
    assert!(used.has(&spent(1).id) && used.has(&spent(2).id));
    used.spend(&[0; 32], &[], NOW + AHEAD + 1);
    assert!(!used.has(&spent(1).id) && used.has(&spent(2).id));
    let half: Vec<Spent> = (10..MOST as u64 / 2 + 10).map(spent).collect();
    used.spend(&[1; 32], &half, NOW + AHEAD + 1);
    assert!(
        used.is_full(&[1; 32], NOW + AHEAD + 1),
        "one caller has half"
    );
    assert!(!used.is_full(&[0; 32], NOW + AHEAD + 1));
    let many: Vec<Spent> = (MOST as u64..MOST as u64 * 3 / 2).map(spent).collect();
    used.spend(&[0; 32], &many, NOW + AHEAD + 1);
    assert!(used.is_full(&[0; 32], NOW + AHEAD + 1));
    assert!(!used.is_full(&[0; 32], NOW + 2 * AHEAD + 2));
}

proptest! {
    /// Every field of a good approval, flipped and signed anew by its approver, or flipped and not: nothing of it counts.
    #[test]
    fn no_altered_stale_widened_or_reused_approval_is_accepted(
        field in 0usize..8,
        at: prop::sample::Index,
        bit in 0u8..8,
        life in prop_oneof![Just(0), 1..=AHEAD, AHEAD + 1..1 << 40],
        shown: bool,
    ) {
        let body = body("permit(principal, action, resource) when { context.approvals.count >= 1 };");
        let requests = [request(&body, 1, shown.then_some(PAYLOAD))];
        let good = statement(&body, &requests[0]);
        let mut used = Used::default();
        let judge = |used: &Used, approval| decide(&body, used, &requests, vec![approval]);
        let basis = judge(&used, by(CFO, &good));
        prop_assert!(basis.is_ok());
        let flipped = |bytes: &mut [u8]| bytes[at.index(bytes.len())] ^= 1 << bit;
        let mut said = good.clone();
        let fine = match field {
            0 => { flipped(&mut said.token); false }
            1 => { flipped(&mut said.caller); false }
            2 => { flipped(&mut said.input); false }
            3 => { flipped(&mut said.nonce); true }
            4 => { said.expires = NOW + life; life > 0 && life <= AHEAD }
            5 => { said.action = "mac".into(); false }
            6 => { said.suite = "ml-dsa-44".into(); false }
            _ => {
                let mut text: Vec<char> = said.text.chars().collect();
                text.remove(at.index(text.len()));
                said.text = text.into_iter().collect();
                false
            }
        };
        prop_assert_eq!(judge(&used, by(CFO, &said)).is_ok(), fine, "field {} signed anew", field);
        let mut bytes = by(CFO, &good);
        flipped(&mut bytes);
        prop_assert!(judge(&used, bytes).is_err(), "a flipped bit");
        prop_assert!(judge(&used, by(OPS, &good)).is_err(), "the caller's own");
        used.spend(&[0; 32], &basis.unwrap().approvals, NOW);
        prop_assert!(judge(&used, by(CFO, &good)).is_err(), "spent");
    }
}

#[test]
fn a_start_remembers_what_was_spent_before_and_while_the_clock_was_ahead() {
    let spent = |n: u8| Spent {
        id: [n; 32],
        name: "cfo".into(),
        approver: [0; 32],
    };
    let mut used = Used::default();
    // The log's order, sorted by time as `recall` does it: one of now, one of three hours ahead.
    used.remember(&[7; 32], &[spent(1)], NOW);
    used.remember(&[7; 32], &[spent(2)], NOW + 3 * 3600);
    assert!(used.has(&[1; 32]) && used.has(&[2; 32]));
    // What follows is forgotten in its own time, though one of a later time came first.
    used.spend(&[7; 32], &[spent(3)], NOW + 120);
    used.spend(&[7; 32], &[spent(4)], NOW + AHEAD + 121);
    assert!(!used.has(&[1; 32]) && !used.has(&[3; 32]));
    assert!(used.has(&[2; 32]) && used.has(&[4; 32]));
    used.spend(&[7; 32], &[], NOW + 3 * 3600 + AHEAD + 1);
    assert!(!used.has(&[2; 32]));
}
