//! DHKEM(X25519, HKDF-SHA256) of RFC 9180 §4.1 for the `hpke` crate, with AWS-LC's curve.
//!
//! With the crate's own a session takes two and a half times as long. What AWS-LC makes of a private key lies in the arena, on
//! crucible threads. Base mode only: who sends is proven by a signature.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::error::Unspecified;
use hpke::hybrid_array::typenum::U32;
use hpke::kdf::{HkdfSha256, Kdf};
use hpke::kem::SharedSecret;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, HpkeError, Kem, Serializable};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `"KEM" ‖ u16(0x0020)`.
const SUITE: [u8; 5] = *b"KEM\x00\x20";
/// SubjectPublicKeyInfo of an X25519 key before its 32 bytes (RFC 8410), the form that AWS-LC tries first.
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
];

/// The KEM.
pub struct Dhkem;

/// A public key; also what is encapsulated, which is one that is used once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Public([u8; 32]);

/// A private key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Private([u8; 32]);

fn bytes(encoded: &[u8]) -> Result<[u8; 32], HpkeError> {
    let wrong = |_| HpkeError::IncorrectInputLength(32, encoded.len());
    encoded.try_into().map_err(wrong)
}

impl Serializable for Public {
    type OutputSize = U32;

    fn write_exact(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

impl Deserializable for Public {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        Ok(Self(bytes(encoded)?))
    }
}

impl Serializable for Private {
    type OutputSize = U32;

    fn write_exact(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0);
    }
}

impl Deserializable for Private {
    fn from_bytes(encoded: &[u8]) -> Result<Self, HpkeError> {
        Ok(Self(bytes(encoded)?))
    }
}

impl ConstantTimeEq for Private {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Private {
    /// AWS-LC's form of it, with the public key. It clamps (RFC 7748 §5) whatever it is given, so that it fails for want of
    /// memory only.
    fn expand(&self) -> Result<(PrivateKey, Public), Unspecified> {
        let key = PrivateKey::from_private_key(&X25519, &self.0).map_err(|_| Unspecified)?;
        let public = key.compute_public_key()?.as_ref().try_into();
        Ok((key, Public(public.map_err(|_| Unspecified)?)))
    }
}

/// `ExtractAndExpand(DH(private, theirs), context)`. An error where the product is all zero, for keys of small order
/// (RFC 9180 §7.1.4).
fn shared(
    private: &PrivateKey,
    theirs: &Public,
    context: [&Public; 2],
) -> Result<SharedSecret<Dhkem>, HpkeError> {
    let mut encoded = [0; SPKI.len() + 32];
    encoded[..SPKI.len()].copy_from_slice(&SPKI);
    encoded[SPKI.len()..].copy_from_slice(&theirs.0);
    let mut kem_context = [0; 64];
    kem_context[..32].copy_from_slice(&context[0].0);
    kem_context[32..].copy_from_slice(&context[1].0);
    let theirs = UnparsedPublicKey::new(&X25519, encoded);
    agree(private, theirs, HpkeError::ValidationError, |product| {
        let mut secret = SharedSecret::default();
        HkdfSha256::extract_and_expand(product, &SUITE, &kem_context, &mut secret.0)?;
        Ok(secret)
    })
}

impl Kem for Dhkem {
    type PublicKey = Public;
    type PrivateKey = Private;
    type EncappedKey = Public;
    type NSecret = U32;
    const KEM_ID: u16 = 0x0020;

    fn sk_to_pk(private: &Private) -> Public {
        let whole = private.expand();
        // The trait has no error here, and any 32 bytes are an X25519 key.
        whole.expect("there is memory for a key").1
    }

    fn derive_keypair(ikm: &[u8]) -> (Private, Public) {
        let private = Private(HkdfSha256::derive_x25519_sk_eph_bytes(&SUITE, ikm));
        let public = Self::sk_to_pk(&private);
        (private, public)
    }

