//! Systems that give less: everything goes on, and the report says in words what is missing.
#![cfg(not(feature = "audit"))]
mod common;
use common::*;
use evanesce_secret::*;
use std::sync::mpsc;

fn everything_works() {
    let secret = Secret::<32>::random().unwrap();
    assert!(on_crucible(|| secret.expose().iter().any(|b| *b != 0)));
    let long = SecretVec::from_slice(&[7; 300_000]).unwrap();
    assert_eq!(long.expose()[299_999], 7);
    let (sender, receiver) = mpsc::channel();
    spawn_on_crucible(move || sender.send(is_crucible_thread()).unwrap());
    assert!(receiver.recv().unwrap());
}

fn why(report: &Report) -> &str {
    match &report.backing {
        Backing::LockedMemory { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn eight_mebibytes_for_an_ordinary_user_lock_everything() {
    in_fresh_process(
        "eight_mebibytes_for_an_ordinary_user_lock_everything",
        || {
            ordinary_user(8 << 20);
            everything_works();
            let report = report();
            assert_eq!(report.unlocked_bytes, 0);
            assert_eq!(report.arena_bytes, 4 << 20);
            assert_eq!(report.locked_limit, 8 << 20);
            assert_eq!(report.spilled, 0);
        },
    );
}

#[test]
fn one_mebibyte_locks_one_stack_and_a_smaller_heap() {
    in_fresh_process("one_mebibyte_locks_one_stack_and_a_smaller_heap", || {
        ordinary_user(1 << 20);
        everything_works();
        let report = report();
        assert_eq!((report.crucible_threads, report.unlocked_bytes), (1, 0));
        assert_eq!(report.arena_bytes, 512 << 10);
    });
}

#[test]
fn sixty_four_kibibytes_lock_secrets_at_rest_and_say_that_stacks_are_not() {
    in_fresh_process(
        "sixty_four_kibibytes_lock_secrets_at_rest_and_say_that_stacks_are_not",
        || {
            ordinary_user(64 << 10);
            everything_works();
            let report = report();
            let why = why(&report);
            assert!(
                why.contains("stacks are NOT LOCKED") && why.contains("64 KiB"),
                "{why}"
            );
            assert!(report.unlocked_bytes > 0);
            assert!(report.spilled > 0, "the long secret did not fit");
        },
    );
}

#[test]
fn no_locked_memory_at_all_is_said_and_works() {
    in_fresh_process("no_locked_memory_at_all_is_said_and_works", || {
        ordinary_user(0);
        everything_works();
        let report = report();
        let why = why(&report);
        assert!(
            why.contains("NOTHING IS LOCKED") && why.contains("0 KiB"),
            "{why}"
        );
        assert_eq!(report.unlocked_bytes, report.arena_bytes);
    });
}

#[test]
fn memory_that_others_have_locked_already_shrinks_the_arena() {
    in_fresh_process(
        "memory_that_others_have_locked_already_shrinks_the_arena",
        || {
            ordinary_user(8 << 20);
            let _kept = SomebodyElses::lock(6 << 20);
            everything_works();
            let report = report();
            assert!(
                report.arena_bytes >= 1 << 20 && report.arena_bytes <= 2 << 20,
                "{report:?}"
            );
            assert_eq!(report.unlocked_bytes, 0);
        },
    );
}

struct SomebodyElses(#[allow(dead_code)] Vec<u8>);

impl SomebodyElses {
    fn lock(len: usize) -> Self {
        let bytes = vec![1u8; len];
        // SAFETY: our own bytes.
        assert_eq!(unsafe { libc::mlock(bytes.as_ptr().cast(), len) }, 0);
        Self(bytes)
    }
}

#[test]
fn a_full_arena_is_an_error_and_recovers() {
    in_fresh_process("a_full_arena_is_an_error_and_recovers", || {
        let mut secrets = Vec::new();
        let error = loop {
            match Secret::<1000>::zeroed() {
                Ok(secret) => secrets.push(secret),
                Err(e) => break e,
            }
        };
        assert_eq!(error, Error::ArenaFull);
        assert!(secrets.len() > 1000);
        assert_eq!(SecretVec::zeroed(1000).err(), Some(Error::ArenaFull));
        // long ones have a place of their own
        assert!(SecretVec::zeroed(10_000).is_ok());
        // and the crucible still works
        assert_eq!(on_crucible(|| 3), 3);
        secrets.truncate(1);
        assert!(Secret::<1000>::zeroed().is_ok());
    });
}

/// Makes a system call fail with EPERM from here on, as container runtimes do.
fn forbid(call: libc::c_long) {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            call as u32,
            0,
            1,
        ),
        step(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            0,
            0,
        ),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain system calls; the program lives as long as they do.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program),
            0
        );
    }
}

#[test]
fn without_memfd_secret_memory_is_mlocked_and_the_reason_given() {
    in_fresh_process(
        "without_memfd_secret_memory_is_mlocked_and_the_reason_given",
        || {
            forbid(libc::SYS_memfd_secret);
            everything_works();
            let report = report();
            assert!(
                why(&report).starts_with("memfd_secret: "),
                "{:?}",
                report.backing
            );
            assert_eq!((report.unlocked_bytes, report.arena_bytes), (0, 4 << 20));
        },
    );
}

#[test]
fn without_threads_spawned_jobs_run_where_they_are() {
    in_fresh_process("without_threads_spawned_jobs_run_where_they_are", || {
        init();
        let _ = report();
        forbid(libc::SYS_clone3);
        forbid(libc::SYS_clone);
        everything_works();
    });
}

#[test]
fn few_addresses_are_enough() {
    in_fresh_process("few_addresses_are_enough", || {
        let used = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
        let limit = libc::rlimit {
            rlim_cur: pages * 4096 + (64 << 20),
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: a plain system call.
        unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0) };
        everything_works();
        assert_eq!(report().unlocked_bytes, 0);
    });
}
