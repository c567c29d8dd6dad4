//! The head of an agent's log: a checkpoint, a length and the tree's right edge.
#![no_main]

use evanesce_fuzz::{bounded, refusal_is_printable};
use evanesce_wire::disk::Head;
use libfuzzer_sys::fuzz_target;

/// The log whose head is read.
const AGENT: [u8; 32] = [3; 32];
/// The neutral point: under it a signature of nothing is good for every text, so that what follows is reached.
const KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 1;
    key
};

fuzz_target!(|data: &[u8]| {
    let read = bounded(data.len(), || Head::parse(data, &AGENT, &KEY));
    let Some(head) = refusal_is_printable(read) else {
        return;
    };
    let text = std::str::from_utf8(data).expect("a head is text");
    let (checkpoint, _) = text.split_once("\nlength ").expect("a head has a length");
    let again = Head::parse(&head.encode(checkpoint), &AGENT, &KEY).expect("what was written");
    assert_eq!((again.length, again.frontier), (head.length, head.frontier));
});
