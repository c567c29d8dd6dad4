//! The imported key within a token (PROTOCOL §8): AES-256-GCM under a key that is used exactly once,
//! hence the fixed nonce.
//!
//! `key` is `formula::import_key`, `deal` is `formula::deal`. Both calls belong on a crucible thread.

use evanesce_secret::SecretVec;

use crate::Error;
use crate::awslc::aead::{NONCE, TAG, open as aead_open, seal as aead_seal};

/// PROTOCOL §8: 0^96. Every mint draws a new header nonce, `deal` depends on it and salts the key, so
/// no key ever seals twice.
const ONCE: [u8; NONCE] = [0; NONCE];

/// Seals what [`crate::Suite::admit`] took. 16 bytes longer than `imported`.
pub fn seal(key: &[u8; 32], deal: &[u8; 32], imported: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(imported.len() + TAG);
    aead_seal(key, &ONCE, deal, imported, &mut out)?;
    Ok(out)
}

/// Opens a token's `sealed`. [`Error::DecryptionFailed`] where it is not what was minted.
pub fn open(key: &[u8; 32], deal: &[u8; 32], sealed: &[u8]) -> Result<SecretVec, Error> {
    let len = sealed
        .len()
        .checked_sub(TAG)
        .ok_or(Error::DecryptionFailed)?;
    let mut imported = SecretVec::zeroed(len)?;
    aead_open(key, &ONCE, deal, sealed, imported.expose_mut())?;
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_its_own_key_and_deal_alone() {
        evanesce_secret::init();
        evanesce_secret::on_crucible(|| {
            let sealed = seal(&[1; 32], &[2; 32], b"imported").unwrap();
            let opened = open(&[1; 32], &[2; 32], &sealed).unwrap();
            assert_eq!(opened.expose(), b"imported");
            assert!(open(&[3; 32], &[2; 32], &sealed).is_err());
            assert!(open(&[1; 32], &[3; 32], &sealed).is_err());
            assert!(open(&[1; 32], &[2; 32], &sealed[..15]).is_err());
        });
    }
}
