//! The reconstructor with the product's own agents: the published vectors, and a token's whole life.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::callers::{closed_loop, cpu};
use common::real::{Caller, five, holder, operate, sign, spec, start};
use common::wait;
use evanesce_quorum::*;
use evanesce_suite::{Output, catalogue};
use evanesce_token::Token;
use evanesce_wire::Id;
use evanesce_wire::message::Receipt;
use serde_json::Value;

fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(value[key].as_str().unwrap_or("")).unwrap()
}

fn input(operation: &Value) -> OwnedInput {
    let bytes = |key| bytes(operation, key);
    match operation["op"].as_str().unwrap() {
        "sign" => OwnedInput::Sign {
            message: bytes("message"),
        },
        "mac" => OwnedInput::Mac {
            message: bytes("message"),
        },
        "decrypt" => OwnedInput::Decrypt {
            ciphertext: bytes("ciphertext"),
            aad: bytes("aad"),
        },
        "derive" => OwnedInput::Derive {
            context: bytes("context"),
            length: operation["length"].as_u64().unwrap() as usize,
        },
        "agree" => OwnedInput::Agree {
            peer: bytes("peer"),
        },
        "decapsulate" => OwnedInput::Decapsulate {
            ciphertext: bytes("ciphertext"),
        },
        other => panic!("an unknown operation: {other}"),
    }
}

fn output(outcome: &Outcome) -> &[u8] {
    match &outcome.outputs[0] {
        Output::Public(bytes) => bytes,
        Output::Secret(secret) => secret.expose(),
        Output::Verified => &[],
    }
}

