//! The arena: one stretch of addresses per process that holds all secrets and all crucible stacks.
//!
//! Layout, low to high; a guard page below every piece and above the last:
//! stacks · heap (together the locked part, at most 4 MiB) · overflow (ordinary memory, for what does not fit).
//!
//! Guarantees: what the [`Report`](crate::Report) says is locked, is; nothing here reaches a core file (but for `audit`)
//! or a forked child; whatever is freed is wiped. It is built on first use, and again in a forked child. Where the
//! system gives less than was asked, the arena shrinks, then stops being locked, and says so; it never fails for that.
//! Does not: keep secrets from code in this same process.
use crate::crucible::{Stack, Stacks};
use crate::heap::Heap;
use crate::lock::Lock;
use crate::map::{self, Kind};
use crate::{Backing, Error, fork};
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};

/// The locked part, in bytes: half of RLIMIT_MEMLOCK, since memfd_secret and mlock share it with everybody, and at most this.
const LOCKED_MOST: usize = 4 << 20;
/// Less than this is not worth locking, in bytes.
const LOCKED_LEAST: usize = 16 << 10;
/// The heap's least share of the locked part when stacks are locked too, in bytes.
const HEAP_LEAST: usize = 64 << 10;
/// Heap when nothing can be locked, in bytes.
const HEAP_UNLOCKED: usize = 1 << 20;
/// One crucible stack, in bytes. The deepest user is ML-DSA-87 signing in AWS-LC (`tests/stack.rs`).
pub(crate) const STACK: usize = 256 << 10;
/// Stacks wanted whatever the number of cores: a job may wait, for an element on a slow bus, and keep its stack meanwhile.
const STACKS_LEAST: usize = 8;
/// Most stacks: their free list is one word.
const STACKS_MOST: usize = 64;
/// Overflow, in bytes of addresses; memory is used only as it is touched.
const OVERFLOW: usize = 256 << 20;
/// What the overflow keeps when it falls empty, in bytes.
const OVERFLOW_KEEP: usize = 1 << 20;

pub(crate) struct Arena {
    pub(crate) generation: u64,
    pub(crate) backing: Backing,
    /// Bytes that are locked, and bytes of heap and stacks that are not.
    pub(crate) locked: usize,
    pub(crate) unlocked: usize,
    pub(crate) stacks: Stacks,
    pub(crate) heap: Heap,
    overflow: Option<Heap>,
    /// Heap pages that only `Secret` and `SecretVec` may take: temporaries must not starve them.
    reserve: usize,
    spilled: AtomicU64,
    base: usize,
    len: usize,
    /// From here to the end is heap and overflow.
    heap_at: usize,
    /// The arena of the process before the fork.
    parent: AtomicPtr<Arena>,
}

/// This process's arena; null until first use.
static CURRENT: AtomicPtr<Arena> = AtomicPtr::new(null_mut());
/// Arenas of the processes this one was forked from, newest first.
static PARENTS: AtomicPtr<Arena> = AtomicPtr::new(null_mut());
static BUILDING: Lock = Lock::new();

/// This process's arena.
pub(crate) fn arena() -> Result<&'static Arena, Error> {
    match existing() {
        Some(arena) => Ok(arena),
        None => build(),
    }
}

/// The same, if it has been built already.
pub(crate) fn existing() -> Option<&'static Arena> {
    // SAFETY: an arena is published complete, and never freed.
    unsafe { CURRENT.load(Acquire).as_ref() }
}

#[cold]
fn build() -> Result<&'static Arena, Error> {
    fork::register();
    let _guard = BUILDING.lock();
    if let Some(arena) = existing() {
        return Ok(arena);
    }
    let built = Arena::build().map_err(|e| Error::Unavailable(format!("no memory: {e}")))?;
    let arena = Box::into_raw(Box::new(built));
    CURRENT.store(arena, Release);
    // SAFETY: just made, never freed.
    Ok(unsafe { &*arena })
}

