//! ECDSA with RFC 6979 nonces over P-256 (SHA-256), P-384 (SHA-384) and secp256k1 (SHA-256, low s).
//! Signatures are ASN.1 DER.
//!
//! Signing is RustCrypto's, constant-time, since AWS-LC has no deterministic nonces; verification is
//! AWS-LC's. RustCrypto's types keep scalars on the stack, which the crucible wipes.

use std::marker::PhantomData;

use aws_lc_rs::digest::{Algorithm as Digest, SHA256, SHA384, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use der::asn1::ObjectIdentifier;
use evanesce_secret::SecretVec;
use evanesce_token::SuiteFacts;
use p256::elliptic_curve::bigint::{U256, U384, U576};

use crate::operation::check_derived;
use crate::spki::Algorithm;
use crate::{Error, Input, Material, Output, Suite, pkcs8};

/// This family, in the order of PROTOCOL §7–§8.
pub(crate) static SUITES: &[&dyn Suite] = &[&ECDSA_P256, &ECDSA_SECP256K1, &ECDSA_P384];

static ECDSA_P256: Ecdsa<P256> = Ecdsa {
    facts: &facts("ecdsa-p256", 48),
    algorithm: Algorithm {
        name: "ECDSA on P-256",
        identifier: &[
            0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
        ],
        public: Some(65),
    },
    curve: ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    hash: &SHA256,
    verification: &ECDSA_P256_SHA256_ASN1,
    low_s: false,
    slow: false,
    arithmetic: PhantomData,
};

static ECDSA_P384: Ecdsa<P384> = Ecdsa {
    facts: &facts("ecdsa-p384", 72),
    algorithm: Algorithm {
        name: "ECDSA on P-384",
        identifier: &[
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x22,
        ],
        public: Some(97),
    },
    curve: ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    hash: &SHA384,
    verification: &ECDSA_P384_SHA384_ASN1,
    low_s: false,
    slow: true,
    arithmetic: PhantomData,
};

static ECDSA_SECP256K1: Ecdsa<Secp256k1> = Ecdsa {
    facts: &facts("ecdsa-secp256k1", 48),
    algorithm: Algorithm {
        name: "ECDSA on secp256k1",
        identifier: &[
            0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
            0x81, 0x04, 0x00, 0x0a,
        ],
        public: Some(65),
    },
    curve: ObjectIdentifier::new_unwrap("1.3.132.0.10"),
    hash: &SHA256,
    verification: &ECDSA_P256K1_SHA256_ASN1,
    low_s: true,
    slow: false,
    arithmetic: PhantomData,
};

pub(crate) struct Ecdsa<C> {
    facts: &'static SuiteFacts,
    algorithm: Algorithm,
    curve: ObjectIdentifier,
    hash: &'static Digest,
    verification: &'static EcdsaVerificationAlgorithm,
    /// Signatures with s above half the order are refused.
    low_s: bool,
    /// See [`Suite::is_slow`].
    slow: bool,
    arithmetic: PhantomData<C>,
}

const fn facts(name: &'static str, material: usize) -> SuiteFacts {
    SuiteFacts {
        name,
        public: true,
        imported_only: false,
        material,
        operations: &["sign"],
    }
}

/// What the suites need of a curve; `Key` is a scalar in 1 … n−1 with its public point.
pub(crate) trait Curve: Sync {
    type Key;
    /// (material mod (n−1)) + 1, PROTOCOL §7.
    fn derive(material: &[u8]) -> Option<Self::Key>;
    /// A scalar of exactly the order's length; `None` outside 1 … n−1.
    fn import(scalar: &[u8]) -> Option<Self::Key>;
    /// Uncompressed, and compressed: the two forms in which a point can come along in PKCS#8.
    fn public(key: &Self::Key, compress: bool) -> Vec<u8>;
    /// The scalar, big-endian, in exactly the order's length.
    fn scalar(key: &Self::Key, out: &mut SecretVec);
    /// Its length in bytes.
    const SIZE: usize;
    /// RFC 6979 over a digest; DER.
    fn sign(key: &Self::Key, digest: &[u8]) -> Option<Vec<u8>>;
    /// Whether s is above half the order, or the signature is not one at all.
    fn high_s(signature: &[u8]) -> bool;
}

macro_rules! curve {
    ($name:ident, $library:ident :: $curve:ident, $order:ty, $wide:ty) => {
        pub(crate) struct $name;

        impl Curve for $name {
            type Key = $library::ecdsa::SigningKey;

            fn derive(material: &[u8]) -> Option<Self::Key> {
                use $library::elliptic_curve::{Curve, bigint::NonZero};
                if material.len() != <$wide>::BYTES {
                    return None;
                }
                let order = <$library::$curve as Curve>::ORDER;
                let modulus = NonZero::new(order.as_ref().wrapping_sub(&<$order>::ONE));
                // Variable-time in the modulus alone, which is a constant of the curve.
                let reduced = <$wide>::from_be_slice(material).rem_vartime(&modulus.into_option()?);
                let scalar = reduced.wrapping_add(&<$order>::ONE).to_be_bytes();
                Self::Key::from_slice(scalar.as_ref()).ok()
            }

            fn import(scalar: &[u8]) -> Option<Self::Key> {
                (scalar.len() == <$order>::BYTES)
                    .then(|| Self::Key::from_slice(scalar).ok())
                    .flatten()
            }

            fn public(key: &Self::Key, compress: bool) -> Vec<u8> {
                let point = key.verifying_key().to_sec1_point(compress);
                point.as_bytes().to_vec()
            }

            const SIZE: usize = <$order>::BYTES;

            fn scalar(key: &Self::Key, out: &mut SecretVec) {
                out.expose_mut().copy_from_slice(key.to_bytes().as_slice());
            }

            fn sign(key: &Self::Key, digest: &[u8]) -> Option<Vec<u8>> {
                use $library::ecdsa::signature::hazmat::PrehashSigner;
                let signature: $library::ecdsa::Signature = key.sign_prehash(digest).ok()?;
                Some(signature.to_der().as_bytes().to_vec())
            }

            fn high_s(signature: &[u8]) -> bool {
                use $library::elliptic_curve::scalar::IsHigh;
                $library::ecdsa::Signature::from_der(signature)
                    .map_or(true, |signature| signature.s().is_high().into())
            }
        }
    };
}

curve!(P256, p256::NistP256, U256, U384);
curve!(P384, p384::NistP384, U384, U576);
curve!(Secp256k1, k256::Secp256k1, U256, U384);

/// A key from PKCS#8, and the public keys that came along, in either of two places.
struct Imported<'a, C: Curve> {
    key: C::Key,
    along: [Option<&'a [u8]>; 2],
}

impl<C: Curve> Ecdsa<C> {
    fn expand(&self, material: &Material) -> Result<C::Key, Error> {
        match material {
            Material::Derived(bytes) => {
                check_derived(self.facts, bytes)?;
                C::derive(bytes).ok_or(Error::Internal("Curve::derive"))
            }
            Material::Imported(der) => Ok(self.import(der)?.key),
        }
    }

    fn import<'a>(&self, der: &'a [u8]) -> Result<Imported<'a, C>, Error> {
        let parsed = pkcs8::parse(der, &self.algorithm)?;
        let (scalar, public) = pkcs8::ec(&parsed, &self.algorithm, self.curve)?;
        let key = C::import(scalar)
            .ok_or_else(|| pkcs8::wrong(&self.algorithm, "its scalar is not in 1 to n-1"))?;
        Ok(Imported {
            key,
            along: [public, parsed.public],
        })
    }

    fn run(&self, key: &C::Key, input: &Input) -> Result<Output, Error> {
        match input {
            Input::Sign { message } => C::sign(key, digest(self.hash, message).as_ref())
                .map(Output::Public)
                .ok_or(Error::Internal("PrehashSigner::sign_prehash")),
            other => Err(self.unfit(other.action())),
        }
    }
}

