//! Elements in SoftHSM: made, probed, used from many threads, removed and brought back.
//!
//! One process, one module: every test has a token of its own.

mod common;

use common::{PIN, softhsm, softhsm_config, softhsm_room};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use evanesce_element::pkcs11::{
    Config, Pkcs11Element, create_identity, dangerous_import_root, destroy_root, open_identity,
};
use evanesce_element::{Element, ElementError};
use evanesce_secret::{Secret, on_crucible};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TOKENS: [&str; 10] = [
    "created",
    "imported",
    "epochs",
    "loose",
    "pin",
    "threads",
    "removed",
    "weakened",
    "identity",
    "elsewhere",
];

/// The tokens of these tests.
fn room() -> &'static Path {
    softhsm_room("softhsm", &TOKENS)
}

fn config(token: &str) -> Config {
    softhsm_config(room(), token)
}

fn answer(element: &Pkcs11Element, epoch: u64) -> Result<[u8; 32], ElementError> {
    let mut y = [0; 32];
    on_crucible(|| element.evaluate(epoch, &[7; 32], &mut y)).map(|()| y)
}

#[test]
fn a_created_root_lets_nothing_through_and_is_the_same_after_reopening() {
    let config = config("created");
    assert!(
        matches!(Pkcs11Element::open(&config), Err(ElementError::Config(_))),
        "no root yet"
    );
    let created = Pkcs11Element::create_root(&config, 1).unwrap();
    let description = created.description();
    assert_eq!(description.weaknesses, Vec::<String>::new());
    assert!(
        description.label.contains("SoftHSM") && description.label.contains("token \"created\""),
        "{}",
        description.label
    );
    assert!(!description.development);
    assert_eq!(description.notes, Vec::<String>::new());
    let first = answer(&created, 1).unwrap();
    assert_ne!(first, [0; 32]);
    drop(created);
    let opened = Pkcs11Element::open(&config).unwrap();
    assert_eq!(answer(&opened, 1).unwrap(), first);
    let again = Pkcs11Element::create_root(&config, 1);
    assert!(
        matches!(again, Err(ElementError::Config(_))),
        "never overwritten"
    );
    assert_eq!(answer(&opened, 1).unwrap(), first);
}

#[test]
fn an_imported_root_computes_the_hmac_of_that_root() {
    let root = Secret::filled(|root| *root = std::array::from_fn(|i| i as u8)).unwrap();
    let element = dangerous_import_root(&config("imported"), 5, &root).unwrap();
    assert_eq!(element.description().weaknesses, Vec::<String>::new());
    // Python: hmac.new(bytes(range(32)), b"\x07" * 32, "sha256").hexdigest()
    let hex: String = answer(&element, 5)
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "4739c539ce943412ce955fa24934a7f0333aeb68821c7f2f499d45bc930fafeb"
    );
}

#[test]
fn epochs_come_and_go() {
    let config = config("epochs");
    Pkcs11Element::create_root(&config, 1).unwrap();
    let second = Pkcs11Element::create_root(&config, 2).unwrap();
    assert_eq!((second.epochs(), second.current()), (vec![1, 2], 2));
    assert_ne!(answer(&second, 1).unwrap(), answer(&second, 2).unwrap());
    let mut y = [1; 32];
    assert!(matches!(
        second.evaluate(3, &[7; 32], &mut y),
        Err(ElementError::EpochNotHeld(3))
    ));
    assert_eq!(y, [0; 32]);
    destroy_root(&config, 1).unwrap();
    assert!(matches!(
        destroy_root(&config, 1),
        Err(ElementError::EpochNotHeld(1))
    ));
    assert_eq!(Pkcs11Element::open(&config).unwrap().epochs(), [2]);
}