/// Whose memory an address is.
pub(crate) enum Owner {
    Us(&'static Arena),
    /// A process we were forked from: zeroes here, and not ours to free.
    Parent(&'static Arena),
    Elsewhere,
}

#[inline]
pub(crate) fn owner(address: usize) -> Owner {
    // SAFETY: arenas are published complete, and never freed.
    unsafe {
        if let Some(arena) = existing()
            && arena.contains(address)
        {
            return Owner::Us(arena);
        }
        let mut parent = PARENTS.load(Acquire);
        while let Some(arena) = parent.as_ref() {
            if arena.contains(address) {
                return Owner::Parent(arena);
            }
            parent = arena.parent.load(Acquire);
        }
    }
    Owner::Elsewhere
}

/// In a forked child, before anything else runs there: the parent's arena is gone (DONTFORK). Heap addresses
/// become zeroes, so that whatever else in this process still points there reads nothing rather than faults.
///
/// # Safety
/// Only from the child handler of pthread_atfork.
pub(crate) unsafe fn abandon() {
    BUILDING.reopen();
    let old = CURRENT.swap(null_mut(), AcqRel);
    // SAFETY: arenas are never freed; the addresses are the arena's own, and nobody's since the fork.
    unsafe {
        let Some(arena) = old.as_ref() else { return };
        if map::blank(arena.base, arena.len) {
            map::zeroes(arena.heap_at, arena.base + arena.len - arena.heap_at);
        }
        arena.parent.store(PARENTS.load(Acquire), Release);
    }
    PARENTS.store(old, Release);
}

/// How the locked part is divided.
#[derive(Clone, Copy)]
struct Plan {
    stacks: usize,
    stacks_kind: Kind,
    heap: usize,
    heap_kind: Kind,
}

impl Plan {
    fn new(budget: usize, kind: Kind, wanted: usize) -> Plan {
        let fits = kind == Kind::Plain || budget >= STACK + HEAP_LEAST;
        let stacks = if fits && kind != Kind::Plain {
            wanted.clamp(1, (budget / 2 / STACK).max(1))
        } else {
            wanted
        };
        let (stacks_kind, heap) = match (fits, kind) {
            (true, Kind::Plain) | (false, _) => (Kind::Plain, budget),
            (true, kind) => (kind, budget - stacks * STACK),
        };
        Plan {
            stacks: stacks.min(STACKS_MOST),
            stacks_kind,
            heap: heap / map::page() * map::page(),
            heap_kind: kind,
        }
    }

    fn locked(&self) -> usize {
        let stacks = self.stacks * STACK * usize::from(self.stacks_kind != Kind::Plain);
        stacks + self.heap * usize::from(self.heap_kind != Kind::Plain)
    }

    fn unlocked(&self) -> usize {
        self.stacks * STACK + self.heap - self.locked()
    }
}

/// Addresses, before there is an arena to own them.
struct Site {
    base: usize,
    len: usize,
    stacks: Vec<Stack>,
    heap_at: usize,
}

impl Site {
    /// Reserves addresses for the plan and its overflow, and maps all but the overflow.
    fn make(plan: &Plan, overflow: usize) -> io::Result<Site> {
        let guard = map::page();
        let stacks_len = plan.stacks * (guard + STACK);
        let len = stacks_len + guard + plan.heap + guard + overflow + guard;
        let base = map::reserve(len)?;
        let stacks = (0..plan.stacks)
            .map(|i| Stack::new(base + i * (guard + STACK) + guard, STACK))
            .collect();
        let site = Site {
            base,
            len,
            stacks,
            heap_at: base + stacks_len + guard,
        };
        let placed = (|| {
            for stack in &site.stacks {
                // SAFETY: reserved above, used by nobody.
                unsafe { map::place(stack.low, STACK, plan.stacks_kind)? };
            }
            // SAFETY: as above.
            unsafe { map::place(site.heap_at, plan.heap, plan.heap_kind) }
        })();
        if let Err(e) = placed {
            // SAFETY: nobody has been told of these addresses.
            unsafe { map::release(base, len) };
            return Err(e);
        }
        Ok(site)
    }
}

impl Arena {
    fn build() -> io::Result<Arena> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let (plan, backing, site, overflow) = place_best(cores.max(STACKS_LEAST))?;
        // SAFETY: `site` is ours alone: zeroed, and mapped for ever.
        let heap = unsafe { Heap::new(site.heap_at, plan.heap)? };
        let overflow_at = site.heap_at + plan.heap + map::page();
        let overflow = make_overflow(overflow_at, overflow);
        Ok(Arena {
            generation: crate::generation(),
            backing,
            locked: plan.locked(),
            unlocked: plan.unlocked(),
            reserve: plan.heap / crate::heap::PAGE / 4,
            stacks: Stacks::new(site.stacks),
            heap,
            overflow,
            spilled: AtomicU64::new(0),
            base: site.base,
            len: site.len,
            heap_at: site.heap_at,
            parent: AtomicPtr::new(null_mut()),
        })
    }

    #[inline]
    fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base) < self.len
    }

    /// A zeroed block for a secret: locked memory or nothing.
    pub(crate) fn alloc_secret(&self, size: usize) -> Result<NonNull<u8>, Error> {
        self.heap.alloc(size, 16, 0).ok_or(Error::ArenaFull)
    }

    /// A zeroed block for a temporary of the crucible: locked memory if there is room, else the overflow.
    pub(crate) fn alloc_temporary(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        self.heap
            .alloc(size, align, self.reserve)
            .or_else(|| self.alloc_overflow(size, align))
    }

    /// A zeroed block that is wiped and kept out of core files and children, but may be swapped; counted.
    pub(crate) fn alloc_overflow(&self, size: usize, align: usize) -> Option<NonNull<u8>> {
        self.count_spill();
        self.overflow.as_ref()?.alloc(size, align, 0)
    }

    pub(crate) fn count_spill(&self) {
        self.spilled.fetch_add(1, Relaxed);
    }

    pub(crate) fn spilled(&self) -> u64 {
        self.spilled.load(Relaxed)
    }

    fn heap_of(&self, address: usize) -> &Heap {
        match &self.overflow {
            Some(overflow) if overflow.contains(address) => overflow,
            _ => &self.heap,
        }
    }

    /// Bytes of the block at `address`, at least what was asked for.
    pub(crate) fn size_of_block(&self, address: usize) -> usize {
        self.heap_of(address).size_of_block(address)
    }

    /// Wipes and frees.
    ///
    /// # Safety
    /// A block of this arena in this process, freed once, not used any more.
    pub(crate) unsafe fn free(&self, address: usize) {
        let heap = self.heap_of(address);
        // SAFETY: by contract.
        unsafe { heap.free(address) };
        if !std::ptr::eq(heap, &self.heap) {
            heap.trim(OVERFLOW_KEEP);
        }
    }
}

