//! Ed25519: Wycheproof, and the thousand of the authors' `sign.input`.

use evanesce_suite::{Input, Material};

use crate::common::{field, operate, public_key, suite};
use crate::encode::spki;
use crate::parse::Vector;
use crate::tally::Tally;

const NAME: &str = "ed25519";

pub fn wycheproof(vector: &Vector, tally: &mut Tally) {
    vector.each_test(|group, test| {
        let spki = field(group, "publicKeyDer");
        let (message, signature) = (field(test, "msg"), field(test, "sig"));
        let good = suite(NAME).verify(&spki, &message, &signature).is_ok();
        // "Acceptable" are signatures on which cofactored and cofactorless verification differ, both
        // of which RFC 8032 allows.
        let fits = match test["result"].as_str() {
            Some("valid") => good,
            Some("invalid") => !good,
            _ => true,
        };
        tally.expect(&test["tcId"], fits);
    });
}

/// Each line: seed ‖ public : public : message : signature ‖ message.
pub fn sign_input(vector: &Vector, tally: &mut Tally) {
    for (number, line) in vector.text().lines().enumerate() {
        let parts: Vec<_> = (line.split(':'))
            .map(|part| hex::decode(part).expect("hex"))
            .collect();
        let (seed, public, message, signature) =
            (&parts[0][..32], &parts[1], &parts[2], &parts[3][..64]);
        let material = Material::Derived(seed);
        let spki = spki(NAME, public);
        let signed = operate(suite(NAME), material, Input::Sign { message });
        tally.expect(
            number,
            public_key(suite(NAME), material).is_ok_and(|key| key == spki)
                && signed.is_ok_and(|ours| ours == signature)
                && suite(NAME).verify(&spki, message, signature).is_ok(),
        );
    }
}
