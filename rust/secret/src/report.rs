//! What protection this process's secrets really have, for `doctor` and for whoever has to decide.
use crate::arena::{STACK, arena};
use crate::{awslc, init};

/// What stands behind the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// All of it is memfd_secret(2) memory: not even the kernel or root can read it by the usual ways.
    MemfdSecret,
    /// Ordinary memory, locked as far as the system allows, out of core files and forked children; `why` says what is
    /// missing, in words for an operator. Where anything is not locked, it says NOT LOCKED.
    LockedMemory { why: String },
    /// An audit build: ordinary locked memory, dumpable, so that a scanner can see it. Never for real keys.
    Audit,
}

/// A snapshot; building it builds the arena. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Report {
    pub backing: Backing,
    /// The heap for secrets and all crucible stacks.
    pub arena_bytes: usize,
    /// A lower bound of what secrets can still take.
    pub arena_free: usize,
    /// How much of the arena may be swapped; 0 is as it should be.
    pub unlocked_bytes: usize,
    /// RLIMIT_MEMLOCK, `u64::MAX` if there is none.
    pub locked_limit: u64,
    pub undumpable: bool,
    pub core_limit_zero: bool,
    /// How many jobs the crucible runs at once, each on a stack of its own.
    pub crucible_threads: usize,
    pub stack_bytes: usize,
    /// The most that any job so far has used of its stack.
    pub stack_deepest: usize,
    /// Blocks that did not fit the locked arena so far: wiped, undumped, but perhaps swapped.
    pub spilled: u64,
    /// Whether AWS-LC's allocations on the crucible come from the arena.
    pub awslc_in_arena: bool,
}

pub fn report() -> Report {
    init();
    let mut report = Report {
        backing: Backing::LockedMemory { why: String::new() },
        arena_bytes: 0,
        arena_free: 0,
        unlocked_bytes: 0,
        locked_limit: locked_limit(),
        undumpable: undumpable(),
        core_limit_zero: limit(libc::RLIMIT_CORE) == 0,
        crucible_threads: 0,
        stack_bytes: STACK,
        stack_deepest: 0,
        spilled: 0,
        awslc_in_arena: awslc::installed(),
    };
    match arena() {
        Ok(arena) => {
            report.backing = arena.backing.clone();
            report.arena_bytes = arena.locked + arena.unlocked;
            report.unlocked_bytes = arena.unlocked;
            report.arena_free = arena.heap.free_bytes();
            report.crucible_threads = arena.stacks.count();
            report.stack_deepest = arena.stacks.deepest();
            report.spilled = arena.spilled();
        }
        Err(e) => {
            report.awslc_in_arena = false;
            report.backing = Backing::LockedMemory {
                why: format!("NOTHING IS LOCKED: {e}"),
            };
        }
    }
    report
}

fn undumpable() -> bool {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 }
}

/// RLIMIT_MEMLOCK in bytes.
pub(crate) fn locked_limit() -> u64 {
    limit(libc::RLIMIT_MEMLOCK)
}

fn limit(which: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a plain system call that fills the struct.
    unsafe { libc::getrlimit(which, &mut limit) };
    limit.rlim_cur
}

/// Whether this process has CAP_IPC_LOCK, for which the limit does not count.
pub(crate) fn may_lock_beyond_limit() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    // effective, permitted, inheritable; twice
    let mut sets = [0u32; 6];
    // SAFETY: capget(2) reads a header of two words and fills six.
    let done = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    done == 0 && sets[0] & (1 << CAP_IPC_LOCK) != 0
}