/// Looking for a lost token restarts the module, which ends every session of the process. Elements mend that; a test
/// with a session of its own does not, and takes turns with the tests that lose a token.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session beside the element's, logged in.
fn session(token: &str) -> Session {
    room();
    let pkcs11 = Pkcs11::new(softhsm()).unwrap();
    let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = pkcs11.get_slots_with_token().unwrap();
    let slot = slots
        .into_iter()
        .find(|slot| pkcs11.get_token_info(*slot).unwrap().label() == token)
        .unwrap();
    let session = pkcs11.open_rw_session(slot).unwrap();
    // An element may have logged this process in already.
    let _ = session.login(UserType::User, Some(&PIN.to_owned().into()));
    session
}

fn make_loosely(session: &Session, epoch: u64, sensitive: bool) {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Label(format!("evanesce-root-{epoch}").into()),
        Attribute::ValueLen(32.into()),
        Attribute::Sign(true),
        Attribute::Sensitive(sensitive),
        Attribute::Extractable(!sensitive),
    ];
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &template)
        .unwrap();
}

#[test]
fn a_root_made_loosely_is_refused_naming_every_way_out() {
    let _turn = alone();
    let config = config("loose");
    // What many tools make by default: a key that may do everything.
    let session = session("loose");
    let make = |epoch, sensitive| make_loosely(&session, epoch, sensitive);
    let refused = || match Pkcs11Element::open(&config) {
        Err(ElementError::Weak(ways)) => ways,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("must be refused"),
    };

    // "Sensitive" and "not extractable", as tools make keys by default, is not enough.
    make(1, true);
    let defaults = refused();
    println!("SoftHSM's defaults: {defaults:#?}");
    for way in ["copy: CKA_DERIVE", "change: CKA_DERIVE"] {
        assert!(
            defaults.iter().any(|named| named == way),
            "{way} is missing in {defaults:#?}"
        );
    }
    // What was changed is set back: the second look finds the same.
    assert_eq!(refused(), defaults);

    make(2, false);
    let both = refused();
    println!("and an extractable root beside it: {both:#?}");
    for way in [
        "read: CKA_VALUE (epoch 2)",
        "wrap: CKM_AES_KEY_WRAP (epoch 2)",
    ] {
        assert!(
            both.iter().any(|named| named == way),
            "{way} is missing in {both:#?}"
        );
    }
    let accepted = Config {
        accept_weak_element: true,
        ..config.clone()
    };
    assert_eq!(
        Pkcs11Element::open(&accepted)
            .unwrap()
            .description()
            .weaknesses,
        both
    );

    // A strict root beside them is not blamed for their ways out.
    Pkcs11Element::create_root(&accepted, 3).unwrap();
    let three = Pkcs11Element::open(&accepted)
        .unwrap()
        .description()
        .weaknesses;
    assert!(
        three
            .iter()
            .all(|way| way.contains(" (epoch ") && !way.contains('3')),
        "{three:#?}"
    );
}

#[test]
fn a_wrong_pin_is_offered_once_and_said_to_be_wrong() {
    let config = config("pin");
    let wrong = Config {
        pin: Some(common::pin_file(room(), "pin-wrong", "wrong-horse")),
        ..config.clone()
    };
    let Err(ElementError::Locked(why)) = Pkcs11Element::open(&wrong) else {
        panic!("must be locked")
    };
    assert!(
        why.contains("PIN is wrong") && why.contains("not tried again"),
        "{why}"
    );
    assert!(!why.contains("wrong-horse"));
    // Not even when the file has changed meanwhile: nobody looks at what a retry costs.
    common::pin_file(room(), "pin-wrong", PIN);
    assert!(matches!(
        Pkcs11Element::open(&wrong),
        Err(ElementError::Locked(_))
    ));
    let none = Config {
        pin: None,
        ..config.clone()
    };
    let Err(ElementError::Locked(why)) = Pkcs11Element::open(&none) else {
        panic!("must be locked")
    };
    assert!(why.contains("none is configured"), "{why}");
    assert!(
        Pkcs11Element::create_root(&config, 1).is_ok(),
        "the right one opens it"
    );
}

