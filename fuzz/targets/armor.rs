//! A token as text.
#![no_main]

use evanesce_fuzz::{bounded, refusal_is_printable};
use evanesce_token::armor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let decoded = bounded(text.len(), || armor::decode(text));
    let Some(bytes) = refusal_is_printable(decoded) else {
        return;
    };
    let armored = armor::encode(&bytes);
    assert_eq!(armor::decode(&armored), Ok(bytes));
    let block = armored.trim_end();
    assert!(
        text.replace("\r\n", "\n").contains(block),
        "a second armour of the same token was accepted"
    );
});
