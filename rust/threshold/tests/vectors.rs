//! The vectors that the Zcash Foundation ships with its crates, of which that of Ed25519 is RFC 9591's appendix E.1; copied
//! to `vectors/` as they are. Signatures are also shown to libraries that share no code with FROST's.

mod common;

use common::{Outside, point};
use evanesce_threshold::{Ed25519, Group, Suite, Taproot};
use serde_json::Value;

fn vectors<S: Suite>() -> Value {
    let file = format!(
        "{}/tests/vectors/{}.json",
        env!("CARGO_MANIFEST_DIR"),
        S::NAME
    );
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn group<S: Suite>(inputs: &Value) -> Group<S> {
    let secret = point::<S>(&bytes(&inputs["group_secret_key"]));
    let coefficients = inputs["share_polynomial_coefficients"].as_array().unwrap();
    let others = coefficients.iter().map(|c| point::<S>(&bytes(c)));
    let vector: Vec<Vec<u8>> = std::iter::once(secret).chain(others).collect();
    let seats = inputs["participant_shares"].as_array().unwrap().len();
    Group::new(seats, &vector).unwrap()
}

fn the_group_is_the_vectors<S: Suite>() {
    let vectors = vectors::<S>();
    let inputs = &vectors["inputs"];
    let group = group::<S>(inputs);
    assert_eq!((group.t(), group.seats()), (2, 3));
    assert_eq!(group.vector()[0], bytes(&inputs["verifying_key_key"]));
    for share in inputs["participant_shares"].as_array().unwrap() {
        let seat = share["identifier"].as_u64().unwrap() as u8 - 1;
        let must_be = point::<S>(&bytes(&share["participant_share"]));
        assert_eq!(group.verifying_share(seat).unwrap(), must_be);
    }
}

fn its_signature_is_good<S: Outside>() {
    let vectors = vectors::<S>();
    let group = group::<S>(&vectors["inputs"]);
    let message = bytes(&vectors["inputs"]["message"]);
    let signature: [u8; 64] = bytes(&vectors["final_output"]["sig"]).try_into().unwrap();
    assert!(group.verify(&message, &signature));
    assert!(S::outside_accepts(group.public_key(), &message, &signature));
    for byte in 0..64 {
        let mut flipped = signature;
        flipped[byte] ^= 4;
        assert!(!group.verify(&message, &flipped), "byte {byte}");
    }
    assert!(!group.verify(b"another", &signature));
}

#[test]
fn commitments_and_shares_are_those_of_the_vectors() {
    the_group_is_the_vectors::<Ed25519>();
    the_group_is_the_vectors::<Taproot>();
}

#[test]
fn signatures_of_the_vectors_are_accepted_here_and_by_unrelated_libraries() {
    its_signature_is_good::<Ed25519>();
    its_signature_is_good::<Taproot>();
}
