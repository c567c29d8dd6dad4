//! What the tests of this crate share.

#![allow(dead_code)] // each test file uses its part

use evanesce_threshold::{Ed25519, Suite, Taproot};
use frost_core::{Field, Group, Scalar};

/// A suite whose signatures another library, which shares no code with FROST's, can judge.
pub trait Outside: Suite {
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool;
}

impl Outside for Ed25519 {
    /// AWS-LC.
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(message, signature)
            .is_ok()
    }
}

impl Outside for Taproot {
    /// Bitcoin Core's libsecp256k1.
    fn outside_accepts(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        use secp256k1::{XOnlyPublicKey, schnorr};
        let key = XOnlyPublicKey::from_byte_array(*public_key).unwrap();
        schnorr::verify(
            &schnorr::Signature::from_byte_array(*signature),
            message,
            &key,
        )
        .is_ok()
    }
}

/// The encoding of the point of an encoded scalar.
pub fn point<S: Suite>(scalar: &[u8]) -> Vec<u8> {
    type F<S> = <<S as frost_core::Ciphersuite>::Group as Group>::Field;
    let scalar = <F<S> as Field>::Serialization::try_from(scalar)
        .ok()
        .unwrap();
    let scalar: Scalar<S> = F::<S>::deserialize(&scalar).unwrap();
    let point = S::Group::generator() * scalar;
    S::Group::serialize(&point).unwrap().as_ref().to_vec()
}