/// One case of the published vectors.
fn run_case(case: &Value) {
    let expected: Vec<&str> = case["error"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let token = match Token::decode(&bytes(case, "token"), catalogue()) {
        Ok(token) => Arc::new(token),
        Err(e) => {
            assert!(expected.contains(&"malformed"), "{e}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let caller = Caller::new(case["policy_caller"].as_str().unwrap_or("somebody"));
    let answering: BTreeSet<&str> = case["answering"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut agents = Vec::new();
    let mut holders = Vec::new();
    for agent in case["agents"].as_array().unwrap() {
        let name = agent["name"].as_str().unwrap();
        let id: Id = bytes(agent, "id").try_into().unwrap();
        let mut address = "127.0.0.1:1".to_owned();
        if answering.contains(name) {
            let roots = agent["roots"].as_object().unwrap();
            let roots = roots
                .iter()
                .map(|(epoch, root)| (epoch.parse().unwrap(), root.as_str().unwrap().into()));
            let handle = start(
                &folder.path().join(name),
                name,
                Some(&bytes(agent, "identity")),
                &roots.collect(),
                &caller,
            );
            address = handle.address().to_string();
            agents.push(handle);
        }
        holders.push(holder(name, id, address));
    }
    let reconstructor = caller.reconstructor(holders);
    if expected.is_empty() {
        assert_eq!(hex::encode(token.id()), case["token_id"].as_str().unwrap());
    } else {
        let suite = &token.body.header.suites[0];
        let facts = catalogue().find(suite).unwrap();
        let input = match facts.operations[0] {
            "sign" => OwnedInput::Sign {
                message: b"m".to_vec(),
            },
            "mac" => OwnedInput::Mac {
                message: b"m".to_vec(),
            },
            other => panic!("{other}"),
        };
        let error = operate(&reconstructor, &token, suite, input)
            .err()
            .expect("it must fail");
        assert!(expected.contains(&error.code.as_str()), "{error}");
    }
    for operation in case["operations"].as_array().into_iter().flatten() {
        let suite = operation["suite"].as_str().unwrap();
        if operation["op"] == "verify" {
            let verifier = evanesce_suite::find(suite).unwrap();
            let (message, signature) = (bytes(operation, "message"), bytes(operation, "signature"));
            verifier
                .verify(&token.public[suite], &message, &signature)
                .unwrap();
            continue;
        }
        let outcome = operate(&reconstructor, &token, suite, input(operation))
            .unwrap_or_else(|e| panic!("{suite}: {e}"));
        assert_eq!(
            hex::encode(output(&outcome)),
            operation["result"].as_str().unwrap(),
            "{suite}"
        );
        for receipt in &outcome.receipts {
            receipt.verify().unwrap();
        }
    }
    if expected.contains(&"expired") {
        return;
    }
    let table = wait(|done| reconstructor.check(token.clone(), false, done))
        .unwrap_or_else(|e| panic!("{e}"));
    let unable = |fault: &Fault| {
        matches!(
            fault.kind,
            FaultKind::RowAltered
                | FaultKind::EpochNotHeld
                | FaultKind::CannotRegenerate
                | FaultKind::Lied
        )
    };
    let faulty: Vec<&str> = table
        .rows
        .iter()
        .filter(|row| row.fault.as_ref().is_some_and(unable))
        .map(|row| row.seat.as_str())
        .collect();
    let expected: Vec<&str> = case["faulty"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(faulty, expected);
}

#[test]
fn every_published_case_comes_out_as_it_must() {
    let shared = std::env::var_os("EVANESCE_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        std::path::PathBuf::from,
    );
    let path = shared.join("vectors/tokens.json");
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_slice(&text).unwrap();
    assert!(!file["cases"].as_array().unwrap().is_empty());
    let mut failed = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let run = std::panic::AssertUnwindSafe(|| run_case(case));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(case["name"].as_str().unwrap().to_owned());
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// No agent was asked twice.
fn each_once(receipts: &[Receipt]) {
    let agents: BTreeSet<_> = receipts
        .iter()
        .map(|receipt| receipt.verify().unwrap().agent)
        .collect();
    assert_eq!(agents.len(), receipts.len());
}

#[test]
fn five_agents_mint_sign_go_on_with_two_dead_and_refuse_with_three() {
    let mut five = five();
    let minted =
        wait(|done| five.reconstructor.mint(spec(""), done)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(minted.receipts.len(), 5);
    for receipt in &minted.receipts {
        let entry = receipt.verify().unwrap();
        assert_eq!(
            (entry.verb.as_str(), entry.token),
            ("seat", *minted.token.id())
        );
    }
    let token = Arc::new(minted.token);
    let outcome = sign(&five.reconstructor, &token).unwrap();
    // Of a quorum, or of one more, who was asked because another let us wait.
    each_once(&outcome.receipts);
    assert!((3..=5).contains(&outcome.receipts.len()));
    let table = wait(|done| five.reconstructor.check(token.clone(), true, done))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(table.rows.iter().all(|row| row.fault.is_none()) && table.opened.unwrap().is_ok());
    each_once(&table.receipts);
    assert!((3..=5).contains(&table.receipts.len()));
    for receipt in &outcome.receipts {
        let entry = receipt.verify().unwrap();
        let digest =
            evanesce_token::formula::input_digest(&outcome.salts[0], "sign", "ed25519", &[b"m"]);
        assert_eq!(
            (entry.operations[0].input, entry.code.as_str()),
            (digest, "done")
        );
    }
    five.agents[0] = None;
    five.agents[2] = None;
    sign(&five.reconstructor, &token).unwrap();
    sign(&five.caller.reconstructor(five.holders.clone()), &token).unwrap();
    five.agents[4] = None;
    let error = sign(&five.reconstructor, &token).err().unwrap();
    let named: Vec<&str> = error
        .faults
        .iter()
        .map(|fault| fault.holder.as_str())
        .collect();
    assert_eq!(
        (error.code, named),
        (Code::QuorumNotMet, vec!["s0", "s2", "s4"]),
        "{error}"
    );
}

#[test]
fn a_policy_decides_and_a_check_is_not_subject_to_it() {
    let five = five();
    let policy = "permit(principal == Caller::\"someone else\", action, resource);";
    let minted =
        wait(|done| five.reconstructor.mint(spec(policy), done)).unwrap_or_else(|e| panic!("{e}"));
    let token = Arc::new(minted.token);
    let error = sign(&five.reconstructor, &token).err().unwrap();
    assert_eq!(error.code, Code::Refused, "{error}");
    let table = wait(|done| five.reconstructor.check(token.clone(), false, done))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(table.rows.iter().all(|row| row.fault.is_none()));
    let broken = "permit(principal, action == Action::\"dance\", resource);";
    let error = wait(|done| five.reconstructor.mint(spec(broken), done))
        .err()
        .unwrap();
    assert_eq!(error.code, Code::Policy, "{error}");
}

#[test]
fn agents_judge_the_payload_and_what_is_signed_is_its_bytes() {
    let five = five();
    let policy = "@payload(\"{ amount: Long, currency: String }\")
        permit(principal, action in [Action::\"sign\", Action::\"mac\"], resource)
        when { context.payload.amount <= 100000 && context.payload.currency == \"EUR\" };";
    let minted =
        wait(|done| five.reconstructor.mint(spec(policy), done)).unwrap_or_else(|e| panic!("{e}"));
    let token = Arc::new(minted.token);
    let pay = |amounts: &[u32]| {
        let job = |amount: &u32| {
            let payload = format!("{{\"amount\":{amount},\"currency\":\"EUR\"}}").into_bytes();
            Job::new("ed25519", OwnedInput::SignPayload { payload })
        };
        let jobs = amounts.iter().map(job).collect();
        let operation = Operation::new(token.clone(), jobs);
        wait(|done| five.reconstructor.submit(operation, done))
    };
    let outcome = pay(&[100_000]).unwrap_or_else(|e| panic!("{e}"));
    let message = b"{\"amount\":100000,\"currency\":\"EUR\"}";
    let verifier = evanesce_suite::find("ed25519").unwrap();
    verifier
        .verify(&token.public["ed25519"], message, output(&outcome))
        .unwrap();
    for receipt in &outcome.receipts {
        let entry = receipt.verify().unwrap();
        let digest =
            evanesce_token::formula::input_digest(&outcome.salts[0], "sign", "ed25519", &[message]);
        assert_eq!(entry.operations[0].input, digest);
    }
    let mac = OwnedInput::MacPayload {
        payload: message.to_vec(),
    };
    operate(&five.reconstructor, &token, "hmac-sha256", mac).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        pay(&[1, 2, 3])
            .unwrap_or_else(|e| panic!("{e}"))
            .outputs
            .len(),
        3
    );

    let refused = |result: Result<Outcome, Error>, why: &str| {
        let error = result.err().unwrap();
        let detail = &error.faults[0].detail;
        assert!(
            error.code == Code::Refused && detail.contains(why),
            "{why}: {error}"
        );
    };
    refused(pay(&[100_001]), "does not permit");
    refused(pay(&[1, 100_001, 2]), "does not permit");
    refused(sign(&five.reconstructor, &token), "bare digest");
    // The very bytes, but shown to nobody.
    let unseen = OwnedInput::Sign {
        message: message.to_vec(),
    };
    refused(
        operate(&five.reconstructor, &token, "ed25519", unseen),
        "bare digest",
    );
    let spelt = OwnedInput::SignPayload {
        payload: b"{\"currency\":\"EUR\",\"amount\":1}".to_vec(),
    };
    refused(
        operate(&five.reconstructor, &token, "ed25519", spelt),
        "canonical form",
    );
}

#[test]
fn retiring_three_of_five_kills_a_token_and_no_other() {
    let five = five();
    let mint = || {
        let minted =
            wait(|done| five.reconstructor.mint(spec(""), done)).unwrap_or_else(|e| panic!("{e}"));
        Arc::new(minted.token)
    };
    let (token, other) = (mint(), mint());
    let retirement = wait(|done| five.reconstructor.retire(token.clone(), done))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(
        retirement.dead && retirement.tombstoned.len() == 5,
        "{:?}",
        retirement.missing
    );
    let again = wait(|done| five.reconstructor.retire(token.clone(), done))
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(again.dead);
    assert_eq!(
        sign(&five.reconstructor, &token).err().unwrap().code,
        Code::Refused
    );
    sign(&five.reconstructor, &other).unwrap();
}

#[test]
fn what_an_operation_costs_here() {
    let five = five();
    let minted =
        wait(|done| five.reconstructor.mint(spec(""), done)).unwrap_or_else(|e| panic!("{e}"));
    let token = Arc::new(minted.token);
    for (callers, total) in [(1, 1_000), (64, 5_000)] {
        closed_loop(&five.reconstructor, &token, callers, total / 5);
        let before = ["evanesce-quorum", "crucible", "evanesce-agent"].map(cpu);
        let begun = std::time::Instant::now();
        let times = closed_loop(&five.reconstructor, &token, callers, total);
        let rate = total as f64 / begun.elapsed().as_secs_f64();
        let after = ["evanesce-quorum", "crucible", "evanesce-agent"].map(cpu);
        let [io, crucible, agents] =
            [0, 1, 2].map(|i| (after[i] - before[i]) as f64 / total as f64);
        println!(
            "{callers} callers: {rate:.0}/s, p50 {:?}, p99 {:?}; CPU an operation: thread {io:.1} µs, crucible \
             {crucible:.1} µs, agents {agents:.1} µs",
            times[total / 2],
            times[total * 99 / 100],
        );
    }
}