/// The best arena this system gives: memfd_secret before mlock before neither, larger before smaller.
fn place_best(stacks: usize) -> io::Result<(Plan, Backing, Site, usize)> {
    let limit = crate::report::locked_limit();
    let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    let most = if crate::report::may_lock_beyond_limit() {
        LOCKED_MOST
    } else {
        half.min(LOCKED_MOST)
    };
    let kinds: &[(Kind, &str)] = if cfg!(feature = "audit") {
        &[(Kind::Locked, "mlock")]
    } else {
        &[(Kind::Secret, "memfd_secret"), (Kind::Locked, "mlock")]
    };
    let mut whys = Vec::new();
    for &(kind, name) in kinds {
        let mut budget = most;
        while budget >= LOCKED_LEAST {
            let plan = Plan::new(budget, kind, stacks);
            match make_site(&plan) {
                Ok((site, overflow)) => {
                    let backing = backing(&plan, whys, limit);
                    return Ok((plan, backing, site, overflow));
                }
                Err(e) if over_limit(&e) && budget / 2 >= LOCKED_LEAST => budget /= 2,
                Err(e) => {
                    whys.push(format!("{name}: {e}"));
                    break;
                }
            }
        }
    }
    let plan = Plan::new(HEAP_UNLOCKED, Kind::Plain, stacks);
    let (site, overflow) = make_site(&plan)?;
    let backing = backing(&plan, whys, limit);
    Ok((plan, backing, site, overflow))
}

