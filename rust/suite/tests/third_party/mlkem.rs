//! ML-KEM: Wycheproof, known-answer files with false ciphertexts, and OpenSSL's keys.
//!
//! Encapsulation draws its own randomness, so vectors that fix it are decapsulated, or show which
//! public keys are taken.

use evanesce_secret::on_crucible;
use evanesce_suite::{Input, Material};

use crate::common::{admit, field, operate, public_key, suite};
use crate::encode::{both, spki};
use crate::parse::Vector;
use crate::tally::Tally;

fn from_path(path: &str) -> &'static str {
    if path.contains("1024") {
        "ml-kem-1024"
    } else {
        "ml-kem-768"
    }
}

fn decapsulate(name: &str, material: Material, ciphertext: &[u8]) -> Option<Vec<u8>> {
    operate(suite(name), material, Input::Decapsulate { ciphertext }).ok()
}

/// What was encapsulated to this key comes out again with this seed.
fn round_trip(name: &str, seed: &[u8], spki: &[u8]) -> bool {
    on_crucible(|| {
        let Ok((ciphertext, shared)) = suite(name).encapsulate(spki) else {
            return false;
        };
        decapsulate(name, Material::Derived(seed), &ciphertext)
            .is_some_and(|opened| opened == shared.expose())
    })
}

pub fn decapsulations(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|_, test| {
        let seed = field(test, "seed");
        let material = Material::Derived(&seed);
        let shared = decapsulate(name, material, &field(test, "c"));
        let mut fits = match test["result"].as_str() {
            Some("valid") => shared == Some(field(test, "K")),
            _ => shared.is_none(),
        };
        if test["ek"].is_string() && seed.len() == 64 {
            let spki = spki(name, &field(test, "ek"));
            fits &= public_key(suite(name), material).is_ok_and(|key| key == spki);
        }
        tally.expect(&test["tcId"], fits);
    });
}

pub fn key_gen(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|_, test| {
        let (seed, spki) = (field(test, "seed"), spki(name, &field(test, "ek")));
        let expanded = field(test, "dk");
        let consistent = admit(suite(name), &both(name, &seed, &expanded)).is_ok();
        let mut other = expanded;
        other[0] ^= 1;
        let inconsistent = admit(suite(name), &both(name, &seed, &other)).is_err();
        let public = public_key(suite(name), Material::Derived(&seed));
        tally.expect(
            &test["tcId"],
            public.is_ok_and(|key| key == spki)
                && consistent
                && inconsistent
                && round_trip(name, &seed, &spki),
        );
    });
}

/// Public keys that are taken, or refused by FIPS 203 §7.2's checks.
pub fn encapsulations(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|_, test| {
        let spki = spki(name, &field(test, "ek"));
        let taken = on_crucible(|| suite(name).encapsulate(&spki).is_ok());
        tally.expect(&test["tcId"], taken == (test["result"] == "valid"));
    });
}

pub fn known_answers(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    for record in vector.records() {
        let seed = [record.hex("d"), record.hex("z")].concat();
        let material = Material::Derived(&seed);
        let opens = |ciphertext, shared| {
            decapsulate(name, material, &record.hex(ciphertext)) == Some(record.hex(shared))
        };
        let spki = spki(name, &record.hex("pk"));
        tally.expect(
            record.text("count"),
            public_key(suite(name), material).is_ok_and(|key| key == spki)
                && admit(suite(name), &both(name, &seed, &record.hex("sk"))).is_ok()
                && opens("ct", "ss")
                && opens("ct_n", "ss_n")
                && round_trip(name, &seed, &spki),
        );
    }
}

pub fn openssl(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    let private = &vector.bytes;
    let hex_file = |to| {
        let text = String::from_utf8(vector.sibling("_private.der", to)).expect("hex");
        hex::decode(text.trim()).expect("hex")
    };
    let spki = vector.sibling("_private.der", "_public.der");
    let [seed, ciphertext, shared] =
        ["_seed.hex", "_ciphertext.hex", "_shared_secret.hex"].map(hex_file);
    tally.expect("admitted", admit(suite(name), private).is_ok());
    for material in [Material::Imported(private), Material::Derived(&seed)] {
        tally.expect(
            "public",
            public_key(suite(name), material).is_ok_and(|key| key == spki),
        );
        tally.expect(
            "shared",
            decapsulate(name, material, &ciphertext) == Some(shared.clone()),
        );
    }
}
