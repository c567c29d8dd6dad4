//! PEM: a key to import, and an identity's file. Both read the same bytes.
#![no_main]

use evanesce_fuzz::refusal_is_printable;
use evanesce_secret::{SecretVec, on_crucible};
use evanesce_suite::pem::{is_pem, unwrap_pem};
use evanesce_wire::{FileIdentity, Identity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.is_empty() {
        return;
    }
    let given = SecretVec::from_slice(data).expect("locked memory");
    let unwrapped = refusal_is_printable(on_crucible(|| unwrap_pem(&given)));
    if let Some(der) = unwrapped {
        assert!(is_pem(data) && der.expose().len() < data.len());
    }
    let identity = on_crucible(|| FileIdentity::from_pem(data));
    if let Some(identity) = refusal_is_printable(identity) {
        identity.sign(&[0; 32]).expect("an identity signs");
    }
});
