//! A log's checkpoint as a signed note, and a proof of inclusion under it: the leaf's index in one byte, the
//! path, the note and the leaf.
#![no_main]

use evanesce_fuzz::{bounded, parts, refusal_is_printable};
use evanesce_wire::merkle::{leaf_hash, verify_inclusion};
use evanesce_wire::note;
use libfuzzer_sys::fuzz_target;

/// The log whose notes are read.
const AGENT: [u8; 32] = [3; 32];
/// The neutral point: under it a signature of nothing is good for every text, so that what follows is reached.
const KEY: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 1;
    key
};

fuzz_target!(|data: &[u8]| {
    let Some((index, path, text, leaf)) = parts(data) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let read = bounded(text.len(), || note::verify(text, &AGENT, &KEY));
    let Some((size, root)) = refusal_is_printable(read) else {
        return;
    };
    let (path, _) = path.as_chunks::<32>();
    let index = u64::from(index);
    if verify_inclusion(&leaf_hash(leaf), index, size, path, &root) {
        assert!(index < size);
    }
});
