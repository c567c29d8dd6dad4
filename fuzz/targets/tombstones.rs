//! The list of retired token ids: what is taken is what would be written, a torn end apart.
#![no_main]

use evanesce_fuzz::bounded;
use evanesce_wire::disk::{TOMBSTONE, tombstone_lines, tombstones, whole_tombstones};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = whole_tombstones(data);
    match bounded(data.len(), || tombstones(data)) {
        Ok(ids) => {
            let lower = data[..whole].to_ascii_lowercase();
            assert_eq!(tombstone_lines(&ids).as_bytes(), lower);
        }
        Err(line) => assert!((1..=whole / TOMBSTONE).contains(&line)),
    }
});
