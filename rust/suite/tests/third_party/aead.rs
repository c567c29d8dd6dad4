//! AES-256-GCM: Wycheproof and NIST CAVP. Nonces are drawn by the suite, so every vector, also those
//! for encryption, is decrypted. (XAES-256-GCM's vectors, C2SP's own, are in the crate.)

use evanesce_suite::{Input, Material};

use crate::common::{field, operate, suite};
use crate::parse::Vector;
use crate::tally::Tally;

const NAME: &str = "aes-256-gcm";
const NONCE: &str = "a nonce of another length than 96 bits: the suite has one length";

fn decrypt(key: &[u8], sealed: &[&[u8]], aad: &[u8]) -> Option<Vec<u8>> {
    let ciphertext = sealed.concat();
    let input = Input::Decrypt {
        ciphertext: &ciphertext,
        aad,
    };
    operate(suite(NAME), Material::Derived(key), input).ok()
}

pub fn wycheproof(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let [key, iv, aad, msg, ct, tag] =
            ["key", "iv", "aad", "msg", "ct", "tag"].map(|name| field(test, name));
        let opened = decrypt(&key, &[&iv, &ct, &tag], &aad);
        if group["keySize"] != 256 {
            tally.expect(&test["tcId"], opened.is_none());
        } else if group["ivSize"] != 96 {
            tally.skip(NONCE);
        } else {
            let fits = match test["result"].as_str() {
                Some("valid") => opened == Some(msg),
                _ => opened.is_none(),
            };
            tally.expect(&test["tcId"], fits);
        }
    });
}

pub fn cavp(vector: &Vector, tally: &mut Tally) {
    for record in vector.records() {
        if !record.has("Key") {
            continue; // a heading
        }
        if record.header("IVlen") != "96" {
            tally.skip(NONCE);
            continue;
        }
        let [key, iv, ct, aad, tag] =
            ["Key", "IV", "CT", "AAD", "Tag"].map(|name| record.hex(name));
        let opened = decrypt(&key, &[&iv, &ct, &tag], &aad);
        // A shorter tag, right as it is, is refused: the suite's are whole.
        let good = !record.has("FAIL") && record.header("Taglen") == "128";
        let fits = if good {
            opened == Some(record.hex("PT"))
        } else {
            opened.is_none()
        };
        tally.expect(
            format!("{:?} {}", record.headers, record.text("Count")),
            fits,
        );
    }
}
