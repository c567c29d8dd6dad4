//! Keys of the user's own in SoftHSM: made, used, verified by OpenSSL, destroyed, found again after the token was away.
//!
//! One process, one module: every test has a token of its own.

mod common;

use common::{pin_file, run, softhsm_config, softhsm_room, token_folder, verify};
use evanesce_element::ElementError;
use evanesce_element::SecretSource;
use evanesce_element::pkcs11::{
    Config, KeyError, Keys, Kind, Leaves, Pkcs11Element, Wrapped, seal,
};
use evanesce_secret::{Secret, on_crucible};
use std::path::Path;
use std::time::{Duration, Instant};

const TOKENS: [&str; 12] = [
    "signing", "macs", "sealing", "able", "life", "roots", "removed", "first", "second", "stays",
    "mortal", "odd",
];
const MESSAGE: &[u8] = b"a payment of 900 EUR";

/// The tokens of these tests.
fn room() -> &'static Path {
    softhsm_room("softhsm-keys", &TOKENS)
}

fn config(token: &str) -> Config {
    softhsm_config(room(), token)
}

#[test]
fn signatures_of_every_kind_verify_with_openssl() {
    let keys = Keys::open(&config("signing")).unwrap();
    for kind in [
        Kind::Ed25519,
        Kind::P256,
        Kind::P384,
        Kind::Secp256k1,
        Kind::Rsa(2048),
        Kind::Rsa(3072),
    ] {
        let key = keys.generate(kind, kind.name()).unwrap();
        for suite in kind.suites().iter().filter(|suite| !suite.contains("oaep")) {
            let signature = key.sign(suite, MESSAGE).unwrap();
            verify(room(), suite, key.public().unwrap(), MESSAGE, &signature);
        }
    }
}

#[test]
fn secp256k1_signatures_have_a_low_s() {
    let keys = Keys::open(&config("signing")).unwrap();
    let key = keys.generate(Kind::Secp256k1, "low").unwrap();
    // Half of what the module makes is high: that none of 32 is would be chance once in four billion.
    for _ in 0..32 {
        let signature = key.sign("ecdsa-secp256k1", MESSAGE).unwrap();
        let s = &signature[6 + usize::from(signature[3])..];
        // 33 bytes begin with the sign byte of a number over 2^255, which is over half of the order.
        assert!(s.len() <= 32 && s[0] < 0x80, "{signature:02x?}");
    }
}

#[test]
fn macs_are_what_they_are_everywhere_many_in_one_call() {
    let keys = Keys::open(&config("macs")).unwrap();
    for (kind, suite, size) in [
        (Kind::Hmac(32), "hmac-sha256", 32),
        (Kind::Hmac(64), "hmac-sha512", 64),
        (Kind::Aes256, "aes-cmac", 16),
    ] {
        let key = keys.generate(kind, kind.name()).unwrap();
        let messages: Vec<Vec<u8>> = (0..200).map(|n| vec![n as u8; n]).collect();
        let borrowed: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let macs = key.macs(suite, &borrowed).unwrap();
        assert!(macs.iter().all(|mac| mac.len() == size));
        assert_eq!(macs, key.macs(suite, &borrowed).unwrap());
        let mut distinct = macs.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 200);
    }
}

#[test]
fn what_was_encrypted_is_decrypted_and_nothing_that_was_changed() {
    let keys = Keys::open(&config("sealing")).unwrap();
    let key = keys.generate(Kind::Aes256, "records").unwrap();
    let suite = "aes-256-gcm";
    for plaintext in [&b""[..], b"x", &[7; 4096]] {
        let sealed = key.encrypt(suite, b"customer 12", plaintext).unwrap();
        assert_eq!(sealed.len(), 12 + plaintext.len() + 16);
        assert_ne!(
            sealed,
            key.encrypt(suite, b"customer 12", plaintext).unwrap()
        );
        let opened = key.decrypt(suite, b"customer 12", &sealed).unwrap();
        assert_eq!(opened.expose(), plaintext);
        assert!(matches!(
            key.decrypt(suite, b"customer 13", &sealed),
            Err(KeyError::Decryption)
        ));
        for at in [0, 11, 12, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(
                matches!(
                    key.decrypt(suite, b"customer 12", &changed),
                    Err(KeyError::Decryption)
                ),
                "{at}"
            );
        }
        // After a failure the session is as good as new.
        assert_eq!(
            key.decrypt(suite, b"customer 12", &sealed)
                .unwrap()
                .expose(),
            plaintext
        );
    }
    assert!(matches!(
        key.decrypt(suite, b"", &[0; 27]),
        Err(KeyError::Decryption)
    ));
}

