//! ML-DSA (FIPS 204) and ML-KEM (FIPS 203) from their seeds.

use std::os::raw::c_int;
use std::ptr::{null, null_mut};

use aws_lc_sys::{
    EVP_DigestSign, EVP_DigestSignInit, EVP_MD_CTX, EVP_MD_CTX_free, EVP_MD_CTX_new, EVP_PKEY_CTX,
    EVP_PKEY_CTX_free, EVP_PKEY_CTX_kem_set_params, EVP_PKEY_CTX_new, EVP_PKEY_CTX_new_id,
    EVP_PKEY_KEM, EVP_PKEY_decapsulate, EVP_PKEY_encapsulate, EVP_PKEY_get_raw_private_key,
    EVP_PKEY_get_raw_public_key, EVP_PKEY_kem_new_raw_public_key, EVP_PKEY_keygen_deterministic,
    EVP_PKEY_keygen_init, EVP_PKEY_pqdsa_new_raw_private_key,
};
use evanesce_secret::SecretVec;

use super::{Pkey, failed, forget_errors, ok, owned};
use crate::Error;

owned!(KeyContext, EVP_PKEY_CTX, EVP_PKEY_CTX_free);
owned!(SignContext, EVP_MD_CTX, EVP_MD_CTX_free);

/// The length of an ML-KEM shared secret.
pub(crate) const SHARED: usize = 32;

impl Pkey {
    /// ML-DSA.KeyGen_internal(ξ). `nid` is one of AWS-LC's `NID_MLDSA*`.
    pub(crate) fn ml_dsa(nid: c_int, seed: &[u8; 32]) -> Result<Self, Error> {
        const CALL: &str = "EVP_PKEY_pqdsa_new_raw_private_key";
        // SAFETY: a seed of its own length; the fresh key is ours.
        unsafe {
            Self::own(
                EVP_PKEY_pqdsa_new_raw_private_key(nid, seed.as_ptr(), seed.len()),
                CALL,
            )
        }
    }

    /// ML-KEM.KeyGen_internal(d, z). `nid` is one of AWS-LC's `NID_MLKEM*`.
    pub(crate) fn ml_kem(nid: c_int, seed: &[u8; 64]) -> Result<Self, Error> {
        const CALL: &str = "EVP_PKEY_keygen_deterministic";
        // SAFETY: no engine; the fresh context is ours.
        let context = KeyContext::own(
            unsafe { EVP_PKEY_CTX_new_id(EVP_PKEY_KEM, null_mut()) },
            "EVP_PKEY_CTX_new_id",
        )?;
        let mut raw = null_mut();
        let mut length = seed.len();
        // SAFETY: a live context.
        ok(
            unsafe { EVP_PKEY_keygen_init(context.as_ptr()) },
            "EVP_PKEY_keygen_init",
        )?;
        // SAFETY: a live context, without a key as kem_set_params demands.
        ok(
            unsafe { EVP_PKEY_CTX_kem_set_params(context.as_ptr(), nid) },
            "EVP_PKEY_CTX_kem_set_params",
        )?;
        // SAFETY: a null `raw` asks for a fresh key, which is ours; the seed has `length` bytes.
        let done = unsafe {
            EVP_PKEY_keygen_deterministic(context.as_ptr(), &mut raw, seed.as_ptr(), &mut length)
        };
        // SAFETY: null or fresh.
        let key = unsafe { Self::own(raw, CALL) };
        ok(done, CALL)?;
        key
    }

    /// A public ML-KEM key to encapsulate to; fails on a wrong length.
    pub(crate) fn ml_kem_public(nid: c_int, public: &[u8]) -> Result<Self, Error> {
        const CALL: &str = "EVP_PKEY_kem_new_raw_public_key";
        // SAFETY: bytes of their own length; the fresh key is ours.
        unsafe {
            Self::own(
                EVP_PKEY_kem_new_raw_public_key(nid, public.as_ptr(), public.len()),
                CALL,
            )
        }
    }

    /// The public half as FIPS 203/204 encode it, `len` bytes.
    pub(crate) fn raw_public(&self, len: usize) -> Result<Vec<u8>, Error> {
        const CALL: &str = "EVP_PKEY_get_raw_public_key";
        let mut out = vec![0; len];
        let mut written = len;
        // SAFETY: `out` has `written` bytes.
        let done =
            unsafe { EVP_PKEY_get_raw_public_key(self.as_ptr(), out.as_mut_ptr(), &mut written) };
        ok(done, CALL)?;
        if written == len {
            Ok(out)
        } else {
            Err(failed(CALL))
        }
    }

