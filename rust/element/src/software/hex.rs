//! Hexadecimal for secrets: no table, no branch on a digit's value.

use subtle::{Choice, ConstantTimeGreater};

/// Decodes `2N` digits of either case into `out`; false, and `out` undefined, if one is not a digit.
///
/// Time depends on the lengths alone. Panics if `text` is not twice as long as `out`.
#[must_use]
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> bool {
    assert_eq!(text.len(), 2 * out.len(), "two digits make a byte");
    let mut good = Choice::from(1);
    for (pair, byte) in text.chunks_exact(2).zip(out) {
        let (high, high_good) = digit(pair[0]);
        let (low, low_good) = digit(pair[1]);
        *byte = high << 4 | low;
        good &= high_good & low_good;
    }
    good.into()
}

/// Encodes `bytes` as lower-case digits. Panics if `out` is not twice as long as `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut [u8]) {
    assert_eq!(out.len(), 2 * bytes.len(), "a byte makes two digits");
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = character(byte >> 4);
        pair[1] = character(byte & 15);
    }
}

/// A digit's value, and whether it was one.
fn digit(character: u8) -> (u8, Choice) {
    let decimal = character.wrapping_sub(b'0');
    let letter = (character | 0x20).wrapping_sub(b'a');
    let is_decimal = !decimal.ct_gt(&9);
    let is_letter = !letter.ct_gt(&5);
    let decimal_mask = is_decimal.unwrap_u8().wrapping_neg();
    let letter_mask = is_letter.unwrap_u8().wrapping_neg();
    (
        decimal & decimal_mask | letter.wrapping_add(10) & letter_mask,
        is_decimal ^ is_letter,
    )
}

/// The lower-case digit of a value below 16.
fn character(value: u8) -> u8 {
    let letter_mask = value.ct_gt(&9).unwrap_u8().wrapping_neg();
    b'0' + value + (letter_mask & (b'a' - b'0' - 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_and_every_other_character_is_refused() {
        for byte in 0..=255u8 {
            let mut text = [0; 2];
            encode(&[byte], &mut text);
            assert_eq!(&text[..], format!("{byte:02x}").as_bytes());
            let mut back = [0];
            assert!(decode(&text, &mut back) && back == [byte]);
            assert!(decode(&text.map(|c| c.to_ascii_uppercase()), &mut back) && back == [byte]);
            assert_eq!(
                decode(&[byte, b'0'], &mut back),
                byte.is_ascii_hexdigit(),
                "{byte}"
            );
            assert_eq!(
                decode(&[b'0', byte], &mut back),
                byte.is_ascii_hexdigit(),
                "{byte}"
            );
        }
    }
}
