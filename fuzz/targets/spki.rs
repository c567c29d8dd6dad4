//! Public keys, signatures and messages: a suite, then a SubjectPublicKeyInfo, a signature and the message.
#![no_main]

use evanesce_fuzz::{parts, refusal_is_printable};
use evanesce_suite::{Error, all};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((suite, spki, signature, message)) = parts(data) else {
        return;
    };
    let suite = all()[usize::from(suite) % all().len()];
    let verified = suite.verify(spki, message, signature);
    assert!(
        !matches!(verified, Err(Error::Internal(_))),
        "not an input's fault"
    );
    refusal_is_printable(verified);
    let encrypted = suite.encrypt_to(spki, message);
    assert!(
        !matches!(encrypted, Err(Error::Internal(_))),
        "not an input's fault"
    );
    refusal_is_printable(encrypted);
    if let Some((ciphertext, shared)) = refusal_is_printable(suite.encapsulate(spki)) {
        assert!(!ciphertext.is_empty() && shared.len() == 32);
    }
});
