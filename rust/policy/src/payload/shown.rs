//! A payload as people are shown it: one way for each payload, so that agents can tell what somebody saw.
//!
//! JSON on lines of its own, indented; every character that could move a cursor, hide or turn the text around it is
//! written as its escape.

use std::fmt::Write;

use evanesce_token::text::harmless;

use super::{Members, Payload, Value};

impl Payload {
    /// Its text for people: lines of JSON, without a newline at the end.
    pub fn shown(&self) -> String {
        let mut out = String::new();
        object(&self.0, 0, &mut out);
        out
    }
}

/// A text in quotes, in which nothing can end the quotes, begin a line or hide.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    string(text, &mut out);
    out
}

fn object(members: &Members, depth: usize, out: &mut String) {
    if members.is_empty() {
        return out.push_str("{}");
    }
    out.push('{');
    for (place, (key, item)) in members.iter().enumerate() {
        line(place, depth + 1, out);
        string(key, out);
        out.push_str(": ");
        value(item, depth + 1, out);
    }
    line(0, depth, out);
    out.push('}');
}

fn value(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(is) => out.push_str(if *is { "true" } else { "false" }),
        // writing to a String cannot fail
        Value::Number(number) => drop(write!(out, "{number}")),
        Value::Text(text) => string(text, out),
        Value::Object(members) => object(members, depth, out),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                line(place, depth + 1, out);
                self::value(item, depth + 1, out);
            }
            line(0, depth, out);
            out.push(']');
        }
    }
}

/// A comma where something stands before, and a new line.
fn line(place: usize, depth: usize, out: &mut String) {
    if place > 0 {
        out.push(',');
    }
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if harmless(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // writing to a String cannot fail
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::tests::object as any_object;
    use proptest::prelude::*;

    #[test]
    fn a_payload_is_shown_on_lines_and_nothing_in_it_can_make_one() {
        let text = "{\"a\":1,\"b\":{\"c\":[\"x\",true,null],\"d\":{}},\"e\":\"y\\\"\\n\u{202e}z\\\\\",\"\u{e0041}\":[]}";
        let payload = Payload::read(text.as_bytes()).unwrap();
        let lines = [
            "{",
            "  \"a\": 1,",
            "  \"b\": {",
            "    \"c\": [",
            "      \"x\",",
            "      true,",
            "      null",
            "    ],",
            "    \"d\": {}",
            "  },",
            "  \"e\": \"y\\\"\\u000a\\u202ez\\\\\",",
            "  \"\\udb40\\udc41\": []",
            "}",
        ];
        assert_eq!(payload.shown(), lines.join("\n"));
    }

    proptest! {
        /// What is shown is the payload and no other: read again, it is the same.
        #[test]
        fn no_two_payloads_are_shown_alike(members in any_object()) {
            let payload = Payload(members);
            let shown = payload.shown();
            prop_assert!(shown.chars().all(|c| c == '\n' || harmless(c)));
            let canonical = |text: &str| crate::canonicalise(text.as_bytes()).unwrap();
            prop_assert_eq!(canonical(&shown), canonical(&payload.canonical()));
        }
    }
}
