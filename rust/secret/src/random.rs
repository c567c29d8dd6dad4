//! Randomness from the kernel, and comparison that takes the same time whatever the bytes.
use subtle::ConstantTimeEq;

/// Fills `out` from getrandom(2). Ends the process if the kernel has no randomness: there is no key worth making then.
pub fn random(out: &mut [u8]) {
    let mut rest = out;
    while !rest.is_empty() {
        // SAFETY: the kernel writes at most `rest.len()` bytes there.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(n) {
            Ok(n) => rest = &mut rest[n..],
            Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => (),
            Err(_) => {
                crate::complain("evanesce-secret: the kernel gives no random bytes; stopping\n");
                std::process::abort();
            }
        }
    }
}

/// Whether two byte strings are equal, in time that depends on their lengths alone.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
