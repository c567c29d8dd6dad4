//! A forked child has none of its parent's secrets, sessions or threads, and goes on all the same.

mod common;

use std::time::{Duration, Instant};

use common::*;

#[test]
fn a_forked_child_signs_and_so_does_its_parent() {
    let quorum = Quorum::of(3);
    let token = quorum.mint("2 of (s0, s1, s2)", &["ed25519"]);
    sign(&quorum.reconstructor, &token).unwrap();
    // SAFETY: the child uses what is made to survive a fork, and leaves without unwinding into the test's runner.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let twice = (0..2).all(|_| sign(&quorum.reconstructor, &token).is_ok());
        // SAFETY: nothing of the parent's is to be cleaned up here.
        unsafe { libc::_exit(if twice { 0 } else { 1 }) };
    }
    sign(&quorum.reconstructor, &token).unwrap();
    let begun = Instant::now();
    let mut status = 0;
    // SAFETY: our own child, and a live place for its status.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the child hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "the child's status was {status:x}"
    );
    sign(&quorum.reconstructor, &token).unwrap();
}
