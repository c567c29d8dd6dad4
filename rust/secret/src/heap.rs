//! An allocator for one stretch of memory, with all of its book-keeping somewhere else.
//!
//! Guarantees: blocks never overlap; a block has the alignment asked for; **every free byte is zero**, so a new
//! block is zeroed and nothing of an old one survives; a full heap is an answer (`None`), never a fault; a bad free
//! ends the process rather than corrupting anything. An overrun inside the heap cannot reach the book-keeping.
//! Does not: put guard pages between blocks, or give memory back to the system (but see [`Heap::trim`]).
//!
//! Small blocks share 4 KiB pages of one size class; larger ones take whole pages, first fit.
use crate::lock::Lock;
use crate::wipe::wipe;
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// The heap's own unit, in bytes; the system's pages may be larger.
pub(crate) const PAGE: usize = 4096;

/// Bytes of the blocks that share a page; all multiples of 16, so that every block has at least that alignment.
const CLASSES: [u16; 18] = [
    16, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1344, 2048,
];
const LARGEST: usize = CLASSES[CLASSES.len() - 1] as usize;

/// `CLASS_OF[n]` is the class for n units of 16 bytes.
const CLASS_OF: [u8; LARGEST / 16 + 1] = {
    let mut table = [0u8; LARGEST / 16 + 1];
    let (mut units, mut class) = (0, 0);
    while units < table.len() {
        if units * 16 > CLASSES[class] as usize {
            class += 1;
        }
        table[units] = class as u8;
        units += 1;
    }
    table
};

const FREE: u8 = 0;
const SMALL: u8 = 1;
const RUN: u8 = 2;

/// What is known of one page. All zero bytes mean "free", so fresh pages of book-keeping need no initialisation.
#[repr(C)]
struct Page {
    /// Kind, class and run length do not change while a block in the page lives, so its owner may read them unlocked.
    kind: AtomicU8,
    class: AtomicU8,
    run: AtomicU32,
    /// Everything below is only touched under the lock. Links are page number + 1; 0 is the end.
    used: Cell<u16>,
    next: Cell<u32>,
    previous: Cell<u32>,
    /// A set bit is a free block.
    open: [Cell<u64>; 4],
}

/// Where to look first; under the lock.
struct Books {
    /// Per class: a page with room, + 1.
    partial: [u32; CLASSES.len()],
    /// No page below this word of `taken` is free.
    first_word: usize,
}

pub(crate) struct Heap {
    base: usize,
    count: usize,
    free_pages: AtomicUsize,
    /// Pages ever used, as an upper bound: what `trim` gives back.
    touched: AtomicUsize,
    pages: *const Page,
    /// One bit per page, set when taken; under the lock.
    taken: *mut u64,
    lock: Lock,
    books: UnsafeCell<Books>,
}

// SAFETY: `books`, `taken` and the cells in `pages` are only reached under `lock`; the rest is atomic or constant.
unsafe impl Send for Heap {}
unsafe impl Sync for Heap {}