impl<C: Curve> Suite for Ecdsa<C> {
    fn facts(&self) -> &'static SuiteFacts {
        self.facts
    }

    fn is_slow(&self) -> bool {
        self.slow
    }

    fn public_key(&self, material: &Material) -> Result<Vec<u8>, Error> {
        let public = C::public(&self.expand(material)?, false);
        Ok(self.algorithm.encode(&public))
    }

    fn operate(&self, material: &Material, input: &Input) -> Result<Output, Error> {
        self.run(&self.expand(material)?, input)
    }

    fn operate_as(&self, material: &Material, spki: &[u8], input: &Input) -> Result<Output, Error> {
        let key = self.expand(material)?;
        if self.algorithm.encode(&C::public(&key, false)) != spki {
            return Err(Error::WrongPublicKey);
        }
        self.run(&key, input)
    }

    fn portable(&self, material: &Material) -> Result<SecretVec, Error> {
        if let Material::Imported(der) = material {
            return Ok(SecretVec::from_slice(der)?);
        }
        let key = self.expand(material)?;
        let mut scalar = SecretVec::zeroed(C::SIZE)?;
        C::scalar(&key, &mut scalar);
        let point = C::public(&key, false);
        // RFC 5915: version 1, the scalar, and the point, without which some readers do not take it.
        let inner = [0x02, 0x01, 0x01, 0x04, C::SIZE as u8];
        let bits = (point.len() + 1) as u8;
        let along = [0xa1, bits + 2, 0x03, bits, 0x00];
        let length = inner.len() + C::SIZE + along.len() + point.len();
        let long = [0x30, 0x81, length as u8];
        let short = [0x30, length as u8];
        let head = if length < 0x80 { &short[..] } else { &long[..] };
        pkcs8::write(
            self.algorithm.identifier,
            &[head, &inner, scalar.expose(), &along, &point],
        )
    }

    fn admit(&self, imported: &[u8]) -> Result<(), Error> {
        let Imported { key, along } = self.import(imported)?;
        for given in along {
            let compressed = given.is_some_and(|point| matches!(point.first(), Some(2 | 3)));
            pkcs8::agree(given, &C::public(&key, compressed), &self.algorithm)?;
        }
        Ok(())
    }

    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let point = self.algorithm.decode(spki)?;
        if self.low_s && C::high_s(signature) {
            return Err(Error::InvalidSignature);
        }
        let key = ParsedPublicKey::new(self.verification, point)
            .map_err(|_| Error::BadInput(format!("not a point for {}", self.algorithm.name)))?;
        key.verify_sig(message, signature)
            .map_err(|_| Error::InvalidSignature)
    }
}

