//! What holds of every suite, whatever the key and the message: what it signs verifies, what it
//! encrypts decrypts, one changed bit is refused, and nothing outside its list is done.

mod common;

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use common::{admit, operate, public_key, suite};
use evanesce_secret::on_crucible;
use evanesce_suite::{Error, Input, Material, Output, Suite, all, catalogue};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any bytes are good material for every suite: SplitMix64, a different stream for every seed.
fn material(suite: &dyn Suite, seed: u64) -> Vec<u8> {
    (1..=suite.facts().material as u64)
        .map(|i| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ z >> 31) as u8
        })
        .collect()
}

fn derived(action: &'static str) -> impl Strategy<Value = &'static str> {
    let names: Vec<_> = (catalogue().0.iter())
        .filter(|facts| !facts.imported_only && facts.operations.contains(&action))
        .map(|facts| facts.name)
        .collect();
    proptest::sample::select(names)
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let bit = bit % (out.len() * 8);
    out[bit / 8] ^= 1 << (bit % 8);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_signed_verifies_and_one_bit_off_does_not(
        name in derived("sign"), seed: u64, message in vec(any::<u8>(), 0..200), bit: usize,
    ) {
        let suite = suite(name);
        let key = material(suite, seed);
        let material = Material::Derived(&key);
        let spki = public_key(suite, material).unwrap();
        let signature = operate(suite, material, Input::Sign { message: &message }).unwrap();
        suite.verify(&spki, &message, &signature).unwrap();
        let verify = |m: &[u8], s: &[u8]| matches!(suite.verify(&spki, m, s), Err(Error::InvalidSignature));
        prop_assert!(verify(&message, &flip(&signature, bit)));
        prop_assert!(verify(&message, &signature[..bit % signature.len()]));
        prop_assert!(verify(&message, &[&signature[..], &[0]].concat()));
        prop_assert!(verify(&[&message[..], &[0]].concat(), &signature));
        prop_assert!(suite.verify(&flip(&spki, bit), &message, &signature).is_err());
        let random = suite.facts().name.starts_with("ml-dsa");
        let again = operate(suite, material, Input::Sign { message: &message }).unwrap();
        prop_assert_eq!(again == signature, !random);
    }

    #[test]
    fn what_is_encrypted_decrypts_and_one_bit_off_does_not(
        name in derived("encrypt"), seed: u64,
        plaintext in vec(any::<u8>(), 0..300), aad in vec(any::<u8>(), 0..50), bit: usize,
    ) {
        let suite = suite(name);
        let key = material(suite, seed);
        let material = Material::Derived(&key);
        let run = |input| operate(suite, material, input);
        let sealed = run(Input::Encrypt { plaintext: &plaintext, aad: &aad }).unwrap();
        let again = run(Input::Encrypt { plaintext: &plaintext, aad: &aad }).unwrap();
        prop_assert_ne!(&sealed, &again);
        let opened = run(Input::Decrypt { ciphertext: &sealed, aad: &aad }).unwrap();
        prop_assert_eq!(&opened, &plaintext);
        let longer = [&aad[..], &[0]].concat();
        for (ciphertext, aad) in [
            (flip(&sealed, bit), &aad),
            (sealed[..bit % sealed.len()].to_vec(), &aad),
            ([&sealed[..], &[0]].concat(), &aad),
            (sealed.clone(), &longer),
        ] {
            let input = Input::Decrypt { ciphertext: &ciphertext, aad };
            let answer = operate(suite, material, input);
            prop_assert!(matches!(answer, Err(Error::DecryptionFailed)));
        }
    }

    #[test]
    fn a_mac_verifies_and_one_bit_off_does_not(
        name in derived("mac"), seed: u64, message in vec(any::<u8>(), 0..200), bit: usize,
    ) {
        let suite = suite(name);
        let key = material(suite, seed);
        let run = |input| operate(suite, Material::Derived(&key), input);
        let mac = run(Input::Mac { message: &message }).unwrap();
        run(Input::VerifyMac { message: &message, mac: &mac }).unwrap();
        for mac in [flip(&mac, bit), mac[..bit % mac.len()].to_vec(), [&mac[..], &[0]].concat()] {
            let input = Input::VerifyMac { message: &message, mac: &mac };
            let answer = operate(suite, Material::Derived(&key), input);
            prop_assert!(matches!(answer, Err(Error::InvalidSignature)));
        }
    }

    #[test]
    fn derived_keys_depend_on_context_and_length(
        seed: u64, context in vec(any::<u8>(), 0..100), length in 16..500_usize,
    ) {
        let key = material(suite("hkdf-sha256"), seed);
        let derive = |context: &[u8], length| {
            let input = Input::Derive { context, length };
            operate(suite("hkdf-sha256"), Material::Derived(&key), input).unwrap()
        };
        let one = derive(&context, length);
        prop_assert_eq!(one.len(), length);
        prop_assert_eq!(&one, &derive(&context, length));
        prop_assert_ne!(&one[..16], &derive(&context, length + 1)[..16]);
        prop_assert_ne!(&one, &derive(&[&context[..], &[0]].concat(), length));
    }

    #[test]
    fn both_sides_agree(mine: u64, theirs: u64) {
        let suite = suite("x25519");
        let (mine, theirs) = (material(suite, mine), material(suite, theirs));
        let public = |key| public_key(suite, Material::Derived(key)).unwrap();
        let agree = |key, peer: &[u8]| operate(suite, Material::Derived(key), Input::Agree { peer });
        let shared = agree(&mine, &public(&theirs)).unwrap();
        prop_assert_eq!(&shared, &agree(&theirs, &public(&mine)).unwrap());
        prop_assert_eq!(&shared, &agree(&mine, &public(&theirs)[12..]).unwrap());
    }

    #[test]
    fn what_is_encapsulated_decapsulates_and_one_bit_off_is_another_secret(
        name in derived("decapsulate"), seed: u64, bit: usize,
    ) {
        let suite = suite(name);
        let key = material(suite, seed);
        let spki = public_key(suite, Material::Derived(&key)).unwrap();
        let (ciphertext, shared) = on_crucible(|| {
            let (ciphertext, shared) = suite.encapsulate(&spki).unwrap();
            (ciphertext, shared.expose().to_vec())
        });
        let open = |ciphertext: &[u8]| {
            operate(suite, Material::Derived(&key), Input::Decapsulate { ciphertext })
        };
        prop_assert_eq!(&open(&ciphertext).unwrap(), &shared);
        prop_assert_ne!(&open(&flip(&ciphertext, bit)).unwrap(), &shared);
        prop_assert!(open(&ciphertext[1..]).is_err());
    }

    #[test]
    fn hostile_keys_signatures_and_ciphertexts_are_refused_without_panic(
        bytes in vec(any::<u8>(), 0..3000),
    ) {
        for suite in all() {
            let facts = suite.facts();
            if facts.public {
                prop_assert!(admit(*suite, &bytes).is_err());
                prop_assert!(public_key(*suite, Material::Imported(&bytes)).is_err());
            }
            prop_assert!(suite.verify(&bytes, b"", &bytes).is_err());
            prop_assert!(suite.encrypt_to(&bytes, b"").is_err());
            prop_assert!(suite.encapsulate(&bytes).is_err());
            let key = material(*suite, 7);
            for input in inputs(&bytes).into_iter().filter(|input| input.action() != "mac") {
                let answer = operate(*suite, Material::Derived(&key), input);
                // Those succeed on some bytes, or on all; the others need a tag that fits.
                let made = matches!(input.action(), "sign" | "encrypt" | "derive" | "agree" | "decapsulate");
                prop_assert!(made || answer.is_err(), "{} {}", facts.name, input.action());
            }
        }
    }
}

fn inputs(bytes: &[u8]) -> [Input<'_>; 8] {
    [
        Input::Sign { message: bytes },
        Input::Mac { message: bytes },
        Input::VerifyMac {
            message: bytes,
            mac: bytes,
        },
        Input::Encrypt {
            plaintext: bytes,
            aad: bytes,
        },
        Input::Decrypt {
            ciphertext: bytes,
            aad: bytes,
        },
        Input::Derive {
            context: bytes,
            length: 32,
        },
        Input::Agree { peer: bytes },
        Input::Decapsulate { ciphertext: bytes },
    ]
}

#[test]
fn a_suite_does_what_its_facts_list_and_refuses_everything_else_by_name() {
    for suite in all() {
        let facts = suite.facts();
        let key = if facts.imported_only {
            RSA.to_vec()
        } else {
            material(*suite, 1)
        };
        let material = if facts.imported_only {
            Material::Imported(&key)
        } else {
            Material::Derived(&key)
        };
        for input in inputs(&[9; 32]) {
            let answer = operate(*suite, material, input);
            let unfit = matches!(answer, Err(Error::UnfitOperation { suite, action })
                if suite == facts.name && action == input.action());
            let listed = facts.operations.contains(&input.action());
            assert_eq!(unfit, !listed, "{} {}", facts.name, input.action());
        }
        assert_eq!(
            public_key(*suite, material).is_ok(),
            facts.public,
            "{}",
            facts.name
        );
        let unfit = |error| matches!(error, Error::UnfitOperation { .. });
        let signs = facts.operations.contains(&"sign");
        assert_eq!(
            unfit(suite.verify(b"", b"", b"").unwrap_err()),
            !signs,
            "{}",
            facts.name
        );
        let kem = facts.operations.contains(&"decapsulate");
        assert_eq!(
            suite.encapsulate(b"").is_err_and(unfit),
            !kem,
            "{}",
            facts.name
        );
        let oaep = facts.name == "rsa-oaep-sha256";
        assert_eq!(
            suite.encrypt_to(b"", b"").is_err_and(unfit),
            !oaep,
            "{}",
            facts.name
        );
    }
}

#[test]
fn no_key_is_touched_off_the_crucible() {
    for suite in all() {
        let key = material(*suite, 1);
        for material in [Material::Derived(&key), Material::Imported(&RSA)] {
            let input = inputs(&[0; 32])
                .into_iter()
                .find(|input| input.action() == suite.facts().operations[0]);
            assert!(suite.operate(&material, &input.unwrap()).is_err());
            assert!(suite.public_key(&material).is_err());
        }
        let elsewhere = matches!(suite.admit(&RSA), Err(Error::Internal(_)));
        assert!(elsewhere, "{}", suite.facts().name);
    }
}

#[test]
fn material_of_another_length_is_refused() {
    for suite in all() {
        let facts = suite.facts();
        for length in [0, facts.material.saturating_sub(1), facts.material + 1] {
            let key = vec![1; length];
            if facts.imported_only || length != facts.material {
                let input = inputs(&[0; 32])
                    .into_iter()
                    .find(|input| input.action() == facts.operations[0]);
                let answer = operate(*suite, Material::Derived(&key), input.unwrap());
                assert!(
                    matches!(answer, Err(Error::BadKey(_))),
                    "{} {length}",
                    facts.name
                );
            }
        }
    }
}

#[test]
fn only_the_given_public_half_operates() {
    for suite in all().iter().filter(|suite| suite.facts().public) {
        let facts = suite.facts();
        let (key, other) = (material(*suite, 1), material(*suite, 2));
        let (mine, theirs) = if facts.imported_only {
            (Material::Imported(&RSA), Material::Imported(&RSA_OTHER))
        } else {
            (Material::Derived(&key), Material::Derived(&other))
        };
        let spki = public_key(*suite, mine).unwrap();
        let peer = public_key(common::suite("x25519"), Material::Derived(&[5; 32])).unwrap();
        let ciphertext = on_crucible(|| match facts.name {
            name if name.starts_with("ml-kem") => suite.encapsulate(&spki).unwrap().0,
            "rsa-oaep-sha256" => suite.encrypt_to(&spki, b"hello").unwrap(),
            _ => vec![],
        });
        let input = match facts.operations[0] {
            "sign" => Input::Sign { message: b"m" },
            "agree" => Input::Agree { peer: &peer },
            "decrypt" => Input::Decrypt {
                ciphertext: &ciphertext,
                aad: b"",
            },
            _ => Input::Decapsulate {
                ciphertext: &ciphertext,
            },
        };
        on_crucible(|| {
            assert!(
                suite.operate_as(&mine, &spki, &input).is_ok(),
                "{}",
                facts.name
            );
            let answer = suite.operate_as(&theirs, &spki, &input);
            assert!(
                matches!(answer, Err(Error::WrongPublicKey)),
                "{}",
                facts.name
            );
        });
    }
}

#[test]
fn rsa_encrypts_to_the_public_key_and_decrypts() {
    let oaep = suite("rsa-oaep-sha256");
    let spki = public_key(oaep, Material::Imported(&RSA)).unwrap();
    let longest = RSA_BYTES - 2 * 32 - 2;
    for length in [0, 1, longest] {
        let plaintext = vec![7; length];
        let ciphertext = oaep.encrypt_to(&spki, &plaintext).unwrap();
        let run = |ciphertext: &[u8], aad| {
            operate(
                oaep,
                Material::Imported(&RSA),
                Input::Decrypt { ciphertext, aad },
            )
        };
        assert_eq!(run(&ciphertext, b"").unwrap(), plaintext);
        assert!(matches!(run(&ciphertext, b"x"), Err(Error::BadInput(_))));
        for bad in [
            flip(&ciphertext, 1000),
            ciphertext[1..].to_vec(),
            vec![0xff; RSA_BYTES],
            vec![],
        ] {
            assert!(matches!(run(&bad, b""), Err(Error::DecryptionFailed)));
        }
    }
    assert!(matches!(
        oaep.encrypt_to(&spki, &vec![0; longest + 1]),
        Err(Error::BadInput(_))
    ));
}

#[test]
fn a_derived_length_stays_within_rfc_5869() {
    let hkdf = suite("hkdf-sha256");
    for (length, good) in [
        (0, false),
        (1, true),
        (8160, true),
        (8161, false),
        (usize::MAX, false),
    ] {
        let input = Input::Derive {
            context: b"",
            length,
        };
        let answer = operate(hkdf, Material::Derived(&[1; 32]), input);
        assert_eq!(answer.is_ok(), good, "{length}");
    }
}

#[test]
fn symmetric_imports_have_the_lengths_of_the_protocol() {
    for (name, good, bad) in [
        ("aes-256-gcm", &[32][..], &[0, 16, 31, 33][..]),
        ("xaes-256-gcm", &[32], &[0, 16, 31, 33]),
        ("aes-cmac", &[32], &[0, 16, 24, 33]),
        ("hmac-sha256", &[1, 20, 64, 65, 1024], &[0, 1025]),
        ("hmac-sha512", &[1, 20, 128, 129, 1024], &[0, 1025]),
        ("hkdf-sha256", &[32, 33, 5000], &[0, 31]),
    ] {
        for length in good {
            assert!(
                admit(suite(name), &vec![1; *length]).is_ok(),
                "{name} {length}"
            );
        }
        for length in bad {
            let answer = admit(suite(name), &vec![1; *length]);
            assert!(matches!(answer, Err(Error::BadKey(_))), "{name} {length}");
        }
    }
}

#[test]
fn inputs_have_the_parts_that_their_digest_hashes() {
    let input = Input::Derive {
        context: b"c",
        length: 48,
    };
    assert_eq!(input.parts(), [b"c".to_vec(), vec![0, 0, 0, 48]]);
    let input = Input::Encrypt {
        plaintext: b"p",
        aad: b"a",
    };
    assert_eq!(input.parts(), [b"p".to_vec(), b"a".to_vec()]);
    for input in inputs(b"x") {
        assert!(!input.parts().is_empty());
        let known = catalogue().0.iter();
        assert!(
            known
                .into_iter()
                .any(|facts| facts.operations.contains(&input.action()))
        );
    }
}

#[test]
fn a_verified_mac_has_nothing_to_forget() {
    let mac = operate(
        suite("aes-cmac"),
        Material::Derived(&[1; 32]),
        Input::Mac { message: b"" },
    );
    on_crucible(|| {
        let mac = mac.unwrap();
        let input = Input::VerifyMac {
            message: b"",
            mac: &mac,
        };
        let output = suite("aes-cmac")
            .operate(&Material::Derived(&[1; 32]), &input)
            .unwrap();
        assert!(matches!(output, Output::Verified));
    });
}

/// Two keys for this run. Nothing generates RSA keys in this crate: they are imported.
static RSA: LazyLock<Vec<u8>> = LazyLock::new(rsa_key);
static RSA_OTHER: LazyLock<Vec<u8>> = LazyLock::new(rsa_key);
const RSA_BYTES: usize = 256;

fn rsa_key() -> Vec<u8> {
    evanesce_secret::init();
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der = pair.as_der().unwrap();
    der.as_ref().to_vec()
}
