//! RSA: Wycheproof and NIST CAVP.
//!
//! A signature or ciphertext that is sound under another hash, salt length, label or modulus size
//! than the suites' is a vector too: it must be refused.

use evanesce_suite::{Input, Material};
use serde_json::Value;

use crate::common::{admit, field, operate, suite};
use crate::encode::{rsa_private, rsa_public, spki};
use crate::parse::{Vector, hex_number};
use crate::tally::Tally;

const OAEP: &str = "rsa-oaep-sha256";

fn admissible(group: &Value) -> bool {
    group["keySize"]
        .as_u64()
        .is_some_and(|bits| (2048..=8192).contains(&bits))
}

/// Verification: PKCS#1 v1.5 or PSS, by the file's own word.
pub fn verify(vector: &Vector, tally: &mut Tally) {
    let json = vector.json();
    let pss = json["algorithm"] == "RSASSA-PSS";
    let name = if pss {
        "rsa-pss-sha256"
    } else {
        "rsa-pkcs1-sha256"
    };
    vector.each_test(|group, test| {
        let own = group["sha"] == "SHA-256"
            && (!pss || (group["mgfSha"] == "SHA-256" && group["sLen"] == 32))
            && admissible(group);
        let (message, signature) = (field(test, "msg"), field(test, "sig"));
        // The `_params` files give keys under id-RSASSA-PSS, which no suite takes: they are refused
        // as such, and used as rsaEncryption.
        let spki = spki("rsa-", &field(group, "publicKeyAsn"));
        let given = field(group, "publicKeyDer");
        let as_given = given == spki || suite(name).verify(&given, &message, &signature).is_err();
        let good = suite(name).verify(&spki, &message, &signature).is_ok();
        let fits = match test["result"].as_str() {
            Some("valid") => good == own,
            // Wrong in its file for the very parameters that are the suite's.
            _ if !own && crosses_over(pss, group, test) => good,
            // "Acceptable" is a DigestInfo without its NULL; RFC 8017 verification refuses it.
            _ => !good,
        };
        tally.expect(&test["tcId"], fits && as_given);
    });
}

/// A signature made on purpose with SHA-256, or with a salt of 32 bytes, where the file wants another.
fn crosses_over(pss: bool, group: &Value, test: &Value) -> bool {
    let comment = test["comment"].as_str().unwrap_or_default();
    if pss {
        let sha256 = group["sha"] == "SHA-256" && group["mgfSha"] == "SHA-256";
        sha256 && comment == "s_len changed to 32"
    } else {
        comment.starts_with("The message is hashed with SHA-256 instead of")
    }
}

/// Signing with PKCS#1 v1.5, which is deterministic; PSS with the same keys must verify.
pub fn generate(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let key = field(group, "privateKeyPkcs8");
        let (message, signature) = (field(test, "msg"), field(test, "sig"));
        let spki = field(group, "keyDer");
        let sign = |name| {
            operate(
                suite(name),
                Material::Imported(&key),
                Input::Sign { message: &message },
            )
        };
        let ours = sign("rsa-pkcs1-sha256");
        let fits = if admissible(group) {
            let own = group["sha"] == "SHA-256";
            let pss = sign("rsa-pss-sha256").expect("PSS");
            ours.is_ok_and(|ours| (ours == signature) == own)
                && suite("rsa-pkcs1-sha256")
                    .verify(&spki, &message, &signature)
                    .is_ok()
                    == own
                && suite("rsa-pss-sha256")
                    .verify(&spki, &message, &pss)
                    .is_ok()
                && suite("rsa-pkcs1-sha256")
                    .verify(&spki, &message, &pss)
                    .is_err()
        } else {
            ours.is_err() && admit(suite("rsa-pkcs1-sha256"), &key).is_err()
        };
        tally.expect(&test["tcId"], fits);
    });
}

pub fn oaep(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let own = group["sha"] == "SHA-256"
            && group["mgfSha"] == "SHA-256"
            && test["label"] == ""
            && admissible(group);
        let key = field(group, "privateKeyPkcs8");
        let ciphertext = field(test, "ct");
        let input = Input::Decrypt {
            ciphertext: &ciphertext,
            aad: b"",
        };
        let opened = operate(suite(OAEP), Material::Imported(&key), input).ok();
        let fits = match test["result"].as_str() {
            Some("valid" | "acceptable") if own => opened == Some(field(test, "msg")),
            _ => opened.is_none(),
        };
        tally.expect(&test["tcId"], fits);
    });
}

/// OAEP examples with keys spelled out, a line of hex under each heading. Every file is one pairing
/// of hashes; those of others than SHA-256 are refused.
pub fn oaep_spelled_out(vector: &Vector, tally: &mut Tally) {
    let own = vector.path.ends_with("oaep-sha256-sha256.txt");
    let (mut heading, mut part) = ("", 0);
    let mut key: Vec<Vec<u8>> = Vec::new();
    let mut message = Vec::new();
    for line in vector.text().lines() {
        if let Some(text) = line.strip_prefix('#') {
            heading = text.trim();
            if heading == "Private key" {
                part = 1;
                key.clear();
            } else if heading.starts_with("OAEP Example") {
                part = 2;
            } else if heading.starts_with("=") {
                part = 0;
            }
            continue;
        }
        let number = || hex_number(line.trim());
        match (part, heading) {
            (1, _) => key.push(number()),
            (2, "Message:") => message = number(),
            (2, "Encryption:") => {
                let pkcs8 = rsa_private(&key);
                let ciphertext = number();
                let input = Input::Decrypt {
                    ciphertext: &ciphertext,
                    aad: b"",
                };
                let opened = operate(suite(OAEP), Material::Imported(&pkcs8), input).ok();
                let fits = if own && key[0].len() >= 256 {
                    admit(suite(OAEP), &pkcs8).is_ok() && opened.as_ref() == Some(&message)
                } else {
                    opened.is_none()
                };
                tally.expect(&line[..16], fits);
            }
            _ => {}
        }
    }
}

/// CAVP SigGen and SigVer: n and e stand above the signatures that they are for.
pub fn cavp(vector: &Vector, tally: &mut Tally) {
    let pss = vector.path.contains("PSS");
    let name = if pss {
        "rsa-pss-sha256"
    } else {
        "rsa-pkcs1-sha256"
    };
    let (mut modulus, mut exponent, mut salt) = (Vec::new(), Vec::new(), None);
    for line in vector.text().lines() {
        // Some files give the salt's length in a comment, for all.
        if let Some(length) = line.strip_prefix("# Salt len:") {
            salt = length.trim().parse::<usize>().ok();
        }
    }
    for record in vector.records() {
        if record.has("n") {
            modulus = record.hex("n");
        }
        if record.has("e") {
            exponent = record.hex("e");
        }
        if !record.has("S") {
            continue;
        }
        let salt = match record.fields.get("SaltVal") {
            Some(salt) if pss => Some(salt.len() / 2),
            _ => salt,
        };
        let bits = record.header("mod").parse::<usize>().expect("mod");
        let own = record.text("SHAAlg") == "SHA256" && bits >= 2048 && (!pss || salt == Some(32));
        let good = own && (!record.has("Result") || record.text("Result").starts_with('P'));
        let spki = rsa_public(&modulus, &exponent);
        let verified = suite(name)
            .verify(&spki, &record.hex("Msg"), &record.hex("S"))
            .is_ok();
        let what = format!(
            "{bits} {} {}",
            record.text("SHAAlg"),
            &record.text("S")[..16]
        );
        tally.expect(what, verified == good);
    }
}
