//! Threads for jobs that nobody waits for: started by the first of them, idle when there are none.
//!
//! They have ordinary stacks; like everybody, they step over to a crucible stack for a job. A forked child starts its own.
use crate::arena::{Owner, arena, owner};
use crate::crucible::{enter, is_crucible_thread};
use crate::lock::Lock;
use crate::{generation, init};
use std::alloc::Layout;
use std::ffi::{CString, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Rounds in which an idle thread looks for work before it sleeps: a few microseconds, what sleeping would cost.
const ROUNDS: usize = 50;
/// A thread's own stack, in bytes; the jobs do not run on it.
const OWN_STACK: usize = 128 << 10;

/// Queues `f` to run on the crucible. What it captures moves to the arena; a panic in it goes to the panic hook and no further.
pub fn spawn_on_crucible(f: impl FnOnce() + Send + 'static) {
    init();
    let job = Spawned::make(f);
    let pool = pool();
    if pool.threads > 0 {
        pool.work.push(job);
    } else {
        // SAFETY: the job was just made, and is run once.
        unsafe { run(job) };
    }
}

/// A job in the queue; the closure follows in the same block.
#[repr(C)]
struct Header {
    next: *mut Header,
    run: unsafe extern "C" fn(*mut ()),
    layout: Layout,
}

#[repr(C)]
struct Spawned<F> {
    header: Header,
    f: ManuallyDrop<F>,
}

impl<F: FnOnce()> Spawned<F> {
    fn make(f: F) -> *mut Header {
        let layout = Layout::new::<Self>();
        let block = arena()
            .ok()
            .and_then(|a| a.alloc_temporary(layout.size(), layout.align()))
            .map_or_else(
                // SAFETY: the layout is not empty.
                || unsafe { std::alloc::alloc(layout) },
                |block| block.as_ptr(),
            )
            .cast::<Self>();
        if block.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // SAFETY: a fresh block of this layout.
        unsafe {
            block.write(Spawned {
                header: Header {
                    next: null_mut(),
                    run: Self::run,
                    layout,
                },
                f: ManuallyDrop::new(f),
            });
        }
        block.cast()
    }

    unsafe extern "C" fn run(this: *mut ()) {
        // SAFETY: `this` is what `make` made; `f` is taken once.
        let f = unsafe { ManuallyDrop::take(&mut (*this.cast::<Self>()).f) };
        // The hook has reported it; there is nobody to pass it on to. Dropping a payload can panic as well.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(panic))).map_err(std::mem::forget);
        }
    }
}

/// Runs a job and frees its block.
///
/// # Safety
/// A job made by [`Spawned::make`], run once.
unsafe fn run(job: *mut Header) {
    // SAFETY: by contract.
    unsafe {
        let layout = (*job).layout;
        if is_crucible_thread() {
            ((*job).run)(job.cast());
        } else {
            enter((*job).run, job.cast());
        }
        match owner(job as usize) {
            Owner::Us(arena) => arena.free(job as usize),
            Owner::Parent(_) => (),
            Owner::Elsewhere => {
                crate::wipe::wipe(job.cast(), layout.size());
                std::alloc::dealloc(job.cast(), layout);
            }
        }
    }
}

struct Pool {
    generation: u64,
    /// 0: the system gives no threads, and jobs run where they are spawned.
    threads: usize,
    work: &'static Work,
}

struct Work {
    queue: Mutex<Queue>,
    more: Condvar,
    /// Jobs in the queue, for those who look without the lock.
    waiting: AtomicUsize,
}

struct Queue {
    first: *mut Header,
    last: *mut Header,
    asleep: usize,
}

// SAFETY: the pointers are to blocks that the queue owns; the closures in them are Send.
unsafe impl Send for Queue {}

/// This process's pool, or its parent's; null until first use.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());
static STARTING: Lock = Lock::new();

fn pool() -> &'static Pool {
    current().unwrap_or_else(start)
}

