//! The crucible: where secrets are used. A job runs on a locked stack that is wiped when the job ends.
//!
//! Guarantees, by the time [`on_crucible`] returns: whatever the job and all it called left on the stack is zero, vector
//! and scratch registers are cleared, and what it allocated through [`crate::CrucibleAlloc`] and AWS-LC was in the arena.
//! Signals wait meanwhile, so that no handler's frame copies registers to an unlocked stack.
//! Does not: protect what a job returns or captures (that crosses in the caller's ordinary memory: pass references to
//! [`crate::Secret`]s, return public results), or what C code other than AWS-LC takes from malloc.
//! A result is moved out whole: padding, and the bytes that an enum's variant does not use, leave with whatever an earlier
//! call of the same job left there. Return plain bytes, boxes and vectors; an enum that is large and mostly unused is a leak.
//!
//! A job does not change threads: the thread that has it steps over to a free locked stack and back, which costs less than
//! waking another. The stacks could not simply be pthread stacks anyway: glibc keeps thread descriptors on them, linked in lists
//! that a forked child walks, and the child does not have these pages. There are as many stacks as cores, and at
//! least eight if they fit, since jobs may wait for a slow element; no more jobs than stacks run at once, further ones wait. [`crate::spawn_on_crucible`] brings threads of its own.
use crate::arena::arena;
use crate::lock::{futex_wait, futex_wake_all, futex_wake_one};
use crate::registers::{on_stack, vector_level};
use crate::wipe::wipe_stack;
use crate::{awslc, fork, init};
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::time::Duration;

thread_local! {
    /// Const and without a destructor: allocators read it at any time, also while a thread is torn down.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// AWS-LC's own state of this thread exists; a forked child inherits it.
    static WARM: Cell<bool> = const { Cell::new(false) };
    /// Takes that state down when the thread ends.
    static COOLS: Cools = const { Cools };
}

struct Cools;

impl Drop for Cools {
    /// Left to itself, AWS-LC does this a little later, with its lock on the list of all threads' states held: a fork by another
    /// thread at that moment would leave the lock held in the child, which would hang on its first random byte.
    fn drop(&mut self) {
        WARM.set(false);
        fork::not_across(awslc::drop_thread_state);
    }
}

/// Whether this code runs on the crucible.
#[inline]
pub fn is_crucible_thread() -> bool {
    INSIDE.get()
}

/// Runs `f` on the crucible and returns what it returns; waits for a free stack if need be. Inside a job, `f` simply runs.
///
/// # Panics
/// If `f` does, with the same payload; the stack is wiped all the same.
pub fn on_crucible<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if INSIDE.get() { f() } else { run_scoped(f) }
}

