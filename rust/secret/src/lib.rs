//! Locked, undumpable, wiped memory, and the crucible: threads on which secrets may be used.
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// What stands behind the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    MemfdSecret,
    LockedMemory { why: String },
    Audit,
}

/// What memory protection this process has, for `doctor`.
#[derive(Clone, Debug)]
pub struct Report {
    pub backing: Backing,
    pub arena_bytes: usize,
    pub arena_free: usize,
    pub locked_limit: u64,
    pub undumpable: bool,
    pub core_limit_zero: bool,
    pub crucible_threads: usize,
    pub stack_bytes: usize,
    pub spilled: u64,
    pub awslc_in_arena: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    ArenaFull,
    Unavailable(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::ArenaFull => f.write_str("the arena for secrets is full"),
            Error::Unavailable(why) => write!(f, "memory for secrets is unavailable: {why}"),
        }
    }
}
impl std::error::Error for Error {}

pub fn init() {}
pub fn harden() -> Result<(), Error> {
    Ok(())
}
pub fn report() -> Report {
    Report {
        backing: Backing::LockedMemory { why: "not built yet".into() },
        arena_bytes: 0,
        arena_free: 0,
        locked_limit: 0,
        undumpable: false,
        core_limit_zero: false,
        crucible_threads: 0,
        stack_bytes: 0,
        spilled: 0,
        awslc_in_arena: false,
    }
}

pub struct Secret<const N: usize>(Box<[u8; N]>);
impl<const N: usize> Secret<N> {
    pub fn zeroed() -> Result<Self, Error> {
        Ok(Self(Box::new([0; N])))
    }
    pub fn filled(f: impl FnOnce(&mut [u8; N])) -> Result<Self, Error> {
        let mut s = Self::zeroed()?;
        f(&mut s.0);
        Ok(s)
    }
    pub fn try_filled<E: From<Error>>(
        f: impl FnOnce(&mut [u8; N]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut s = Self::zeroed()?;
        f(&mut s.0)?;
        Ok(s)
    }
    pub fn random() -> Result<Self, Error> {
        Self::filled(|b| random(b))
    }
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}
impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

pub struct SecretVec(Vec<u8>);
impl SecretVec {
    pub fn zeroed(len: usize) -> Result<Self, Error> {
        Ok(Self(vec![0; len]))
    }
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        Ok(Self(bytes.to_vec()))
    }
    pub fn len(&self) -> usize {
        self.0.len()
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
    pub fn truncate(&mut self, len: usize) {
        if len < self.0.len() {
            self.0[len..].zeroize();
            self.0.truncate(len);
        }
    }
}
impl Drop for SecretVec {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

pub fn random(out: &mut [u8]) {
    let mut done = 0;
    while done < out.len() {
        // SAFETY: the pointer and length describe the unfilled tail of `out`.
        let n = unsafe { libc::getrandom(out[done..].as_mut_ptr().cast(), out.len() - done, 0) };
        if n > 0 {
            done += n as usize;
        } else if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            std::process::abort();
        }
    }
}

pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });
pub fn on_crucible<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let before = INSIDE.replace(true);
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    INSIDE.set(before);
    r.unwrap_or_else(|p| std::panic::resume_unwind(p))
}
pub fn spawn_on_crucible(f: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || on_crucible(f));
}
pub fn is_crucible_thread() -> bool {
    INSIDE.get()
}
static GENERATION: AtomicU64 = AtomicU64::new(1);
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

pub struct CrucibleAlloc;
// SAFETY: forwards to System.
unsafe impl std::alloc::GlobalAlloc for CrucibleAlloc {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        unsafe { std::alloc::System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: std::alloc::Layout) {
        unsafe { std::alloc::System.dealloc(ptr, layout) }
    }
}
