//! A software element's file under a passphrase, as far as it is read before it is authenticated.
#![no_main]

use evanesce_element::software::check_sealed;
use evanesce_fuzz::{bounded, refusal_is_printable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    refusal_is_printable(bounded(data.len(), || check_sealed(text)));
});
