//! HKDF-SHA-256: RFC 5869, Wycheproof.
//!
//! The suite is HKDF-Expand with the length in front of the caller's context, so no published vector
//! fits it as it is. Two steps bind it to them: the extraction is the `hmac-sha256` suite's, the
//! expansion the protocol's own `hkdf_expand`, both compared with the vector; and the suite's answer
//! is compared with that `hkdf_expand` for the same key, context and length.

use evanesce_suite::{Input, Material};
use evanesce_token::hash::hkdf_expand;

use crate::common::{field, operate, suite};
use crate::parse::Vector;
use crate::tally::Tally;

const LONGEST: usize = 255 * 32;

fn extract(salt: &[u8], ikm: &[u8]) -> Vec<u8> {
    let zeros = [0; 32];
    let salt = if salt.is_empty() { &zeros } else { salt };
    let input = Input::Mac { message: ikm };
    operate(suite("hmac-sha256"), Material::Imported(salt), input).expect("HMAC")
}

fn fits(prk: &[u8], info: &[u8], okm: &[u8]) -> bool {
    let length = okm.len();
    let mut expanded = vec![0; length];
    hkdf_expand(prk, info, &mut expanded);
    let mut ours = vec![0; length];
    let prefixed = [&(length as u32).to_be_bytes(), info].concat();
    hkdf_expand(prk, &prefixed, &mut ours);
    let input = Input::Derive {
        context: info,
        length,
    };
    let derived = operate(suite("hkdf-sha256"), Material::Imported(prk), input);
    expanded == okm && derived.is_ok_and(|derived| derived == ours)
}

pub fn rfc5869(vector: &Vector, tally: &mut Tally) {
    // Blank lines split a case; what follows one belongs to the case before.
    let mut case = crate::parse::Fields::new();
    let mut run = |case: &crate::parse::Fields| {
        let hex = |key: &str| hex::decode(&case[key]).expect("hex");
        let prk = extract(&hex("salt"), &hex("IKM"));
        let as_given = !case.contains_key("PRK") || prk == hex("PRK");
        let length = case["L"].parse() == Ok(hex("OKM").len());
        let fits = fits(&prk, &hex("info"), &hex("OKM"));
        tally.expect(&case["COUNT"], as_given && length && fits);
    };
    for record in vector.records() {
        if record.has("COUNT") && case.contains_key("OKM") {
            run(&std::mem::take(&mut case));
        }
        case.extend(record.fields);
    }
    run(&case);
}

pub fn wycheproof(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|_, test| {
        let prk = extract(&field(test, "salt"), &field(test, "ikm"));
        let info = field(test, "info");
        let good = if test["result"] == "valid" {
            fits(&prk, &info, &field(test, "okm"))
        } else {
            let length = test["size"].as_u64().expect("size") as usize;
            let input = Input::Derive {
                context: &info,
                length,
            };
            length > LONGEST
                && operate(suite("hkdf-sha256"), Material::Imported(&prk), input).is_err()
        };
        tally.expect(&test["tcId"], good);
    });
}