#[test]
fn what_the_module_does_is_found_by_trying_and_the_rest_is_refused_by_name() {
    let keys = Keys::open(&config("able")).unwrap();
    let kinds = [
        Kind::Ed25519,
        Kind::Secp256k1,
        Kind::Rsa(2048),
        Kind::Aes256,
        Kind::Hmac(64),
    ];
    let able = keys.capabilities(&kinds).unwrap();
    let of = |suite: &str, kind: Kind| {
        let found = able
            .iter()
            .find(|able| able.kind == kind && able.suite == suite);
        found
            .unwrap_or_else(|| panic!("{suite} was not tried"))
            .refused
            .clone()
    };
    for (suite, kind) in [
        ("ed25519", Kind::Ed25519),
        ("ecdsa-secp256k1", Kind::Secp256k1),
        ("rsa-pss-sha256", Kind::Rsa(2048)),
        ("aes-256-gcm", Kind::Aes256),
        ("hmac-sha512", Kind::Hmac(64)),
    ] {
        assert_eq!(of(suite, kind), None);
    }
    // SoftHSM 2.6 knows OAEP with SHA-1 alone.
    let why = of("rsa-oaep-sha256", Kind::Rsa(2048)).unwrap();
    assert!(
        why.contains("CKR_ARGUMENTS_BAD") || why.contains("CKR_MECHANISM"),
        "{why}"
    );
    let key = keys.generate(Kind::Rsa(2048), "rsa").unwrap();
    let refused = key
        .decrypt("rsa-oaep-sha256", b"", &[1; 256])
        .err()
        .unwrap();
    assert!(matches!(refused, KeyError::Unsupported(_)), "{refused}");
    let refused = key.sign("ed25519", MESSAGE).unwrap_err().to_string();
    assert!(
        refused.contains("rsa-2048 does not sign as ed25519; it serves rsa-pss-sha256"),
        "{refused}"
    );
    // Nothing of the trying is left.
    assert_eq!(keys.list().unwrap().len(), 1);
}

#[test]
fn a_key_stays_in_the_token_under_one_label_until_it_is_destroyed() {
    let keys = Keys::open(&config("life")).unwrap();
    let key = keys.generate(Kind::P256, "payments").unwrap();
    assert!(matches!(
        keys.generate(Kind::Aes256, "payments"),
        Err(KeyError::Exists(_))
    ));
    let listed = keys.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].label.as_str(), listed[0].kind),
        ("payments", Some(Kind::P256))
    );
    assert!(listed[0].stays && listed[0].always);
    assert_eq!(keys.key("payments").unwrap().public(), key.public());
    keys.destroy("payments").unwrap();
    assert!(matches!(keys.key("payments"), Err(KeyError::Unknown(_))));
    assert!(matches!(
        keys.destroy("payments"),
        Err(KeyError::Unknown(_))
    ));
    assert!(key.sign("ecdsa-p256", MESSAGE).is_err());
    assert!(matches!(
        keys.generate(Kind::P256, ""),
        Err(KeyError::Input(_))
    ));
}

#[test]
fn an_elements_roots_are_out_of_reach() {
    let config = config("roots");
    let element = Pkcs11Element::create_root(&config, 1).unwrap();
    let keys = Keys::open(&config).unwrap();
    assert_eq!(keys.list().unwrap(), []);
    for refused in [
        keys.destroy("evanesce-root-1").unwrap_err(),
        keys.key("evanesce-root-1").err().unwrap(),
        keys.generate(Kind::Hmac(32), "evanesce-root-2")
            .err()
            .unwrap(),
    ] {
        assert!(matches!(refused, KeyError::Input(_)), "{refused}");
    }
    drop(element);
}

