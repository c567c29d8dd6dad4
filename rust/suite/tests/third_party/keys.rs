//! Key files: which are admitted as imports or read as public keys, and which no suite takes.

use evanesce_secret::on_crucible;
use evanesce_suite::{Error, Input, Material, all};

use crate::common::{admit, operate, public_key, suite};
use crate::parse::Vector;
use crate::tally::Tally;

/// A private key of these suites; its public half is that of the file's sibling, if one is named.
pub fn private(suites: &[&str], sibling: Option<(&str, &str)>, vector: &Vector, tally: &mut Tally) {
    let public = sibling.map(|(from, to)| {
        let bytes = vector.sibling(from, to);
        let block = Vector {
            path: vector.path,
            bytes,
        }
        .blocks()
        .pop();
        block.expect("a block").1
    });
    for (label, der) in vector.blocks() {
        for name in suites {
            let computed = public_key(suite(name), Material::Imported(&der));
            let fits = admit(suite(name), &der).is_ok()
                && match (&public, computed) {
                    (Some(public), Ok(computed)) => *public == computed,
                    (None, computed) => computed.is_ok(),
                    _ => false,
                };
            tally.expect(format!("{name} {label}"), fits);
        }
    }
}

/// A public key of this suite, and of no other kind.
pub fn public(name: &str, vector: &Vector, tally: &mut Tally) {
    for (label, der) in vector.blocks() {
        let takers: Vec<_> = takers(&der);
        let kind = |name: &str| name.split('-').next().map(str::to_owned);
        let fits = takers.contains(&name)
            && takers
                .iter()
                .all(|taker| *taker == name || kind(taker) == kind(name))
            && private_takers(&der).is_empty();
        tally.expect(format!("{label} taken by {takers:?}"), fits);
    }
}

/// A key that no suite takes, neither as private nor as public.
pub fn refused(vector: &Vector, tally: &mut Tally) {
    let mut blocks = vector.blocks();
    if blocks.is_empty() {
        blocks.push((String::new(), vector.bytes.clone()));
    }
    for (label, der) in blocks {
        let (public, private) = (takers(&der), private_takers(&der));
        tally.expect(
            format!("{label} taken by {public:?} {private:?}"),
            public.is_empty() && private.is_empty(),
        );
    }
}

/// The suites that read this as a public key.
fn takers(der: &[u8]) -> Vec<&'static str> {
    let taken = |name: &str| match suite(name) {
        suite if name == "x25519" => {
            // A key of 32 raw bytes would be a peer too; these files have none.
            operate(
                suite,
                Material::Derived(&[1; 32]),
                Input::Agree { peer: der },
            )
            .is_ok()
        }
        suite if name.starts_with("ml-kem") => on_crucible(|| suite.encapsulate(der).is_ok()),
        suite if name == "rsa-oaep-sha256" => suite.encrypt_to(der, b"").is_ok(),
        suite => matches!(
            suite.verify(der, b"", &[0; 64]),
            Err(Error::InvalidSignature)
        ),
    };
    (all().iter())
        .map(|suite| suite.facts())
        .filter(|facts| facts.public && taken(facts.name))
        .map(|facts| facts.name)
        .collect()
}

/// The asymmetric suites that would admit this, or compute with it.
fn private_takers(der: &[u8]) -> Vec<&'static str> {
    (all().iter())
        .filter(|suite| suite.facts().public)
        .filter(|suite| {
            admit(**suite, der).is_ok() || public_key(**suite, Material::Imported(der)).is_ok()
        })
        .map(|suite| suite.facts().name)
        .collect()
}
