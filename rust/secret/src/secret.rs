//! The two types that hold secrets: [`Secret`], of a length known to the compiler, and [`SecretVec`].
//!
//! Guarantees: the bytes lie in the arena (long ones in a locked mapping of their own), are wiped on drop, and can be had by
//! the verbs `expose` and `expose_mut` alone: there is no Debug, Display, Clone or comparison (see [`crate::ct_eq`]).
//! Does not: protect the copies that the user of `expose` makes.
use crate::arena::{Arena, arena};
use crate::map::{self, Kind};
use crate::wipe::wipe;
use crate::{Error, fork};
use std::ptr::NonNull;

/// `N` secret bytes. Only the process that made it can use it: in a forked child, exposing it panics.
///
/// It cannot be printed or copied by accident:
/// ```compile_fail,E0277
/// println!("{:?}", evanesce_secret::Secret::<32>::random());
/// ```
/// ```compile_fail,E0599
/// let copy = evanesce_secret::Secret::<32>::random().unwrap().clone();
/// ```
pub struct Secret<const N: usize>(Block);

impl<const N: usize> Secret<N> {
    /// # Errors
    /// [`Error::ArenaFull`], or [`Error::Unavailable`] if there is no arena at all. The same for all that follow.
    pub fn zeroed() -> Result<Self, Error> {
        Ok(Self(Block::in_arena(arena()?, N)?))
    }

    /// Zeroed, then filled in place.
    pub fn filled(f: impl FnOnce(&mut [u8; N])) -> Result<Self, Error> {
        let mut secret = Self::zeroed()?;
        f(secret.expose_mut());
        Ok(secret)
    }

    /// Zeroed, then filled in place by something that can fail.
    pub fn try_filled<E: From<Error>>(
        f: impl FnOnce(&mut [u8; N]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self::zeroed()?;
        f(secret.expose_mut())?;
        Ok(secret)
    }

    /// Uniform bytes from the kernel, which writes them straight into the arena.
    pub fn random() -> Result<Self, Error> {
        Self::filled(|bytes| crate::random(bytes))
    }

    /// # Panics
    /// In a forked child of the process that made it.
    #[inline]
    pub fn expose(&self) -> &[u8; N] {
        // SAFETY: the block has N bytes, initialised, borrowed as self is.
        unsafe { self.0.here().cast::<[u8; N]>().as_ref() }
    }

    /// # Panics
    /// In a forked child of the process that made it.
    #[inline]
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        // SAFETY: the block has N bytes, initialised, borrowed as self is.
        unsafe { self.0.here().cast::<[u8; N]>().as_mut() }
    }
}

/// Secret bytes of a length known at run time. Up to 64 KiB lie in the arena; more in a mapping of their own, which is mlocked (not memfd_secret), or,
/// if the system locks no more, in memory that may be swapped (wiped, out of core files, counted in [`crate::Report::spilled`]).
/// Only the process that made it can use it: in a forked child, exposing it panics.
pub struct SecretVec {
    block: Block,
    len: usize,
}

/// Longer secrets get a mapping of their own, in bytes.
const IN_ARENA_MOST: usize = 64 << 10;
/// A full arena sends secrets from this length on to a mapping of their own, in bytes; shorter ones would waste it.
const OWN_MAPPING_LEAST: usize = 4096;

impl SecretVec {
    /// # Errors
    /// [`Error::ArenaFull`] up to 4 KiB, [`Error::Unavailable`] if there is no memory at all. The same for all that follow.
    pub fn zeroed(len: usize) -> Result<Self, Error> {
        let arena = arena()?;
        let block = if len <= IN_ARENA_MOST {
            match Block::in_arena(arena, len) {
                Err(Error::ArenaFull) if len >= OWN_MAPPING_LEAST => Block::mapped(arena, len)?,
                block => block?,
            }
        } else {
            Block::mapped(arena, len)?
        };
        Ok(Self { block, len })
    }

