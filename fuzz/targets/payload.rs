//! A payload: JSON from whoever asks for an operation, put into its one canonical form and shown to a policy.
#![no_main]

use std::sync::LazyLock;

use evanesce_fuzz::{bounded, refusal_is_printable};
use evanesce_policy::{Compiled, Payload, Principal, Question, Uses, canonicalise, permits};
use libfuzzer_sys::fuzz_target;

static POLICY: LazyLock<Compiled> = LazyLock::new(|| {
    let policy = "@payload(\"{ amount: Long, to?: { tags: Set<String> } }\") permit(principal, action, resource)
        unless { context has payload && (context.payload.amount > 5 || context.payload has to) };";
    let compiled = Compiled::new(policy);
    assert_eq!(compiled.invalid(), None);
    compiled
});

fuzz_target!(|data: &[u8]| {
    let made = bounded(data.len(), || canonicalise(data));
    let read = bounded(data.len(), || Payload::read(data));
    let Some(canonical) = refusal_is_printable(made) else {
        assert!(read.is_err());
        return;
    };
    assert!(canonical.len() <= data.len());
    assert_eq!(
        canonicalise(&canonical).as_ref(),
        Ok(&canonical),
        "not a fixed point"
    );
    assert_eq!(read.is_ok(), canonical == data, "another form was accepted");
    let payload = Payload::read(&canonical).expect("the canonical form is read");
    let question = Question {
        action: "sign",
        suite: "ed25519",
        input: &[0; 32],
        key: "treasury",
        now: 1_700_000_000,
        minter: false,
        payload: Some(&payload),
        uses: Uses::default(),
        approvals: &[],
    };
    let verdict = permits(Some(&POLICY), &Principal::new("ops", &[]), question);
    // Nothing but a number, and what the type names beside it, is let through.
    assert!(verdict.is_err() || canonical.starts_with(b"{\"amount\":"));
});
