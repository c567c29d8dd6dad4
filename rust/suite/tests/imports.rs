//! Imported asymmetric keys (PROTOCOL §8): what is admitted, what is ignored when a token is opened,
//! and that no error shows a byte of a key.

mod common;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use common::{admit, operate, public_key, suite};
use evanesce_suite::{Error, Input, Material};

fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let header = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [header.as_slice(), contents].concat()
}

/// PKCS#8, version 1, or 2 with a public key.
fn pkcs8(identifier: &str, private: &[u8], public: Option<&[u8]>) -> Vec<u8> {
    let mut parts = tlv(0x02, &[u8::from(public.is_some())]);
    parts.extend(hex::decode(identifier).unwrap());
    parts.extend(tlv(0x04, private));
    if let Some(public) = public {
        parts.extend(tlv(0x81, &[&[0], public].concat()));
    }
    tlv(0x30, &parts)
}

const ED25519: &str = "300506032b6570";
const X25519: &str = "300506032b656e";
const P256: &str = "301306072a8648ce3d020106082a8648ce3d030107";
const ML_DSA_44: &str = "300b0609608648016503040311";
const ML_KEM_768: &str = "300b0609608648016503040402";

fn ec(scalar: &[u8], public: Option<&[u8]>) -> Vec<u8> {
    let mut parts = [tlv(0x02, &[1]), tlv(0x04, scalar)].concat();
    if let Some(public) = public {
        parts.extend(tlv(0xa1, &tlv(0x03, &[&[0], public].concat())));
    }
    tlv(0x30, &parts)
}

/// For each kind: suite, key alone, and a way to add a public key; raw public keys end the SPKI.
#[allow(clippy::type_complexity)]
fn kinds() -> Vec<(&'static str, usize, Box<dyn Fn(Option<&[u8]>) -> Vec<u8>>)> {
    let seed = |n| tlv(0x80, &vec![0x42; n]);
    vec![
        (
            "ed25519",
            32,
            Box::new(|p| pkcs8(ED25519, &tlv(0x04, &[0x42; 32]), p)),
        ),
        (
            "x25519",
            32,
            Box::new(|p| pkcs8(X25519, &tlv(0x04, &[0x42; 32]), p)),
        ),
        (
            "ecdsa-p256",
            65,
            Box::new(|p| pkcs8(P256, &ec(&[0x42; 32], p), None)),
        ),
        (
            "ecdsa-p256",
            65,
            Box::new(|p| pkcs8(P256, &ec(&[0x42; 32], None), p)),
        ),
        (
            "ml-dsa-44",
            1312,
            Box::new(move |p| pkcs8(ML_DSA_44, &seed(32), p)),
        ),
        (
            "ml-kem-768",
            1184,
            Box::new(move |p| pkcs8(ML_KEM_768, &seed(64), p)),
        ),
    ]
}

#[test]
fn a_public_key_inside_must_be_right_at_import_and_is_ignored_afterwards() {
    for (name, raw, build) in kinds() {
        let suite = suite(name);
        let alone = build(None);
        admit(suite, &alone).unwrap_or_else(|error| panic!("{name}: {error}"));
        let spki = public_key(suite, Material::Imported(&alone)).unwrap();
        let right = &spki[spki.len() - raw..];
        let with_right = build(Some(right));
        let mut wrong = right.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        let with_wrong = build(Some(&wrong));
        assert!(admit(suite, &with_right).is_ok(), "{name}");
        assert!(
            matches!(admit(suite, &with_wrong), Err(Error::BadKey(_))),
            "{name}"
        );
        for key in [&with_right, &with_wrong] {
            assert_eq!(
                public_key(suite, Material::Imported(key)).unwrap(),
                spki,
                "{name}"
            );
        }
    }
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    for (name, _, build) in kinds() {
        let key = build(None);
        for cut in 0..key.len() {
            assert!(admit(suite(name), &key[..cut]).is_err(), "{name} {cut}");
        }
        assert!(
            admit(suite(name), &[&key[..], &[0]].concat()).is_err(),
            "{name}"
        );
    }
}

#[test]
fn no_flipped_bit_of_the_frame_passes_unnoticed() {
    for (name, _, build) in kinds() {
        let suite = suite(name);
        let key = build(None);
        let spki = public_key(suite, Material::Imported(&key)).unwrap();
        for bit in 0..key.len() * 8 {
            let mut bad = key.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Either it is no key any more, or another one.
            if let Ok(other) = public_key(suite, Material::Imported(&bad)) {
                // By design, X25519 ignores five bits of a scalar, and z leaves no trace in an
                // ML-KEM public key.
                let traceless =
                    name == "x25519" || name == "ml-kem-768" && bit / 8 >= key.len() - 32;
                assert!(other != spki || traceless, "{name} {bit}");
            }
        }
    }
}

#[test]
fn a_key_of_one_kind_is_none_of_another() {
    for (i, (name, _, _)) in kinds().iter().enumerate() {
        for (j, (_, _, build)) in kinds().iter().enumerate() {
            let same = *name == kinds()[j].0;
            assert_eq!(admit(suite(name), &build(None)).is_ok(), same, "{i} {j}");
        }
    }
}

#[test]
fn no_error_shows_a_byte_of_the_key() {
    let secret = [0xc5; 32];
    let long = [0xc5; 33];
    for (name, key) in [
        ("ed25519", pkcs8(ED25519, &tlv(0x04, &long), None)),
        ("ed25519", pkcs8(X25519, &tlv(0x04, &secret), None)),
        ("x25519", pkcs8(X25519, &secret, None)),
        ("ecdsa-p256", pkcs8(P256, &ec(&long, None), None)),
        ("ecdsa-p256", pkcs8(P256, &secret, None)),
        ("ml-dsa-44", pkcs8(ML_DSA_44, &tlv(0x80, &long), None)),
        ("ml-dsa-44", pkcs8(ML_DSA_44, &tlv(0x04, &secret), None)),
        (
            "rsa-pss-sha256",
            pkcs8("300d06092a864886f70d0101010500", &secret, None),
        ),
        ("aes-cmac", long.to_vec()),
    ] {
        let error = admit(suite(name), &key).unwrap_err();
        let text = format!("{error} {error:?}").to_lowercase();
        for trace in ["c5", "197", "xcxc", "\\u{c5}"] {
            assert!(!text.contains(trace), "{name}: {text}");
        }
    }
}

#[test]
fn rsa_keys_are_judged_by_size_and_by_how_their_parts_fit() {
    evanesce_secret::init();
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der = pair.as_der().unwrap();
    let key = der.as_ref().to_vec();
    for name in ["rsa-pss-sha256", "rsa-pkcs1-sha256", "rsa-oaep-sha256"] {
        admit(suite(name), &key).unwrap();
    }
    // Any changed bit of any part is noticed: n = p·q, d, dP, dQ and qInv must fit.
    for byte in (40..key.len()).step_by(13) {
        let mut bad = key.clone();
        bad[byte] ^= 1;
        let answer = admit(suite("rsa-pss-sha256"), &bad);
        assert!(matches!(answer, Err(Error::BadKey(_))), "{byte}");
        let input = Input::Sign { message: b"m" };
        assert!(operate(suite("rsa-pss-sha256"), Material::Imported(&bad), input).is_err());
    }
}
