//! Zeroing that the compiler may not leave out: memory, and what a job left of itself on its stack.
use std::arch::asm;

/// Zeroes `len` bytes at `ptr`.
///
/// # Safety
/// The bytes must be writable and nobody else's.
pub(crate) unsafe fn wipe(ptr: *mut u8, len: usize) {
    // SAFETY: by contract. The empty assembly claims to read the memory, so the stores cannot be elided.
    unsafe {
        std::ptr::write_bytes(ptr, 0, len);
        asm!("/* {0} */", in(reg) ptr, options(nostack, preserves_flags));
    }
}

/// Wipes a stack that was all zero before its use and is not in use now: everything from the lowest word that is not
/// zero up to `top`. That word is the exact low-water mark of what was *written other than zero*, which is all
/// that can matter. Returns how many bytes lay above it.
///
/// # Safety
/// `low..top` must be readable, writable, aligned to 64 bytes, and nobody's stack at the moment.
pub(crate) unsafe fn wipe_stack(low: usize, top: usize) -> usize {
    // SAFETY: by contract.
    unsafe {
        let mark = low_water_mark(low, top);
        if mark < top {
            wipe(mark as *mut u8, top - mark);
        }
        top - mark
    }
}

/// Bytes looked at between two branches.
const STRIDE: usize = 512;

/// Address of the first stride that is not all zero, or `top`.
///
/// # Safety
/// As [`wipe_stack`].
unsafe fn low_water_mark(low: usize, top: usize) -> usize {
    let mut at = low;
    while at + STRIDE <= top {
        let words = at as *const [u64; STRIDE / 8];
        // SAFETY: within low..top. The compiler makes vector loads of this.
        let any = unsafe { (*words).iter().fold(0, |any, word| any | word) };
        if any != 0 {
            return at;
        }
        at += STRIDE;
    }
    at
}
