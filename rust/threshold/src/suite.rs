//! The two ciphersuites that tokens name, behind one trait.
//!
//! Both sign so that nobody who verifies can tell that a quorum signed: ordinary Ed25519 (RFC 8032) and BIP-340.

use frost_core::{Ciphersuite, Element, Group as _};

/// FROST(Ed25519, SHA-512), RFC 9591 §6.1.
pub type Ed25519 = frost_ed25519::Ed25519Sha512;

/// FROST(secp256k1, SHA-256) as RFC 9591 §6.5, with the challenge and the even keys of BIP-340. A key that a quorum makes
/// is tweaked as BIP-341 advises for keys without scripts, so that no member can have hidden a script in it.
pub type Taproot = frost_secp256k1_tr::Secp256K1Sha256TR;

/// A ciphersuite of this product; there are no others.
pub trait Suite: Ciphersuite + sealed::Sealed {
    /// The name that tokens use.
    const NAME: &'static str;
    /// Bytes of an encoded point.
    const POINT: usize;
    /// Whether the least significant byte of an encoded scalar comes first. Scalars are 32 bytes in both suites.
    const LITTLE_ENDIAN: bool;

    /// Whether a group may not have this key, but must have its negative: BIP-340 leaves the y coordinate out and takes it
    /// for even.
    fn must_be_negated(key: &Element<Self>) -> bool;

    /// The public key as verifiers know it, from its encoding as a point of this group; None where it must be negated.
    fn public_key(point: &[u8]) -> Option<[u8; 32]>;
}

impl Suite for Ed25519 {
    const NAME: &'static str = "frost-ed25519";
    const POINT: usize = 32;
    const LITTLE_ENDIAN: bool = true;

    fn must_be_negated(_: &Element<Self>) -> bool {
        false
    }

    /// RFC 8032's 32 bytes, which the point's are.
    fn public_key(point: &[u8]) -> Option<[u8; 32]> {
        point.try_into().ok()
    }
}

impl Suite for Taproot {
    const NAME: &'static str = "frost-secp256k1-tr";
    const POINT: usize = 33;
    const LITTLE_ENDIAN: bool = false;

    fn must_be_negated(key: &Element<Self>) -> bool {
        const ODD: u8 = 3;
        Self::Group::serialize(key).is_ok_and(|point| point[0] == ODD)
    }

    /// BIP-340's 32 bytes: the x coordinate.
    fn public_key(point: &[u8]) -> Option<[u8; 32]> {
        const EVEN: u8 = 2;
        match point {
            [EVEN, x @ ..] => x.try_into().ok(),
            _ => None,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Ed25519 {}
    impl Sealed for super::Taproot {}
}
