//! ECDSA: Wycheproof, NIST's FIPS 186 files, RFC 6979 as OpenSSL carries it, and bare points.
//!
//! Signatures that are sound under another hash are vectors too: they must be refused.

use evanesce_suite::{Input, Material};

use crate::common::{field, operate, public_key, suite};
use crate::encode::{ec_private, signature, spki};
use crate::parse::{Record, Vector, fixed, hex_number, pem};
use crate::tally::Tally;

/// Suite, hash and scalar length of a curve under the names that the files use.
fn curve(name: &str) -> Option<(&'static str, &'static str, usize)> {
    Some(match name {
        "secp256r1" | "P-256" => ("ecdsa-p256", "256", 32),
        "secp384r1" | "P-384" => ("ecdsa-p384", "384", 48),
        "secp256k1" | "K-256" => ("ecdsa-secp256k1", "256", 32),
        _ => return None,
    })
}

/// The digits of "SHA-256" or "sha256"; SHA-3 and truncated SHA-512 keep their marks.
fn hash(name: &str) -> String {
    name.to_lowercase()
        .trim_start_matches("sha")
        .trim_start_matches('-')
        .to_owned()
}

/// A DER signature, with s lowered where the suite demands it; `None` where it is no signature.
fn low_s(name: &str, der: &[u8]) -> Option<Vec<u8>> {
    if name != "ecdsa-secp256k1" {
        return Some(der.to_vec());
    }
    let signature = k256::ecdsa::Signature::from_der(der).ok()?;
    Some(signature.normalize_s().to_der().as_bytes().to_vec())
}

/// Whether a signature that is `good` mathematically is treated rightly: accepted in its low-s form
/// alone if its hash is the suite's own, refused otherwise.
fn treated(name: &str, own: bool, good: bool, spki: &[u8], message: &[u8], der: &[u8]) -> bool {
    let verify = |der: &[u8]| suite(name).verify(spki, message, der).is_ok();
    match low_s(name, der) {
        Some(low) if own && good => verify(&low) && verify(der) == (low == der),
        _ => !verify(der),
    }
}

pub fn wycheproof(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let name = group["publicKey"]["curve"].as_str().expect("curve");
        let Some((name, own_hash, _)) = curve(name) else {
            return tally.skip("a curve that no suite uses");
        };
        let own = hash(group["sha"].as_str().expect("sha")) == own_hash;
        let good = test["result"] == "valid";
        let (message, der) = (field(test, "msg"), field(test, "sig"));
        let spki = field(group, "publicKeyDer");
        let bitcoin = test["flags"] == serde_json::json!(["SignatureMalleabilityBitcoin"]);
        let fits = if bitcoin {
            // Marked invalid for its high s alone.
            suite(name).verify(&spki, &message, &der).is_err()
        } else {
            treated(name, own, good, &spki, &message, &der)
        };
        tally.expect(&test["tcId"], fits);
    });
}

/// The same in IEEE P1363 form: never accepted as such, and sound once it is DER.
pub fn p1363(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let name = group["publicKey"]["curve"].as_str().expect("curve");
        let Some((name, own_hash, len)) = curve(name) else {
            return tally.skip("a curve that no suite uses");
        };
        let own = hash(group["sha"].as_str().expect("sha")) == own_hash;
        let good = test["result"] == "valid";
        let (message, raw) = (field(test, "msg"), field(test, "sig"));
        let spki = field(group, "publicKeyDer");
        let as_it_is = suite(name).verify(&spki, &message, &raw).is_err();
        let as_der = raw.len() != 2 * len || {
            let der = signature(&raw[..len], &raw[len..]);
            treated(name, own, good, &spki, &message, &der)
        };
        tally.expect(&test["tcId"], as_it_is && as_der);
    });
}

fn public(record: &Record, name: &str, len: usize) -> Option<Vec<u8>> {
    let x = fixed(&record.hex("Qx"), len)?;
    let y = fixed(&record.hex("Qy"), len)?;
    Some(spki(name, &[&[4], x.as_slice(), &y].concat()))
}

/// SigGen and SigVer: message, key, R, S, and where there is a private key, that too.
pub fn signatures(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        if !record.has("Msg") {
            continue; // a heading
        }
        let (name, sha) = record
            .header("")
            .split_once(',')
            .unwrap_or((record.header(""), "SHA-1"));
        let Some((name, own_hash, len)) = curve(name) else {
            tally.skip("a curve that no suite uses");
            continue;
        };
        let own = hash(sha) == own_hash;
        let good = !record.has("Result") || record.text("Result").starts_with('P');
        let message = hex_number(record.text("Msg"));
        let der = signature(&record.hex("R"), &record.hex("S"));
        let what = format!("{} {}", record.header(""), &record.text("R")[..16]);
        let Some(spki) = public(&record, name, len) else {
            tally.expect(what, !good); // coordinates that do not fit the curve
            continue;
        };
        let mut fits = treated(name, own, good, &spki, &message, &der);
        if record.has("d") {
            let scalar = fixed(&record.hex("d"), len).expect("a scalar");
            let key = ec_private(name, &scalar);
            let material = Material::Imported(&key);
            let ours = operate(suite(name), material, Input::Sign { message: &message });
            fits &= public_key(suite(name), material).is_ok_and(|key| key == spki)
                && ours.is_ok_and(|ours| suite(name).verify(&spki, &message, &ours).is_ok());
        }
        tally.expect(what, fits);
    }
}