    /// The expanded private key as FIPS 203/204 encode it, `len` bytes.
    pub(crate) fn raw_private(&self, len: usize) -> Result<SecretVec, Error> {
        const CALL: &str = "EVP_PKEY_get_raw_private_key";
        let mut out = SecretVec::zeroed(len)?;
        let mut written = len;
        // SAFETY: `out` has `written` bytes.
        let done = unsafe {
            EVP_PKEY_get_raw_private_key(self.as_ptr(), out.expose_mut().as_mut_ptr(), &mut written)
        };
        ok(done, CALL)?;
        if written == len {
            Ok(out)
        } else {
            Err(failed(CALL))
        }
    }

    /// ML-DSA.Sign: hedged (AWS-LC draws rnd), empty context. `len` is the signature's length.
    pub(crate) fn ml_dsa_sign(&self, message: &[u8], len: usize) -> Result<Vec<u8>, Error> {
        const CALL: &str = "EVP_DigestSign";
        // SAFETY: a fresh context, ours.
        let context = SignContext::own(unsafe { EVP_MD_CTX_new() }, "EVP_MD_CTX_new")?;
        // SAFETY: a live context and key; no digest, since ML-DSA hashes the message itself.
        ok(
            unsafe {
                EVP_DigestSignInit(
                    context.as_ptr(),
                    null_mut(),
                    null(),
                    null_mut(),
                    self.as_ptr(),
                )
            },
            "EVP_DigestSignInit",
        )?;
        let mut signature = vec![0; len];
        let mut written = len;
        // SAFETY: `signature` has `written` bytes; the message its own length.
        let done = unsafe {
            EVP_DigestSign(
                context.as_ptr(),
                signature.as_mut_ptr(),
                &mut written,
                message.as_ptr(),
                message.len(),
            )
        };
        ok(done, CALL)?;
        if written == len {
            Ok(signature)
        } else {
            Err(failed(CALL))
        }
    }

    /// ML-KEM.Decaps. A ciphertext of the right length always yields a secret: a false one yields
    /// another secret (implicit rejection).
    pub(crate) fn ml_kem_decapsulate(&self, ciphertext: &[u8]) -> Result<SecretVec, Error> {
        const CALL: &str = "EVP_PKEY_decapsulate";
        let context = self.context()?;
        let mut shared = SecretVec::zeroed(SHARED)?;
        let mut written = SHARED;
        // SAFETY: 32 bytes out; the ciphertext has its own length, which AWS-LC checks.
        let done = unsafe {
            EVP_PKEY_decapsulate(
                context.as_ptr(),
                shared.expose_mut().as_mut_ptr(),
                &mut written,
                ciphertext.as_ptr(),
                ciphertext.len(),
            )
        };
        ok(done, CALL)?;
        if written == SHARED {
            Ok(shared)
        } else {
            Err(failed(CALL))
        }
    }

    /// ML-KEM.Encaps: `len` is the ciphertext's length. `None` where the public key fails FIPS 203's
    /// modulus check.
    pub(crate) fn ml_kem_encapsulate(
        &self,
        len: usize,
    ) -> Result<Option<(Vec<u8>, SecretVec)>, Error> {
        let context = self.context()?;
        let mut ciphertext = vec![0; len];
        let mut shared = SecretVec::zeroed(SHARED)?;
        let (mut ciphertext_len, mut shared_len) = (len, SHARED);
        // SAFETY: two buffers with their own lengths.
        let done = unsafe {
            EVP_PKEY_encapsulate(
                context.as_ptr(),
                ciphertext.as_mut_ptr(),
                &mut ciphertext_len,
                shared.expose_mut().as_mut_ptr(),
                &mut shared_len,
            )
        };
        if done != 1 {
            forget_errors();
            return Ok(None);
        }
        if (ciphertext_len, shared_len) != (len, SHARED) {
            return Err(failed("EVP_PKEY_encapsulate"));
        }
        Ok(Some((ciphertext, shared)))
    }

    fn context(&self) -> Result<KeyContext, Error> {
        // SAFETY: a live key, no engine; the fresh context is ours and keeps its own reference.
        let raw = unsafe { EVP_PKEY_CTX_new(self.as_ptr(), null_mut()) };
        KeyContext::own(raw, "EVP_PKEY_CTX_new")
    }
}
