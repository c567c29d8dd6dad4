//! Names, policies and paths are hostile text wherever people read them.

/// `text` cut to `most` characters, control and formatting characters replaced.
///
/// What is left cannot move a cursor, change colours or reverse the direction of what follows.
pub fn cut(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most + 3));
    for (n, c) in text.chars().enumerate() {
        if n == most {
            out.push_str("...");
            break;
        }
        out.push(if harmless(c) { c } else { '\u{fffd}' });
    }
    out
}

/// Whether a character, shown to people, does nothing but stand there.
pub fn harmless(c: char) -> bool {
    // Bidirectional controls and invisible formatting, beside what char calls control.
    let formatting = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !formatting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_defused_and_cut() {
        assert_eq!(cut("J\u{fc}rgen", 64), "J\u{fc}rgen");
        assert_eq!(
            cut("a\u{1b}[31m\u{202e}\n", 64),
            "a\u{fffd}[31m\u{fffd}\u{fffd}"
        );
        assert_eq!(cut(&"x".repeat(100), 4), "xxxx...");
    }
}
