//! Every call into AWS-LC that `aws-lc-rs` cannot make for us, behind safe functions.
//!
//! Why not `aws-lc-rs` throughout: it copies private keys and plaintexts into Rust's own heap, lacks
//! key generation from d‖z, and builds an `EVP_PKEY` where a stack array does. What is safe there and
//! works on public bytes alone (verification, RSA encryption) the families take from it.
//!
//! Callers run on a crucible thread whenever an argument is secret: then these functions' stack
//! frames are wiped and AWS-LC's own allocations lie in locked memory and are wiped on free.
//! This is the only part of the crate with `unsafe`.

pub(crate) mod aead;
pub(crate) mod curve25519;
pub(crate) mod mac;
pub(crate) mod pq;
pub(crate) mod rsa;

use std::os::raw::c_int;
use std::ptr::NonNull;

use aws_lc_sys::{ERR_clear_error, EVP_PKEY, EVP_PKEY_free};

use crate::Error;

/// An owned `EVP_PKEY`: freed, and so wiped, on drop.
pub(crate) struct Pkey(NonNull<EVP_PKEY>);

impl Pkey {
    /// Takes ownership of what AWS-LC returned; null means `call` failed.
    ///
    /// # Safety
    /// `raw` is null or a key that nobody else frees.
    unsafe fn own(raw: *mut EVP_PKEY, call: &'static str) -> Result<Self, Error> {
        NonNull::new(raw).map(Self).ok_or_else(|| failed(call))
    }

    fn as_ptr(&self) -> *mut EVP_PKEY {
        self.0.as_ptr()
    }
}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { EVP_PKEY_free(self.as_ptr()) }
    }
}

/// Frees with `$free` on drop: for AWS-LC objects that live for one function.
macro_rules! owned {
    ($name:ident, $raw:ty, $free:path) => {
        struct $name(std::ptr::NonNull<$raw>);
        impl $name {
            /// Null means `call` failed.
            fn own(raw: *mut $raw, call: &'static str) -> Result<Self, crate::Error> {
                std::ptr::NonNull::new(raw)
                    .map(Self)
                    .ok_or_else(|| super::failed(call))
            }
            fn as_ptr(&self) -> *mut $raw {
                self.0.as_ptr()
            }
        }
        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made by `own` from a fresh object, and freed once.
                unsafe { $free(self.as_ptr()) }
            }
        }
    };
}
use owned;

/// AWS-LC answers one for success.
fn ok(result: c_int, call: &'static str) -> Result<(), Error> {
    if result == 1 {
        Ok(())
    } else {
        Err(failed(call))
    }
}

fn failed(call: &'static str) -> Error {
    forget_errors();
    Error::Internal(call)
}

/// The error queue is per thread and would grow stale; nothing reads it.
fn forget_errors() {
    // SAFETY: takes nothing, touches this thread's queue alone.
    unsafe { ERR_clear_error() }
}