fn current() -> Option<&'static Pool> {
    // SAFETY: pools are published complete, and never freed.
    unsafe { POOL.load(Acquire).as_ref() }.filter(|pool| pool.generation == generation())
}

#[cold]
fn start() -> &'static Pool {
    let _guard = STARTING.lock();
    if let Some(pool) = current() {
        return pool;
    }
    let work: &'static Work = Box::leak(Box::new(Work {
        queue: Mutex::new(Queue {
            first: null_mut(),
            last: null_mut(),
            asleep: 0,
        }),
        more: Condvar::new(),
        waiting: AtomicUsize::new(0),
    }));
    // One per core: jobs are expected to compute. Who waits a lot brings threads of its own to `on_crucible`.
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let wanted = cores.min(arena().map_or(1, |a| a.stacks.count()));
    let threads = (0..wanted).filter(|i| start_thread(work, *i)).count();
    let pool = Box::leak(Box::new(Pool {
        generation: generation(),
        threads,
        work,
    }));
    POOL.store(pool, Release);
    pool
}

/// Starts one detached thread; whether the system gave it.
///
/// Not one of std's: in a program with Rust's own main, std holds a lock of its own while a thread starts or ends, and a child forked
/// in that moment could never start a thread again.
fn start_thread(work: &'static Work, number: usize) -> bool {
    extern "C" fn run(start: *mut c_void) -> *mut c_void {
        // SAFETY: the box that was made below for this thread alone.
        let start = unsafe { Box::from_raw(start.cast::<Start>()) };
        // SAFETY: this thread; the name ends in a zero and is short enough. Nothing depends on its being set.
        unsafe { libc::pthread_setname_np(libc::pthread_self(), start.name.as_ptr()) };
        start.work.run_all()
    }
    let Ok(name) = CString::new(format!("crucible-{number}")) else {
        return false;
    };
    let start = Box::into_raw(Box::new(Start { work, name }));
    let mut attributes = MaybeUninit::uninit();
    let mut thread = MaybeUninit::uninit();
    // SAFETY: the attributes are initialised first and destroyed last; the box goes to the thread, or back if there is none.
    unsafe {
        libc::pthread_attr_init(attributes.as_mut_ptr());
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), OWN_STACK);
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        let failed =
            libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, start.cast());
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if failed != 0 {
            drop(Box::from_raw(start));
        }
        failed == 0
    }
}

/// What a thread is given.
struct Start {
    work: &'static Work,
    name: CString,
}

/// For the child handler of a fork.
pub(crate) fn reopen() {
    STARTING.reopen();
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: *mut Header) {
        let mut queue = self.lock();
        if queue.first.is_null() {
            queue.first = job;
        } else {
            // SAFETY: the last job in the queue is alive, and the queue's own.
            unsafe { (*queue.last).next = job };
        }
        queue.last = job;
        self.waiting.fetch_add(1, Release);
        let wake = queue.asleep > 0;
        drop(queue);
        if wake {
            self.more.notify_one();
        }
    }

    fn pop(&self, queue: &mut Queue) -> Option<*mut Header> {
        let job = queue.first;
        if job.is_null() {
            return None;
        }
        // SAFETY: a job in the queue is alive, and the queue's own.
        queue.first = unsafe { (*job).next };
        self.waiting.fetch_sub(1, Release);
        Some(job)
    }

    fn next(&self) -> *mut Header {
        for _ in 0..ROUNDS {
            if self.waiting.load(Acquire) > 0
                && let Some(job) = self.pop(&mut self.lock())
            {
                return job;
            }
            std::hint::spin_loop();
        }
        let mut queue = self.lock();
        loop {
            if let Some(job) = self.pop(&mut queue) {
                return job;
            }
            queue.asleep += 1;
            queue = self
                .more
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.asleep -= 1;
        }
    }

    fn run_all(&self) -> ! {
        loop {
            // SAFETY: a job from the queue, run once.
            unsafe { run(self.next()) };
        }
    }
}
