//! Keys to import: the first byte chooses the suite, the rest is PKCS#8 or a raw symmetric key (PROTOCOL §8).
#![no_main]

use evanesce_fuzz::refusal_is_printable;
use evanesce_secret::on_crucible;
use evanesce_suite::{Material, all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, key)) = data.split_first() else {
        return;
    };
    let suite = all()[usize::from(*first) % all().len()];
    let admitted = on_crucible(|| suite.admit(key));
    if refusal_is_printable(admitted).is_some() && suite.facts().public {
        let public = on_crucible(|| suite.public_key(&Material::Imported(key)));
        public.expect("a key that was admitted has a public half");
    }
});
