//! Signatures that were made in this process, so that a simulator, which plays all who sign and all who verify, verifies
//! none of its own.
//!
//! With the feature `memo` alone, which what is shipped never has. What is remembered is the whole of it: another key, message or
//! signature, by one bit, is verified as always. One in [`CHECKED`] is verified all the same, and must hold.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Of so many that are known one is verified.
const CHECKED: u64 = 64;
/// Most signatures remembered; then all are forgotten.
const REMEMBERED: usize = 1 << 14;

/// An Ed25519 key and a message.
type Signed = (Vec<u8>, Vec<u8>);

thread_local! {
    /// What was signed, by the signature.
    static MADE: RefCell<HashMap<[u8; 64], Signed>> = RefCell::default();
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// A signature that the private half of `key` has just made here.
pub(crate) fn made(key: &[u8], message: &[u8], signature: &[u8]) {
    let Ok(signature) = signature.try_into() else {
        return;
    };
    MADE.with_borrow_mut(|made| {
        if made.len() >= REMEMBERED {
            made.clear();
        }
        made.insert(signature, (key.to_vec(), message.to_vec()));
    });
}

/// Whether that signature was made here by that key over that message; if it was not, it may be good all the same.
pub(crate) fn is_known(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
    verify: impl FnOnce() -> bool,
) -> bool {
    let Ok(signature) = <&[u8; 64]>::try_from(signature) else {
        return false;
    };
    let known = MADE.with_borrow(|made| {
        let of = made.get(signature);
        of.is_some_and(|(by, what)| by == key && what == message)
    });
    if known {
        let asked = ASKED.get() + 1;
        ASKED.set(asked);
        let checked = asked.is_multiple_of(CHECKED);
        assert!(!checked || verify(), "a signature made here is not good");
    }
    known
}
