//! An agent's log as a start reads it: `log/entries` as frames, of which a torn one has no good one behind it.
#![no_main]

use evanesce_fuzz::bounded;
use evanesce_wire::disk::{hides_a_frame, put_frame, take_frame};
use evanesce_wire::message::Entry;
use libfuzzer_sys::fuzz_target;

/// The id of the agent in the seeds: TH("agent", SPKI of the neutral point).
fn agent() -> [u8; 32] {
    let mut spki = [0; 44];
    spki[..12].copy_from_slice(b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00");
    spki[12] = 1;
    evanesce_token::formula::agent_id(&spki)
}

fuzz_target!(|data: &[u8]| {
    let agent = agent();
    let mut rest = data;
    let mut again = Vec::new();
    while let Some((leaf, _, after)) = bounded(rest.len(), || take_frame(rest, &agent)) {
        let frame = &rest[..rest.len() - after.len()];
        let entry = &frame[evanesce_wire::disk::FRAME..];
        assert!(Entry::decode(entry).is_ok_and(|entry| entry.agent == agent));
        assert_eq!(put_frame(&mut again, entry), Some(leaf));
        rest = after;
    }
    assert_eq!(again, data[..data.len() - rest.len()]);
    bounded(rest.len(), || hides_a_frame(rest, &agent));
});
