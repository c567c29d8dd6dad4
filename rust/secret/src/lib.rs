//! Memory for secrets, and the crucible in which they are used.
//!
//! Use [`Secret`] or [`SecretVec`] to hold a secret, [`on_crucible`] to work with it, [`report`] to learn what protection
//! this system really gives, [`harden`] at the start of a process. Call [`init`] first of all if you can: it is
//! also called by whatever here is used first.
//!
//! Guarantees (PROTOCOL §1, "crucible"): secrets lie in one locked arena, undumpable, absent from forked children,
//! between guard pages, wiped when dropped; jobs run on locked stacks, wiped afterwards together with the registers.
//! Where the system allows less (no memfd_secret, a small locked-memory limit), it works with less and says so.
//!
//! Does not: protect from code in the same process, from a debugger attached as root to memory that is not
//! memfd_secret, from copies made outside the crucible, or from hibernation of the machine (memfd_secret prevents it, locked
//! memory does not).
//!
//! Linux only, on x86-64 and AArch64.
#![deny(unsafe_op_in_unsafe_fn)]

mod alloc;
mod arena;
mod awslc;
mod crucible;
mod file;
mod fork;
mod harden;
mod heap;
mod lock;
mod map;
mod pool;
mod random;
mod registers;
mod report;
mod secret;
mod wipe;

pub use alloc::CrucibleAlloc;
pub use crucible::{is_crucible_thread, on_crucible};
pub use file::write_new;
pub use fork::generation;
pub use harden::harden;
pub use pool::spawn_on_crucible;
pub use random::{ct_eq, random};
pub use report::{Backing, Report, report};
pub use secret::{Secret, SecretVec};

/// Points AWS-LC's allocator at the arena. Everything public here that needs it calls it; a process should call it before it
/// uses AWS-LC in any way, so that nothing is allocated past it.
#[inline]
pub fn init() {
    awslc::install();
    fork::register();
}

/// Why there is no memory for a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The locked arena has no room left; something holds too many secrets at once.
    ArenaFull,
    /// The system refused; says what and why.
    Unavailable(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::ArenaFull => f.write_str("the locked memory for secrets is full"),
            Error::Unavailable(why) => write!(f, "secrets cannot be protected: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// A word on standard error from places that may not allocate.
fn complain(message: &str) {
    // SAFETY: a plain system call; there is nothing to do about its failure.
    unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
}
