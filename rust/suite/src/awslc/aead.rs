//! AES-256-GCM from one buffer to another, so that plaintexts go straight from and to where they
//! belong.

use std::mem::MaybeUninit;

use aws_lc_sys::{
    EVP_AEAD_CTX, EVP_AEAD_CTX_cleanup, EVP_AEAD_CTX_init, EVP_AEAD_CTX_open, EVP_AEAD_CTX_seal,
    EVP_aead_aes_256_gcm,
};

use super::{failed, forget_errors, ok};
use crate::Error;

pub(crate) const TAG: usize = 16;
pub(crate) const NONCE: usize = 12;

/// An expanded key, cleaned up on drop. Borrowed, not owned: AWS-LC may align its state within the
/// context, so the context must not move once initialised.
struct Context<'a>(&'a mut EVP_AEAD_CTX);

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised by `with`, cleaned up once.
        unsafe { EVP_AEAD_CTX_cleanup(self.0) }
    }
}

fn with<R>(key: &[u8; 32], f: impl FnOnce(&EVP_AEAD_CTX) -> Result<R, Error>) -> Result<R, Error> {
    let mut slot = MaybeUninit::<EVP_AEAD_CTX>::zeroed();
    // SAFETY: a zeroed context is what EVP_AEAD_CTX_init expects; the key is 32 bytes, and tag
    // length 0 means the default of 16.
    let done = unsafe {
        EVP_AEAD_CTX_init(
            slot.as_mut_ptr(),
            EVP_aead_aes_256_gcm(),
            key.as_ptr(),
            key.len(),
            0,
            std::ptr::null_mut(),
        )
    };
    ok(done, "EVP_AEAD_CTX_init")?;
    // SAFETY: initialised just now, and stays in `slot`.
    let context = Context(unsafe { slot.assume_init_mut() });
    f(context.0)
}

/// Appends ciphertext ‖ tag to `out`.
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    aad: &[u8],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let sealed = plaintext.len() + TAG;
    out.reserve_exact(sealed);
    with(key, |context| {
        let mut written = 0;
        // SAFETY: `out` has `sealed` spare bytes, and does not overlap the borrowed inputs.
        let done = unsafe {
            EVP_AEAD_CTX_seal(
                context,
                out.spare_capacity_mut().as_mut_ptr().cast(),
                &mut written,
                sealed,
                nonce.as_ptr(),
                nonce.len(),
                plaintext.as_ptr(),
                plaintext.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        ok(done, "EVP_AEAD_CTX_seal")?;
        if written != sealed {
            return Err(failed("EVP_AEAD_CTX_seal"));
        }
        // SAFETY: AWS-LC wrote exactly `sealed` bytes there.
        unsafe { out.set_len(out.len() + sealed) };
        Ok(())
    })
}

/// Opens ciphertext ‖ tag into `out`, which is exactly the ciphertext's length; on failure `out`
/// holds zeros.
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    aad: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), Error> {
    if out.len() + TAG != sealed.len() {
        return Err(Error::DecryptionFailed);
    }
    with(key, |context| {
        let mut written = 0;
        // SAFETY: `out` is as long as the plaintext will be and does not overlap the inputs.
        let good = unsafe {
            EVP_AEAD_CTX_open(
                context,
                out.as_mut_ptr(),
                &mut written,
                out.len(),
                nonce.as_ptr(),
                nonce.len(),
                sealed.as_ptr(),
                sealed.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        if good == 1 && written == out.len() {
            return Ok(());
        }
        forget_errors();
        Err(Error::DecryptionFailed)
    })
}
