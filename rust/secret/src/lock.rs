//! A lock that allocates nothing, may be taken inside an allocator, and can be reopened in a forked child.
//!
//! std's `Mutex` would do but for the last point: a lock that another thread held at the moment of the fork
//! stays held for ever in the child, and std offers no way to say that its owner no longer exists.
use std::sync::atomic::{AtomicU32, Ordering::*};

const OPEN: u32 = 0;
const HELD: u32 = 1;
const AWAITED: u32 = 2;

pub(crate) struct Lock(AtomicU32);

pub(crate) struct Guard<'a>(&'a Lock);

impl Lock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        if self
            .0
            .compare_exchange(OPEN, HELD, Acquire, Relaxed)
            .is_err()
        {
            self.wait();
        }
        Guard(self)
    }

    #[cold]
    fn wait(&self) {
        // Critical sections here are tens of nanoseconds long: most waits end before a system call would.
        for _ in 0..20 {
            std::hint::spin_loop();
            if self
                .0
                .compare_exchange(OPEN, HELD, Acquire, Relaxed)
                .is_ok()
            {
                return;
            }
        }
        while self.0.swap(AWAITED, Acquire) != OPEN {
            futex_wait(&self.0, AWAITED);
        }
    }

    /// The end of a critical section whose guard was forgotten.
    ///
    /// # Safety
    /// The caller holds the lock.
    pub(crate) unsafe fn release(&self) {
        drop(Guard(self));
    }

    /// Opens the lock whoever held it. Only for a forked child, in which the holder does not exist.
    pub(crate) fn reopen(&self) {
        self.0.store(OPEN, Release);
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.0.0.swap(OPEN, Release) == AWAITED {
            futex_wake_one(&self.0.0);
        }
    }
}

/// Sleeps while `word` is `value`; may also wake for no reason.
pub(crate) fn futex_wait(word: &AtomicU32, value: u32) {
    // SAFETY: the kernel only reads the word, which lives as long as the borrow.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value,
            std::ptr::null::<libc::timespec>(),
        );
    }
}

pub(crate) fn futex_wake_one(word: &AtomicU32) {
    futex_wake(word, 1);
}

pub(crate) fn futex_wake_all(word: &AtomicU32) {
    futex_wake(word, i32::MAX);
}

fn futex_wake(word: &AtomicU32, most: i32) {
    // SAFETY: the address is only a name to the kernel here; nothing is read or written.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            most,
        );
    }
}
