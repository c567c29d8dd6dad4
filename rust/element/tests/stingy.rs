//! SoftHSM behind a module that gives the probe little to attack with: nothing is passed over in silence.
//!
//! One process, one module, one token.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use evanesce_element::pkcs11::{Config, Pkcs11Element};
use evanesce_element::{Element, ElementError, SecretSource};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PIN: &str = "correct-horse";

/// The example of that name, which `cargo test` builds beside the tests.
fn stingy() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let built = exe.ancestors().nth(2).unwrap();
    let module = built.join("examples/libstingy.so");
    assert!(
        module.exists(),
        "{} is missing; run: cargo build --release --examples -p evanesce-element",
        module.display()
    );
    module
}

fn config() -> Config {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let softhsm = places.into_iter().find(|place| Path::new(place).exists());
    let softhsm = softhsm.expect("SoftHSM is not installed; run: apt-get install softhsm2");
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stingy");
    let _ = std::fs::remove_dir_all(&room);
    std::fs::create_dir_all(room.join("tokens")).unwrap();
    let conf = room.join("softhsm2.conf");
    let tokens = room.join("tokens");
    std::fs::write(
        &conf,
        format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .unwrap();
    // SAFETY: both modules read their environment when they are started, which only happens after this.
    unsafe {
        std::env::set_var("SOFTHSM2_CONF", &conf);
        std::env::set_var("STINGY_MODULE", softhsm);
    }
    let done = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "stingy"])
        .args(["--so-pin", "security-officer", "--pin", PIN])
        .output()
        .expect("softhsm2-util does not run; run: apt-get install softhsm2");
    assert!(done.status.success());
    let pin = room.join("pin");
    std::fs::write(&pin, format!("{PIN}\n")).unwrap();
    std::fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
    Config {
        module: stingy(),
        pin: Some(SecretSource::File(pin)),
        token_label: Some("stingy".to_owned()),
        slot: None,
        root_label: "evanesce-root".to_owned(),
        accept_weak_element: false,
        init_args: None,
        sessions: 2,
    }
}

#[test]
fn what_could_not_be_tried_is_noted_and_keys_to_wrap_under_are_brought_along() {
    let config = config();
    let made = Pkcs11Element::create_root(&config, 1)
        .unwrap()
        .description();
    assert_eq!(made.weaknesses, Vec::<String>::new());
    let noted = |begin: &str, end: &str| {
        let found = made.notes.iter().filter(|note| note.starts_with(begin));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), 1, "{begin} in {:#?}", made.notes);
        assert!(found[0].ends_with(end), "{}", found[0]);
    };
    noted(
        "not tried: wrap under DES: ",
        "C_GenerateKey: CKR_MECHANISM_INVALID; C_CreateObject: CKR_DEVICE_MEMORY",
    );
    noted("nothing learnt: copy: ", "C_CopyObject: CKR_DEVICE_MEMORY");
    assert_eq!(made.notes.len(), 2, "{:#?}", made.notes);

    // The token generates no AES key, and a root can be wrapped under one all the same.
    let pkcs11 = Pkcs11::new(&config.module).unwrap();
    let _ = pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slots = pkcs11.get_slots_with_initialized_token().unwrap();
    let session = pkcs11.open_rw_session(slots[0]).unwrap();
    // The element may have left the token logged in.
    let _ = session.login(UserType::User, Some(&PIN.to_owned().into()));
    let loose = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Label("evanesce-root-2".into()),
        Attribute::ValueLen(32.into()),
        Attribute::Sign(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
    ];
    session
        .generate_key(&Mechanism::GenericSecretKeyGen, &loose)
        .unwrap();
    let Err(ElementError::Weak(ways)) = Pkcs11Element::open(&config) else {
        panic!("must be refused")
    };
    let wrap = "wrap: CKM_AES_KEY_WRAP (epoch 2)";
    assert!(ways.iter().any(|way| way == wrap), "{ways:#?}");
}
