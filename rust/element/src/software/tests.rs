//! The software element as its users meet it.

use super::*;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

struct Room {
    _dir: tempfile::TempDir,
    roots: PathBuf,
    passphrase: SecretSource,
}

fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = dir.path().join(name);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
        path
    };
    let passphrase = SecretSource::File(write("passphrase", "correct horse\n"));
    Room {
        roots: dir.path().join("roots"),
        _dir: dir,
        passphrase,
    }
}

fn answer(element: &SoftwareElement, epoch: u64) -> [u8; 32] {
    let mut y = [0; 32];
    element.evaluate(epoch, &[7; 32], &mut y).unwrap();
    y
}

#[test]
fn a_new_element_answers_the_same_after_a_restart_plain_and_sealed() {
    let room = room();
    for passphrase in [None, Some(&room.passphrase)] {
        let created = SoftwareElement::create(&room.roots, passphrase).unwrap();
        assert_eq!(created.epochs(), [1]);
        let mode = std::fs::metadata(&room.roots).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let opened = SoftwareElement::open(&room.roots, passphrase).unwrap();
        assert_eq!(answer(&created, 1), answer(&opened, 1));
        assert!(
            SoftwareElement::create(&room.roots, passphrase).is_err(),
            "never overwritten"
        );
        std::fs::remove_file(&room.roots).unwrap();
    }
}

#[test]
fn it_is_hmac_sha_256_of_rfc_4231_form() {
    // Python: hmac.new(bytes(range(32)), b"\x07" * 32, "sha256").hexdigest()
    let room = room();
    let root: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(
        &room.roots,
        format!("evanesce software roots v1\n3 {root}\n"),
    )
    .unwrap();
    std::fs::set_permissions(&room.roots, PermissionsExt::from_mode(0o600)).unwrap();
    let element = SoftwareElement::open(&room.roots, None).unwrap();
    let hex: String = answer(&element, 3)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "4739c539ce943412ce955fa24934a7f0333aeb68821c7f2f499d45bc930fafeb"
    );
}

#[test]
fn it_calls_itself_a_development_element() {
    let room = room();
    let description = SoftwareElement::create(&room.roots, None)
        .unwrap()
        .description();
    assert!(description.development);
    assert!(description.label.contains("development"));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let room = room();
    SoftwareElement::create(&room.roots, None).unwrap();
    std::fs::set_permissions(&room.roots, PermissionsExt::from_mode(0o640)).unwrap();
    let error = SoftwareElement::open(&room.roots, None).err().unwrap();
    assert!(matches!(error, ElementError::Config(_)), "{error}");
}

#[test]
fn epochs_are_added_and_destroyed_and_an_unknown_one_yields_nothing() {
    let room = room();
    for passphrase in [None, Some(&room.passphrase)] {
        let first = SoftwareElement::create(&room.roots, passphrase).unwrap();
        let file = RootsFile::new(&room.roots, passphrase).unwrap();
        file.add(2).unwrap();
        assert!(file.add(2).is_err() && file.add(1).is_err());
        let second = file.open().unwrap();
        assert_eq!((second.epochs(), second.current()), (vec![1, 2], 2));
        assert_eq!(answer(&first, 1), answer(&second, 1));
        assert_ne!(answer(&second, 1), answer(&second, 2));
        file.destroy(1).unwrap();
        let left = file.open().unwrap();
        assert_eq!(answer(&left, 2), answer(&second, 2));
        let mut y = [1; 32];
        assert!(matches!(
            left.evaluate(1, &[7; 32], &mut y),
            Err(ElementError::EpochNotHeld(1))
        ));
        assert_eq!(y, [0; 32]);
        assert!(file.destroy(2).is_err(), "the last stays");
        std::fs::remove_file(&room.roots).unwrap();
    }
}

#[test]
fn a_sealed_file_needs_its_passphrase_and_a_plain_one_must_not_be_given_one() {
    let room = room();
    SoftwareElement::create(&room.roots, Some(&room.passphrase)).unwrap();
    assert!(matches!(
        SoftwareElement::open(&room.roots, None),
        Err(ElementError::Locked(_))
    ));
    let wrong = SecretSource::File(room.roots.clone());
    assert!(matches!(
        SoftwareElement::open(&room.roots, Some(&wrong)),
        Err(ElementError::Locked(_))
    ));
    std::fs::remove_file(&room.roots).unwrap();
    SoftwareElement::create(&room.roots, None).unwrap();
    let surprised = SoftwareElement::open(&room.roots, Some(&room.passphrase));
    assert!(matches!(surprised, Err(ElementError::Config(_))));
}
