//! Quorums as people write them: `3 of (ceo, cfo, 2 of (board-1, board-2, board-3))`.
//!
//! A gate is a number, `of`, and its children between parentheses, separated by commas; a child is a
//! gate or a seat's name. White space is free. What is read is always a quorum of PROTOCOL §3, and what
//! is written reads back as the same.

use std::fmt;

use super::{Gate, Node, check_seat_name, check_threshold, may_name_a_seat};
use crate::limits::{GATE_DEPTH, SEATS};
use crate::malformed::{Malformed, quoted};

impl Gate {
    /// Reads a quorum. Errors name the column, from 1, and what was expected there.
    pub fn parse(text: &str) -> Result<Gate, Malformed> {
        let mut parser = Parser {
            text,
            at: 0,
            seats: 0,
        };
        let start = parser.skip_space();
        let Some(word) = parser.word() else {
            return Err(parser.expected("a number, as in \"2 of (a, b, c)\""));
        };
        if !parser.take_of() {
            parser.at = start;
            return Err(if word.bytes().all(|byte| byte.is_ascii_digit()) {
                parser.at += word.len();
                parser.skip_space();
                parser.expected("\"of\"")
            } else {
                parser.expected("a number, as in \"2 of (a, b, c)\"")
            });
        }
        let gate = parser.gate(word, start, 1)?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.expected("the end"));
        }
        gate.validate()?;
        Ok(gate)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of (", self.t)?;
        for (i, child) in self.of.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{child}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Gate(gate) => write!(f, "{gate}"),
            Node::Seat(name) => f.write_str(name),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of what comes next.
    at: usize,
    seats: usize,
}

impl<'a> Parser<'a> {
    /// A gate whose number `t` and "of" have been read; `start` is where the number stands.
    fn gate(&mut self, t: &str, start: usize, depth: usize) -> Result<Gate, Malformed> {
        if depth > GATE_DEPTH {
            return Err(self.error(start, &format!("gates are more than {GATE_DEPTH} deep")));
        }
        let digits = t.bytes().all(|byte| byte.is_ascii_digit());
        let Some(t) = t.parse::<usize>().ok().filter(|_| digits) else {
            let expected = format!("expected a number before \"of\", found {}", quoted(t));
            return Err(self.error(start, &expected));
        };
        self.skip_space();
        if !self.take('(') {
            return Err(self.expected("\"(\""));
        }
        let mut of = Vec::new();
        loop {
            of.push(self.node(depth)?);
            self.skip_space();
            if self.take(')') {
                break;
            }
            if !self.take(',') {
                return Err(self.expected("\",\" or \")\""));
            }
        }
        check_threshold(t as u64, of.len()).map_err(|why| self.error(start, &why))?;
        Ok(Gate { t, of })
    }

    fn node(&mut self, depth: usize) -> Result<Node, Malformed> {
        let start = self.skip_space();
        let Some(word) = self.word() else {
            return Err(self.expected("a seat's name or a gate"));
        };
        if self.take_of() {
            return Ok(Node::Gate(self.gate(word, start, depth + 1)?));
        }
        check_seat_name(word).map_err(|why| self.error(start, &why))?;
        self.seats += 1;
        if self.seats > SEATS {
            return Err(self.error(start, &format!("more than {SEATS} seats")));
        }
        Ok(Node::Seat(word.to_owned()))
    }

    /// Takes the word "of" where it comes next; no seat's name can be followed by it.
    fn take_of(&mut self) -> bool {
        let back = self.at;
        self.skip_space();
        let found = self.word() == Some("of");
        if !found {
            self.at = back;
        }
        found
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|character| !may_name_a_seat(character))
            .unwrap_or(rest.len());
        self.at += end;
        (end > 0).then_some(&rest[..end])
    }

    fn take(&mut self, character: char) -> bool {
        let found = self.text[self.at..].starts_with(character);
        if found {
            self.at += character.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn expected(&self, what: &str) -> Malformed {
        let mut ahead = Parser {
            text: self.text,
            at: self.at,
            seats: 0,
        };
        let found = match (ahead.word(), self.text[self.at..].chars().next()) {
            (Some(word), _) => quoted(word),
            (None, Some(character)) => quoted(character.encode_utf8(&mut [0; 4])),
            (None, None) => "the end".into(),
        };
        self.error(self.at, &format!("expected {what}, found {found}"))
    }

    fn error(&self, at: usize, what: &str) -> Malformed {
        let column = self.text[..at].chars().count() + 1;
        Malformed(format!("quorum, column {column}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_reads_back_as_it_was() {
        let text = "3 of (ceo, cfo, 2 of (board-1, board-2, board-3))";
        let gate = Gate::parse(text).unwrap();
        assert_eq!(gate.to_string(), text);
        assert_eq!(
            gate.seats(),
            ["ceo", "cfo", "board-1", "board-2", "board-3"]
        );
        let spaced = "\n 3\tof(ceo ,cfo,2 of(board-1,board-2,board-3 ) ) ";
        assert_eq!(Gate::parse(spaced).unwrap(), gate);
    }

    #[test]
    fn numbers_and_of_are_names_too() {
        let gate = Gate::parse("2 of (of, 3, 1 of (1, off))").unwrap();
        assert_eq!(gate.seats(), ["of", "3", "1", "off"]);
        assert_eq!(Gate::parse(&gate.to_string()), Ok(gate));
    }

    #[test]
    fn errors_say_where_and_what_was_expected() {
        let deep = format!("{}a{}", "1 of (".repeat(9), ")".repeat(9));
        let wide = format!(
            "1 of ({})",
            (0..256)
                .map(|i| format!("s{i}"))
                .collect::<Vec<_>>()
                .join(",")
        );
        let long = format!("1 of ({})", "x".repeat(65));
        for (text, said) in [
            (
                "",
                r#"column 1: expected a number, as in "2 of (a, b, c)", found the end"#,
            ),
            (
                "ceo",
                r#"column 1: expected a number, as in "2 of (a, b, c)", found "ceo""#,
            ),
            (
                "(a)",
                r#"column 1: expected a number, as in "2 of (a, b, c)", found "(""#,
            ),
            ("2 (a, b)", r#"column 3: expected "of", found "(""#),
            ("2", r#"column 2: expected "of", found the end"#),
            (
                "two of (a, b)",
                r#"column 1: expected a number before "of", found "two""#,
            ),
            ("2 of a, b", r#"column 6: expected "(", found "a""#),
            ("2 of (a b)", r#"column 9: expected "," or ")", found "b""#),
            (
                "2 of (a, b",
                r#"column 11: expected "," or ")", found the end"#,
            ),
            (
                "2 of (a, b,)",
                r#"column 12: expected a seat's name or a gate, found ")""#,
            ),
            (
                "1 of ()",
                r#"column 7: expected a seat's name or a gate, found ")""#,
            ),
            ("1 of (a) b", r#"column 10: expected the end, found "b""#),
            (
                "1 of (a, 3 of (b, c))",
                "column 10: a gate needs 3 of its 2 children",
            ),
            (
                "0 of (a)",
                "column 1: a gate needs at least 1 of its children, not 0",
            ),
            (
                "1 of (ä)",
                r#"column 7: expected a seat's name or a gate, found "\u{e4}""#,
            ),
            (
                "99999999999999999999999 of (a)",
                "column 1: expected a number",
            ),
            ("1 of (a, a)", r#"seat "a" is named twice"#),
            (&deep, "column 49: gates are more than 8 deep"),
            (&wide, "more than 255 seats"),
            (&long, "column 7: a seat's name of 65 bytes"),
        ] {
            let Malformed(error) = Gate::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
