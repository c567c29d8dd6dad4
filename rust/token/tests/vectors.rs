//! The published vectors, as far as this crate goes: every token is decoded, and every share that the
//! given roots can regenerate is regenerated, checked, combined and held against the anchor.
//!
//! They are in `vectors/` at the root of the repository, or under `EVANESCE_SHARED`.

mod common;

use std::path::PathBuf;

use common::CATALOGUE;
use evanesce_token::hash::hmac_sha256;
use evanesce_token::{Gate, Malformed, Token, formula, sharing};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let shared = std::env::var_os("EVANESCE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    );
    let file = shared.join("vectors/tokens.json");
    let text = std::fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; EVANESCE_SHARED names its place",
            file.display()
        )
    });
    let vectors: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(vectors["protocol"], "evanesce/v1");
    vectors["cases"].as_array().unwrap().clone()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn bytes32(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item.as_str().unwrap())
}

/// Whether any operation of the case must, or may, end in this error.
fn expects(case: &Value, error: &str) -> bool {
    list(&case["error"]).any(|expected| expected == error)
}

fn decode(case: &Value) -> Result<Token, Malformed> {
    Token::decode(&bytes(&case["token"]), &CATALOGUE)
}

#[test]
fn every_token_decodes_or_is_malformed_exactly_where_expected() {
    for case in cases() {
        let name = &case["name"];
        match decode(&case) {
            Ok(token) => {
                assert!(
                    !expects(&case, "malformed") || expects(&case, "refused"),
                    "{name}: accepted"
                );
                assert_eq!(token.encode(), bytes(&case["token"]), "{name}");
                assert!(token.fits(), "{name}");
                let expired = case["error"] == serde_json::json!(["expired"]);
                assert_eq!(token.expired_at(1_790_000_000), expired, "{name}");
            }
            Err(error) => assert!(expects(&case, "malformed"), "{name}: {error}"),
        }
    }
}

#[test]
fn ids_and_public_keys_are_those_given() {
    let mut seen = 0;
    for case in cases() {
        let name = &case["name"];
        if case["token_id"].is_string() {
            let token = decode(&case).unwrap();
            assert_eq!(token.id(), &bytes32(&case["token_id"]), "{name}");
            seen += 1;
        }
        if let Some(public) = case["public"].as_object() {
            let given = public
                .iter()
                .map(|(suite, spki)| (suite.clone(), bytes(spki)))
                .collect();
            assert_eq!(decode(&case).unwrap().public, given, "{name}");
        }
    }
    assert!(seen > 0);
}

/// What agents that hold these roots, and answer, would do for one seat.
fn regenerate(case: &Value, token: &Token, seat: usize) -> Answer {
    let row = &token.rows[seat];
    let agents = case["agents"].as_array().unwrap();
    let Some(agent) = agents
        .iter()
        .find(|agent| bytes32(&agent["id"]) == row.holder)
    else {
        return Answer::None;
    };
    if !list(&case["answering"]).any(|name| agent["name"] == name) {
        return Answer::None;
    }
    let root = &agent["roots"][row.epoch.to_string()];
    if root.is_null() {
        return Answer::Cannot;
    }
    let (mut y, mut share) = ([0; 32], [0; 32]);
    hmac_sha256(
        &bytes(root),
        &formula::contribution(token.id(), seat as u32),
        &mut y,
    );
    formula::pad(&y, &mut share);
    for (share, correction) in share.iter_mut().zip(row.correction) {
        *share ^= correction;
    }
    match formula::commitment(&token.body.deal, seat as u32, &share) {
        commitment if commitment == token.body.commitments[seat] => Answer::Share(share),
        _ => Answer::Cannot,
    }
}

enum Answer {
    Share([u8; 32]),
    Cannot,
    None,
}

#[test]
fn shares_are_regenerated_and_combined_exactly_where_expected() {
    let (mut opened, mut failed) = (0, 0);
    for case in cases() {
        let name = &case["name"];
        let Ok(token) = decode(&case) else { continue };
        if expects(&case, "expired") {
            continue;
        }
        let seats = token.body.header.quorum.seats();
        let answers: Vec<_> = (0..seats.len())
            .map(|seat| regenerate(&case, &token, seat))
            .collect();

        let cannot = |answer: &Answer| matches!(answer, Answer::Cannot);
        let faulty: Vec<_> = (0..seats.len()).filter(|&i| cannot(&answers[i])).collect();
        let faulty: Vec<_> = faulty.into_iter().map(|i| seats[i]).collect();
        assert_eq!(faulty, list(&case["faulty"]).collect::<Vec<_>>(), "{name}");

        let shares: Vec<_> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Share(share) => Some(share),
                _ => None,
            })
            .collect();
        let mut seed = [0; 32];
        let combined = sharing::combine(&token.body.header.quorum, &shares, &mut seed);
        let anchored = formula::anchor(&token.body.deal, &seed) == token.body.anchor;
        if expects(&case, "quorum-not-met") || expects(&case, "token-altered") {
            assert!(!combined, "{name}");
            failed += 1;
        } else {
            assert!(combined, "{name}");
            assert_eq!(anchored, !expects(&case, "inconsistent"), "{name}");
            opened += 1;
        }
        if anchored {
            every_set_agrees(&token.body.header.quorum, &shares, &seed);
            check_hmac(&case, &token, &seed);
        }
    }
    assert!(opened > 0 && failed > 0);
}

/// Leaves out one share at a time: what still suffices gives the same seed.
fn every_set_agrees(quorum: &Gate, shares: &[Option<&[u8; 32]>], seed: &[u8; 32]) {
    for left_out in 0..shares.len() {
        let mut fewer = shares.to_vec();
        fewer[left_out] = None;
        let mut again = [0; 32];
        if sharing::combine(quorum, &fewer, &mut again) {
            assert_eq!(&again, seed);
        }
    }
}

/// The one suite that can be operated with what this crate has.
fn check_hmac(case: &Value, token: &Token, seed: &[u8; 32]) {
    if token.sealed.is_some() {
        return;
    }
    for operation in case["operations"].as_array().into_iter().flatten() {
        if operation["op"] == "mac" && operation["suite"] == "hmac-sha256" {
            let (mut key, mut mac) = ([0; 32], [0; 32]);
            formula::material(seed, &token.body.header.key, "hmac-sha256", &mut key);
            hmac_sha256(&key, &bytes(&operation["message"]), &mut mac);
            assert_eq!(mac, bytes32(&operation["result"]), "{}", case["name"]);
        }
    }
}
