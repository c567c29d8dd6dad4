//! A global allocator under which whatever Rust code allocates on the crucible comes from the arena.
//!
//! Guarantees: a block from the arena or its overflow is wiped when freed, on whatever thread; a block from anywhere that is
//! freed on the crucible is wiped; reallocation never leaves an unwiped copy on the crucible.
//! Does not: touch allocations of other threads (they go to the system unchanged), or those made while a panic is
//! reported (the hook keeps caches that outlive the job; a panic's message must not hold a secret anyway).
//!
//! What a job allocates and returns stays in the arena until dropped, and is not there in a forked child: what is to
//! outlive a job for long, a cache or a lazily built static, is better made outside.
use crate::arena::{Owner, arena, owner};
use crate::crucible::is_crucible_thread;
use crate::wipe::wipe;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{copy_nonoverlapping, null_mut};

/// For `#[global_allocator]`.
pub struct CrucibleAlloc;

impl CrucibleAlloc {
    #[inline]
    fn in_job() -> bool {
        is_crucible_thread() && !std::thread::panicking()
    }

    fn from_arena(layout: Layout) -> *mut u8 {
        arena()
            .ok()
            .and_then(|a| a.alloc_temporary(layout.size(), layout.align()))
            .map_or(null_mut(), |block| block.as_ptr())
    }
}

// SAFETY: blocks are as large and aligned as asked, disjoint, and freed to where they came from, told by address.
unsafe impl GlobalAlloc for CrucibleAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::in_job() {
            let block = Self::from_arena(layout);
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: by contract.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Self::in_job() {
            // blocks of the arena are zeroed
            let block = Self::from_arena(layout);
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: by contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by contract; the owner is told by address.
        unsafe {
            match owner(block as usize) {
                Owner::Us(arena) => arena.free(block as usize),
                Owner::Parent(_) => (),
                Owner::Elsewhere => {
                    if is_crucible_thread() {
                        wipe(block, layout.size());
                    }
                    System.dealloc(block, layout);
                }
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let owner = owner(block as usize);
        if matches!(owner, Owner::Elsewhere) && !is_crucible_thread() {
            // SAFETY: by contract.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: by contract, the new size makes a valid layout with the same alignment.
        unsafe {
            let new_layout = Layout::from_size_align_unchecked(size, layout.align());
            let new = match owner {
                Owner::Us(arena) if stays(arena.size_of_block(block as usize), size) => {
                    if size < layout.size() {
                        wipe(block.add(size), layout.size() - size);
                    }
                    return block;
                }
                // What once was in the arena stays there, whoever makes it grow.
                Owner::Us(_) => Self::from_arena(new_layout),
                _ => null_mut(),
            };
            let new = if new.is_null() {
                self.alloc(new_layout)
            } else {
                new
            };
            if !new.is_null() {
                copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Whether a block can hold a reallocation to `size` bytes without waste.
fn stays(block: usize, size: usize) -> bool {
    size <= block && (block <= 256 || size > block / 2)
}
