//! Jobs: that they run, come back, fail properly, and leave nothing on their stacks.
mod common;
use common::*;
use evanesce_secret::*;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn a_job_borrows_from_its_caller_and_returns_a_result() {
    let mut words = vec!["one".to_string()];
    let count = on_crucible(|| {
        assert!(is_crucible_thread());
        words.push("two".into());
        words.len()
    });
    assert!(!is_crucible_thread());
    assert_eq!((count, words.len()), (2, 2));
}

#[test]
fn a_job_inside_a_job_simply_runs() {
    assert_eq!(on_crucible(|| on_crucible(|| on_crucible(|| 7)) + 1), 8);
}

#[test]
fn a_panic_comes_back_to_the_caller_and_the_crucible_goes_on() {
    for _ in 0..10 {
        let panic = std::panic::catch_unwind(|| on_crucible(|| panic!("on purpose"))).unwrap_err();
        assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "on purpose");
        assert!(!is_crucible_thread());
        assert_eq!(on_crucible(|| 1), 1);
    }
}

#[test]
fn a_backtrace_from_inside_a_job_can_be_taken() {
    let trace = on_crucible(|| std::backtrace::Backtrace::force_capture().to_string());
    assert!(trace.contains("a_backtrace_from_inside"), "{trace}");
}

#[test]
fn jobs_from_more_threads_than_there_are_stacks_all_run_never_more_at_once_than_stacks() {
    let (running, most, done) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..200 {
                    on_crucible(|| {
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                        done.fetch_add(1, SeqCst);
                    });
                }
            });
        }
    });
    assert_eq!(done.into_inner(), 3200);
    assert!(most.into_inner() <= report().crucible_threads);
}

#[test]
fn spawned_jobs_run_on_the_crucible_and_a_panic_in_one_spoils_nothing() {
    let (sender, receiver) = mpsc::channel();
    for i in 0..500 {
        let sender = sender.clone();
        spawn_on_crucible(move || {
            if i % 100 == 3 {
                panic!("on purpose");
            }
            sender.send((i, is_crucible_thread())).unwrap();
        });
    }
    drop(sender);
    let mut seen: Vec<_> = receiver.iter().collect();
    seen.sort_unstable();
    assert_eq!(seen.len(), 495);
    assert!(seen.iter().all(|(_, inside)| *inside));
}

#[test]
fn a_job_may_spawn_a_job() {
    let (sender, receiver) = mpsc::channel();
    on_crucible(move || spawn_on_crucible(move || sender.send(5).unwrap()));
    assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(5));
}

const PATTERN: [u8; 8] = [0xe7, 0x19, 0xc4, 0x5b, 0x92, 0x3d, 0x6e, 0xa1];

/// Leaves the pattern all over `depth` frames; returns the lowest address it was put at.
#[inline(never)]
fn plant(depth: usize) -> usize {
    let mut frame = [0u8; 1024];
    for place in frame.chunks_exact_mut(8) {
        place.copy_from_slice(&PATTERN);
    }
    black_box(&mut frame);
    let here = frame.as_ptr() as usize;
    let deeper = if depth > 0 { plant(depth - 1) } else { here };
    black_box(&frame);
    deeper.min(here)
}

/// Whether the pattern is anywhere from `low` to `high`.
fn found(low: usize, high: usize) -> bool {
    (low / 8 * 8..high).step_by(8).any(|at| holds(at, &PATTERN))
}

#[test]
fn nothing_of_a_job_stays_on_its_stack_not_even_after_a_panic() {
    for (depth, panics) in [(0, false), (20, false), (150, false), (50, true)] {
        let (low, here, planted) = {
            let mut facts = (0, 0, false);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                on_crucible(|| {
                    let anchor = 0u8;
                    let here = &raw const anchor as usize;
                    let low = plant(depth);
                    // what the frames left is still there: the scan can find it
                    facts = (low, here, found(low, here));
                    if panics {
                        std::panic::panic_any("on purpose");
                    }
                })
            }));
            facts
        };
        assert!(planted && low < here);
        let (stack, _) = mapping_of(here);
        // From another job, and from outside; other tests' jobs do not know the pattern.
        assert!(!on_crucible(|| found(stack.start, stack.end)));
        assert!(!found(stack.start, stack.end));
    }
}

#[test]
fn the_deepest_use_of_a_stack_is_reported() {
    on_crucible(|| black_box(plant(100)));
    let report = report();
    assert!(report.stack_deepest > 100 * 1024 && report.stack_deepest <= report.stack_bytes);
}

#[test]
fn a_job_that_overruns_its_stack_ends_the_process_and_harms_nothing_else() {
    #[allow(unconditional_recursion)]
    fn endless(depth: usize) -> usize {
        black_box([depth; 64]);
        1 + endless(black_box(depth + 1))
    }
    let status = in_child(|| on_crucible(|| endless(0)) > 0);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV);
}

#[test]
fn jobs_that_wait_do_not_keep_others_from_running() {
    let (enter, entered) = mpsc::channel();
    let leave = AtomicBool::new(false);
    let waiting = report().crucible_threads.min(4) - 1;
    std::thread::scope(|scope| {
        for _ in 0..waiting {
            let (enter, leave) = (enter.clone(), &leave);
            scope.spawn(move || {
                on_crucible(|| {
                    enter.send(()).unwrap();
                    while !leave.load(SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                })
            });
        }
        assert_eq!(entered.iter().take(waiting).count(), waiting);
        assert_eq!(on_crucible(|| 4), 4);
        leave.store(true, SeqCst);
    });
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);
static HANDLED_INSIDE: AtomicBool = AtomicBool::new(false);

extern "C" fn handler(_: libc::c_int) {
    HANDLED_INSIDE.fetch_or(is_crucible_thread(), SeqCst);
    HANDLED.fetch_add(1, SeqCst);
}

#[test]
fn signals_wait_until_the_job_has_ended() {
    // SAFETY: the handler only touches atomics and a const thread-local.
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    let during = on_crucible(|| {
        // SAFETY: a signal with a handler, to this thread.
        unsafe { libc::raise(libc::SIGUSR1) };
        HANDLED.load(SeqCst)
    });
    assert_eq!((during, HANDLED.load(SeqCst)), (0, 1));
    assert!(!HANDLED_INSIDE.load(SeqCst));
}

#[test]
fn an_idle_crucible_uses_no_processor() {
    in_fresh_process("an_idle_crucible_uses_no_processor", || {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..10 {
            let sender = sender.clone();
            spawn_on_crucible(move || sender.send(()).unwrap());
        }
        assert_eq!(receiver.iter().take(10).count(), 10);
        std::thread::sleep(Duration::from_millis(20));
        let before = cpu();
        std::thread::sleep(Duration::from_millis(300));
        assert!(cpu() - before < Duration::from_millis(5));
    });
}

fn cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: fills the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
