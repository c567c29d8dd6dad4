//! What an agent is asked: openings, and the tokens they concern.
#![no_main]

use evanesce_fuzz::{bounded, refusal_is_printable, strict};
use evanesce_token::Body;
use evanesce_wire::message::{Batch, Context};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(batch) = strict(data, Batch::decode, Batch::encode) else {
        return;
    };
    for context in batch.contexts {
        let Context::Full {
            header,
            anchor,
            commitments,
            public,
            sealed,
        } = context
        else {
            continue;
        };
        let catalogue = evanesce_suite::catalogue();
        let given = header.clone();
        let body = bounded(data.len(), || {
            Body::new(given, anchor, commitments, public, sealed, catalogue)
        });
        if let Some(body) = refusal_is_printable(body) {
            assert_eq!(body.header.encode(), header);
        }
    }
});
