//! RFC 7468 around a private key: one unencrypted PKCS#8 block, and nothing guessed.
//!
//! The text and what comes out lie in locked memory.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_secret::SecretVec;

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const LABEL: &[u8] = b"PRIVATE KEY";

/// Why a text is not the PEM of a private key. Holds nothing of the text.
#[derive(Debug)]
pub enum PemError {
    /// What is wrong, and what to do about it, where that is known.
    Form(&'static str, &'static str),
    /// Protected memory could not be had.
    Secret(evanesce_secret::Error),
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(what, _) => f.write_str(what),
            Self::Secret(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for PemError {}

impl From<evanesce_secret::Error> for PemError {
    fn from(e: evanesce_secret::Error) -> Self {
        Self::Secret(e)
    }
}

/// Whether bytes begin as PEM does.
pub fn is_pem(given: &[u8]) -> bool {
    given.trim_ascii_start().starts_with(BEGIN)
}

/// The DER within one block with the label PRIVATE KEY.
///
/// # Errors
/// [`PemError::Form`] for anything else, an encrypted key or a second block among it.
pub fn unwrap_pem(given: &SecretVec) -> Result<SecretVec, PemError> {
    let text = given.expose().trim_ascii();
    let bad = |what, hint| Err(PemError::Form(what, hint));
    let Some(after) = text.strip_prefix(BEGIN) else {
        return bad("it is not PEM", "");
    };
    let Some(end) = find(after, DASHES) else {
        return bad("its PEM has no label", "");
    };
    let (label, rest) = (&after[..end], &after[end + DASHES.len()..]);
    match label {
        LABEL => {}
        b"ENCRYPTED PRIVATE KEY" => {
            return bad(
                "it is encrypted",
                "Decrypt it first: openssl pkcs8 -in KEY -out PLAIN.",
            );
        }
        b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
            return bad(
                "it is not PKCS#8",
                "Convert it first: openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8.",
            );
        }
        _ => {
            return bad(
                "its PEM holds no private key",
                "Give a PEM block that begins BEGIN PRIVATE KEY.",
            );
        }
    }
    let Some(end) = find(rest, b"-----END PRIVATE KEY-----") else {
        return bad("its PEM has no end", "");
    };
    if find(&rest[end + 1..], BEGIN).is_some() {
        return bad(
            "its PEM holds more than one block",
            "Give the key's own block alone.",
        );
    }
    let body = &rest[..end];
    let mut packed = SecretVec::zeroed(body.len())?;
    let mut length = 0;
    for byte in body.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        packed.expose_mut()[length] = *byte;
        length += 1;
    }
    let mut der = SecretVec::zeroed(length)?;
    match BASE64.decode_slice_unchecked(&packed.expose()[..length], der.expose_mut()) {
        Ok(length) => der.truncate(length),
        Err(_) => return bad("its PEM is not base64", ""),
    }
    Ok(der)
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unwrapped(text: &str) -> Result<Vec<u8>, String> {
        let given = SecretVec::from_slice(text.as_bytes()).unwrap();
        match unwrap_pem(&given) {
            Ok(der) => Ok(der.expose().to_vec()),
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn one_block_is_unwrapped_however_its_lines_are_broken() {
        let whole = "-----BEGIN PRIVATE KEY-----\nAAEC\r\nAwQF\n-----END PRIVATE KEY-----\n";
        assert!(is_pem(whole.as_bytes()));
        assert_eq!(unwrapped(whole), Ok(vec![0, 1, 2, 3, 4, 5]));
        for (what, broken) in [
            ("not PEM", "AAEC".to_owned()),
            ("no label", "-----BEGIN PRIVATE KEY".to_owned()),
            ("encrypted", whole.replace("PRIVATE", "ENCRYPTED PRIVATE")),
            ("not PKCS#8", whole.replace("PRIVATE", "RSA PRIVATE")),
            ("no private key", whole.replace("PRIVATE", "PUBLIC")),
            ("no end", whole.replace("END", "EMD")),
            ("more than one block", whole.repeat(2)),
            ("not base64", whole.replace("AAEC", "A*EC")),
        ] {
            let why = unwrapped(&broken).unwrap_err();
            assert!(why.contains(what), "{what}: {why}");
        }
    }
}
