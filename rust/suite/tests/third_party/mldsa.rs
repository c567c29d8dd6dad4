//! ML-DSA: Wycheproof, NIST ACVP, and known-answer files with every context.
//!
//! The suites sign hedged and with an empty context. So a given signature is verified, one under
//! another context or HashML-DSA must be refused, and our own must verify.

use evanesce_suite::{Input, Material};
use serde_json::Value;

use crate::common::{admit, field, operate, public_key, suite};
use crate::encode::{both, pkcs8, spki};
use crate::parse::Vector;
use crate::tally::Tally;

const MU: &str = "external mu: the suites take messages";

/// The suite that a file is about, from its path.
fn from_path(path: &str) -> &'static str {
    ["44", "65", "87"]
        .into_iter()
        .zip(["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
        .find(|(number, _)| {
            ["mldsa_", "MLDSA_", "ml_dsa_"]
                .iter()
                .any(|p| path.contains(&format!("{p}{number}")))
        })
        .expect("a parameter set")
        .1
}

/// The key from this seed has this public half, and signs so that it verifies.
fn key(name: &str, seed: &[u8], public: &[u8], message: &[u8]) -> bool {
    let material = Material::Derived(seed);
    let spki = spki(name, public);
    public_key(suite(name), material).is_ok_and(|key| key == spki)
        && operate(suite(name), material, Input::Sign { message })
            .is_ok_and(|ours| suite(name).verify(&spki, message, &ours).is_ok())
}

fn verifies(name: &str, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    suite(name)
        .verify(&spki(name, public), message, signature)
        .is_ok()
}

fn empty(context: &Value) -> bool {
    context.as_str().is_none_or(str::is_empty)
}

pub fn sign_seed(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|group, test| {
        let seed = field(group, "privateSeed");
        if !test["msg"].is_string() {
            return tally.skip(MU);
        }
        let message = field(test, "msg");
        let fits = if seed.len() != 32 {
            operate(
                suite(name),
                Material::Derived(&seed),
                Input::Sign { message: &message },
            )
            .is_err()
        } else {
            let public = field(group, "publicKey");
            let signed = verifies(name, &public, &message, &field(test, "sig"));
            let good = test["result"] == "valid" && empty(&test["ctx"]);
            let imported = !group["privateKeyPkcs8"].is_string()
                || admit(suite(name), &field(group, "privateKeyPkcs8")).is_ok();
            key(name, &seed, &public, &message) && signed == good && imported
        };
        tally.expect(&test["tcId"], fits);
    });
}

/// Expanded private keys: refused as imports, their signatures verified.
pub fn sign_noseed(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|group, test| {
        let expanded = both_or_expanded(name, &field(group, "privateKey"));
        let mut fits = admit(suite(name), &expanded).is_err();
        if test["msg"].is_string() && group["publicKey"].is_string() {
            let good = test["result"] == "valid" && empty(&test["ctx"]);
            let (message, signature) = (field(test, "msg"), field(test, "sig"));
            fits &= verifies(name, &field(group, "publicKey"), &message, &signature) == good;
        }
        tally.expect(&test["tcId"], fits);
    });
}

/// RFC 9881: the expanded key alone is an OCTET STRING.
fn both_or_expanded(name: &str, expanded: &[u8]) -> Vec<u8> {
    let len = expanded.len();
    let header = [0x04, 0x82, (len >> 8) as u8, len as u8];
    pkcs8(name, &[&header, expanded].concat())
}

pub fn verify(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    vector.each_test(|group, test| {
        let good = test["result"] == "valid" && empty(&test["ctx"]);
        let (message, signature) = (field(test, "msg"), field(test, "sig"));
        let spki = field(group, "publicKeyDer");
        let verified = suite(name).verify(&spki, &message, &signature).is_ok();
        tally.expect(&test["tcId"], verified == good);
    });
}

fn parameter_set(group: &Value) -> String {
    group["parameterSet"]
        .as_str()
        .expect("parameterSet")
        .to_lowercase()
}

pub fn acvp_key_gen(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let name = parameter_set(group);
        let (seed, expanded) = (field(test, "seed"), field(test, "sk"));
        let consistent = admit(suite(&name), &both(&name, &seed, &expanded)).is_ok();
        let mut other = expanded;
        *other.last_mut().expect("not empty") ^= 1;
        let inconsistent = admit(suite(&name), &both(&name, &seed, &other)).is_err();
        let key = key(&name, &seed, &field(test, "pk"), b"message");
        tally.expect(&test["tcId"], key && consistent && inconsistent);
    });
}

/// sigGen and sigVer, HashML-DSA ones too: those are all refused.
pub fn acvp_signatures(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        if !test["message"].is_string() {
            return tally.skip(MU);
        }
        let name = parameter_set(group);
        let pure = group["signatureInterface"] == "external" && group["preHash"] == "pure";
        let good = test["testPassed"].as_bool().unwrap_or(true) && pure && empty(&test["context"]);
        let (message, signature) = (field(test, "message"), field(test, "signature"));
        let verified = verifies(&name, &field(test, "pk"), &message, &signature);
        tally.expect(&test["tcId"], verified == good);
    });
}

pub fn known_answers(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    for record in vector.records() {
        let [seed, public, message, signed] = ["xi", "pk", "msg", "sm"].map(|key| record.hex(key));
        let signature = &signed[..signed.len() - message.len()];
        let good = record.text("ctx").is_empty();
        tally.expect(
            record.text("count"),
            key(name, &seed, &public, &message)
                && verifies(name, &public, &message, signature) == good,
        );
    }
}

/// OpenSSL's key, in three files, and its signature of "message".
pub fn openssl(vector: &Vector, tally: &mut Tally) {
    let name = from_path(vector.path);
    let private = &vector.bytes;
    let spki = vector.sibling("_private.der", "_public.der");
    let hex_file = |to| {
        let text = String::from_utf8(vector.sibling("_private.der", to)).expect("hex");
        hex::decode(text.trim()).expect("hex")
    };
    let (seed, signature) = (hex_file("_seed.hex"), hex_file("_sig_message.hex"));
    tally.expect("admitted", admit(suite(name), private).is_ok());
    for material in [Material::Imported(private), Material::Derived(&seed)] {
        tally.expect(
            "public",
            public_key(suite(name), material).is_ok_and(|key| key == spki),
        );
    }
    tally.expect(
        "signature",
        suite(name).verify(&spki, b"message", &signature).is_ok(),
    );
}
