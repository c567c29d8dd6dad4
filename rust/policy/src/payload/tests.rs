//! The canonical form: RFC 8785's own examples as far as they are payloads, what is refused, and every way of
//! writing one thing.

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> Result<String, String> {
    canonicalise(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// RFC 8785 §3.2.2 and §3.2.3, and its published test data (`arrays.json`, `unicode.json`, `weird.json`, and
/// `values.json` without its fractions).
#[test]
fn the_published_examples_come_out_as_published() {
    for (text, expected) in [
        (
            "{\n  \"numbers\": [333333333, 4, 2, 0],\n  \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\",\n  \"literals\": [null, true, false]\n}",
            "{\"literals\":[null,true,false],\"numbers\":[333333333,4,2,0],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        ),
        (
            "{\n  \"\\u20ac\": \"Euro Sign\",\n  \"\\r\": \"Carriage Return\",\n  \"\\ufb33\": \"Hebrew Letter Dalet With Dagesh\",\n  \"1\": \"One\",\n  \"\\ud83d\\ude00\": \"Emoji: Grinning Face\",\n  \"\\u0080\": \"Control\",\n  \"\\u00f6\": \"Latin Small Letter O With Diaeresis\"\n}",
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        ),
        (
            "{\"a\":[\n  56,\n  {\n    \"d\": true,\n    \"10\": null,\n    \"1\": [ ]\n  }\n]}",
            "{\"a\":[56,{\"1\":[],\"10\":null,\"d\":true}]}",
        ),
        (
            "{\n  \"Unnormalized Unicode\":\"A\\u030a\"\n}",
            "{\"Unnormalized Unicode\":\"A\u{30a}\"}",
        ),
        (
            "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\u000a\":\"Newline\",\"1\":\"One\",\"\\u0080\":\"Control\\u007f\",\"\\ud83d\\ude02\":\"Smiley\",\"\\u00f6\":\"Latin Small Letter O With Diaeresis\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\"</script>\":\"Browser Challenge\"}",
            "{\"\\n\":\"Newline\",\"\\r\":\"Carriage Return\",\"1\":\"One\",\"</script>\":\"Browser Challenge\",\"\u{80}\":\"Control\u{7f}\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😂\":\"Smiley\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        ),
        // Appendix B: zero, and the largest numbers either way.
        (
            "{\"n\":[0,-9007199254740992,9007199254740992,-1]}",
            "{\"n\":[0,-9007199254740992,9007199254740992,-1]}",
        ),
        (" {} ", "{}"),
    ] {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_readers_could_take_for_different_things_is_refused_and_it_is_said_where() {
    let deep = format!("{{\"a\":{}0{}}}", "[".repeat(16), "]".repeat(16));
    let deepest = format!("{{\"a\":{}0{}}}", "[".repeat(15), "]".repeat(15));
    assert!(canonical(&deepest).is_ok());
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD));
    let longest = format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD - 8));
    assert!(canonical(&longest).is_ok());
    for (text, what) in [
        ("", "object: \"{\" is expected, at line 1, byte 1"),
        ("[1]", "object"),
        ("\u{feff}{}", "object"),
        (
            "{\"a\":1}{",
            "something follows the object, at line 1, byte 8",
        ),
        ("{\"a\":1.0}", "whole numbers only"),
        ("{\"a\":1e2}", "whole numbers only"),
        ("{\"a\":1E400}", "minor units, at line 1, byte 6"),
        ("{\"a\":0.10}", "whole numbers only"),
        ("{\"a\":-0}", "-0"),
        ("{\"a\":-0.0}", "whole numbers only"),
        ("{\"a\":01}", "begins with a zero"),
        ("{\"a\":+1}", "a value is expected"),
        ("{\"a\":-}", "digit"),
        ("{\"a\":9007199254740993}", "beyond 2^53"),
        ("{\"a\":-9007199254740993}", "beyond 2^53"),
        ("{\"a\":99999999999999999999999}", "beyond 2^53"),
        ("{\"a\":NaN}", "a value is expected"),
        ("{\"a\":nul}", "a value is expected"),
        (
            "{\n \"a\":1,\n \"\\u0061\":2}",
            "twice in one object, at line 3, byte 2",
        ),
        ("{\"b\":{\"a\":1,\"c\":2,\"a\":1}}", "twice"),
        ("{\"a\":\"\\ud800\"}", "surrogate"),
        ("{\"a\":\"\\ud800\\ud800\"}", "surrogate"),
        ("{\"a\":\"\\udc00\\ud800\"}", "surrogate"),
        ("{\"\\udfff\":1}", "surrogate"),
        ("{\"a\":\"\\u12g4\"}", "four hexadecimal"),
        ("{\"a\":\"\\u+123\"}", "four hexadecimal"),
        ("{\"a\":\"\\x41\"}", "escape"),
        ("{\"a\":\"\n\"}", "control character"),
        ("{\"a\":\"", "does not end"),
        ("{\"a\"", "\":\" is expected"),
        ("{\"a\":", "it ends where a value"),
        ("{\"a\":1", "is expected"),
        ("{\"a\":1,}", "a key in quotes"),
        ("{a:1}", "a key in quotes"),
        ("{'a':1}", "a key in quotes"),
        ("{\"a\":[1,]}", "a value is expected"),
        ("{\"a\":[1 2]}", "\"]\" is expected"),
        ("{/* */}", "a key in quotes"),
        (&deep, "nest over 16 deep"),
        (&long, "65536 are allowed"),
    ] {
        let why = canonical(text).expect_err(text);
        assert!(why.contains(what), "{what}: {why}");
    }
    let why = canonicalise(b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(why, "the payload is not UTF-8, at line 1, byte 7");
    // The overlong slash, and a surrogate in UTF-8.
    for bytes in [&b"{\"a\":\"\xc0\xaf\"}"[..], b"{\"a\":\"\xed\xa0\x80\"}"] {
        assert!(canonicalise(bytes).is_err());
    }
}

#[test]
fn only_the_canonical_bytes_are_read_by_an_agent() {
    let canonical = "{\"amount\":100,\"to\":\"alice\"}";
    assert!(Payload::read(canonical.as_bytes()).is_ok());
    for other in [
        "{\"to\":\"alice\",\"amount\":100}",
        "{\"amount\":100, \"to\":\"alice\"}",
        "{\"amount\":100,\"to\":\"\\u0061lice\"}",
        "{\"amount\":100,\"to\":\"alice\"}\n",
    ] {
        let why = Payload::read(other.as_bytes()).unwrap_err();
        assert!(why.contains("canonical form"), "{why}");
        assert_eq!(
            canonicalise(other.as_bytes()).unwrap(),
            canonical.as_bytes()
        );
    }
}

#[test]
fn a_payload_of_nothing_but_keys_does_not_take_long() {
    let members: Vec<String> = (0..6_500).map(|n| format!("\"{n}\":0")).collect();
    let text = format!("{{{}}}", members.join(","));
    let started = std::time::Instant::now();
    assert!(canonical(&text).is_ok());
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,4}",
        any::<String>(),
        prop::sample::select(vec![
            "\u{0}",
            "\u{1f}",
            "\"",
            "\\",
            "/",
            "\u{7f}",
            "\u{2028}",
            "😀",
            "\u{ffff}",
            "\u{e000}",
            "\u{10ffff}",
        ])
        .prop_map(String::from),
    ]
    .boxed();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-LARGEST..=LARGEST).prop_map(Value::Number),
        prop::sample::select(vec![-LARGEST, -1, 0, 1, LARGEST]).prop_map(Value::Number),
        text.clone().prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

pub(crate) fn object() -> impl Strategy<Value = Members> {
    prop::collection::btree_map(any::<String>(), value(), 0..6)
        .prop_map(|members| members.into_iter().collect())
}

/// Some text of a value: members in any order, any white space, any escapes.
struct Style(Vec<u8>, usize);

impl Style {
    fn next(&mut self) -> u8 {
        self.1 += 1;
        self.0[self.1 % self.0.len()]
    }

    fn space(&mut self, out: &mut String) {
        for _ in 0..self.next() % 3 {
            out.push([' ', '\t', '\n', '\r'][usize::from(self.next() % 4)]);
        }
    }

    fn write(&mut self, value: &Value, out: &mut String) {
        self.space(out);
        match value {
            Value::Text(text) => self.text(text, out),
            Value::List(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    self.write(item, out);
                }
                self.space(out);
                out.push(']');
            }
            Value::Object(members) => self.object(members, out),
            plain => super::write(plain, out),
        }
        self.space(out);
    }

    fn object(&mut self, members: &Members, out: &mut String) {
        let mut members: Vec<_> = members.iter().map(|member| (self.next(), member)).collect();
        members.sort_by_key(|(place, _)| *place);
        out.push('{');
        self.space(out);
        for (place, (_, (key, value))) in members.into_iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            self.space(out);
            self.text(key, out);
            self.space(out);
            out.push(':');
            self.write(value, out);
        }
        out.push('}');
    }

    fn text(&mut self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            let must = c < ' ' || matches!(c, '"' | '\\');
            match self.next() % 4 {
                0 => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let upper = self.next().is_multiple_of(2);
                        let _ = match upper {
                            true => write!(out, "\\u{unit:04X}"),
                            false => write!(out, "\\u{unit:04x}"),
                        };
                    }
                }
                1 if c == '/' => out.push_str("\\/"),
                _ if must => {
                    let mut quoted = String::new();
                    write_text(&c.to_string(), &mut quoted);
                    out.push_str(&quoted[1..quoted.len() - 1]);
                }
                _ => out.push(c),
            }
        }
        out.push('"');
    }
}