/// KeyPair: d gives Q.
pub fn key_pairs(vector: &Vector, tally: &mut Tally) {
    let mut heading = String::new();
    for record in vector.records() {
        // The curve stands in a heading of its own, above one that names the method.
        if !record.header("").starts_with("B.4") {
            heading = record.header("").to_owned();
        }
        if !record.has("d") {
            continue;
        }
        let Some((name, _, len)) = curve(&heading) else {
            tally.skip("a curve that no suite uses");
            continue;
        };
        let key = ec_private(name, &fixed(&record.hex("d"), len).expect("a scalar"));
        let computed = public_key(suite(name), Material::Imported(&key));
        tally.expect(
            record.text("d"),
            computed.ok() == public(&record, name, len),
        );
    }
}

/// PKV: whether Q is a point. A sound point refuses a false signature as such, anything else as a
/// malformed key.
pub fn points(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        if !record.has("Qx") {
            continue;
        }
        let Some((name, _, len)) = curve(record.header("")) else {
            tally.skip("a curve that no suite uses");
            continue;
        };
        let good = record.text("Result").starts_with('P');
        let taken = public(&record, name, len).is_some_and(|spki| {
            let one = signature(&[1], &[1]);
            let answer = suite(name).verify(&spki, b"", &one);
            matches!(answer, Err(evanesce_suite::Error::InvalidSignature))
        });
        tally.expect(record.text("Qx"), taken == good);
    }
}

/// k gives k·G.
pub fn multiples(vector: &Vector, tally: &mut Tally) {
    let (name, len) = match vector.path {
        path if path.contains("P256") => ("ecdsa-p256", 32),
        _ => ("ecdsa-p384", 48),
    };
    for record in vector.records() {
        if !record.has("k") {
            continue;
        }
        let k = decimal(record.text("k"), len);
        let key = ec_private(name, &k);
        let computed = public_key(suite(name), Material::Imported(&key));
        let point = [vec![4], record.hex("x"), record.hex("y")].concat();
        tally.expect(
            record.text("k"),
            computed.is_ok_and(|key| key == spki(name, &point)),
        );
    }
}

fn decimal(digits: &str, len: usize) -> Vec<u8> {
    let mut out = vec![0_u8; len];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in out.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
    }
    out
}

/// RFC 6979 A.2 in OpenSSL's form: keys as PEM, then signatures made and verified.
pub fn rfc6979(vector: &Vector, tally: &mut Tally) {
    let mut keys = std::collections::BTreeMap::new();
    for block in vector.text().split("\n\n") {
        let value = |key: &str| {
            (block.lines())
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
        };
        if let Some(name) = value("PrivateKey").or(value("PublicKey")) {
            keys.insert(name.to_owned(), pem(block).pop().expect("a key").1);
        }
        let (sign, verify) = (value("DigestSign"), value("DigestVerify"));
        let (Some(sha), Some(key)) = (sign.or(verify), value("Key")) else {
            continue;
        };
        let Some((name, own_hash, _)) = curve(&key[..5]) else {
            tally.skip("a curve that no suite uses");
            continue;
        };
        let message = value("Input").expect("Input").trim_matches('"').as_bytes();
        let der = hex::decode(value("Output").expect("Output")).expect("hex");
        let own = hash(sha) == own_hash;
        let what = format!("{key} {sha}");
        if sign.is_none() {
            let good = value("Result").is_none();
            tally.expect(what, treated(name, own, good, &keys[key], message, &der));
        } else if own {
            let material = Material::Imported(&keys[key]);
            let ours = operate(suite(name), material, Input::Sign { message });
            tally.expect(what, ours.is_ok_and(|ours| ours == der));
        } else {
            tally.skip("a signature to make with another hash than the suite's");
        }
    }
}

/// A point in both forms: the uncompressed one is taken, the compressed one is not.
pub fn compressed(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        let name = record.text("CURVE").to_lowercase();
        let Some((name, _, len)) = curve(&name) else {
            tally.skip("a curve that no suite uses");
            continue;
        };
        let taken = |raw: &[u8]| {
            let answer = suite(name).verify(&spki(name, raw), b"", &signature(&[1], &[1]));
            matches!(answer, Err(evanesce_suite::Error::InvalidSignature))
        };
        let number = |key| fixed(&record.hex(key), len);
        // Points that are none have no coordinates.
        let whole = record.has("Y").then(|| {
            let (x, y) = (number("X").expect("X"), number("Y").expect("Y"));
            [&[4], x.as_slice(), &y].concat()
        });
        tally.expect(
            record.text("COUNT"),
            whole.is_none_or(|raw| taken(&raw)) && !taken(&record.hex("POINT")),
        );
    }
}
