//! The one error of this crate: what is wrong, and where.
//!
//! Its text is safe to print: whatever came from outside is escaped to ASCII and cut short. It never
//! holds a secret, since nothing decoded here is one.

use std::fmt;

/// What is wrong and where, such as `token.rows[2].correction: 31 bytes, must be 32`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Characters of hostile text that a message shows.
const SHOWN: usize = 48;

/// Hostile text between quotes, escaped to printable ASCII and cut after 48 characters.
///
/// Escaping everything else keeps terminal control sequences and bidirectional overrides out of logs.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(SHOWN + 2);
    out.push('"');
    for (shown, character) in text.chars().enumerate() {
        if shown == SHOWN {
            out.push_str("...");
            break;
        }
        out.extend(character.escape_default());
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(quoted("ceo"), "\"ceo\"");
        assert_eq!(
            quoted("a\u{1b}[31m\"\u{202e}"),
            r#""a\u{1b}[31m\"\u{202e}""#
        );
        assert_eq!(quoted(&"x".repeat(1000)).len(), SHOWN + 5);
    }

    use super::SHOWN;
}
