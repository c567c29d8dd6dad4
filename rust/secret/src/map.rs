//! Mappings of the kinds that secrets are kept in, placed inside addresses reserved beforehand.
//!
//! Reserving first gives guard pages for nothing: whatever is not placed stays unreadable, and costs no locked memory.
use std::io;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// memfd_secret(2): not in the kernel's own map, unreadable to ptrace, /proc/PID/mem and core dumps.
    Secret,
    /// Anonymous memory under mlock(2), out of core files.
    Locked,
    /// Anonymous memory that may be swapped, out of core files.
    Plain,
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn map(at: usize, len: usize, prot: i32, flags: i32, fd: i32) -> io::Result<usize> {
    // SAFETY: with MAP_FIXED every caller names addresses it has reserved itself; otherwise the kernel chooses.
    let p = unsafe { libc::mmap(at as *mut _, len, prot, flags, fd, 0) };
    if p == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(p as usize)
    }
}

const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Addresses that nothing else will get; unreadable, and absent in a forked child.
pub(crate) fn reserve(len: usize) -> io::Result<usize> {
    let at = map(0, len, libc::PROT_NONE, ANONYMOUS, -1)?;
    // SAFETY: our own fresh mapping.
    check(unsafe { libc::madvise(at as *mut _, len, libc::MADV_DONTFORK) })?;
    Ok(at)
}

/// Zeroed memory of this kind at reserved addresses. On failure they may be left reserved or half made: place again, or drop them.
///
/// # Safety
/// `at..at + len` is reserved by the caller and in nobody's use; both are multiples of the page size.
pub(crate) unsafe fn place(at: usize, len: usize, kind: Kind) -> io::Result<()> {
    if kind == Kind::Secret {
        place_secret(at, len)?;
    } else {
        map(at, len, READ_WRITE, ANONYMOUS | libc::MAP_FIXED, -1)?;
    }
    // SAFETY: the caller's own addresses, mapped just now.
    unsafe {
        // a child must not hold what its parent wipes; memfd_secret pages would even be shared with it
        check(libc::madvise(at as *mut _, len, libc::MADV_DONTFORK))?;
        if !cfg!(feature = "audit") {
            check(libc::madvise(at as *mut _, len, libc::MADV_DONTDUMP))?;
        }
        if kind == Kind::Locked {
            check(libc::mlock(at as *const _, len))?;
        }
    }
    Ok(())
}

fn place_secret(at: usize, len: usize) -> io::Result<()> {
    // SAFETY: plain system calls; the descriptor is ours, and the mapping outlives it.
    unsafe {
        let fd = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) as i32;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let mapped = check(libc::ftruncate(fd, len as libc::off_t)).and_then(|()| {
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            map(at, len, READ_WRITE, flags, fd)
        });
        libc::close(fd);
        mapped?;
        // A page that cannot be had is found on first use. A system call answers that with an error; a store of ours
        // would end the process.
        if libc::getrandom(at as *mut _, 1, 0) != 1 {
            return Err(io::Error::last_os_error());
        }
        (at as *mut u8).write_volatile(0);
    }
    Ok(())
}

/// Makes addresses unreadable again. True on success.
///
/// # Safety
/// Nobody may use the addresses, which the caller has reserved.
pub(crate) unsafe fn blank(at: usize, len: usize) -> bool {
    let flags = ANONYMOUS | libc::MAP_FIXED;
    map(at, len, libc::PROT_NONE, flags, -1).is_ok()
}

/// Turns blanked addresses into zeroes that can be read and written.
///
/// # Safety
/// The addresses were blanked by the caller.
pub(crate) unsafe fn zeroes(at: usize, len: usize) {
    // SAFETY: by contract. If it fails they stay unreadable, which is safe.
    unsafe { libc::mprotect(at as *mut _, len, READ_WRITE) };
}

/// Gives addresses back.
///
/// # Safety
/// Nobody may use the addresses, which the caller has reserved.
pub(crate) unsafe fn release(at: usize, len: usize) {
    // SAFETY: by contract.
    unsafe { libc::munmap(at as *mut _, len) };
}

/// Bytes of the system's page.
pub(crate) fn page() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
