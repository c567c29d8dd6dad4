//! Ed25519 (RFC 8032) and X25519 (RFC 7748) on plain arrays.

use aws_lc_sys::{
    ED25519_keypair_from_seed, ED25519_sign, ED25519_verify, X25519, X25519_public_from_private,
};

use super::ok;
use crate::Error;

/// An expanded Ed25519 key: seed ‖ public half. Lives on a crucible stack.
pub(crate) struct Ed25519Key([u8; 64]);

impl Ed25519Key {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let mut public = [0; 32];
        let mut private = [0; 64];
        // SAFETY: the three arrays have the sizes that the function documents.
        unsafe {
            ED25519_keypair_from_seed(public.as_mut_ptr(), private.as_mut_ptr(), seed.as_ptr())
        };
        Self(private)
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.0[32..]
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        let mut signature = [0; 64];
        // SAFETY: 64 bytes out, 64 bytes of key, and a message of its own length.
        let done = unsafe {
            ED25519_sign(
                signature.as_mut_ptr(),
                message.as_ptr(),
                message.len(),
                self.0.as_ptr(),
            )
        };
        ok(done, "ED25519_sign")?;
        Ok(signature)
    }
}

/// Cofactorless, and refuses S ≥ the group order; the caller checks that `public` is canonical.
pub(crate) fn ed25519_verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    // SAFETY: fixed-size arrays as documented, and a message of its own length.
    let good = unsafe {
        ED25519_verify(
            message.as_ptr(),
            message.len(),
            signature.as_ptr(),
            public.as_ptr(),
        )
    };
    good == 1
}

pub(crate) fn x25519_public(private: &[u8; 32]) -> [u8; 32] {
    let mut public = [0; 32];
    // SAFETY: both arrays are 32 bytes.
    unsafe { X25519_public_from_private(public.as_mut_ptr(), private.as_ptr()) };
    public
}

/// Writes the shared secret to `out`; false where it is all zero, that is where `peer` has small
/// order.
#[must_use]
pub(crate) fn x25519(private: &[u8; 32], peer: &[u8; 32], out: &mut [u8; 32]) -> bool {
    // SAFETY: three arrays of 32 bytes.
    unsafe { X25519(out.as_mut_ptr(), private.as_ptr(), peer.as_ptr()) == 1 }
}
