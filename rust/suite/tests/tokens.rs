//! The protocol's own vectors, opened in one process: pads from the given roots, shares, seed,
//! material, operation, byte for byte. (Through real agents: the conformance runner.)
//!
//! They are in `vectors/` at the root of the repository, or under `EVANESCE_SHARED`.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::{field, field32, suite};
use evanesce_secret::{SecretVec, on_crucible};
use evanesce_suite::{Input, Material, Output, catalogue, sealed};
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Row, Token, formula, sharing};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let shared = std::env::var_os("EVANESCE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    let file = shared.join("vectors/tokens.json");
    let text = std::fs::read(&file).unwrap_or_else(|error| {
        let file = file.display();
        panic!("{file}: {error}; EVANESCE_SHARED names the directory that holds vectors/")
    });
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(vectors["protocol"], "evanesce/v1");
    vectors["cases"].as_array().expect("cases").clone()
}

/// The share of a seat, where its holder answers, has the epoch's root and regenerates it rightly.
fn share(case: &Value, token: &Token, seat: usize, row: &Row) -> Option<[u8; 32]> {
    let agents = case["agents"].as_array()?;
    let holder = agents
        .iter()
        .find(|agent| field32(agent, "id") == row.holder)?;
    let answering = case["answering"].as_array()?;
    if !answering.contains(&holder["name"]) {
        return None;
    }
    let root = hex::decode(holder["roots"][row.epoch.to_string()].as_str()?).expect("hex");
    let (mut y, mut share) = ([0; 32], [0; 32]);
    hmac_sha256(
        &root,
        &formula::contribution(token.id(), seat as u32),
        &mut y,
    );
    formula::pad(&y, &mut share);
    share
        .iter_mut()
        .zip(row.correction)
        .for_each(|(s, c)| *s ^= c);
    let commitment = formula::commitment(&token.body.deal, seat as u32, &share);
    (commitment == token.body.commitments[seat]).then_some(share)
}

fn seed(case: &Value, token: &Token) -> [u8; 32] {
    let shares: Vec<_> = (token.rows.iter().enumerate())
        .map(|(seat, row)| share(case, token, seat, row))
        .collect();
    let shares: Vec<_> = shares.iter().map(Option::as_ref).collect();
    let mut seed = [0; 32];
    assert!(sharing::combine(
        &token.body.header.quorum,
        &shares,
        &mut seed
    ));
    assert_eq!(formula::anchor(&token.body.deal, &seed), token.body.anchor);
    seed
}

/// The key of one suite, as a token's opening yields it.
fn with_material<R>(
    token: &Token,
    seed: &[u8; 32],
    name: &str,
    f: impl FnOnce(Material) -> R,
) -> R {
    if let Some(bytes) = &token.sealed {
        let mut key = [0; 32];
        formula::import_key(seed, &token.body.deal, &mut key);
        let imported: SecretVec = sealed::open(&key, &token.body.deal, bytes).expect("sealed");
        suite(name).admit(imported.expose()).expect(name);
        return f(Material::Imported(imported.expose()));
    }
    let mut material = vec![0; suite(name).facts().material];
    formula::material(seed, &token.body.header.key, name, &mut material);
    f(Material::Derived(&material))
}

#[test]
fn every_operation_of_every_good_case_comes_out_byte_for_byte() {
    let mut done = 0;
    let mut suites = BTreeSet::new();
    for case in cases().iter().filter(|case| case["operations"].is_array()) {
        let name = &case["name"];
        let token = Token::decode(&field(case, "token"), catalogue())
            .unwrap_or_else(|error| panic!("{name}: {}", error.0));
        assert_eq!(token.id()[..], field(case, "token_id"), "{name}");
        on_crucible(|| {
            let seed = seed(case, &token);
            for suite in &token.body.header.suites {
                public_half(&token, &seed, suite);
            }
            for operation in case["operations"].as_array().expect("operations") {
                run(&token, &seed, operation);
                suites.insert(operation["suite"].as_str().expect("suite").to_owned());
                done += 1;
            }
        });
    }
    println!("{done} operations over {} suites", suites.len());
    let missing: Vec<_> = (catalogue().0.iter())
        .filter(|facts| !suites.contains(facts.name))
        .collect();
    assert!(missing.is_empty(), "no vector for {missing:?}");
}

fn public_half(token: &Token, seed: &[u8; 32], name: &str) {
    let computed = with_material(token, seed, name, |material| {
        suite(name).public_key(&material)
    });
    let given = token.public.get(name).map(hex::encode);
    assert_eq!(computed.ok().map(hex::encode), given, "{name}");
}

fn run(token: &Token, seed: &[u8; 32], operation: &Value) {
    let name = operation["suite"].as_str().expect("suite");
    let op = operation["op"].as_str().expect("op");
    let bytes = |what| field(operation, what);
    if op == "verify" {
        let spki = &token.public[name];
        let (message, mut signature) = (bytes("message"), bytes("signature"));
        assert!(
            suite(name).verify(spki, &message, &signature).is_ok(),
            "{name}"
        );
        signature[40] ^= 1;
        assert!(
            suite(name).verify(spki, &message, &signature).is_err(),
            "{name}"
        );
        // These suites sign with fresh randomness: ours must verify too.
        let ours = operate_as(token, seed, name, &Input::Sign { message: &message });
        assert!(suite(name).verify(spki, &message, &ours).is_ok(), "{name}");
        return;
    }
    let [message, ciphertext, aad, context, peer] =
        ["message", "ciphertext", "aad", "context", "peer"]
            .map(|what| operation[what].as_str().map_or(vec![], |_| bytes(what)));
    let length = operation["length"].as_u64().unwrap_or(0) as usize;
    let input = match op {
        "sign" => Input::Sign { message: &message },
        "mac" => Input::Mac { message: &message },
        "decrypt" => Input::Decrypt {
            ciphertext: &ciphertext,
            aad: &aad,
        },
        "derive" => Input::Derive {
            context: &context,
            length,
        },
        "agree" => Input::Agree { peer: &peer },
        "decapsulate" => Input::Decapsulate {
            ciphertext: &ciphertext,
        },
        other => panic!("unknown op {other}"),
    };
    assert_eq!(input.action(), op);
    let result = operate_as(token, seed, name, &input);
    assert_eq!(hex::encode(&result), operation["result"], "{name} {op}");
    if op == "sign" {
        let spki = &token.public[name];
        assert!(
            suite(name).verify(spki, &message, &result).is_ok(),
            "{name}"
        );
    }
    if op == "mac" {
        let verify = Input::VerifyMac {
            message: &message,
            mac: &result,
        };
        operate_as(token, seed, name, &verify);
    }
}

/// Operates the way an opening does: against the token's own public key where there is one.
fn operate_as(token: &Token, seed: &[u8; 32], name: &str, input: &Input) -> Vec<u8> {
    let output = with_material(token, seed, name, |material| match token.public.get(name) {
        Some(spki) => {
            let mut other = spki.clone();
            *other.last_mut().expect("not empty") ^= 1;
            assert!(suite(name).operate_as(&material, &other, input).is_err());
            suite(name).operate_as(&material, spki, input)
        }
        None => suite(name).operate(&material, input),
    });
    match output.unwrap_or_else(|error| panic!("{name} {}: {error}", input.action())) {
        Output::Public(bytes) => bytes,
        Output::Secret(secret) => secret.expose().to_vec(),
        Output::Verified => Vec::new(),
    }
}
