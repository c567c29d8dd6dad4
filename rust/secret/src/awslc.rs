//! AWS-LC's memory: on the crucible from the arena, elsewhere from malloc, everywhere wiped when freed.
//!
//! Guarantees: keys, contexts and big numbers that AWS-LC makes inside a job lie in the arena (or its overflow).
//! Blocks from malloc have the very form AWS-LC gives them itself, a size in the 8 bytes before, so what was made
//! before [`install`] is freed correctly after it.
//! Does not: move AWS-LC's state per thread (error queue, random generator) into the arena: that outlives jobs and is
//! linked between threads, so it stays on the ordinary heap.
use crate::arena::{Arena, Owner, arena, owner};
use crate::crucible::is_crucible_thread;
use crate::lock::Lock;
use crate::wipe::wipe;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, Ordering::*};

/// Bytes in front of a block from malloc: its size.
const PREFIX: usize = size_of::<usize>();
/// What malloc itself aligns to, in bytes.
const ALIGN: usize = 16;

const NOT_YET: u8 = 0;
const DONE: u8 = 1;
const REFUSED: u8 = 2;
static STATE: AtomicU8 = AtomicU8::new(NOT_YET);
static INSTALLING: Lock = Lock::new();

/// Once; cheap afterwards.
#[inline]
pub(crate) fn install() {
    if STATE.load(Acquire) == NOT_YET {
        install_now();
    }
}

#[cold]
fn install_now() {
    let _guard = INSTALLING.lock();
    if STATE.load(Acquire) == NOT_YET {
        // SAFETY: the functions keep malloc's contract and call nothing of AWS-LC.
        let done =
            unsafe { aws_lc_sys::CRYPTO_set_mem_functions(Some(alloc), Some(realloc), Some(free)) };
        STATE.store(if done == 1 { DONE } else { REFUSED }, Release);
    }
}

/// Whether AWS-LC took our functions; it takes them once per process.
pub(crate) fn installed() -> bool {
    STATE.load(Acquire) == DONE
}

/// Makes AWS-LC build what it keeps for each thread, now and on the ordinary heap.
pub(crate) fn make_thread_state() {
    let mut byte = 0u8;
    // SAFETY: one writable byte; neither call has preconditions.
    unsafe {
        aws_lc_sys::RAND_bytes(&mut byte, 1);
        aws_lc_sys::ERR_clear_error();
    }
}

/// Takes down what AWS-LC keeps for this thread, if anything.
pub(crate) fn drop_thread_state() {
    // SAFETY: no preconditions; what is made again later is taken down by AWS-LC itself.
    unsafe { aws_lc_sys::AWSLC_thread_local_clear() };
}

extern "C" fn alloc(size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    if is_crucible_thread()
        && let Ok(arena) = arena()
        && let Some(block) = arena.alloc_temporary(size, ALIGN)
    {
        return block.as_ptr().cast();
    }
    from_malloc(size)
}

fn from_malloc(size: usize) -> *mut c_void {
    let Some(whole) = size.checked_add(PREFIX) else {
        return null_mut();
    };
    // SAFETY: the prefix fits in front, and malloc's alignment is more than a usize needs.
    unsafe {
        let start = libc::malloc(whole);
        if start.is_null() {
            return null_mut();
        }
        start.cast::<usize>().write(size);
        start.byte_add(PREFIX)
    }
}

extern "C" fn free(block: *mut c_void, _file: *const c_char, _line: c_int) {
    if block.is_null() {
        return;
    }
    // SAFETY: AWS-LC frees its own blocks, once each; what is not the arena's has our prefix, or AWS-LC's equal one.
    unsafe {
        match owner(block as usize) {
            Owner::Us(arena) => arena.free(block as usize),
            Owner::Parent(_) => (),
            Owner::Elsewhere => {
                let start = block.byte_sub(PREFIX);
                wipe(start.cast(), start.cast::<usize>().read() + PREFIX);
                libc::free(start);
            }
        }
    }
}

extern "C" fn realloc(
    old: *mut c_void,
    size: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    if old.is_null() {
        return alloc(size, file, line);
    }
    // SAFETY: a block of AWS-LC's, whose size is known by address range or by prefix; the new one holds what is copied.
    unsafe {
        let (new, old_size) = match owner(old as usize) {
            // What once was in the arena stays there, whoever makes it grow.
            Owner::Us(arena) => (in_arena(arena, size), arena.size_of_block(old as usize)),
            Owner::Parent(arena) => (alloc(size, file, line), arena.size_of_block(old as usize)),
            Owner::Elsewhere => (
                alloc(size, file, line),
                old.byte_sub(PREFIX).cast::<usize>().read(),
            ),
        };
        if !new.is_null() {
            std::ptr::copy_nonoverlapping(old.cast::<u8>(), new.cast::<u8>(), old_size.min(size));
            free(old, file, line);
        }
        new
    }
}

fn in_arena(arena: &Arena, size: usize) -> *mut c_void {
    match arena.alloc_temporary(size, ALIGN) {
        Some(block) => block.as_ptr().cast(),
        None => from_malloc(size),
    }
}