    fn decap(
        private: &Private,
        sender: Option<&Public>,
        enc: &Public,
    ) -> Result<SharedSecret<Self>, HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::DecapError);
        }
        let (key, public) = private.expand().map_err(|_| HpkeError::DecapError)?;
        shared(&key, enc, [enc, &public]).map_err(|_| HpkeError::DecapError)
    }

    fn encap_with_rng(
        theirs: &Public,
        sender: Option<(&Private, &Public)>,
        rng: &mut impl CryptoRng,
    ) -> Result<(SharedSecret<Self>, Public), HpkeError> {
        if sender.is_some() {
            return Err(HpkeError::EncapError);
        }
        let mut ikm = [0; 32];
        rng.fill_bytes(&mut ikm);
        let private = Private(HkdfSha256::derive_x25519_sk_eph_bytes(&SUITE, &ikm));
        ikm.zeroize();
        let (key, enc) = private.expand().map_err(|_| HpkeError::EncapError)?;
        let secret = shared(&key, theirs, [&enc, theirs]).map_err(|_| HpkeError::EncapError)?;
        Ok((secret, enc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpke::aead::ExportOnlyAead;
    use hpke::kem::X25519HkdfSha256;
    use hpke::rand_core::{Infallible, TryCryptoRng, TryRng};
    use hpke::{OpModeR, OpModeS, setup_receiver, setup_sender_with_rng};

    /// Random bytes that were chosen before.
    struct Given([u8; 32]);

    impl TryRng for Given {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("a KEM draws bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("a KEM draws bytes")
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            out.copy_from_slice(&self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Given {}

    fn sends<K: Kem>(public: &[u8], ikm: [u8; 32], info: &[u8], label: &[u8]) -> [Vec<u8>; 2] {
        let public = K::PublicKey::from_bytes(public).unwrap();
        let (enc, context) = setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, K>(
            &OpModeS::Base,
            &public,
            info,
            &mut Given(ikm),
        )
        .unwrap();
        let mut exported = [0; 32];
        context.export(label, &mut exported).unwrap();
        [enc.to_bytes().to_vec(), exported.to_vec()]
    }

    fn receives<K: Kem>(private: &[u8], enc: &[u8], info: &[u8], label: &[u8]) -> Option<Vec<u8>> {
        let private = K::PrivateKey::from_bytes(private).unwrap();
        let enc = K::EncappedKey::from_bytes(enc).unwrap();
        let context =
            setup_receiver::<ExportOnlyAead, HkdfSha256, K>(&OpModeR::Base, &private, &enc, info);
        let mut exported = [0; 32];
        context.ok()?.export(label, &mut exported).unwrap();
        Some(exported.to_vec())
    }

    fn unhex(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_values_of_rfc_9180_a_7_1_come_out() {
        let info = hex::decode("4f6465206f6e2061204772656369616e2055726e").unwrap();
        let ikm_r = "683ae0da1d22181e74ed2e503ebf82840deb1d5e872cade20f4b458d99783e31";
        let (private, public) = Dhkem::derive_keypair(&unhex(ikm_r));
        let pk_r = "194141ca6c3c3beb4792cd97ba0ea1faff09d98435012345766ee33aae2d7664";
        assert_eq!(public.0, unhex(pk_r));
        let sk_r = "33d196c830a12f9ac65d6e565a590d80f04ee9b19c83c87f2c170d972a812848";
        assert_eq!(private.0, unhex(sk_r));
        let ikm_e = "55bc245ee4efda25d38f2d54d5bb6665291b99f8108a8c4b686c2b14893ea5d9";
        let pk_e = "e5e8f9bfff6c2f29791fc351d2c25ce1299aa5eaca78a757c0b4fb4bcd830918";
        for (label, value) in [
            (
                "",
                "7a36221bd56d50fb51ee65edfd98d06a23c4dc87085aa5866cb7087244bd2a36",
            ),
            (
                "00",
                "d5535b87099c6c3ce80dc112a2671c6ec8e811a2f284f948cec6dd1708ee33f0",
            ),
            (
                "54657374436f6e74657874",
                "ffaabc85a776136ca0c378e5d084c9140ab552b78f039d2e8775f26efff4c70e",
            ),
        ] {
            let label = hex::decode(label).unwrap();
            let sent = sends::<Dhkem>(&public.0, unhex(ikm_e), &info, &label);
            assert_eq!(sent, [unhex(pk_e).to_vec(), unhex(value).to_vec()]);
            let received = receives::<Dhkem>(&private.0, &sent[0], &info, &label);
            assert_eq!(received.as_ref(), Some(&sent[1]));
        }
    }

    #[test]
    fn the_crates_own_kem_says_the_same_of_any_keys() {
        for n in 0..64u8 {
            let mut ikm = [n; 32];
            evanesce_secret::random(&mut ikm[1..]);
            let (private, public) = Dhkem::derive_keypair(&ikm);
            let (theirs, same) = X25519HkdfSha256::derive_keypair(&ikm);
            assert_eq!(public.0[..], same.to_bytes()[..]);
            ikm[0] ^= 1;
            let sent = sends::<Dhkem>(&public.0, ikm, b"info", &[n]);
            let other = sends::<X25519HkdfSha256>(&public.0, ikm, b"info", &[n]);
            assert_eq!(sent, other);
            for private in [&private.0[..], &theirs.to_bytes()[..]] {
                let ours = receives::<Dhkem>(private, &sent[0], b"info", &[n]);
                assert_eq!(ours.as_ref(), Some(&sent[1]));
                let other = receives::<X25519HkdfSha256>(private, &sent[0], b"info", &[n]);
                assert_eq!(other.as_ref(), Some(&sent[1]));
            }
        }
    }

    #[test]
    fn keys_of_small_order_are_refused_by_both_sides() {
        // RFC 7748 §6.1: the product would be all zero, whoever's key it is.
        for low in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        ] {
            let low = unhex(low);
            assert_eq!(receives::<Dhkem>(&[7; 32], &low, b"", b""), None);
            let sent = Dhkem::encap_with_rng(&Public(low), None, &mut Given([9; 32]));
            assert!(sent.is_err());
        }
    }
}
