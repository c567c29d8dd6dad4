//! The one list of suites. A suite that is not here does not exist.

use std::sync::LazyLock;

use evanesce_token::{Catalogue, SuiteFacts};

use crate::{Suite, aead, ecdsa, ed25519, hkdf, mac, mldsa, mlkem, rsa, x25519};

static SUITES: [&dyn Suite; 19] = [
    &ed25519::ED25519,
    &ecdsa::ECDSA_P256,
    &ecdsa::ECDSA_SECP256K1,
    &ecdsa::ECDSA_P384,
    &x25519::X25519,
    &mldsa::ML_DSA_44,
    &mldsa::ML_DSA_65,
    &mldsa::ML_DSA_87,
    &mlkem::ML_KEM_768,
    &mlkem::ML_KEM_1024,
    &aead::AES_256_GCM,
    &aead::XAES_256_GCM,
    &mac::HMAC_SHA256,
    &mac::HMAC_SHA512,
    &mac::AES_CMAC,
    &hkdf::HKDF_SHA256,
    &rsa::RSA_PSS_SHA256,
    &rsa::RSA_PKCS1_SHA256,
    &rsa::RSA_OAEP_SHA256,
];

static FACTS: LazyLock<Vec<&'static SuiteFacts>> =
    LazyLock::new(|| SUITES.iter().map(|suite| suite.facts()).collect());

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue(&FACTS));

/// The suite of this name (PROTOCOL §7–§8), if there is one.
pub fn find(name: &str) -> Option<&'static dyn Suite> {
    all()
        .iter()
        .copied()
        .find(|suite| suite.facts().name == name)
}

/// What token decoding needs to know about every suite.
pub fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

/// Every suite, in the order of PROTOCOL §7, the imported-only ones last.
pub fn all() -> &'static [&'static dyn Suite] {
    // AWS-LC's allocator must be in place before its first allocation, and nobody reaches AWS-LC
    // through this crate without a suite from here.
    evanesce_secret::init();
    &SUITES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_facts_hold_together() {
        for (i, suite) in all().iter().enumerate() {
            let facts = suite.facts();
            assert!(facts.name.len() < 24, "{}: a CBOR key", facts.name);
            assert!(!facts.operations.is_empty(), "{}", facts.name);
            assert_eq!(facts.material == 0, facts.imported_only, "{}", facts.name);
            assert!(find(facts.name).is_some_and(|found| found.facts() == facts));
            assert!(
                all()[..i]
                    .iter()
                    .all(|other| other.facts().name != facts.name)
            );
        }
        assert_eq!(catalogue().0.len(), all().len());
        assert!(find("rsa-pkcs1-md5").is_none());
    }
}
