//! Tokens as text, to be pasted and mailed: base64 in lines of 64 columns between two marks.
//!
//! Text before and after the marks is ignored, and lines may end in CRLF; between the marks nothing is
//! tolerated, so that a token has one armour. Two tokens in one text are refused: which one was meant, a
//! program must not guess.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::TOKEN_BYTES;
use crate::malformed::Malformed;

const BEGIN: &str = "-----BEGIN EVANESCE REGEN TOKEN-----";
const END: &str = "-----END EVANESCE REGEN TOKEN-----";
const COLUMNS: usize = 64;

/// Base64 characters of the largest token.
const MOST: usize = TOKEN_BYTES.div_ceil(3) * 4;

/// The armour of a token's bytes, with a newline after its last line.
pub fn encode(token: &[u8]) -> String {
    let base64 = STANDARD.encode(token);
    let mut text = String::with_capacity(base64.len() + base64.len() / COLUMNS + 80);
    text.push_str(BEGIN);
    for (i, character) in base64.chars().enumerate() {
        if i % COLUMNS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}

/// A text with `token` in the place of the one armour in it; what stands around that stays as it is.
pub fn replace(text: &str, token: &[u8]) -> Result<String, Malformed> {
    decode(text)?;
    let line = |mark: &str| {
        let mut at = 0;
        text.split_inclusive('\n').find_map(|line| {
            let begin = at;
            at += line.len();
            let plain = line.strip_suffix('\n').unwrap_or(line);
            let plain = plain.strip_suffix('\r').unwrap_or(plain);
            (plain == mark).then_some(begin..at)
        })
    };
    let (Some(begin), Some(end)) = (line(BEGIN), line(END)) else {
        return Err(malformed("its marks are not where they must be"));
    };
    Ok([&text[..begin.start], &encode(token), &text[end.end..]].concat())
}

/// The bytes inside an armour: at most 128 KiB, and not yet judged.
pub fn decode(text: &str) -> Result<Vec<u8>, Malformed> {
    let mut lines = text.lines();
    if !lines.any(|line| line == BEGIN) {
        return Err(malformed(
            "there is no line \"-----BEGIN EVANESCE REGEN TOKEN-----\"",
        ));
    }
    let mut base64 = String::new();
    let mut ended = false;
    for line in lines.by_ref() {
        if line == END {
            ended = true;
            break;
        }
        let first_or_after_full = base64.len().is_multiple_of(COLUMNS);
        if line.is_empty() || line.len() > COLUMNS || !first_or_after_full {
            return Err(malformed(
                "a line that is not of 64 columns and not the last",
            ));
        }
        if base64.len() + line.len() > MOST {
            return Err(malformed(&format!("more than {TOKEN_BYTES} bytes")));
        }
        base64.push_str(line);
    }
    if !ended {
        return Err(malformed(
            "there is no line \"-----END EVANESCE REGEN TOKEN-----\"",
        ));
    }
    if lines.any(|line| line == BEGIN) {
        return Err(malformed("there is more than one token"));
    }
    let bytes = STANDARD
        .decode(base64)
        .map_err(|_| malformed("not base64"))?;
    if bytes.len() > TOKEN_BYTES {
        return Err(malformed(&format!("more than {TOKEN_BYTES} bytes")));
    }
    Ok(bytes)
}

fn malformed(what: &str) -> Malformed {
    Malformed(format!("armoured token: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_armour() {
        for length in [0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 1000, TOKEN_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 31) as u8).collect();
            let text = encode(&bytes);
            assert!(text.lines().all(|line| line.len() <= COLUMNS));
            assert_eq!(decode(&text), Ok(bytes));
        }
    }

    #[test]
    fn mail_around_it_and_crlf_do_no_harm() {
        let bytes = [5; 100];
        let text = format!("Dear Ann,\n\n{}\nyours, B.\n", encode(&bytes));
        assert_eq!(decode(&text.replace('\n', "\r\n")), Ok(bytes.to_vec()));
    }

    #[test]
    fn anything_else_is_refused() {
        let good = encode(&[5; 100]);
        for (text, why) in [
            ("".to_owned(), "BEGIN"),
            (good.replace("BEGIN", "BEGIN NO"), "BEGIN"),
            (good.replace("-----END", "----END"), "not of 64"),
            (good[..good.len() - 40].to_owned(), "END"),
            (good.replacen("BQ", "B\nQ", 1), "64 columns"),
            (good.replacen("BQ", " BQ", 1), "64 columns"),
            (good.replacen("BQ", "*Q", 1), "base64"),
            (
                good.replacen("TOKEN-----\n", "TOKEN-----\n\n", 1),
                "64 columns",
            ),
            (good.replace("==", "="), "base64"),
            (good.replace("BQ==", "BR=="), "base64"),
            (format!("{good}{good}"), "more than one"),
            (encode(&[0; TOKEN_BYTES + 1]), "more than 131072"),
            (encode(&[0; TOKEN_BYTES + 100]), "more than 131072"),
        ] {
            let Malformed(said) = decode(&text).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
