//! X25519: Wycheproof in its four encodings, and RFC 7748 §5.2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use evanesce_suite::{Input, Material};
use serde_json::Value;

use crate::common::{field, operate, suite};
use crate::parse::{Vector, pem_bytes};
use crate::tally::Tally;

fn agree(private: Material, peer: &[u8]) -> Option<Vec<u8>> {
    operate(suite("x25519"), private, Input::Agree { peer }).ok()
}

/// "Acceptable" marks twists and non-canonical keys, which RFC 7748 demands to accept, and shared
/// secrets of zero, which PROTOCOL §7 refuses.
fn expect(test: &Value, shared: Option<Vec<u8>>, tally: &mut Tally) {
    let zero = test["flags"]
        .as_array()
        .is_some_and(|flags| flags.iter().any(|flag| flag == "ZeroSharedSecret"));
    let fits = if zero || test["result"] == "invalid" {
        shared.is_none()
    } else {
        shared.is_some_and(|shared| shared == field(test, "shared"))
    };
    tally.expect(&test["tcId"], fits);
}

pub fn raw(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|_, test| {
        let private = field(test, "private");
        let shared = agree(Material::Derived(&private), &field(test, "public"));
        expect(test, shared, tally);
    });
}

pub fn asn(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|_, test| {
        let private = field(test, "private");
        let shared = agree(Material::Imported(&private), &field(test, "public"));
        expect(test, shared, tally);
    });
}

pub fn pem(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|_, test| {
        let [private, public] =
            ["private", "public"].map(|key| pem_bytes(test[key].as_str().expect("PEM").as_bytes()));
        expect(test, agree(Material::Imported(&private), &public), tally);
    });
}

pub fn jwk(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|_, test| {
        let (private, public) = (&test["private"], &test["public"]);
        // What JWK itself rules out never reaches a suite.
        if [private, public]
            .iter()
            .any(|key| key["kty"] != "OKP" || key["crv"] != "X25519")
        {
            return tally.skip("JWK of another kind or curve: JWK is not read here");
        }
        let decode = |key: &Value| URL_SAFE_NO_PAD.decode(key.as_str()?).ok();
        let (Some(private), Some(public)) = (decode(&private["d"]), decode(&public["x"])) else {
            return tally.skip("malformed JWK: JWK is not read here");
        };
        expect(test, agree(Material::Derived(&private), &public), tally);
    });
}

pub fn rfc7748(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        let scalar = record.hex("INPUT_SCALAR");
        let shared = agree(Material::Derived(&scalar), &record.hex("INPUT_U"));
        tally.expect(record.text("COUNT"), shared == Some(record.hex("OUTPUT_U")));
    }
}
