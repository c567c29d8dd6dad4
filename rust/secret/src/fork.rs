//! What happens to secrets when the process forks: the child has none of them.
//!
//! Guarantees: a child made by fork(3) has another [`generation`], an arena and crucible of its own, built on first
//! use; secrets of the parent are not in it, using one there panics, dropping one does nothing.
//! Does not: handle a bare clone(2), or a fork from inside a crucible job (that child has no stack and dies at once).
use crate::lock::Lock;
use crate::{arena, crucible, pool};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

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
        unsafe { libc::pthread_atfork(Some(prepare), None, Some(child)) };
    }
}

unsafe extern "C" fn prepare() {
    if crucible::is_crucible_thread() {
        crate::complain("evanesce-secret: fork inside a crucible job: the child cannot run\n");
    }
}

unsafe extern "C" fn child() {
    REGISTERING.reopen();
    pool::reopen();
    GENERATION.fetch_add(1, Relaxed);
    // SAFETY: this is the child handler.
    unsafe { arena::abandon() };
}
