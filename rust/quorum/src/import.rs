//! An imported key as it goes into a token: PKCS#8 DER, or the raw bytes of a symmetric key (PROTOCOL §8).
//!
//! PEM is unwrapped into locked memory; nothing is guessed. On the crucible.

use evanesce_secret::SecretVec;
use evanesce_suite::Suite;
use evanesce_suite::pem::{self, PemError};

use crate::error::{Code, Error};

/// The key in the form that a token seals, admitted by every one of `suites`.
pub(crate) fn admit(given: SecretVec, suites: &[&'static dyn Suite]) -> Result<SecretVec, Error> {
    let asymmetric = suites.iter().all(|suite| suite.facts().public);
    let key = if asymmetric && pem::is_pem(given.expose()) {
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

fn unwrap_pem(given: &SecretVec) -> Result<SecretVec, Error> {
    pem::unwrap_pem(given).map_err(|e| match e {
        PemError::Form(what, hint) => Error::new(
            Code::BadInput,
            format!("the key cannot be imported: {what}"),
            hint,
        ),
        PemError::Secret(e) => e.into(),
    })
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
