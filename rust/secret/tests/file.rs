//! A private file is there whole, or not at all, and nothing is written over.

mod common;

use common::in_child;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn place(name: &str) -> PathBuf {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&place);
    place
}

#[test]
fn a_new_file_is_its_owners_alone_and_is_not_written_over() {
    let place = place("new-private-file");
    evanesce_secret::write_new(&place, b"one").unwrap();
    let mode = std::fs::metadata(&place).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = evanesce_secret::write_new(&place, b"other").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&place).unwrap(), b"one");
}

#[test]
fn of_a_file_that_cannot_be_written_whole_nothing_is_left() {
    let place = place("half-a-private-file");
    let status = in_child(|| {
        let room = libc::rlimit {
            rlim_cur: 10,
            rlim_max: 10,
        };
        // SAFETY: a limit and a disposition of this child's own, which ends here.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            libc::setrlimit(libc::RLIMIT_FSIZE, &room);
        }
        evanesce_secret::write_new(&place, b"more than there is room for").is_err()
    });
    assert_eq!(status, 0);
    assert!(!place.exists());
    evanesce_secret::write_new(&place, b"the next attempt").unwrap();
}
