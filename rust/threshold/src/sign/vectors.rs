//! RFC 9591's appendix E.1, and the Zcash Foundation's vector for BIP-340: nonces drawn from given randomness, taken through both rounds.

use evanesce_secret::Secret;
use frost_ed25519::rand_core::{CryptoRng, Error, RngCore};
use serde_json::Value;

use super::Signing;
use super::nonces::Drawn;
use crate::arithmetic::{decode, times_generator};
use crate::group::Group;
use crate::suite::{Ed25519, Suite, Taproot};

/// Gives what it was given.
struct Given(Vec<u8>);
impl CryptoRng for Given {}
impl RngCore for Given {
    fn next_u32(&mut self) -> u32 {
        unreachable!("bytes are all that is asked for")
    }
    fn next_u64(&mut self) -> u64 {
        unreachable!("bytes are all that is asked for")
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&std::mem::replace(&mut self.0, rest));
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn point<S: Suite>(value: &Value) -> Vec<u8> {
    let scalar = decode::<S>(&bytes(value).try_into().unwrap()).unwrap();
    let point = times_generator::<S>(&scalar);
    <S::Group as frost_core::Group>::serialize(&point)
        .unwrap()
        .as_ref()
        .to_vec()
}

fn the_vector_is_signed<S: Suite>() {
    let file = format!(
        "{}/tests/vectors/{}.json",
        env!("CARGO_MANIFEST_DIR"),
        S::NAME
    );
    let vector: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let inputs = &vector["inputs"];
    let coefficients = inputs["share_polynomial_coefficients"].as_array().unwrap();
    let points = std::iter::once(&inputs["group_secret_key"]).chain(coefficients);
    let points: Vec<_> = points.map(point::<S>).collect();
    let group = Group::<S>::new(3, &points).unwrap();
    let message = bytes(&inputs["message"]);
    let share = |seat: u8| {
        let share = &inputs["participant_shares"][usize::from(seat)]["participant_share"];
        let scalar = Secret::filled(|out| out.copy_from_slice(&bytes(share))).unwrap();
        group.admit(seat, scalar).unwrap()
    };

    let (mut nonces, mut commitments) = (Vec::new(), Vec::new());
    for given in vector["round_one_outputs"]["outputs"].as_array().unwrap() {
        let seat = given["identifier"].as_u64().unwrap() as u8 - 1;
        let hiding = bytes(&given["hiding_nonce_randomness"]);
        let binding = bytes(&given["binding_nonce_randomness"]);
        let mut randomness = Given([hiding, binding].concat());
        let (drawn, committed) = Drawn::new(&share(seat), &mut randomness).unwrap();
        let hiding = bytes(&given["hiding_nonce_commitment"]);
        let binding = bytes(&given["binding_nonce_commitment"]);
        assert_eq!(committed, [hiding, binding].concat());
        nonces.push((seat, drawn.bound(&[7; 32], &message)));
        commitments.push((seat, committed));
    }
    let signing = Signing::new(&group, &message, &commitments).unwrap();
    let mut shares = Vec::new();
    let given = vector["round_two_outputs"]["outputs"].as_array().unwrap();
    for ((seat, nonces), given) in nonces.into_iter().zip(given) {
        let signed = nonces.sign(&signing, &share(seat), &[7; 32]).unwrap();
        assert_eq!(signed[..], bytes(&given["sig_share"]));
        shares.push((seat, signed));
    }
    let signature = signing.aggregate(&shares).unwrap();
    assert_eq!(signature[..], bytes(&vector["final_output"]["sig"]));
}

#[test]
fn both_rounds_give_what_the_vectors_say() {
    the_vector_is_signed::<Ed25519>();
    the_vector_is_signed::<Taproot>();
}
