//! An imported key as it goes into a token: PKCS#8 DER, or the raw bytes of a symmetric key (PROTOCOL §8).
//!
//! PEM is unwrapped into locked memory; nothing is guessed. On the crucible.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use evanesce_secret::SecretVec;
use evanesce_suite::Suite;

use crate::error::{Code, Error};

const DASHES: &[u8] = b"-----";
const BEGIN: &[u8] = b"-----BEGIN ";
const PKCS8: &[u8] = b"PRIVATE KEY";

/// The key in the form that a token seals, admitted by every one of `suites`.
pub(crate) fn admit(given: SecretVec, suites: &[&'static dyn Suite]) -> Result<SecretVec, Error> {
    let asymmetric = suites.iter().all(|suite| suite.facts().public);
    let key = if asymmetric && given.expose().trim_ascii_start().starts_with(BEGIN) {
        unwrap_pem(&given)?
    } else {
        given
    };
    for suite in suites {
        suite.admit(key.expose()).map_err(|e| {
            let hint = if asymmetric {
                "Give an unencrypted PKCS#8 key, PEM or DER."
            } else {
                "Give the key's raw bytes."
            };
            match e {
                evanesce_suite::Error::Secret(e) => e.into(),
                e => Error::new(
                    Code::BadInput,
                    format!("the key cannot be imported as {}: {e}", suite.facts().name),
                    hint,
                ),
            }
        })?;
    }
    Ok(key)
}

/// RFC 7468, one block with the label PRIVATE KEY.
fn unwrap_pem(given: &SecretVec) -> Result<SecretVec, Error> {
    let text = given.expose().trim_ascii();
    let bad = |message: &str, hint: &str| {
        Err(Error::new(
            Code::BadInput,
            format!("the key cannot be imported: {message}"),
            hint,
        ))
    };
    let after = &text[BEGIN.len()..];
    let Some(end) = find(after, DASHES) else {
        return bad("its PEM has no label", "");
    };
    let (label, rest) = (&after[..end], &after[end + DASHES.len()..]);
    match label {
        PKCS8 => {}
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
    use evanesce_secret::on_crucible;

    /// RFC 8410 §10.3.
    const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    fn import(text: &[u8], suite: &str) -> Result<Vec<u8>, String> {
        let given = SecretVec::from_slice(text).unwrap();
        let suite = evanesce_suite::find(suite).unwrap();
        on_crucible(|| {
            admit(given, &[suite])
                .map(|key| key.expose().to_vec())
                .map_err(|e| e.to_string())
        })
    }

    #[test]
    fn pem_and_der_are_the_same_key() {
        let der = import(ED25519.as_bytes(), "ed25519").unwrap();
        assert_eq!(der.len(), 48);
        assert_eq!(import(&der, "ed25519").unwrap(), der);
        let windows = ED25519.replace('\n', "\r\n");
        assert_eq!(import(windows.as_bytes(), "ed25519").unwrap(), der);
    }

    #[test]
    fn what_is_no_plain_pkcs8_is_refused_with_a_way_out() {
        let error = import(
            ED25519.replace("PRIVATE", "ENCRYPTED PRIVATE").as_bytes(),
            "ed25519",
        )
        .unwrap_err();
        assert!(
            error.contains("encrypted") && error.contains("openssl"),
            "{error}"
        );
        let error = import(
            ED25519.replace("PRIVATE", "EC PRIVATE").as_bytes(),
            "ed25519",
        )
        .unwrap_err();
        assert!(error.contains("topk8"), "{error}");
        assert!(import(ED25519.repeat(2).as_bytes(), "ed25519").is_err());
        assert!(import(ED25519.as_bytes(), "ecdsa-p256").is_err());
        assert!(import(&ED25519.as_bytes()[..60], "ed25519").is_err());
    }

    #[test]
    fn symmetric_keys_are_their_bytes_even_if_these_look_like_text() {
        assert_eq!(import(&[7; 32], "aes-256-gcm").unwrap(), [7; 32]);
        assert_eq!(
            import(ED25519.as_bytes(), "hmac-sha256").unwrap(),
            ED25519.as_bytes()
        );
        assert!(import(&[7; 31], "aes-256-gcm").is_err());
    }
}
