//! Setting an agent up on a token: what fails leaves nothing behind that would stop the next try.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use evanesce_agent::{AgentError, Config, create, probe};

const PIN: &str = "correct-horse";
const TOKENS: [&str; 1] = ["file"];

/// The module, or words on how to get it.
fn module() -> &'static str {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let place = places.into_iter().find(|place| Path::new(place).exists());
    place.expect("SoftHSM is not installed; run: apt-get install softhsm2")
}

/// A directory with one initialised token per test, made once.
fn room() -> &'static Path {
    static ROOM: OnceLock<PathBuf> = OnceLock::new();
    ROOM.get_or_init(|| {
        let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("setup");
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
        // SAFETY: the module reads its environment when it is started, which only happens after this.
        unsafe { std::env::set_var("SOFTHSM2_CONF", &conf) };
        for label in TOKENS {
            let done = Command::new("softhsm2-util")
                .args(["--init-token", "--free", "--label", label])
                .args(["--so-pin", "security-officer", "--pin", PIN])
                .output()
                .expect("softhsm2-util does not run; run: apt-get install softhsm2");
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        let pin = room.join("pin");
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        std::fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
        room
    })
}

/// An agent on the token `label`, its identity in `identity`.
fn config(label: &str, identity: &str) -> Config {
    let room = room();
    let text = format!(
        "name = \"agent\"\nlisten = \"127.0.0.1:0\"\nidentity = \"{identity}\"\n[element]\nkind = \"pkcs11\"\n\
         module = \"{}\"\ntoken = \"{label}\"\npin = {{ file = \"pin\" }}\n",
        module()
    );
    Config::parse(&text, room).unwrap()
}

#[test]
fn an_identity_that_cannot_be_made_takes_the_new_root_with_it() {
    let nowhere = config("file", "no/such/folder/identity.key");
    for _ in 0..2 {
        let Err(failed) = create(&nowhere) else {
            panic!("there is no such folder")
        };
        assert!(matches!(failed, AgentError::Identity(_)), "{failed}");
    }
    let clashing = config("file", "clash.key");
    std::fs::write(room().join("clash.key"), "somebody's notes\n").unwrap();
    assert!(matches!(create(&clashing), Err(AgentError::Identity(_))));

    let made = create(&config("file", "identity.key")).unwrap();
    assert_eq!(made.epochs, [1]);
    // And a root that was there before is nobody's to take back.
    assert!(matches!(create(&nowhere), Err(AgentError::Element(_))));
    assert_eq!(probe(&config("file", "identity.key")).unwrap().epochs, [1]);
}

#[test]
fn a_software_root_is_taken_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let with = |identity: &str| {
        let text = format!(
            "name = \"a\"\nlisten = \"127.0.0.1:0\"\nidentity = \"{identity}\"\n[element]\nkind = \"software\"\n"
        );
        Config::parse(&text, dir.path()).unwrap()
    };
    assert!(matches!(
        create(&with("no/such/folder")),
        Err(AgentError::Identity(_))
    ));
    assert!(!dir.path().join("roots").exists());
    create(&with("identity.key")).unwrap();
    assert!(create(&with("no/such/folder")).is_err());
    assert!(dir.path().join("roots").exists(), "it was there before");
}
