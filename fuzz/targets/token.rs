//! A whole token (PROTOCOL §2, §3, §4, §8).
#![no_main]

use evanesce_fuzz::strict;
use evanesce_token::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let catalogue = evanesce_suite::catalogue();
    let decode = |data: &[u8]| Token::decode(data, catalogue);
    let Some(token) = strict(data, decode, Token::encode) else {
        return;
    };
    let again = Token::decode(&token.encode(), catalogue).expect("decoded before");
    assert_eq!(
        again.id(),
        token.id(),
        "the id is not a function of the bytes"
    );
    assert_eq!(token.rows.len(), token.body.header.quorum.seats().len());
    assert!(token.expired_at(u64::MAX) || token.body.header.expires.is_none());
});
