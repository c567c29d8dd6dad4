//! HMAC, AES-256-CMAC and HKDF-Expand, each in one call over whole inputs.

use std::os::raw::c_uint;

use aws_lc_sys::{AES_CMAC, EVP_MD, EVP_sha256, EVP_sha512, HKDF_expand, HMAC};

use super::{failed, ok};
use crate::Error;

/// The hash under an HMAC.
#[derive(Clone, Copy)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    pub(crate) const fn len(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    fn method(self) -> *const EVP_MD {
        // SAFETY: both return pointers to static methods.
        match self {
            Hash::Sha256 => unsafe { EVP_sha256() },
            Hash::Sha512 => unsafe { EVP_sha512() },
        }
    }
}

/// The tag is the first `hash.len()` bytes of what comes back.
pub(crate) fn hmac(hash: Hash, key: &[u8], message: &[u8]) -> Result<[u8; 64], Error> {
    let mut tag = [0; 64];
    let mut written: c_uint = 0;
    // SAFETY: key and message with their own lengths; 64 bytes hold either tag.
    let out = unsafe {
        HMAC(
            hash.method(),
            key.as_ptr().cast(),
            key.len(),
            message.as_ptr(),
            message.len(),
            tag.as_mut_ptr(),
            &mut written,
        )
    };
    if out.is_null() || written as usize != hash.len() {
        return Err(failed("HMAC"));
    }
    Ok(tag)
}

pub(crate) fn cmac(key: &[u8; 32], message: &[u8]) -> Result<[u8; 16], Error> {
    let mut tag = [0; 16];
    // SAFETY: a 32-byte key, a message of its own length, 16 bytes out.
    let done = unsafe {
        AES_CMAC(
            tag.as_mut_ptr(),
            key.as_ptr(),
            key.len(),
            message.as_ptr(),
            message.len(),
        )
    };
    ok(done, "AES_CMAC")?;
    Ok(tag)
}

/// RFC 5869 §2.3 with SHA-256; `out` is at most 255 × 32 bytes.
pub(crate) fn hkdf_expand(prk: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), Error> {
    // SAFETY: three buffers with their own lengths, none overlapping `out`.
    let done = unsafe {
        HKDF_expand(
            out.as_mut_ptr(),
            out.len(),
            Hash::Sha256.method(),
            prk.as_ptr(),
            prk.len(),
            info.as_ptr(),
            info.len(),
        )
    };
    ok(done, "HKDF_expand")
}
