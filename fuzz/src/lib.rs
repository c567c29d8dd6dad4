//! What every fuzz target holds its decoder to.
//!
//! Hostile bytes are refused or understood, never anything else: no panic, no arithmetic that overflows, and no
//! more memory than a fixed multiple of what came in, whatever lengths the bytes promise. Bytes that are
//! understood are the only encoding of what they mean, so encoding gives them back.

mod memory;

pub use memory::bounded;

use std::fmt::Display;

/// Runs a decoder under the memory bound. What it makes of `data` must encode to `data`; a refusal must have
/// words, and words that are safe to print.
pub fn strict<T, E: Display>(
    data: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, E>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Option<T> {
    let value = refusal_is_printable(bounded(data.len(), || decode(data)))?;
    assert!(
        encode(&value) == data,
        "a second encoding of the same value was accepted"
    );
    Some(value)
}

/// Errors quote hostile text: it must come out escaped and cut.
pub fn refusal_is_printable<T, E: Display>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.is_empty(), "a refusal without words");
            assert!(words.len() < 2048, "a refusal of {} bytes", words.len());
            assert!(
                words.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "a refusal that is not safe to print: {words:?}"
            );
            None
        }
    }
}

/// Splits `data` into a leading byte, two parts with 16-bit lengths before them, and the rest.
pub fn parts(data: &[u8]) -> Option<(u8, &[u8], &[u8], &[u8])> {
    let (first, rest) = data.split_first()?;
    let (one, rest) = counted(rest)?;
    let (two, rest) = counted(rest)?;
    Some((*first, one, two, rest))
}

fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// A target for a message of the wire: strict decoding, nothing else.
#[macro_export]
macro_rules! message {
    ($message:path) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            type Message = $message;
            $crate::strict(data, Message::decode, Message::encode);
        });
    };
}