impl Heap {
    /// # Safety
    /// `base..base + len` must be readable, writable, all zero, used by nobody else, and stay so for ever;
    /// `base` must be a multiple of [`PAGE`].
    pub(crate) unsafe fn new(base: usize, len: usize) -> io::Result<Heap> {
        let count = len / PAGE;
        let words = count.div_ceil(64);
        let bytes = count * size_of::<Page>() + words * 8;
        // SAFETY: a fresh anonymous mapping.
        let books = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if books == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = books.cast::<Page>();
        // SAFETY: the bitmap lies behind the page records in the same mapping; Page's size keeps it 8-aligned.
        let taken = unsafe { pages.add(count).cast::<u64>() };
        if !count.is_multiple_of(64) {
            // SAFETY: the last word exists; bits past the end read as taken.
            unsafe { *taken.add(words - 1) = !0 << (count % 64) };
        }
        Ok(Heap {
            base,
            count,
            free_pages: AtomicUsize::new(count),
            touched: AtomicUsize::new(0),
            pages,
            taken,
            lock: Lock::new(),
            books: UnsafeCell::new(Books {
                partial: [0; CLASSES.len()],
                first_word: 0,
            }),
        })
    }

    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base) < self.count * PAGE
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.count * PAGE
    }

    /// Bytes in wholly free pages: a lower bound of what can still be had.
    pub(crate) fn free_bytes(&self) -> usize {
        self.free_pages.load(Relaxed) * PAGE
    }

    /// A zeroed block of at least `size` bytes, or None if there is no room that leaves `reserve` pages free.
    /// Alignments over [`PAGE`] are not to be had.
    pub(crate) fn alloc(&self, size: usize, align: usize, reserve: usize) -> Option<NonNull<u8>> {
        if align > PAGE {
            return None;
        }
        let _guard = self.lock.lock();
        // SAFETY: under the lock, the only reference.
        let books = unsafe { &mut *self.books.get() };
        let offset = match class_for(size, align) {
            Some(class) => self.alloc_small(books, class, reserve)?,
            None => self.alloc_run(books, size.div_ceil(PAGE).max(1), reserve)?,
        };
        NonNull::new((self.base + offset) as *mut u8)
    }

    /// How many bytes the block at `address` has.
    pub(crate) fn size_of_block(&self, address: usize) -> usize {
        let page = self.record((address - self.base) / PAGE);
        let offset = (address - self.base) % PAGE;
        match page.kind.load(Relaxed) {
            SMALL => {
                let size = CLASSES[page.class.load(Relaxed) as usize] as usize;
                if offset.is_multiple_of(size) && offset + size <= PAGE {
                    return size;
                }
            }
            RUN if offset == 0 => return page.run.load(Relaxed) as usize * PAGE,
            _ => (),
        }
        corrupt()
    }

    /// Wipes and frees the block at `address`.
    ///
    /// # Safety
    /// `address` came from `alloc` of this heap, is freed once, and nobody uses it any more.
    pub(crate) unsafe fn free(&self, address: usize) {
        let size = self.size_of_block(address);
        // SAFETY: the block still belongs to the caller, so wiping needs no lock.
        unsafe { wipe(address as *mut u8, size) };
        let number = (address - self.base) / PAGE;
        let _guard = self.lock.lock();
        // SAFETY: under the lock, the only reference.
        let books = unsafe { &mut *self.books.get() };
        let page = self.record(number);
        match page.kind.load(Relaxed) {
            SMALL => (),
            RUN => return self.return_pages(books, number, page.run.load(Relaxed) as usize),
            _ => corrupt(),
        }
        let class = page.class.load(Relaxed) as usize;
        let block = address % PAGE / size;
        let (word, bit) = (block / 64, 1u64 << (block % 64));
        let open = page.open[word].get();
        if open & bit != 0 {
            corrupt();
        }
        page.open[word].set(open | bit);
        let was_full = page.used.get() as usize == PAGE / size;
        page.used.set(page.used.get() - 1);
        if page.used.get() == 0 {
            if !was_full {
                self.unlink(books, number, class);
            }
            self.return_pages(books, number, 1);
        } else if was_full {
            self.link(books, number, class);
        }
    }

    /// Gives the memory of an entirely free heap back to the system once it has grown past `keep` bytes.
    /// Only for heaps over private anonymous memory, whose pages come back as zeroes.
    pub(crate) fn trim(&self, keep: usize) {
        if self.touched.load(Relaxed) * PAGE <= keep || self.free_pages.load(Relaxed) != self.count
        {
            return;
        }
        let _guard = self.lock.lock();
        if self.free_pages.load(Relaxed) == self.count {
            // SAFETY: every block is free and wiped; nothing is lost.
            unsafe {
                libc::madvise(
                    self.base as *mut _,
                    self.touched.load(Relaxed) * PAGE,
                    libc::MADV_DONTNEED,
                )
            };
            self.touched.store(0, Relaxed);
        }
    }

    fn record(&self, page: usize) -> &Page {
        assert!(page < self.count);
        // SAFETY: `count` records exist for ever; what is not atomic in them is used under the lock alone.
        unsafe { &*self.pages.add(page) }
    }

    /// Offset of a block of this class.
    fn alloc_small(&self, books: &mut Books, class: usize, reserve: usize) -> Option<usize> {
        let size = CLASSES[class] as usize;
        let room = PAGE / size;
        if books.partial[class] == 0 {
            let number = self.take_pages(books, 1, reserve)?;
            let page = self.record(number);
            page.kind.store(SMALL, Relaxed);
            page.class.store(class as u8, Relaxed);
            page.used.set(0);
            for (i, word) in page.open.iter().enumerate() {
                word.set(match room.saturating_sub(i * 64) {
                    0 => 0,
                    n if n >= 64 => !0,
                    n => (1 << n) - 1,
                });
            }
            self.link(books, number, class);
        }
        let number = books.partial[class] as usize - 1;
        let page = self.record(number);
        let word = page.open.iter().position(|w| w.get() != 0)?;
        let open = page.open[word].get();
        let bit = open.trailing_zeros() as usize;
        page.open[word].set(open & (open - 1));
        page.used.set(page.used.get() + 1);
        if page.used.get() as usize == room {
            self.unlink(books, number, class);
        }
        Some(number * PAGE + (word * 64 + bit) * size)
    }

    /// Offset of `n` whole pages.
    fn alloc_run(&self, books: &mut Books, n: usize, reserve: usize) -> Option<usize> {
        let number = self.take_pages(books, n, reserve)?;
        let page = self.record(number);
        page.kind.store(RUN, Relaxed);
        page.run.store(n as u32, Relaxed);
        Some(number * PAGE)
    }

    /// The first of `n` pages in a row, marked as taken.
    fn take_pages(&self, books: &mut Books, n: usize, reserve: usize) -> Option<usize> {
        let free = self.free_pages.load(Relaxed);
        if free < n.checked_add(reserve)? {
            return None;
        }
        let words = self.count.div_ceil(64);
        let (mut start, mut found) = (0, 0);
        let mut at = books.first_word * 64;
        let mut first_free = None;
        while found < n && at < words * 64 {
            // SAFETY: at / 64 < words.
            let word = unsafe { *self.taken.add(at / 64) } >> (at % 64);
            if word & 1 != 0 {
                // a whole word of taken pages at a time
                at += (word.trailing_ones() as usize).min(64 - at % 64);
                found = 0;
                continue;
            }
            first_free.get_or_insert(at / 64);
            if found == 0 {
                start = at;
            }
            let open = (word.trailing_zeros() as usize).min(64 - at % 64);
            found += open;
            at += open;
        }
        if let Some(word) = first_free {
            books.first_word = word;
        }
        if found < n {
            return None;
        }
        self.mark(start, n, true);
        self.free_pages.store(free - n, Relaxed);
        self.touched.fetch_max(start + n, Relaxed);
        Some(start)
    }

    fn return_pages(&self, books: &mut Books, first: usize, n: usize) {
        self.record(first).kind.store(FREE, Relaxed);
        self.mark(first, n, false);
        books.first_word = books.first_word.min(first / 64);
        self.free_pages.fetch_add(n, Relaxed);
    }

    fn mark(&self, first: usize, n: usize, taken: bool) {
        let (mut at, end) = (first, first + n);
        while at < end {
            let bits = (end - at).min(64 - at % 64);
            let mask = (!0 >> (64 - bits)) << (at % 64);
            // SAFETY: at < count.
            let word = unsafe { &mut *self.taken.add(at / 64) };
            if taken {
                *word |= mask;
            } else {
                *word &= !mask;
            }
            at += bits;
        }
    }

    fn link(&self, books: &mut Books, number: usize, class: usize) {
        let (page, head) = (self.record(number), books.partial[class]);
        page.previous.set(0);
        page.next.set(head);
        if head != 0 {
            self.record(head as usize - 1)
                .previous
                .set(number as u32 + 1);
        }
        books.partial[class] = number as u32 + 1;
    }

    fn unlink(&self, books: &mut Books, number: usize, class: usize) {
        let page = self.record(number);
        let (previous, next) = (page.previous.get(), page.next.get());
        match previous {
            0 => books.partial[class] = next,
            p => self.record(p as usize - 1).next.set(next),
        }
        if next != 0 {
            self.record(next as usize - 1).previous.set(previous);
        }
    }
}

/// The smallest class that holds `size` bytes at `align`; None: whole pages.
fn class_for(size: usize, align: usize) -> Option<usize> {
    if size > LARGEST {
        return None;
    }
    let mut class = CLASS_OF[size.div_ceil(16)] as usize;
    // pages are PAGE-aligned, so the blocks of a class are aligned to what divides its size
    while !(CLASSES[class] as usize).is_multiple_of(align) {
        class += 1;
        if class == CLASSES.len() {
            return None;
        }
    }
    Some(class)
}

/// A block was freed twice, or was never given out. Going on would hand one block to two owners.
#[cold]
fn corrupt() -> ! {
    crate::complain("evanesce-secret: a block was freed that was not in use; stopping\n");
    std::process::abort()
}

#[cfg(test)]
#[path = "heap_tests.rs"]
mod tests;
