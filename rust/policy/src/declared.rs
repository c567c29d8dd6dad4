//! The type of the payload that a policy looks at, as the policy itself declares it:
//! `@payload("{ amount: Long, currency: String, to?: String }")` on one of its statements.
//!
//! Cedar's schema syntax, of which it takes what JSON has: `Long`, `String`, `Bool`, `Set<…>` and records. It is read
//! here and written anew before it becomes part of a schema, since the text is a stranger's and could otherwise
//! close the type and declare something else behind it.

use std::collections::BTreeSet;
use std::fmt::Write;

use cedar_policy::PolicySet;

use crate::payload::PAYLOAD_DEPTH;

/// The annotation's name.
const ANNOTATION: &str = "payload";

/// The type that a policy declares, in Cedar's schema syntax; `None` where it declares none.
pub fn declared(set: &PolicySet) -> Result<Option<String>, String> {
    let mut found = set
        .policies()
        .filter_map(|policy| policy.annotation(ANNOTATION));
    let Some(text) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err("it declares its payload twice: one statement has @payload, for all".into());
    }
    let kind = read(text).map_err(|why| format!("@payload does not declare a type: {why}"))?;
    Ok(Some(kind))
}

fn read(text: &str) -> Result<String, String> {
    let mut reader = Reader { text, at: 0 };
    let mut out = String::new();
    reader.space();
    if !reader.text[reader.at..].starts_with('{') {
        return Err(reader.wrong("a payload is a record: \"{\" is expected"));
    }
    reader.kind(1, &mut out)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("something follows the record"));
    }
    Ok(out)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &str) -> String {
        format!("{what}, at byte {} of its text", self.at + 1)
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_ascii_start().len();
    }

    fn takes(&mut self, c: char) -> bool {
        self.space();
        let found = self.text[self.at..].starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn expects(&mut self, c: char) -> Result<(), String> {
        match self.takes(c) {
            true => Ok(()),
            false => Err(self.wrong(&format!("{c:?} is expected"))),
        }
    }

    fn word(&mut self) -> &'a str {
        self.space();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn kind(&mut self, depth: usize, out: &mut String) -> Result<(), String> {
        if depth > PAYLOAD_DEPTH {
            return Err(self.wrong(&format!("it nests over {PAYLOAD_DEPTH} deep")));
        }
        self.space();
        if self.text[self.at..].starts_with('{') {
            return self.record(depth, out);
        }
        let start = self.at;
        match self.word() {
            word @ ("Long" | "String" | "Bool") => out.push_str(word),
            "Set" => {
                self.expects('<')?;
                out.push_str("Set<");
                self.kind(depth + 1, out)?;
                self.expects('>')?;
                out.push('>');
            }
            _ => {
                self.at = start;
                return Err(self.wrong("Long, String, Bool, Set<…> or a record is expected"));
            }
        }
        Ok(())
    }

    fn record(&mut self, depth: usize, out: &mut String) -> Result<(), String> {
        self.expects('{')?;
        out.push_str("{ ");
        let mut names = BTreeSet::new();
        while !self.takes('}') {
            let name = self.name()?;
            if !names.insert(name) {
                return Err(self.wrong("an attribute comes twice"));
            }
            let optional = if self.takes('?') { "?" } else { "" };
            self.expects(':')?;
            let _ = write!(out, "\"{name}\"{optional}: ");
            self.kind(depth + 1, out)?;
            out.push_str(", ");
            if !self.takes(',') {
                self.expects('}')?;
                break;
            }
        }
        out.push('}');
        Ok(())
    }

    /// An attribute: a word, or any text in quotes that needs no escapes.
    fn name(&mut self) -> Result<&'a str, String> {
        if !self.takes('"') {
            return match self.word() {
                "" => Err(self.wrong("an attribute is expected")),
                word => Ok(word),
            };
        }
        let rest = &self.text[self.at..];
        let end = rest.find('"').unwrap_or(rest.len());
        let name = &rest[..end];
        if name.contains('\\') || name.contains(char::is_control) {
            return Err(self.wrong("an attribute cannot hold a backslash or a control character"));
        }
        self.at += end;
        self.expects('"')?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_anew() {
        for (text, expected) in [
            ("{}", "{ }"),
            (
                "{amount:Long,to?:String}",
                "{ \"amount\": Long, \"to\"?: String, }",
            ),
            (
                " {\n lines : Set < { sku: String, n: Long, } > ,\n \"ship to\" ? : Bool } ",
                "{ \"lines\": Set<{ \"sku\": String, \"n\": Long, }>, \"ship to\"?: Bool, }",
            ),
            (
                "{ in: Long, \"é\": Long }",
                "{ \"in\": Long, \"é\": Long, }",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected));
            assert_eq!(read(expected).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_type_of_json_is_refused() {
        let deep = format!("{{a:{}Long{}}}", "Set<".repeat(16), ">".repeat(16));
        for (text, what) in [
            ("", "\"{\" is expected, at byte 1"),
            ("Long", "\"{\" is expected"),
            ("{a:Decimal}", "Long, String, Bool"),
            ("{a:ipaddr}", "expected, at byte 4"),
            ("{a:Key}", "expected"),
            ("{a:Set}", "'<' is expected"),
            ("{a:Set<Long}", "'>' is expected"),
            ("{a Long}", "':' is expected"),
            ("{a:Long b:Long}", "'}' is expected"),
            ("{a:Long,,}", "attribute is expected"),
            ("{a:Long,\"a\":Long}", "twice"),
            ("{\"a:Long}", "'\"' is expected"),
            ("{\"a\\\"\": Long}", "backslash"),
            ("{\"a\u{a}\": Long}", "control"),
            ("{a:Long} // more", "follows"),
            ("{a:Long}; entity Key", "follows"),
            ("{a:Long}}; entity Key; type T = {b:Long}", "follows"),
            ("{@doc(\"x\") a:Long}", "attribute is expected"),
            (&deep, "nests over 16 deep"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(what), "{text}: {why}");
        }
    }
}
