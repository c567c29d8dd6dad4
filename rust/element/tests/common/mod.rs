//! Modules to test with: a SoftHSM with tokens of the test's own, an NSS database with an empty password.
//!
//! One process, one module: a test file calls one of these, always with the same words.
#![allow(dead_code)]

use evanesce_element::SecretSource;
use evanesce_element::pkcs11::Config;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The PIN of every SoftHSM token.
pub const PIN: &str = "correct-horse";

/// The SoftHSM module, or words on how to get it.
pub fn softhsm() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let place = places.iter().map(Path::new).find(|place| place.exists());
    place
        .expect("SoftHSM is not installed; run: apt-get install softhsm2")
        .to_owned()
}

/// A directory with one initialised token for each of these labels, made once.
pub fn softhsm_room(name: &str, tokens: &[&str]) -> &'static Path {
    static ROOM: OnceLock<PathBuf> = OnceLock::new();
    ROOM.get_or_init(|| {
        let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&room);
        std::fs::create_dir_all(room.join("tokens")).unwrap();
        let conf = room.join("softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            room.join("tokens").display()
        );
        std::fs::write(&conf, text).unwrap();
        // SAFETY: the module reads its environment when it is started, which only happens after this.
        unsafe { std::env::set_var("SOFTHSM2_CONF", &conf) };
        for label in tokens {
            let so_pin = "security-officer";
            run(
                "softhsm2-util",
                &[
                    "--init-token",
                    "--free",
                    "--label",
                    label,
                    "--so-pin",
                    so_pin,
                    "--pin",
                    PIN,
                ],
            );
        }
        room
    })
}

/// A configuration for a token of the room's.
pub fn softhsm_config(room: &Path, token: &str) -> Config {
    Config {
        module: softhsm(),
        pin: Some(pin_file(room, &format!("pin-{token}"), PIN)),
        token_label: Some(token.to_owned()),
        slot: None,
        root_label: "evanesce-root".to_owned(),
        accept_weak_element: false,
        init_args: None,
        sessions: 3,
    }
}

/// A PIN in a file of that name.
pub fn pin_file(room: &Path, name: &str, pin: &str) -> SecretSource {
    let path = room.join(name);
    std::fs::write(&path, format!("{pin}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    SecretSource::File(path)
}

/// SoftHSM's folder of a token, told by its label inside.
pub fn token_folder(room: &Path, label: &str) -> PathBuf {
    let folders = std::fs::read_dir(room.join("tokens")).unwrap();
    folders
        .map(|folder| folder.unwrap().path())
        .find(|folder| {
            let token = std::fs::read(folder.join("token.object")).unwrap();
            token
                .windows(label.len())
                .any(|part| part == label.as_bytes())
        })
        .unwrap()
}

/// An NSS softokn with a new database, of which every test file has one.
pub fn nss_config(name: &str) -> Config {
    let places = [
        "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
        "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
        "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
        "/usr/lib64/libsoftokn3.so",
    ];
    let place = places.iter().map(Path::new).find(|place| place.exists());
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&room);
    std::fs::create_dir_all(&room).unwrap();
    let database = format!("sql:{}", room.display());
    run("certutil", &["-N", "-d", &database, "--empty-password"]);
    Config {
        module: place
            .expect("NSS softokn is not installed; run: apt-get install libnss3 libnss3-tools")
            .to_owned(),
        token_label: Some("NSS Certificate DB".to_owned()),
        slot: None,
        pin: None,
        root_label: "evanesce-root".to_owned(),
        accept_weak_element: false,
        init_args: Some(format!(
            "configdir='{database}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        )),
        sessions: 2,
    }
}

/// Runs a program of the system's, which must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|e| {
        panic!("{program} does not run ({e}); run: apt-get install softhsm2 libnss3-tools openssl")
    });
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// OpenSSL's own verdict on a signature of the suite over the message.
pub fn verify(room: &Path, suite: &str, spki: &[u8], message: &[u8], signature: &[u8]) {
    let folder = tempfile::tempdir_in(room).unwrap();
    let text = |what: &str| folder.path().join(what).to_str().unwrap().to_owned();
    let (der, pem, of, on) = (text("der"), text("pem"), text("signature"), text("message"));
    std::fs::write(&der, spki).unwrap();
    std::fs::write(&of, signature).unwrap();
    std::fs::write(&on, message).unwrap();
    run(
        "openssl",
        &[
            "pkey", "-pubin", "-inform", "DER", "-in", &der, "-out", &pem,
        ],
    );
    if suite == "ed25519" {
        let arguments = [
            "pkeyutl", "-verify", "-pubin", "-inkey", &pem, "-rawin", "-in", &on, "-sigfile", &of,
        ];
        return run("openssl", &arguments);
    }
    let hash = match suite {
        "ecdsa-p384" => "-sha384",
        _ => "-sha256",
    };
    let mut arguments = vec!["dgst", hash, "-verify", &pem, "-signature", &of];
    if suite == "rsa-pss-sha256" {
        arguments.extend([
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:32",
        ]);
    }
    arguments.push(&on);
    run("openssl", &arguments);
}