fn run_scoped<F: FnOnce() -> R, R>(f: F) -> R {
    let mut job = Scoped {
        f: ManuallyDrop::new(f),
        result: MaybeUninit::uninit(),
    };
    // SAFETY: `run` is made for this very type, and `enter` runs it once, to its end.
    unsafe {
        enter(Scoped::<F, R>::run, (&raw mut job).cast());
        match job.result.assume_init() {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

struct Scoped<F, R> {
    f: ManuallyDrop<F>,
    result: MaybeUninit<std::thread::Result<R>>,
}

impl<F: FnOnce() -> R, R> Scoped<F, R> {
    unsafe extern "C" fn run(this: *mut ()) {
        // SAFETY: `this` is the Scoped that `run_scoped` holds; `f` is taken once.
        unsafe {
            let this = &mut *this.cast::<Self>();
            let f = ManuallyDrop::take(&mut this.f);
            this.result.write(catch_unwind(AssertUnwindSafe(f)));
        }
    }
}

/// Runs `f(data)` on a free stack of the crucible, then wipes it.
///
/// # Safety
/// `f` must accept `data`, and must not unwind.
pub(crate) unsafe fn enter(f: unsafe extern "C" fn(*mut ()), data: *mut ()) {
    init();
    let signals = block_signals();
    match arena() {
        Ok(arena) => {
            let stack = arena.stacks.take();
            warm();
            INSIDE.set(true);
            // SAFETY: the stack is ours until given back, mapped, and all zero.
            unsafe { on_stack(stack.top(), f, data, vector_level()) };
            INSIDE.set(false);
            arena.stacks.give_back(stack);
        }
        // Not even ordinary memory for a stack: the job is about to find that out itself, with an error to return.
        // SAFETY: by contract.
        Err(_) => unsafe { f(data) },
    }
    restore_signals(&signals);
}

/// AWS-LC keeps state per thread (errors, random numbers), made on first use and linked to that of other threads.
/// It must not come to lie in the arena: a forked child follows those links.
fn warm() {
    if !WARM.replace(true) {
        // A thread that is already being taken down has none: AWS-LC then does it alone.
        let _ = COOLS.try_with(|_| ());
        awslc::make_thread_state();
    }
}

/// Blocks all signals but those that report a fault of this very thread.
fn block_signals() -> libc::sigset_t {
    // SAFETY: plain calls on local sets, which the first of them initialises.
    unsafe {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        libc::sigfillset(all.as_mut_ptr());
        for fault in [
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGILL,
            libc::SIGFPE,
            libc::SIGABRT,
            libc::SIGTRAP,
            libc::SIGSYS,
        ] {
            libc::sigdelset(all.as_mut_ptr(), fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: a set that pthread_sigmask gave us.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// One stack: `len` bytes from `low` up, all zero when nobody uses it.
#[derive(Clone, Copy)]
pub(crate) struct Stack {
    pub(crate) low: usize,
    len: usize,
}

impl Stack {
    pub(crate) fn new(low: usize, len: usize) -> Stack {
        Stack { low, len }
    }

    fn top(&self) -> usize {
        self.low + self.len
    }
}

/// The stacks and who waits for one.
pub(crate) struct Stacks {
    stacks: Vec<Stack>,
    /// A set bit is a free stack. The lowest is taken first, since its memory is likeliest still in the cache.
    free: AtomicU64,
    waiters: AtomicU32,
    /// Counts stacks given back while somebody waited.
    returned: AtomicU32,
    deepest: AtomicUsize,
}

impl Stacks {
    pub(crate) fn new(stacks: Vec<Stack>) -> Stacks {
        let free = !0u64 >> (64 - stacks.len());
        Stacks {
            stacks,
            free: AtomicU64::new(free),
            waiters: AtomicU32::new(0),
            returned: AtomicU32::new(0),
            deepest: AtomicUsize::new(0),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.stacks.len()
    }

    /// Most bytes of a stack that a job has written to.
    pub(crate) fn deepest(&self) -> usize {
        self.deepest.load(Relaxed)
    }

    fn take(&self) -> Stack {
        self.try_take().unwrap_or_else(|| self.wait())
    }

    /// Takes every stack, so that no job runs, as soon as they are free; gives up on the rest after this many looks.
    /// Returns which were taken.
    pub(crate) fn take_all(&self, looks: u32, pause: Duration) -> u64 {
        let all = !0u64 >> (64 - self.stacks.len());
        let mut taken = self.free.swap(0, SeqCst);
        for _ in 0..looks {
            if taken == all {
                break;
            }
            std::thread::sleep(pause);
            taken |= self.free.swap(0, SeqCst);
        }
        taken
    }

    /// The opposite of `take_all`; the stacks were not used.
    pub(crate) fn give_all_back(&self, taken: u64) {
        self.free.fetch_or(taken, SeqCst);
        if self.waiters.load(SeqCst) > 0 {
            self.returned.fetch_add(1, SeqCst);
            futex_wake_all(&self.returned);
        }
    }

    fn try_take(&self) -> Option<Stack> {
        let taken = self.free.fetch_update(SeqCst, SeqCst, |free| {
            (free != 0).then(|| free & (free - 1))
        });
        Some(self.stacks[taken.ok()?.trailing_zeros() as usize])
    }

    #[cold]
    fn wait(&self) -> Stack {
        self.waiters.fetch_add(1, SeqCst);
        let stack = loop {
            let seen = self.returned.load(SeqCst);
            if let Some(stack) = self.try_take() {
                break stack;
            }
            futex_wait(&self.returned, seen);
        };
        self.waiters.fetch_sub(1, SeqCst);
        stack
    }

    fn give_back(&self, stack: Stack) {
        // SAFETY: the job has ended and left the stack; it is ours until its bit is set.
        let depth = unsafe { wipe_stack(stack.low, stack.top()) };
        self.deepest.fetch_max(depth, Relaxed);
        if let Some(i) = self.stacks.iter().position(|s| s.low == stack.low) {
            self.free.fetch_or(1 << i, SeqCst);
        }
        if self.waiters.load(SeqCst) > 0 {
            self.returned.fetch_add(1, SeqCst);
            futex_wake_one(&self.returned);
        }
    }
}