#[test]
fn many_threads_share_few_sessions() {
    let element = Pkcs11Element::create_root(&config("threads"), 1).unwrap();
    let expected = answer(&element, 1).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(answer(&element, 1).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn a_removed_token_is_missed_and_found_again_when_it_is_back() {
    let _turn = alone();
    let element = Pkcs11Element::create_root(&config("removed"), 1).unwrap();
    let expected = answer(&element, 1).unwrap();
    let (home, away) = remove("removed");
    let missed = wait_for(|| answer(&element, 1).err());
    assert!(matches!(missed, ElementError::Unavailable(_)), "{missed}");
    println!("while it is away: {missed}");
    std::fs::rename(&away, &home).unwrap();
    assert_eq!(wait_for(|| answer(&element, 1).ok()), expected);
}

#[test]
fn a_token_that_comes_back_weaker_waits_for_its_operator() {
    let _turn = alone();
    let accepted = Config {
        accept_weak_element: true,
        ..config("weakened")
    };
    let element = Pkcs11Element::create_root(&accepted, 1).unwrap();
    assert!(element.description().weaknesses.is_empty());
    answer(&element, 1).unwrap();
    make_loosely(&session("weakened"), 2, false);
    let (home, away) = remove("weakened");
    wait_for(|| answer(&element, 1).err());
    std::fs::rename(&away, &home).unwrap();
    let refused = wait_for(|| {
        let why = answer(&element, 1).err()?.to_string();
        why.contains("in ways it did not before").then_some(why)
    });
    assert!(refused.contains("read: CKA_VALUE (epoch 2)"), "{refused}");
    let again = Pkcs11Element::open(&accepted).unwrap();
    assert!(
        !again.description().weaknesses.is_empty(),
        "told at a start"
    );
    answer(&again, 1).unwrap();
}

/// Takes a token away: where it was, and where it is.
fn remove(token: &str) -> (PathBuf, PathBuf) {
    // A token's directory is named by its serial, which the object knows nothing of: find it by its label.
    let home = std::fs::read_dir(room().join("tokens"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|home| {
            let object = std::fs::read(home.join("token.object")).unwrap_or_default();
            let label = token.as_bytes();
            object.windows(label.len()).any(|window| window == label)
        })
        .expect("the token is a directory");
    let away = room().join(format!("{token}-away"));
    std::fs::rename(&home, &away).unwrap();
    (home, away)
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "it did not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_identity_key_signs_in_the_token() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
    let config = config("identity");
    let created = create_identity(&config, "agent-identity").unwrap();
    assert_eq!(created.spki().len(), 91);
    assert!(
        create_identity(&config, "agent-identity").is_err(),
        "never overwritten"
    );
    let opened = open_identity(&config, "agent-identity").unwrap();
    assert_eq!(opened.spki(), created.spki());
    for round in 0..50u8 {
        let signature = opened.sign(&[round; 32]).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &created.spki()[26..]);
        public.verify(&[round; 32], &signature).unwrap();
    }
    assert!(matches!(
        open_identity(&config, "nobody"),
        Err(ElementError::Config(_))
    ));
}

#[test]
fn what_is_not_there_is_named() {
    let nowhere = Config {
        token_label: Some("nowhere".to_owned()),
        ..config("elsewhere")
    };
    let Err(ElementError::Unavailable(why)) = Pkcs11Element::open(&nowhere) else {
        panic!("not there")
    };
    assert!(
        why.contains("\"nowhere\"") && why.contains("\"elsewhere\""),
        "{why}"
    );
    let unnamed = Config {
        token_label: None,
        ..config("elsewhere")
    };
    let Err(ElementError::Config(why)) = Pkcs11Element::open(&unnamed) else {
        panic!("ambiguous")
    };
    assert!(why.contains("several tokens fit"), "{why}");
    let missing = Config {
        module: "/nowhere/module.so".into(),
        ..config("elsewhere")
    };
    let Err(ElementError::Config(why)) = Pkcs11Element::open(&missing) else {
        panic!("no module")
    };
    assert!(why.contains("/nowhere/module.so"), "{why}");
    let no_module = Config {
        module: "libc.so.6".into(),
        ..config("elsewhere")
    };
    assert!(matches!(
        Pkcs11Element::open(&no_module),
        Err(ElementError::Config(_))
    ));
}
