//! Keys that are never put together: made, used, renewed and checked with the product's own agents.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use evanesce_quorum::*;
use evanesce_suite::Output;
use evanesce_token::Gate;
use evanesce_token::mpc::{Kind, Token};
use evanesce_wire::message::Evidence;
use secp256k1::{XOnlyPublicKey, schnorr};

use super::real::Five;
use super::wait;

pub const SUITES: [&str; 2] = ["frost-ed25519", "frost-secp256k1-tr"];

pub fn spec(kind: Kind, suite: &str, quorum: &str, policy: &str) -> ThresholdSpec {
    ThresholdSpec {
        kind,
        name: "treasury".into(),
        suite: suite.into(),
        quorum: Gate::parse(quorum).unwrap(),
        seats: Default::default(),
        policy: policy.into(),
        expires: None,
        replaces: None,
        policy_check: Box::new(evanesce_policy::check),
    }
}

pub fn create(five: &Five, kind: Kind, suite: &str, quorum: &str, policy: &str) -> Arc<Token> {
    let spec = spec(kind, suite, quorum, policy);
    let made = wait(|done| five.reconstructor.create_threshold(spec, done));
    let made: ThresholdMinted = made.unwrap_or_else(|e| panic!("{e}"));
    for receipt in &made.receipts {
        let entry = receipt.verify().unwrap();
        assert_eq!(
            (entry.verb.as_str(), entry.code.as_str()),
            ("mpc-take", "done")
        );
        assert_eq!(entry.token, *made.token.id());
    }
    assert_eq!(made.receipts.len(), made.token.rows.len());
    Arc::new(made.token)
}

pub fn sign(five: &Five, token: &Arc<Token>, inputs: Vec<OwnedInput>) -> Result<Outcome, Error> {
    sign_at(&five.reconstructor, token, inputs, None)
}

pub fn sign_at(
    reconstructor: &Reconstructor,
    token: &Arc<Token>,
    inputs: Vec<OwnedInput>,
    deadline: Option<Duration>,
) -> Result<Outcome, Error> {
    let suite = &token.body.header.suite;
    let operation = ThresholdOperation {
        token: token.clone(),
        jobs: inputs
            .into_iter()
            .map(|input| Job::new(suite, input))
            .collect(),
        deadline,
        evidence: Evidence::default(),
    };
    wait(|done| reconstructor.sign_together(operation, done))
}

pub fn message(message: &[u8]) -> OwnedInput {
    OwnedInput::Sign {
        message: message.to_vec(),
    }
}

/// Whether it is this token's signature, by libraries that share no code with FROST's.
pub fn verifies(token: &Token, message: &[u8], output: &Output) -> bool {
    let Output::Public(signature) = output else {
        return false;
    };
    let point = &token.body.vector[0];
    match token.body.header.suite.as_str() {
        "frost-ed25519" => UnparsedPublicKey::new(&ED25519, point)
            .verify(message, signature)
            .is_ok(),
        _ => {
            let key = XOnlyPublicKey::from_byte_array(point[1..].try_into().unwrap()).unwrap();
            let signature = schnorr::Signature::from_byte_array(signature[..].try_into().unwrap());
            schnorr::verify(&signature, message, &key).is_ok()
        }
    }
}

/// Files of shares that an agent keeps.
pub fn kept(five: &Five, agent: usize) -> usize {
    std::fs::read_dir(five.place(agent).join("shares")).map_or(0, |files| files.count())
}

pub fn renew(five: &Five, token: &Arc<Token>, kind: Option<Kind>) -> Result<Renewed, Error> {
    let spec = RenewalSpec {
        kind,
        ..renewal(token)
    };
    wait(|done| five.reconstructor.renew(spec, done))
}

/// The same key for another quorum.
pub fn reshare(
    five: &Five,
    token: &Arc<Token>,
    quorum: &str,
    seats: &[(&str, &str)],
) -> Result<Renewed, Error> {
    let seats = seats
        .iter()
        .map(|(seat, agent)| (seat.to_string(), agent.to_string()));
    let spec = RenewalSpec {
        quorum: Some(Gate::parse(quorum).unwrap()),
        seats: seats.collect(),
        ..renewal(token)
    };
    wait(|done| five.reconstructor.renew(spec, done))
}

/// New shares, and all else as it is.
pub fn renewal(token: &Arc<Token>) -> RenewalSpec {
    RenewalSpec {
        token: token.clone(),
        kind: None,
        quorum: None,
        seats: Default::default(),
        policy: None,
        expires: None,
        header: None,
        policy_check: Box::new(evanesce_policy::check),
    }
}