fn over_limit(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EAGAIN | libc::ENOMEM | libc::EPERM)
    )
}

/// Where addresses are limited, the overflow is what gives way.
fn make_site(plan: &Plan) -> io::Result<(Site, usize)> {
    let mut overflow = OVERFLOW;
    loop {
        match Site::make(plan, overflow) {
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && overflow > OVERFLOW_KEEP => {
                overflow /= 2;
            }
            made => return made.map(|site| (site, overflow)),
        }
    }
}

/// As much of it as the system grants: where memory is not overcommitted, even untouched pages count.
fn make_overflow(at: usize, most: usize) -> Option<Heap> {
    let mut len = most;
    while len >= OVERFLOW_KEEP {
        // SAFETY: the overflow's addresses are reserved for it and unused.
        let made = unsafe { map::place(at, len, Kind::Plain).and_then(|()| Heap::new(at, len)) };
        match made {
            Ok(heap) => return Some(heap),
            Err(_) => len /= 2,
        }
    }
    None
}

/// What to say of it: anything short of "all of it memfd_secret" is explained.
fn backing(plan: &Plan, mut whys: Vec<String>, limit: u64) -> Backing {
    if cfg!(feature = "audit") {
        return Backing::Audit;
    }
    let limit = match limit {
        u64::MAX => "unlimited".to_string(),
        bytes => format!("{} KiB", bytes / 1024),
    };
    if plan.locked() == 0 {
        whys.push(format!(
            "NOTHING IS LOCKED, secrets may reach swap (RLIMIT_MEMLOCK is {limit}; 8192 KiB are enough)"
        ));
    } else if plan.unlocked() > 0 {
        whys.push(format!(
            "only {} KiB for secrets are locked, the stacks are NOT LOCKED and may reach swap \
             (RLIMIT_MEMLOCK is {limit}; 8192 KiB are enough)",
            plan.locked() / 1024
        ));
    } else if plan.heap_kind == Kind::Secret {
        return Backing::MemfdSecret;
    }
    Backing::LockedMemory {
        why: whys.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_never_exceeds_its_budget_and_always_has_a_stack_and_a_heap() {
        for kind in [Kind::Secret, Kind::Locked, Kind::Plain] {
            for cores in [1, 2, 3, 8, 64, 500] {
                for budget in (LOCKED_LEAST..=LOCKED_MOST).step_by(4096) {
                    let plan = Plan::new(budget, kind, cores);
                    assert!(plan.locked() <= budget);
                    assert!(plan.stacks >= 1 && plan.stacks <= STACKS_MOST);
                    assert!(plan.heap >= LOCKED_LEAST.min(HEAP_LEAST));
                }
            }
        }
    }

    #[test]
    fn eight_mebibytes_of_limit_lock_everything() {
        let plan = Plan::new(4 << 20, Kind::Secret, 64);
        assert_eq!((plan.stacks, plan.unlocked()), (8, 0));
        assert_eq!(plan.heap, 2 << 20);
    }

    #[test]
    fn sixty_four_kibibytes_of_limit_lock_the_heap_alone() {
        let plan = Plan::new(32 << 10, Kind::Secret, 2);
        assert_eq!(plan.locked(), 32 << 10);
        assert_eq!(plan.unlocked(), 2 * STACK);
    }

    #[test]
    fn a_full_arena_is_an_error_and_temporaries_leave_room_for_secrets() {
        let arena = Arena::build().unwrap();
        let mut taken = Vec::new();
        while arena.spilled() == 0 {
            taken.push(arena.alloc_temporary(4096, 16).unwrap());
        }
        let mut secrets = Vec::new();
        while let Ok(block) = arena.alloc_secret(4096) {
            secrets.push(block);
        }
        assert!(secrets.len() >= arena.reserve);
        assert_eq!(arena.alloc_secret(4096), Err(Error::ArenaFull));
        for block in taken.into_iter().chain(secrets) {
            // SAFETY: each block is freed once.
            unsafe { arena.free(block.as_ptr() as usize) };
        }
        assert_eq!(arena.heap.free_bytes(), arena.heap.bytes());
    }
}