#[cfg(test)]
mod tests {
    use evanesce_secret::on_crucible;

    use super::*;

    /// Big-endian schoolbook arithmetic on bytes: slow, and obviously right.
    fn reduce_plus_one(material: &[u8], order: &[u8]) -> Vec<u8> {
        let mut modulus = order.to_vec();
        *modulus.last_mut().unwrap() -= 1; // orders are odd
        let mut remainder = vec![0_u8; order.len() + 1];
        let wide = [&[0], modulus.as_slice()].concat();
        for bit in material
            .iter()
            .flat_map(|b| (0..8).rev().map(move |i| b >> i & 1))
        {
            let mut carry = bit;
            for byte in remainder.iter_mut().rev() {
                (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
            }
            if remainder >= wide {
                let mut borrow = 0;
                for (a, b) in remainder.iter_mut().zip(&wide).rev() {
                    let difference = i16::from(*a) - i16::from(*b) - borrow;
                    (*a, borrow) = (difference as u8, i16::from(difference < 0));
                }
            }
        }
        for byte in remainder.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        remainder[1..].to_vec()
    }

    fn check<C: Curve<Key: Scalar>>(order: &str, width: usize) {
        let order: Vec<u8> = (0..order.len() / 2)
            .map(|i| u8::from_str_radix(&order[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        let padded = |low: &[u8]| [vec![0; width - low.len()].as_slice(), low].concat();
        let mut below = order.clone();
        *below.last_mut().unwrap() -= 1;
        let mut two_below = order.clone();
        *two_below.last_mut().unwrap() -= 2;
        let counting: Vec<u8> = (0..width as u8)
            .map(|i| i.wrapping_mul(0x9d) ^ 0x5a)
            .collect();
        evanesce_secret::init();
        on_crucible(|| {
            for material in [
                vec![0; width],
                vec![0xff; width],
                padded(&order),
                padded(&below),
                padded(&two_below),
                counting,
            ] {
                let key = C::derive(&material).expect("never zero");
                assert_eq!(key.scalar(), reduce_plus_one(&material, &order));
            }
            // n−1 ≡ 0 gives the smallest scalar, n−2 the largest.
            let one = C::derive(&padded(&below)).unwrap().scalar();
            assert_eq!(one, [vec![0; order.len() - 1], vec![1]].concat());
            assert_eq!(C::derive(&padded(&two_below)).unwrap().scalar(), below);
            assert!(C::derive(&vec![1; width - 1]).is_none());
            assert!(C::import(&order).is_none());
            assert!(C::import(&vec![0; order.len()]).is_none());
            assert!(C::import(&below).is_some());
            assert!(C::import(&below[1..]).is_none());
        });
    }

    trait Scalar {
        fn scalar(&self) -> Vec<u8>;
    }

    macro_rules! scalar {
        ($($library:ident),*) => {$(
            impl Scalar for $library::ecdsa::SigningKey {
                fn scalar(&self) -> Vec<u8> {
                    self.to_bytes().to_vec()
                }
            }
        )*};
    }
    scalar!(p256, p384, k256);

    #[test]
    fn material_becomes_a_scalar_as_the_protocol_says() {
        check::<P256>(
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
            48,
        );
        check::<Secp256k1>(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
            48,
        );
        check::<P384>(
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
             581a0db248b0a77aecec196accc52973",
            72,
        );
    }

    #[test]
    fn secp256k1_refuses_the_high_twin_of_its_own_signature() {
        evanesce_secret::init();
        on_crucible(|| {
            let suite = &ECDSA_SECP256K1;
            let material = Material::Derived(&[7; 48]);
            let spki = suite.public_key(&material).unwrap();
            let input = Input::Sign { message: b"m" };
            let Ok(Output::Public(low)) = suite.operate(&material, &input) else {
                panic!("no signature")
            };
            let signature = k256::ecdsa::Signature::from_der(&low).unwrap();
            let (r, s) = signature.split_scalars();
            let high = k256::ecdsa::Signature::from_scalars(*r, -*s).unwrap();
            assert!(suite.verify(&spki, b"m", &low).is_ok());
            let answer = suite.verify(&spki, b"m", high.to_der().as_bytes());
            assert!(matches!(answer, Err(Error::InvalidSignature)));
        });
    }
}
