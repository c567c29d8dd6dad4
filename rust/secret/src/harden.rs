//! Closing the process to those who would read its memory from outside: debuggers, core files, other processes of the user.
use crate::Error;
use std::io;

/// Makes the process undumpable (no core file, no ptrace or /proc/PID/mem by its own user) and sets its core limit to 0.
/// Idempotent. Does nothing under the `audit` feature, whose point is to be read.
///
/// A process of root's, or one with CAP_SYS_PTRACE, can still read what is not in memfd_secret memory.
///
/// # Errors
/// [`Error::Unavailable`] if the system refuses either.
pub fn harden() -> Result<(), Error> {
    if cfg!(feature = "audit") {
        return Ok(());
    }
    let failed =
        |what: &str| Error::Unavailable(format!("{what} refused: {}", io::Error::last_os_error()));
    // SAFETY: plain system calls.
    unsafe {
        if libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 {
            return Err(failed("PR_SET_DUMPABLE"));
        }
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        if libc::setrlimit(libc::RLIMIT_CORE, &none) != 0 {
            return Err(failed("RLIMIT_CORE"));
        }
    }
    Ok(())
}
