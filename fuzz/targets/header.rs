//! A header alone, as agents are given it (PROTOCOL §3).
#![no_main]

use evanesce_fuzz::strict;
use evanesce_token::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let decode = |data: &[u8]| Header::decode(data, evanesce_suite::catalogue());
    let Some(header) = strict(data, decode, Header::encode) else {
        return;
    };
    // What agents and people are shown of it is the same quorum.
    let written = header.quorum.to_string();
    assert_eq!(
        evanesce_token::Gate::parse(&written).as_ref(),
        Ok(&header.quorum)
    );
});