#[test]
fn a_key_works_again_when_the_token_is_back_and_only_if_it_is_the_same() {
    let keys = Keys::open(&config("removed")).unwrap();
    let key = keys.generate(Kind::Ed25519, "one").unwrap();
    key.sign("ed25519", MESSAGE).unwrap();
    let (folder, away) = (token_folder(room(), "removed"), room().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    let gone = key.sign("ed25519", MESSAGE).unwrap_err();
    assert!(
        matches!(gone, KeyError::Element(ElementError::Unavailable(_))),
        "{gone}"
    );
    std::fs::rename(&away, &folder).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let signature = loop {
        match key.sign("ed25519", MESSAGE) {
            Ok(signature) => break signature,
            Err(e) => assert!(Instant::now() < deadline, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    verify(
        room(),
        "ed25519",
        key.public().unwrap(),
        MESSAGE,
        &signature,
    );
}

fn officer(name: &str) -> SecretSource {
    pin_file(room(), name, "security-officer")
}

#[test]
fn a_key_that_was_backed_up_works_in_a_second_token_and_stays_there() {
    let (first, second) = (
        Keys::open(&config("first")).unwrap(),
        Keys::open(&config("second")).unwrap(),
    );
    let kek = Secret::<32>::random().unwrap();
    for kind in [
        Kind::P256,
        Kind::P384,
        Kind::Secp256k1,
        Kind::Ed25519,
        Kind::Rsa(2048),
        Kind::Aes256,
        Kind::Hmac(32),
        Kind::Hmac(64),
    ] {
        let label = kind.name();
        let key = first.generate_for_backup(kind, label).unwrap();
        let wrapped = first.back_up(label, &kek, Some(&officer(label)));
        // SoftHSM 2.6 has no PKCS#8 of Ed25519 keys, and says so.
        if kind == Kind::Ed25519 {
            let refused = wrapped.unwrap_err().to_string();
            assert!(refused.contains("CKR_KEY_NOT_WRAPPABLE"), "{refused}");
            continue;
        }
        let wrapped = wrapped.unwrap();
        let back = second.restore(label, &wrapped, &kek, false).unwrap();
        assert_eq!((back.kind(), back.public()), (kind, key.public()));
        for suite in kind.suites().iter().filter(|suite| !suite.contains("oaep")) {
            match kind {
                Kind::Aes256 if *suite == "aes-256-gcm" => {
                    let sealed = key.encrypt(suite, b"", MESSAGE).unwrap();
                    let opened = back.decrypt(suite, b"", &sealed).unwrap();
                    assert_eq!(opened.expose(), MESSAGE);
                }
                Kind::Aes256 | Kind::Hmac(_) => assert_eq!(
                    key.macs(suite, &[MESSAGE]).unwrap(),
                    back.macs(suite, &[MESSAGE]).unwrap()
                ),
                _ => {
                    let signature = back.sign(suite, MESSAGE).unwrap();
                    verify(room(), suite, key.public().unwrap(), MESSAGE, &signature);
                }
            }
        }
    }
    let restored = second.list().unwrap();
    assert!(
        restored
            .iter()
            .all(|key| key.stays && key.leaves == Leaves::Never && !key.always)
    );
    assert!(
        first
            .list()
            .unwrap()
            .iter()
            .all(|key| key.leaves == Leaves::UnderTrusted)
    );
}

#[test]
fn a_key_leaves_under_no_other_word_than_the_security_officers() {
    let keys = Keys::open(&config("stays")).unwrap();
    let kek = Secret::<32>::random().unwrap();
    let forever = keys.generate(Kind::P256, "forever").unwrap();
    let refused = keys
        .back_up("forever", &kek, Some(&officer("so-1")))
        .unwrap_err();
    assert!(matches!(refused, KeyError::Unsupported(_)), "{refused}");
    let key = keys
        .generate_for_backup(Kind::Hmac(32), "backed-up")
        .unwrap();
    assert_eq!(keys.leaves("forever").unwrap(), Leaves::Never);
    assert_eq!(keys.leaves("backed-up").unwrap(), Leaves::UnderTrusted);
    let refused = keys.back_up("backed-up", &kek, None).unwrap_err();
    assert!(matches!(refused, KeyError::Input(_)), "{refused}");
    let wrong = pin_file(room(), "so-wrong", "not-the-officer");
    let refused = keys.back_up("backed-up", &kek, Some(&wrong)).unwrap_err();
    assert!(
        matches!(refused, KeyError::Element(ElementError::Locked(_))),
        "{refused}"
    );
    // The user is logged in again, whatever came of it, and keys that were in use are found anew.
    forever.sign("ecdsa-p256", MESSAGE).unwrap();
    let wrapped = keys
        .back_up("backed-up", &kek, Some(&officer("so-2")))
        .unwrap();
    key.macs("hmac-sha256", &[MESSAGE]).unwrap();
    // Nothing of the wrapping key is left.
    assert_eq!(keys.list().unwrap().len(), 2);
    // Another KEK does not open it, nor this one something else.
    let other = Secret::<32>::random().unwrap();
    assert!(keys.restore("back", &wrapped, &other, false).is_err());
    let mut changed = wrapped.clone();
    changed.bytes[9] ^= 1;
    assert!(keys.restore("back", &changed, &kek, false).is_err());
    assert!(matches!(
        keys.restore("forever", &wrapped, &kek, false),
        Err(KeyError::Exists(_))
    ));
    assert_eq!(keys.list().unwrap().len(), 2);
}

#[test]
fn of_a_key_that_cannot_be_taken_in_whole_nothing_stays_in_the_token() {
    let keys = Keys::open(&config("odd")).unwrap();
    let place = |name: &str| room().join(name).to_str().unwrap().to_owned();
    let (pem, private, public) = (place("odd.pem"), place("odd.key"), place("odd.pub"));
    let size = "rsa_keygen_bits:2056";
    run(
        "openssl",
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            size,
            "-out",
            &pem,
        ],
    );
    let out = |path| ["-in", &pem, "-outform", "DER", "-out", path];
    run(
        "openssl",
        &[&["pkcs8", "-topk8", "-nocrypt"][..], &out(&private)].concat(),
    );
    run(
        "openssl",
        &[&["pkey", "-pubout"][..], &out(&public)].concat(),
    );
    let (key, spki) = (
        std::fs::read(private).unwrap(),
        std::fs::read(public).unwrap(),
    );
    // Nor can its parts be put together here: SoftHSM 2.6 has OAEP with SHA-1 alone.
    let transport = keys.make_transport("transport").unwrap();
    let part = on_crucible(|| seal(&[1; 32], b"a", &transport)).unwrap();
    let aes = Wrapped {
        kind: Kind::Aes256,
        public: None,
        bytes: vec![0; 40],
    };
    let refused = keys.restore_joint("odd", &aes, "transport", &[part.clone(), part], b"a", false);
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("CKR_ARGUMENTS_BAD"), "{refused}");
    keys.destroy("transport").unwrap();
    assert!(!Kind::ALL.into_iter().any(|kind| kind.is_rsa_of(&spki)));
    // As one that is taken for a key of a size that is served.
    let kek = Secret::<32>::random().unwrap();
    let odd = on_crucible(|| Wrapped::dangerous(Kind::Rsa(2048), Some(spki), &key, &kek)).unwrap();
    let refused = keys.restore("odd", &odd, &kek, false).err().unwrap();
    assert!(matches!(refused, KeyError::Unknown(_)), "{refused}");
    assert_eq!(keys.list().unwrap(), []);
    // The label is free.
    let made = keys.generate(Kind::P256, "odd").unwrap();
    assert!(matches!(
        keys.restore("odd", &odd, &kek, false),
        Err(KeyError::Exists(_))
    ));
    made.sign("ecdsa-p256", MESSAGE).unwrap();
}

#[test]
fn a_key_that_was_destroyed_disturbs_no_other() {
    let keys = Keys::open(&config("mortal")).unwrap();
    let lasting = keys.generate(Kind::Hmac(32), "lasting").unwrap();
    let (began, over) = (Instant::now(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut count = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                lasting.macs("hmac-sha256", &[MESSAGE; 20]).unwrap();
                count += 20;
            }
            count
        });
        for number in 0..8 {
            let label = format!("mortal-{number}");
            let mortal = keys.generate(Kind::Hmac(32), &label).unwrap();
            mortal.macs("hmac-sha256", &[MESSAGE]).unwrap();
            keys.destroy(&label).unwrap();
            for _ in 0..3 {
                let gone = mortal
                    .macs("hmac-sha256", &[MESSAGE])
                    .unwrap_err()
                    .to_string();
                assert!(gone.contains("is gone"), "{gone}");
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        println!("{} MACs in {:?}", busy.join().unwrap(), began.elapsed());
    });
}
