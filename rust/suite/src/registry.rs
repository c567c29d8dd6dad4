//! The one list of suites, chained from the families'. A suite that is not here does not exist.

use std::sync::LazyLock;

use evanesce_token::{Catalogue, SuiteFacts};

use crate::{Suite, aead, ecdsa, ed25519, hkdf, mac, mldsa, mlkem, rsa, x25519};

/// One list a family: a further suite is a line in its family's file, a further family a line here.
static FAMILIES: &[&[&dyn Suite]] = &[
    ed25519::SUITES,
    ecdsa::SUITES,
    x25519::SUITES,
    mldsa::SUITES,
    mlkem::SUITES,
    aead::SUITES,
    mac::SUITES,
    hkdf::SUITES,
    rsa::SUITES,
];

static SUITES: LazyLock<Vec<&dyn Suite>> = LazyLock::new(|| FAMILIES.concat());

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