    /// A copy; the original stays the caller's to wipe.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        let mut secret = Self::zeroed(bytes.len())?;
        secret.expose_mut().copy_from_slice(bytes);
        Ok(secret)
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// # Panics
    /// In a forked child of the process that made it.
    #[inline]
    pub fn expose(&self) -> &[u8] {
        // SAFETY: the block has at least `len` bytes, initialised, borrowed as self is.
        unsafe { std::slice::from_raw_parts(self.block.here().as_ptr(), self.len) }
    }

    /// # Panics
    /// In a forked child of the process that made it.
    #[inline]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        // SAFETY: the block has at least `len` bytes, initialised, borrowed as self is.
        unsafe { std::slice::from_raw_parts_mut(self.block.here().as_ptr(), self.len) }
    }

    /// Keeps the first `len` bytes and wipes the rest; does nothing if there are no more than that.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            let cut = &mut self.expose_mut()[len..];
            // SAFETY: our own bytes.
            unsafe { wipe(cut.as_mut_ptr(), cut.len()) };
            self.len = len;
        }
    }
}

/// Memory for one secret, and the process it belongs to.
///
/// Every byte of it is always initialised, hence no enum: one is moved off the crucible with whatever bytes its variant
/// does not use, and those are what an earlier call left on that stack.
struct Block {
    at: NonNull<u8>,
    generation: u64,
    /// Bytes that can be used of a mapping of its own, which has a guard page at either end; 0 for a block of the
    /// arena.
    mapped: usize,
}

// SAFETY: a block is owned memory like a Box's; it is changed through &mut alone.
unsafe impl Send for Block {}
unsafe impl Sync for Block {}

impl Block {
    fn in_arena(arena: &Arena, len: usize) -> Result<Block, Error> {
        Ok(Block {
            at: arena.alloc_secret(len)?,
            generation: arena.generation,
            mapped: 0,
        })
    }

    /// Between guard pages of its own; in the overflow if no more can be locked.
    fn mapped(arena: &Arena, len: usize) -> Result<Block, Error> {
        let none = |e| Error::Unavailable(format!("no memory for {len} bytes: {e}"));
        let page = map::page();
        let usable = len
            .checked_next_multiple_of(page)
            .filter(|n| *n < isize::MAX as usize - 2 * page)
            .ok_or_else(|| none("too long".into()))?;
        let whole = usable + 2 * page;
        let base = map::reserve(whole).map_err(|e| none(e.to_string()))?;
        // Not memfd_secret: taking each page out of the kernel's map and putting it back costs 2 ms for a mebibyte.
        for kind in [Kind::Locked, Kind::Plain] {
            // SAFETY: reserved above, used by nobody.
            if unsafe { map::place(base + page, usable, kind) }.is_ok() {
                if kind == Kind::Plain {
                    arena.count_spill();
                }
                return Ok(Block {
                    // SAFETY: a mapping's address is not null.
                    at: unsafe { NonNull::new_unchecked((base + page) as *mut u8) },
                    generation: arena.generation,
                    mapped: usable,
                });
            }
        }
        // SAFETY: nobody has been told of these addresses.
        unsafe { map::release(base, whole) };
        Err(none(std::io::Error::last_os_error().to_string()))
    }

    #[inline]
    fn here(&self) -> NonNull<u8> {
        // In a child these addresses hold zeroes at best: a key of zeroes must not be used by mistake.
        assert!(
            self.generation == fork::current(),
            "a secret of the process before the fork"
        );
        self.at
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.generation != fork::current() {
            return;
        }
        let address = self.at.as_ptr() as usize;
        if self.mapped == 0 {
            if let Ok(arena) = arena() {
                // SAFETY: our own block of this process's arena, dropped once.
                unsafe { arena.free(address) };
            }
            return;
        }
        let page = map::page();
        // SAFETY: our own mapping, dropped once.
        unsafe {
            wipe(self.at.as_ptr(), self.mapped);
            map::release(address - page, self.mapped + 2 * page);
        }
    }
}
