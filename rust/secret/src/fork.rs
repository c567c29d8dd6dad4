//! What happens to secrets when the process forks: the child has none of them.
//!
//! Guarantees: a child made by fork(3) has another [`generation`], an arena and crucible of its own, built on first
//! use; secrets of the parent are not in it, using one there panics, dropping one does nothing.
//! A fork waits for running jobs to end, some two seconds at most, and for threads that take down what AWS-LC kept for them.
//! Does not: handle a bare clone(2), or a fork from inside a crucible job (that child has no stack and dies at once);
//! or repair AWS-LC, whose own locks a thread *outside* the crucible (a TLS handshake) may hold at the moment of a fork.
use crate::lock::Lock;
use crate::{arena, crucible, pool};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::time::Duration;

static GENERATION: AtomicU64 = AtomicU64::new(1);
static REGISTERED: AtomicBool = AtomicBool::new(false);
static REGISTERING: Lock = Lock::new();

/// A number that is another one in a forked child: who keeps sessions, threads or secrets compares it and starts afresh.
pub fn generation() -> u64 {
    register();
    current()
}

/// The same, for code that runs only once there is an arena and the handlers are registered.
#[inline]
pub(crate) fn current() -> u64 {
    GENERATION.load(Relaxed)
}

pub(crate) fn register() {
    if REGISTERED.load(Acquire) {
        return;
    }
    let _guard = REGISTERING.lock();
    if !REGISTERED.swap(true, AcqRel) {
        // SAFETY: the handlers are functions of this library, which is never unloaded.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    }
}

/// How often a fork looks again for running jobs, [`PAUSE`] apart: two seconds and more. AWS-LC gathering its first entropy takes
/// 70 ms of processor time, several times that on a busy machine; a job that takes longer than this waits for an element,
/// and holds no lock of AWS-LC's. Counted, not read off a clock: on a machine that stood still in between no job has got further.
const LOOKS: u32 = 20_000;
const PAUSE: Duration = Duration::from_micros(100);

/// Held by a thread that forks, and by one that is taking down AWS-LC's state of it.
static LEAVING: Lock = Lock::new();

/// Runs `f` while no other thread forks. For moments: it holds up every fork.
pub(crate) fn not_across<R>(f: impl FnOnce() -> R) -> R {
    let _guard = LEAVING.lock();
    f()
}

thread_local! {
    /// The stacks that this thread keeps from use while it forks.
    static HELD: Cell<u64> = const { Cell::new(0) };
}

/// Lets no job run across the fork: one in the midst of AWS-LC's random generator would leave locks held in the
/// child for ever, and the child would hang on its first random byte.
unsafe extern "C" fn prepare() {
    std::mem::forget(LEAVING.lock());
    if crucible::is_crucible_thread() {
        crate::complain("evanesce-secret: fork inside a crucible job: the child cannot run\n");
    } else if let Some(arena) = arena::existing() {
        HELD.set(arena.stacks.take_all(LOOKS, PAUSE));
    }
}

unsafe extern "C" fn parent() {
    let held = HELD.take();
    if held != 0
        && let Some(arena) = arena::existing()
    {
        arena.stacks.give_all_back(held);
    }
    // SAFETY: this thread holds it since `prepare`.
    unsafe { LEAVING.release() };
}

unsafe extern "C" fn child() {
    HELD.set(0);
    LEAVING.reopen();
    REGISTERING.reopen();
    pool::reopen();
    GENERATION.fetch_add(1, Relaxed);
    // SAFETY: this is the child handler.
    unsafe { arena::abandon() };
}
