//! HMAC: RFC 4231. AES-256-CMAC: Wycheproof and SP 800-38B.

use evanesce_suite::{Input, Material};

use crate::common::{field, operate, suite};
use crate::parse::Vector;
use crate::tally::Tally;

/// Whether the suite computes this tag, verifies it, and refuses a neighbour.
fn tag(name: &str, key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    let material = Material::Imported(key);
    let run = |input| operate(suite(name), material, input);
    let mut other = mac.to_vec();
    other[0] ^= 1;
    run(Input::Mac { message }).is_ok_and(|ours| ours == mac)
        && run(Input::VerifyMac { message, mac }).is_ok()
        && run(Input::VerifyMac {
            message,
            mac: &other,
        })
        .is_err()
        && run(Input::VerifyMac {
            message,
            mac: &mac[..mac.len() - 1],
        })
        .is_err()
}

pub fn rfc4231(vector: &Vector, tally: &mut Tally) {
    let name = if vector.path.contains("512") {
        "hmac-sha512"
    } else {
        "hmac-sha256"
    };
    for record in vector.records() {
        if record.has("Key") {
            let [key, message, mac] = ["Key", "Msg", "MD"].map(|field| record.hex(field));
            tally.expect(record.text("Len"), tag(name, &key, &message, &mac));
        }
    }
}

pub fn cmac(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        let [key, message, mac] = ["KEY", "MESSAGE", "OUTPUT"].map(|field| record.hex(field));
        tally.expect(record.text("COUNT"), tag("aes-cmac", &key, &message, &mac));
    }
}

pub fn wycheproof_cmac(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let [key, message, mac] = ["key", "msg", "tag"].map(|name| field(test, name));
        let verify = Input::VerifyMac {
            message: &message,
            mac: &mac,
        };
        let fits = if test["result"] == "valid" && group["keySize"] == 256 {
            tag("aes-cmac", &key, &message, &mac)
        } else {
            operate(suite("aes-cmac"), Material::Imported(&key), verify).is_err()
        };
        tally.expect(&test["tcId"], fits);
    });
}