proptest! {
    #[test]
    fn the_canonical_form_is_a_fixed_point_and_all_ways_of_writing_lead_to_it(
        members in object(),
        style in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let mut written = String::new();
        Style(style, 0).object(&members, &mut written);
        let canonical = canonicalise(written.as_bytes()).unwrap();
        prop_assert_eq!(canonicalise(&canonical).unwrap(), canonical.clone());
        let mut sorted = Value::Object(members);
        sort(&mut sorted);
        let Value::Object(sorted) = sorted else { unreachable!() };
        prop_assert_eq!(Payload::read(&canonical), Ok(Payload(sorted)));
    }

    /// Bytes from a stranger are read or refused, and what is read means what it says.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(canonical) = canonicalise(&bytes) {
            prop_assert!(Payload::read(&canonical).is_ok());
        }
    }

    /// One byte of a good payload changed: refused, or read as something else, never as the same.
    #[test]
    fn a_changed_byte_is_never_passed_over(members in object(), at: prop::sample::Index, to: u8) {
        let canonical = Payload({
            let mut value = Value::Object(members);
            sort(&mut value);
            let Value::Object(members) = value else { unreachable!() };
            members
        });
        let mut bytes = canonical.canonical().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        if let Ok(read) = Payload::read(&bytes) {
            prop_assert_ne!(read, canonical);
        }
    }
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.iter_mut().for_each(|(_, value)| sort(value));
            members.sort_by(|(a, _), (b, _)| by_code_units(a, b));
        }
        Value::List(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}
