//! Closing the process, seen from the report.
mod common;
use common::in_fresh_process;
use evanesce_secret::*;

#[test]
fn a_hardened_process_is_undumpable_and_leaves_no_core() {
    in_fresh_process(
        "a_hardened_process_is_undumpable_and_leaves_no_core",
        || {
            harden().unwrap();
            harden().unwrap();
            let report = report();
            let audit = matches!(report.backing, Backing::Audit);
            assert_eq!(report.undumpable, !audit);
            assert!(audit || report.core_limit_zero);
        },
    );
}

#[test]
fn errors_say_what_happened() {
    assert_eq!(
        Error::ArenaFull.to_string(),
        "the locked memory for secrets is full"
    );
    let why = Error::Unavailable("no memory".into()).to_string();
    assert_eq!(why, "secrets cannot be protected: no memory");
}
