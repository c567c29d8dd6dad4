//! Memory that is counted, so that a length in hostile bytes cannot make a decoder allocate for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A decoded value may take this many bytes for each byte that came in: a sequence of one-byte items becomes one
/// of Rust values, and vectors grow by doubling.
const PER_BYTE: usize = 128;
/// And this many whatever came in: error texts, and what a library sets up on first use.
const FIXED: usize = 256 << 10;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Runs `f` and panics if at any moment it held more memory than input of `length` bytes may take.
pub fn bounded<T>(length: usize, f: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let out = f();
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    assert!(
        taken <= FIXED + PER_BYTE * length,
        "{taken} bytes of memory for {length} bytes of input"
    );
    out
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is handed to `System` as it came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(live, Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(memory, layout) }
    }
}
