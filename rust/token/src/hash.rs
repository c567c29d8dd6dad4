//! The hash functions of PROTOCOL §2: `TH`, HMAC and HKDF, all with SHA-256.
//!
//! Nothing here allocates, so what is hashed stays where the caller keeps it and on the caller's stack.
//! Internal states are wiped when they are dropped; copies that the compiler makes in moving them are
//! not, which is why secrets are hashed on stacks that are locked and wiped afterwards.

use hmac::{Hmac, KeyInit, Mac};
use sha2::digest::{FixedOutput, Update};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// What every label of this protocol begins with.
const PREFIX: &str = "evanesce/v1/";

/// `TH(label, x1 … xk)`, given piece by piece.
///
/// ```
/// use evanesce_token::hash::{TaggedHash, th};
/// let whole = th("example", &[b"first", b"second"]);
/// let mut pieces = TaggedHash::new("example");
/// pieces.part(b"first");
/// pieces.begin_part(6);
/// pieces.more(b"sec");
/// pieces.more(b"ond");
/// assert_eq!(pieces.finish(), whole);
/// ```
pub struct TaggedHash {
    state: Sha256,
    /// Bytes that the part begun last still lacks.
    owed: u64,
}

impl TaggedHash {
    /// Begins a hash under `label`, which `evanesce/v1/` precedes; together at most 255 bytes.
    pub fn new(label: &str) -> TaggedHash {
        let length = u8::try_from(PREFIX.len() + label.len()).expect("labels are short");
        let mut state = Sha256::new();
        Update::update(&mut state, &[length]);
        Update::update(&mut state, PREFIX.as_bytes());
        Update::update(&mut state, label.as_bytes());
        TaggedHash { state, owed: 0 }
    }

    /// One whole part.
    pub fn part(&mut self, part: &[u8]) {
        self.begin_part(part.len() as u64);
        self.more(part);
    }

    /// Begins a part of exactly `length` bytes, to be given with [`more`](Self::more).
    ///
    /// Panics if the part before it is not complete.
    pub fn begin_part(&mut self, length: u64) {
        assert!(self.owed == 0, "the part before is not complete");
        Update::update(&mut self.state, &length.to_be_bytes());
        self.owed = length;
    }

    /// More bytes of the part that was begun. Panics if they are more than were announced.
    pub fn more(&mut self, bytes: &[u8]) {
        let left = self.owed.checked_sub(bytes.len() as u64);
        self.owed = left.expect("more bytes than the part announced");
        Update::update(&mut self.state, bytes);
    }

    /// The 32 bytes. Panics if the last part is not complete.
    pub fn finish(self) -> [u8; 32] {
        assert!(self.owed == 0, "the last part is not complete");
        FixedOutput::finalize_fixed(self.state).into()
    }
}

/// `TH(label, x1 … xk)`: SHA-256 over a length-prefixed label and length-prefixed parts.
pub fn th(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = TaggedHash::new(label);
    for part in parts {
        hash.part(part);
    }
    hash.finish()
}

/// HMAC-SHA-256 (RFC 2104), under a key of any length.
pub fn hmac_sha256(key: &[u8], msg: &[u8], out: &mut [u8; 32]) {
    hmac(key, &[msg], out);
}

/// `HKDF(ikm, salt, info, out.len())`: RFC 5869, the info preceded by `evanesce/v1/`.
///
/// Panics if `out` is longer than 8160 bytes, the most that HKDF gives.
pub fn hkdf(ikm: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    hkdf_parts(ikm, salt, &[info], out);
}

/// [`hkdf`] with its info in pieces, so that joining them needs no memory.
pub(crate) fn hkdf_parts(ikm: &[u8], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let mut prk = [0; 32];
    hmac(salt, &[ikm], &mut prk);
    expand(&prk, PREFIX.as_bytes(), info, out);
    prk.zeroize();
}

/// HKDF-Expand of RFC 5869, the info exactly as given.
///
/// Panics if `out` is longer than 8160 bytes, the most that HKDF gives.
pub fn hkdf_expand(prk: &[u8], info: &[u8], out: &mut [u8]) {
    expand(prk, b"", &[info], out);
}

/// [`hkdf_expand`] with its info in pieces.
pub(crate) fn hkdf_expand_parts(prk: &[u8], info: &[&[u8]], out: &mut [u8]) {
    expand(prk, b"", info, out);
}

fn expand(prk: &[u8], prefix: &[u8], info: &[&[u8]], out: &mut [u8]) {
    assert!(out.len() <= 255 * 32, "HKDF gives at most 8160 bytes");
    let keyed = keyed(prk);
    let mut block = [0; 32];
    for (chunk, counter) in out.chunks_mut(32).zip(1u8..) {
        let mut mac = keyed.clone();
        if counter > 1 {
            Mac::update(&mut mac, &block);
        }
        Mac::update(&mut mac, prefix);
        for part in info {
            Mac::update(&mut mac, part);
        }
        Mac::update(&mut mac, &[counter]);
        mac.finalize_into((&mut block).into());
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    block.zeroize();
}

fn hmac(key: &[u8], message: &[&[u8]], out: &mut [u8; 32]) {
    let mut mac = keyed(key);
    for part in message {
        Mac::update(&mut mac, part);
    }
    mac.finalize_into(out.into());
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th_is_the_hash_of_what_the_protocol_writes() {
        let mut written = vec![21];
        written.extend(b"evanesce/v1/an example"[..21].iter());
        written.extend(3u64.to_be_bytes());
        written.extend(b"abc");
        written.extend(0u64.to_be_bytes());
        let expected: [u8; 32] = Sha256::digest(&written).into();
        assert_eq!(th("an exampl", &[b"abc", b""]), expected);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(th("x", &[b"ab", b"c"]), th("x", &[b"a", b"bc"]));
        assert_ne!(th("x", &[b"ab"]), th("x", &[b"ab", b""]));
        assert_ne!(th("xa", &[b"b"]), th("x", &[b"ab"]));
    }

    #[test]
    #[should_panic(expected = "not complete")]
    fn a_part_cannot_be_cut_short() {
        let mut hash = TaggedHash::new("x");
        hash.begin_part(2);
        hash.more(b"a");
        hash.finish();
    }

    /// RFC 4231, cases 1, 2 and 6 (a key longer than a block).
    #[test]
    fn hmac_matches_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            let mut out = [0; 32];
            hmac_sha256(key, message, &mut out);
            assert_eq!(hex::encode(out), expected);
        }
    }

    /// RFC 5869, appendix A.1: extract is HMAC, expand takes the info as it is.
    #[test]
    fn hkdf_expand_matches_rfc_5869() {
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let mut prk = [0; 32];
        hmac_sha256(&salt, &[0x0b; 22], &mut prk);
        let mut okm = [0; 42];
        hkdf_expand(&prk, &info, &mut okm);
        assert_eq!(
            hex::encode(okm),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
    }

    #[test]
    fn hkdf_prefixes_its_info() {
        let mut prk = [0; 32];
        hmac_sha256(b"salt", b"ikm", &mut prk);
        let (mut direct, mut prefixed) = ([0; 72], [0; 72]);
        hkdf_expand(&prk, b"evanesce/v1/key/x", &mut direct);
        hkdf(b"ikm", b"salt", b"key/x", &mut prefixed);
        assert_eq!(direct, prefixed);
    }
}
