//! A whole token of the second kind (PROTOCOL §11).
#![no_main]

use evanesce_fuzz::strict;
use evanesce_token::mpc::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(token) = strict(data, Token::decode, Token::encode) else {
        return;
    };
    let (t, seats) = (token.body.vector.len(), token.rows.len());
    assert!((2..=seats).contains(&t) && seats == token.body.seats());
    let first = evanesce_token::Token::decode(data, evanesce_suite::catalogue());
    assert!(first.is_err(), "one token of two kinds");
});
