//! One agent's word on one opening, from its form to its proofs.
#![no_main]

use evanesce_fuzz::{refusal_is_printable, strict};
use evanesce_wire::message::{Entry, Receipt};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(receipt) = strict(data, Receipt::decode, Receipt::encode) else {
        return;
    };
    if let Some(entry) = refusal_is_printable(receipt.verify()) {
        assert_eq!(entry.agent, receipt.agent);
        assert_eq!(Entry::decode(&receipt.entry).ok(), Some(entry));
    }
});
