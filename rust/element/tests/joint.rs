//! A KEK that is put together in NSS softokn from sealed components, what that module lets through besides, and what it lacks for
//! the protocol's own shares. (One process, one module: SoftHSM, which cannot do it, says so in `keys.rs`.)

mod common;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use common::nss_config;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use evanesce_element::custodians::{self, CustodianError};
use evanesce_element::pkcs11::{KeyError, Keys, Kind, Wrapped};
use evanesce_secret::on_crucible;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MESSAGE: &[u8] = b"a payment of 900 EUR";
const CONTEXT: &[u8] = b"backup 1";

/// Key files of fresh custodians, and their public keys.
fn people(folder: &Path, names: &[&str]) -> (BTreeMap<String, PathBuf>, BTreeMap<String, Vec<u8>>) {
    let files: BTreeMap<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), folder.join(name)))
        .collect();
    let public = files
        .iter()
        .map(|(name, file)| (name.clone(), custodians::create(file).unwrap()));
    let public = public.collect();
    (files, public)
}

#[test]
fn all_custodians_together_bring_a_key_into_a_module_and_nothing_but_ciphertext_passes_here() {
    let config = nss_config("nss-joint");
    let keys = Keys::open(&config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (files, public) = people(folder.path(), &["alice", "bob", "carol"]);
    let transport = keys.make_transport("transport").unwrap();
    assert!(matches!(
        keys.make_transport("transport"),
        Err(KeyError::Exists(_))
    ));
    // It does nothing else.
    let door = keys.key("transport").unwrap();
    assert!(door.sign("rsa-pss-sha256", MESSAGE).is_err());
    let other =
        on_crucible(|| evanesce_element::pkcs11::seal(&[1; 32], CONTEXT, &transport)).unwrap();
    assert!(door.decrypt("rsa-oaep-sha256", b"", &other).is_err());

    let (kek, split) = custodians::split_joint(&public, CONTEXT).unwrap();
    assert_eq!(split.quorum, "3 of (alice, bob, carol)");
    let hmac = on_crucible(|| Wrapped::dangerous(Kind::Hmac(32), None, &[7; 32], &kek)).unwrap();
    drop(kek);
    let given: Vec<_> = files
        .iter()
        .map(|(name, file)| custodians::hand_over(&split, name, file, CONTEXT, &transport).unwrap())
        .collect();
    let joint = |label: &str, components: &[Vec<u8>]| {
        keys.restore_joint(label, &hmac, "transport", components, CONTEXT, false)
    };
    let restored = joint("joint", &given).unwrap();
    let expected = on_crucible(|| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[7; 32]);
        aws_lc_rs::hmac::sign(&key, MESSAGE).as_ref().to_vec()
    });
    assert_eq!(
        restored.macs("hmac-sha256", &[MESSAGE]).unwrap(),
        [expected]
    );

    // One too few, in another order, one of another's, one that was changed, one alone, no such transport key.
    let (a, b, c) = (given[0].clone(), given[1].clone(), given[2].clone());
    let mut changed = c.clone();
    changed[9] ^= 1;
    for wrong in [
        vec![a.clone(), b.clone()],
        vec![b.clone(), a.clone(), c.clone()],
        vec![a.clone(), b.clone(), other],
        vec![a.clone(), b, changed],
        vec![a],
    ] {
        let refused = joint("wrong", &wrong).err().unwrap();
        assert!(
            matches!(refused, KeyError::Unsupported(_) | KeyError::Input(_)),
            "{refused}"
        );
    }
    // What is said to be another key than its custodians have seen.
    let refused = keys.restore_joint("wrong", &hmac, "transport", &given, b"backup 2", false);
    let refused = refused.err().unwrap();
    assert!(matches!(refused, KeyError::Unsupported(_)), "{refused}");
    let nowhere = keys.restore_joint("wrong", &hmac, "none", &given, CONTEXT, false);
    assert!(matches!(nowhere, Err(KeyError::Unknown(_))));
    let labels: Vec<_> = keys
        .list()
        .unwrap()
        .into_iter()
        .map(|key| key.label)
        .collect();
    assert_eq!(labels, ["joint", "transport"]);

    // What is joint is not assembled here, nor handed over by another; and one alone is nobody's quorum.
    let assembled = custodians::assemble(&split, &files, CONTEXT);
    assert!(matches!(assembled, Err(CustodianError::Wrong(_))));
    for (name, file, code) in [("alice", "bob", "Wrong"), ("dave", "bob", "Input")] {
        let refused = custodians::hand_over(&split, name, &files[file], CONTEXT, &transport);
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.starts_with(code), "{refused}");
    }
    let (_, alone) = people(folder.path(), &["erin"]);
    assert!(matches!(
        custodians::split_joint(&alone, CONTEXT),
        Err(CustodianError::Input(_))
    ));

    // What NSS lets whoever has a session do, as with the roots of an element.
    let ways = keys.joint_weaknesses("transport").unwrap();
    println!("{ways:#?}");
    assert!(ways.contains(&"unwrap: a component, readable".to_owned()));
    assert!(ways.iter().any(|way| way.starts_with("wrap: ")), "{ways:?}");

    // What it takes to put a regen token's shares together here, and NSS does not have: they come under AES-256-GCM (PROTOCOL §6),
    // under which it decrypts into the caller's memory, and unwraps nothing.
    let pkcs11 = Pkcs11::new(&config.module).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap_err();
    let slot = *pkcs11
        .get_all_slots()
        .unwrap()
        .iter()
        .find(|slot| pkcs11.get_token_info(**slot).unwrap().label() == "NSS Certificate DB")
        .unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    // Nothing is left of what came to nothing: sessions are used again.
    let of_sessions = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::Token(false),
    ];
    assert!(session.find_objects(&of_sessions).unwrap().is_empty());
    let secret = |key_type| {
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(key_type),
            Attribute::Token(false),
            Attribute::Derive(true),
        ]
    };
    let mut aes = secret(KeyType::AES).to_vec();
    aes.extend([
        Attribute::Decrypt(true),
        Attribute::Unwrap(true),
        Attribute::Value(vec![9; 32]),
    ]);
    let aes = session.create_object(&aes).unwrap();
    let mut iv = [0; 12];
    let share = {
        let key = UnboundKey::new(&AES_256_GCM, &[9; 32]).unwrap();
        let mut sealed = vec![5; 32];
        LessSafeKey::new(key)
            .seal_in_place_append_tag(Nonce::from(&iv), Aad::empty(), &mut sealed)
            .unwrap();
        sealed
    };
    let gcm = Mechanism::AesGcm(GcmParams::new(&mut iv, b"", 128.into()).unwrap());
    assert_eq!(session.decrypt(&gcm, aes, &share).unwrap(), [5; 32]);
    let taken = session.unwrap_key(&gcm, aes, &share, &secret(KeyType::GENERIC_SECRET));
    assert!(
        matches!(taken, Err(Error::Pkcs11(RvError::MechanismInvalid, _))),
        "{taken:?}"
    );
}
