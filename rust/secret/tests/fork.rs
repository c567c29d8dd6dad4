//! Forking: the child has none of its parent's secrets, and everything it needs to make its own.
mod common;
use common::*;
use evanesce_secret::*;
use std::sync::mpsc;

/// Children that are made while other threads come and go.
const FORKS: usize = 50;

/// AWS-LC's random generator on the crucible, as signing uses it: its state must survive where the arena does not.
fn draw() -> [u8; 32] {
    on_crucible(|| {
        let mut bytes = [0u8; 32];
        // SAFETY: 32 writable bytes.
        assert_eq!(unsafe { aws_lc_sys::RAND_bytes(bytes.as_mut_ptr(), 32) }, 1);
        bytes
    })
}

/// Runs `f` on a thread that std knows nothing of, and whether that could be done. In a program with Rust's own main, std holds a
/// lock while a thread starts or ends, and a child made in that moment cannot start one of std's.
fn on_a_bare_thread(f: fn()) -> bool {
    extern "C" fn run(f: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the function passed below.
        unsafe { std::mem::transmute::<*mut libc::c_void, fn()>(f)() };
        std::ptr::null_mut()
    }
    // SAFETY: plain calls; the thread is joined, once.
    unsafe {
        let mut thread = std::mem::zeroed();
        libc::pthread_create(&mut thread, std::ptr::null(), run, f as *mut _) == 0
            && libc::pthread_join(thread, std::ptr::null_mut()) == 0
    }
}

/// Uses everything there is.
fn everything_works() -> bool {
    let secret = Secret::<32>::random().unwrap();
    let long = SecretVec::from_slice(&[1; 100_000]).unwrap();
    let (sender, receiver) = mpsc::channel();
    spawn_on_crucible(move || sender.send(is_crucible_thread()).unwrap());
    on_crucible(|| secret.expose().iter().any(|b| *b != 0))
        && long.expose()[99_999] == 1
        && receiver.recv().unwrap()
        && draw() != draw()
}

#[test]
fn a_child_rebuilds_everything_and_leaves_in_peace() {
    assert!(everything_works());
    // other threads have used the crucible and are gone, or are still there
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::spawn(draw).join().unwrap();
    let waiting = std::thread::spawn(move || {
        draw();
        let _ = stopped.recv();
    });
    let before = generation();
    let drawn = draw();
    for _ in 0..5 {
        let status = in_child(|| {
            assert_ne!(generation(), before);
            assert_ne!(draw(), drawn);
            // a child's child as well
            everything_works() && in_child(everything_works) == 0
        });
        assert_eq!(status, 0);
    }
    assert_eq!(generation(), before);
    assert!(everything_works());
    stop.send(()).unwrap();
    waiting.join().unwrap();
}

#[test]
fn a_parents_secret_can_be_dropped_in_a_child_but_not_used() {
    let mut secret = Some(Secret::<32>::filled(|b| b.fill(0x3c)).unwrap());
    let mut short = Some(SecretVec::from_slice(&[0x3c; 100]).unwrap());
    let mut long = Some(SecretVec::from_slice(&[0x3c; 200_000]).unwrap());
    let status = in_child(|| {
        std::panic::set_hook(Box::new(|_| ()));
        let refused = [
            std::panic::catch_unwind(|| secret.as_ref().unwrap().expose()[0]).is_err(),
            std::panic::catch_unwind(|| short.as_ref().unwrap().expose()[0]).is_err(),
            std::panic::catch_unwind(|| long.as_ref().unwrap().expose()[0]).is_err(),
        ];
        // before the child has an arena, and after
        drop(secret.take());
        let own = Secret::<32>::filled(|b| b.fill(0x4d)).unwrap();
        drop(short.take());
        drop(long.take());
        refused == [true; 3] && own.expose() == &[0x4d; 32]
    });
    assert_eq!(status, 0);
    assert_eq!(secret.unwrap().expose(), &[0x3c; 32]);
    assert_eq!(short.unwrap().expose(), [0x3c; 100]);
    assert!(long.unwrap().expose().iter().all(|b| *b == 0x3c));
}

#[test]
fn a_child_reads_zeroes_where_its_parent_has_secrets() {
    let secret = Secret::<32>::filled(|b| b.fill(0x3c)).unwrap();
    let at = secret.expose().as_ptr() as usize;
    assert_eq!(in_child(|| holds(at, &[0; 32])), 0);
    assert!(holds(at, &[0x3c; 32]));
}

#[test]
fn a_child_frees_what_awslc_took_from_the_parents_arena_without_harm() {
    let block = on_crucible(|| {
        // SAFETY: a plain allocation.
        unsafe { aws_lc_sys::OPENSSL_malloc(100) as usize }
    });
    let status = in_child(|| {
        // SAFETY: the block is the parent's: growing it gives another, freeing it does nothing.
        unsafe {
            let grown = aws_lc_sys::OPENSSL_realloc(block as *mut _, 200);
            let fresh = grown as usize != block && holds(grown as usize, &[0; 100]);
            aws_lc_sys::OPENSSL_free(grown);
            fresh && everything_works()
        }
    });
    assert_eq!(status, 0);
    // SAFETY: ours, freed once here.
    unsafe { aws_lc_sys::OPENSSL_free(block as *mut _) };
}

#[test]
fn a_process_that_forks_before_first_use_is_served_in_both() {
    in_fresh_process(
        "a_process_that_forks_before_first_use_is_served_in_both",
        || {
            init();
            assert_eq!(in_child(everything_works), 0);
            assert!(everything_works());
            assert_eq!(in_child(everything_works), 0);
        },
    );
}

#[test]
fn forking_while_other_threads_are_at_work_is_safe() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let stop = AtomicBool::new(false);
    let mut statuses = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let secret = Secret::<48>::random().unwrap();
                    on_crucible(|| secret.expose()[0]);
                    draw();
                }
            });
        }
        for _ in 0..30 {
            // Not an assertion here: the other threads would never be told to stop.
            statuses.push(in_child(everything_works));
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(statuses, [0; 30]);
}

#[test]
fn threads_that_end_during_a_fork_leave_no_lock_held_in_the_child() {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    let stop = AtomicBool::new(false);
    let mut statuses = Vec::new();
    draw();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                // Each makes AWS-LC's state of its thread, and takes it down as it ends.
                let ending: Vec<_> = (0..8).map(|_| std::thread::spawn(draw)).collect();
                ending
                    .into_iter()
                    .for_each(|t| assert_ne!(t.join().unwrap(), [0; 32]));
            }
        });
        for _ in 0..FORKS {
            statuses.push(in_child(|| {
                on_a_bare_thread(|| assert_ne!(draw(), [0; 32]))
            }));
        }
        stop.store(true, Relaxed);
    });
    assert_eq!(statuses, [0; FORKS]);
}

#[test]
fn a_child_forked_while_the_crucible_starts_can_start_its_own() {
    // Each child's child is forked as soon as the first of the child's threads has run a job, the others perhaps still starting.
    for _ in 0..FORKS {
        assert_eq!(
            in_child(|| everything_works() && in_child(everything_works) == 0),
            0
        );
    }
}
